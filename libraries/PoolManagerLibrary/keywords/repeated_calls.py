"""Callers that ask the daemon the same thing over and over, and what they were answered, and how soon."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.daemon_process import Daemon
from PoolManagerLibrary.errors import ExpectationFailed, PoolManagerLibraryError, UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.http import HttpKeywords
from PoolManagerLibrary.units import seconds, show_seconds


class RepeatedCallKeywords(Keywords):
    """Keywords about callers that never rest."""

    @keyword
    def start_calling_over_and_over(
        self, method: str, *paths: str, callers: int = 1, pause: timedelta = timedelta(milliseconds=20)
    ) -> None:
        """Sends requests in the background, each caller one after the other, until they are looked at or the test ends.

        Example:
        | Start Calling Over And Over | POST | /v2/pools/{pool}/preload | callers=20 |
        | Callers Should Have Got Only | 200 | 202 | 409 |
        """
        filled = [HttpKeywords(self.world).fill(path) for path in paths]
        calls = _Calls(self.daemon, method, filled, callers, seconds(pause))
        self.scenario.memory["repeated_calls"] = calls
        self.scenario.cleanups.append(("the repeated calls", calls.end))

    @keyword
    def callers_should_have_got_only(self, *statuses: int, at_least: int = 1) -> None:
        """Ends `Start Calling Over And Over` and checks that every answer had one of these HTTP statuses.

        Example:
        | Callers Should Have Got Only | 200 | at_least=50 |
        """
        calls = self._calls()
        calls.end()
        counts = Counter(calls.answers)
        logger.info(f"Answers: {dict(counts)}")
        strange = {status: count for status, count in counts.items() if status not in statuses}
        if strange or sum(counts.values()) < at_least:
            raise ExpectationFailed(
                f"The callers should get only {', '.join(map(str, statuses))}, at least {at_least} answers; "
                f"they got {dict(counts)}."
            )

    @keyword
    def callers_should_have_been_answered_within(self, limit: timedelta) -> float:
        """Checks that no call of `Start Calling Over And Over` took longer; returns the longest time in seconds.

        The time for which daemon and caller were ready to run and got no CPU is left out: a busy machine is nobody's
        fault.

        Example:
        | Callers Should Have Been Answered Within | 200 ms |
        """
        calls = self._calls()
        calls.end()
        longest = max(calls.times, default=None)
        if longest is None:
            raise ExpectationFailed("No call was answered.")
        logger.info(f"{len(calls.times)} calls, the longest took {show_seconds(longest)}.")
        if longest > seconds(limit):
            raise ExpectationFailed(f"An answer took {show_seconds(longest)}, {show_seconds(seconds(limit))} allowed.")
        return longest

    def _calls(self) -> _Calls:
        calls: _Calls | None = self.scenario.memory.get("repeated_calls")
        if calls is None:
            raise UsageError("Start Calling Over And Over first.")
        return calls


@dataclass
class _Calls:
    """Threads that each call, wait for the answer, pause, and call again."""

    daemon: Daemon
    method: str
    paths: list[str]
    callers: int
    pause_s: float
    answers: list[int | str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"caller-{number}", daemon=True) for number in range(self.callers)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        process = self.daemon.process
        stats = [Path("/proc/thread-self/schedstat")]
        if process is not None:
            stats.append(Path(f"/proc/{process.pid}/schedstat"))
        while not self._stop.is_set():
            for path in self.paths:
                waited, began = _waited(stats), time.monotonic()
                try:
                    status: int | str = self.daemon.http.request(self.method, path).status
                except PoolManagerLibraryError as error:
                    status = f"no answer: {error}"
                took = time.monotonic() - began
                self.times.append(max(0.0, took - (_waited(stats) - waited)))
                self.answers.append(status)
            self._stop.wait(self.pause_s)

    def end(self) -> None:
        """Stop calling."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10)


def _waited(stats: list[Path]) -> float:
    """Seconds in all that these tasks were ready to run and did not: the kernel counts them."""
    total = 0
    for path in stats:
        try:
            total += int(path.read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            continue
    return total / 1e9
