"""Leases taken, released, renewed and left to expire in any order, by one caller or many."""

from __future__ import annotations

import random
import threading
import time
from datetime import timedelta
from typing import Any

from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.daemon_process import Daemon
from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.outcome import Outcome
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until

#: How long the leases live that are left to expire.
SHORT_TTL_MS = 60
#: What these callers may be told beside a success.
FAIR_REFUSALS = {"NO_FREE_SLOT", "LEASE_NOT_FOUND"}


class LeaseMixKeywords(Keywords):
    """Keywords about many leases in random order."""

    @keyword
    def do_random_lease_operations(self, count: int, name: str = "the pool", seed: int | None = None) -> dict[str, int]:
        """Does random operations on a pool's leases, one after the other.

        Acquire, acquire with a short life, renew, release, and release again what is over. Returns what was done how
        often; `Active Leases Should Be Those Left` looks at the outcome.

        Example:
        | Do Random Lease Operations | 100 |
        | Active Leases Should Be Those Left |
        """
        number = time.time_ns() if seed is None else seed
        logger.info(f"The seed is {number}.")
        caller = _Caller(self.daemon, self.scenario.pool_id(name), number)
        self.scenario.act(f"{count} operations on leases of {name}")
        for _ in range(count):
            caller.operate()
        self.scenario.memory.setdefault("lease callers", []).append(caller)
        self.scenario.cleanups.append(("the leases of the mix", caller.release_all))
        return dict(caller.done)

    @keyword
    def let_callers_mix_leases(self, callers: int, during: timedelta, name: str = "the pool") -> None:
        """Lets several callers at once do random operations on a pool's leases, and waits until they are through.

        Example:
        | Let Callers Mix Leases | 8 | 600 ms |
        """
        daemon, pool_id = self.daemon, self.scenario.pool_id(name)
        self.scenario.act(f"{callers} callers on {name}")
        end = time.monotonic() + seconds(during)
        mixed = [_Caller(daemon, pool_id, time.time_ns() + number) for number in range(callers)]
        threads = [threading.Thread(target=caller.run, args=(end,), daemon=True) for caller in mixed]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds(during) + 10)
        self.scenario.memory.setdefault("lease callers", []).extend(mixed)
        for caller in mixed:
            self.scenario.cleanups.append(("the leases of the mix", caller.release_all))
            if caller.error is not None:
                raise ExpectationFailed(f"A caller was told what none should be told: {caller.error}")
        logger.info(f"Done: {[caller.done for caller in mixed]}")

    @keyword
    def active_leases_should_be_those_left(
        self, name: str = "the pool", within: timedelta = timedelta(seconds=1)
    ) -> int:
        """Checks that a pool's active leases are exactly those granted and neither released nor expired.

        Returns their number. Example:
        | Active Leases Should Be Those Left |
        """
        pool_id = self.scenario.pool_id(name)
        mixed: list[_Caller] = self.scenario.memory.get("lease callers", [])
        left = {lease for caller in mixed if caller.pool_id == pool_id for lease in caller.lasting}
        left |= {one.lease_id for one in self.scenario.leases if one.pool_id == pool_id and not one.released}

        def look() -> tuple[int, set[str]]:
            listed = self.must(call(self.daemon, "leases", pool_id=pool_id)).body
            leases = listed["leases"] if isinstance(listed, dict) else listed
            return int(self.status(pool_id)["active_leases"]), {str(one["lease_id"]) for one in leases}

        wait_until(
            look,
            lambda seen: seen == (len(left), left),
            timeout=seconds(within),
            expected=f"pool {pool_id} to show the {len(left)} leases that are left",
            show=lambda seen: f"active_leases {seen[0]}, and {len(seen[1])} leases in the list",
            context=lambda: self.explain(pool_id),
        )
        return len(left)


class _Caller:
    """One caller and the leases that it was granted."""

    def __init__(self, daemon: Daemon, pool_id: str, seed: int) -> None:
        self.pool_id = pool_id
        self.lasting: list[str] = []
        self.over: list[str] = []
        self.done: dict[str, int] = {}
        self.error: str | None = None
        self._daemon = daemon
        self._random = random.Random(seed)  # noqa: S311  # no secret

    def run(self, end: float) -> None:
        """Go on until a moment of the monotonic clock."""
        while time.monotonic() < end and self.error is None:
            self.operate()

    def operate(self) -> None:
        """One operation."""
        kind = self._random.choice(["acquire", "acquire", "short", "release", "release", "again", "renew"])
        if kind in {"release", "renew"} and not self.lasting:
            kind = "acquire"
        if kind == "again" and not self.over:
            kind = "short"
        self.done[kind] = self.done.get(kind, 0) + 1
        if kind in {"acquire", "short"}:
            outcome = self._call("acquire", ttl_ms=SHORT_TTL_MS if kind == "short" else None)
            if outcome.ok:
                (self.over if kind == "short" else self.lasting).append(outcome.body["lease_id"])
        elif kind == "renew":
            self._call("renew", lease_id=self._random.choice(self.lasting))
        elif kind == "again":
            self._call("release", lease_id=self._random.choice(self.over))
        else:
            lease = self.lasting.pop(self._random.randrange(len(self.lasting)))
            self._call("release", lease_id=lease)
            self.over.append(lease)

    def release_all(self) -> None:
        """Give back what is left."""
        for lease in self.lasting:
            self._call("release", lease_id=lease)
        self.lasting.clear()

    def _call(self, operation: str, **arguments: Any) -> Outcome:
        outcome = call(self._daemon, operation, pool_id=self.pool_id, **arguments)
        if not outcome.ok and outcome.code not in FAIR_REFUSALS:
            self.error = self.error or outcome.describe()
        return outcome
