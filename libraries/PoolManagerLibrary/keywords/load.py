"""Callers that take and give back leases all the time, while something else happens."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.daemon_process import Daemon
from PoolManagerLibrary.errors import ExpectationFailed, PoolManagerLibraryError, UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.units import seconds, show_time
from PoolManagerLibrary.waiting import wait_until

#: What an answer that is a grant is called.
GRANTED = "granted"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request for a lease: when it was sent and answered (seconds since the epoch), and what came of it."""

    asked: float
    answered: float
    answer: str


@dataclass
class LeaseLoad:
    """Threads that each ask for a lease, hold it, release it, and begin again, until told to stop."""

    daemon: Daemon
    pool_id: str
    callers: int
    hold_s: float
    attempts: list[Attempt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"lease-load-{number}", daemon=True)
            for number in range(self.callers)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            asked = time.time()
            try:
                outcome = call(self.daemon, "acquire", pool_id=self.pool_id, ttl_ms=60_000)
                answer = GRANTED if outcome.ok else str(outcome.code or outcome.status)
            except PoolManagerLibraryError as error:
                outcome, answer = None, f"no answer: {error}"
            self.attempts.append(Attempt(asked, time.time(), answer))
            self._stop.wait(self.hold_s)
            if outcome is not None and outcome.ok:
                # Where no daemon is there to take it back, it runs out by itself.
                with contextlib.suppress(PoolManagerLibraryError):
                    call(self.daemon, "release", pool_id=self.pool_id, lease_id=outcome.body["lease_id"])

    def end(self) -> None:
        """Stop, with all leases given back."""
        self._stop.set()
        for thread in self._threads:
            thread.join(15)


class LoadKeywords(Keywords):
    """Keywords about a steady load of leases."""

    @keyword
    def start_lease_load(
        self, name: str = "the pool", callers: int = 4, hold: timedelta = timedelta(milliseconds=5)
    ) -> None:
        """Lets callers take a lease, hold it, release it and begin again in the background, until the scenario ends.

        It returns when the first lease has been granted.

        Example:
        | Start Lease Load | the pool | callers=8 | hold=5 ms |
        """
        load = LeaseLoad(self.daemon, self.scenario.pool_id(name), callers, seconds(hold))
        self.scenario.memory["lease_load"] = load
        self.scenario.cleanups.append(("the lease load", load.end))
        wait_until(
            lambda: any(attempt.answer == GRANTED for attempt in list(load.attempts)),
            bool,
            timeout=5,
            expected="the load's first lease to be granted",
            context=lambda: self.explain(name),
        )

    @keyword
    def lease_load_should_get_only(
        self, *answers: str, at_least: int = 20, since_answer: bool = True, within: timedelta = timedelta(seconds=10)
    ) -> None:
        """Checks that the callers of `Start Lease Load` got no other answers than these.

        An answer is ``granted`` or a code. Only requests count that were sent after the scenario's last answer had
        come; with ``since_answer=False`` all of them. It waits until there are ``at_least`` of them, and ends the load.

        Example:
        | Drain Pool | the pool |
        | Lease Load Should Get Only | POOL_DRAINING | at_least=50 |
        """
        load: LeaseLoad | None = self.scenario.memory.get("lease_load")
        if load is None:
            raise UsageError("No lease load runs: say Start Lease Load before the act.")
        last = self.scenario.last_outcome()
        begin = last.at + last.elapsed if since_answer else 0.0
        wait_until(
            lambda: sum(attempt.asked >= begin for attempt in list(load.attempts)),
            lambda count: count >= at_least,
            timeout=seconds(within),
            expected=f"the callers to ask {at_least} times",
            show=lambda count: f"{count} times",
        )
        load.end()
        counted = [attempt for attempt in load.attempts if attempt.asked >= begin]
        seen = Counter(attempt.answer for attempt in counted)
        logger.info(f"Answers: {dict(seen)}")
        other = next((attempt for attempt in counted if attempt.answer not in answers), None)
        if other is not None:
            raise ExpectationFailed(
                f"The callers should get nothing but {', '.join(answers)}, they got {dict(seen)}; "
                f"the first other answer was {other.answer}, to a request of {show_time(other.asked)}.\n"
                f"{self.explain(load.pool_id)}"
            )

    @keyword
    def lease_load_should_have_got(self, answer: str, at_least: int = 1) -> None:
        """Checks that the callers of `Start Lease Load` got an answer so often at least.

        Example:
        | Lease Load Should Have Got | granted | at_least=10 |
        """
        load: LeaseLoad | None = self.scenario.memory.get("lease_load")
        seen = Counter(attempt.answer for attempt in list(load.attempts)) if load else Counter[str]()
        if seen[answer] < at_least:
            raise ExpectationFailed(f"The callers should get {answer} at least {at_least} times, not {dict(seen)}.")
