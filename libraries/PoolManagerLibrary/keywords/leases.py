"""Leases: acquired, renewed, released, held, listed."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import timedelta
from typing import Any

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.background import HeldLease, Lease, at_once
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.operations import call, protocol_of
from PoolManagerLibrary.outcome import Outcome
from PoolManagerLibrary.units import milliseconds, seconds


class LeaseKeywords(Keywords):
    """Keywords about leases."""

    @keyword
    def acquire_lease(
        self,
        name: str = "the pool",
        ttl: timedelta | None = None,
        holder: str | None = None,
        protocol: str = "HTTP",
        count: int = 1,
    ) -> Outcome:
        """Asks for a lease (or ``count``, one after the other) and notes the answer without judging it.

        What is granted is *the lease* of the following steps, and is released at the end.

        Example:
        | Acquire Lease | chat | ttl=500 ms | holder=tester |
        """
        self.scenario.act(f"a lease on {name}")
        pool_id = self.scenario.pool_id(name)
        outcome = None
        for _ in range(count):
            outcome = self._acquire(pool_id, ttl, holder, protocol)
        if outcome is None:
            raise UsageError("count must be at least 1.")
        return outcome

    def _acquire(self, pool_id: str, ttl: timedelta | None, holder: str | None, protocol: str) -> Outcome:
        outcome = self.operate(
            "acquire",
            protocol=protocol_of(protocol),
            pool_id=pool_id,
            holder=holder,
            ttl_ms=None if ttl is None else milliseconds(ttl),
        )
        if outcome.ok:
            self.scenario.leases.append(_lease(pool_id, outcome))
        return outcome

    @keyword
    def take_leases(self, count: int, name: str = "the pool", ttl: timedelta | None = None) -> list[str]:
        """Acquires leases that must be granted. Returns their ids.

        Example:
        | ${ids} = | Take Leases | 3 | chat |
        """
        pool_id = self.scenario.pool_id(name)
        self.scenario.act(f"{count} leases on {name}")
        taken = []
        for _ in range(count):
            self.must(self._acquire(pool_id, ttl, None, "HTTP"))
            taken.append(self.scenario.leases[-1].lease_id)
        return taken

    @keyword
    def acquire_leases_at_once(
        self, callers: int, name: str = "the pool", ttl: timedelta | None = None
    ) -> list[Outcome]:
        """Lets many callers ask for a lease at the same moment, and notes all answers for `Answers Should Be`.

        Example:
        | Acquire Leases At Once | 50 | chat |
        | Answers Should Be | 4 granted | 46 NO_FREE_SLOT |
        """
        daemon = self.daemon
        pool_id = self.scenario.pool_id(name)
        ttl_ms = None if ttl is None else milliseconds(ttl)
        self.scenario.act(f"{callers} callers at once on {name}")
        outcomes = at_once([lambda: call(daemon, "acquire", pool_id=pool_id, ttl_ms=ttl_ms)] * callers)
        for outcome in outcomes:
            if outcome.ok:
                self.scenario.leases.append(_lease(pool_id, outcome))
            outcome.examined = True
            self.scenario.answered(outcome)
        self.scenario.memory["outcomes"] = outcomes
        return outcomes

    @keyword
    def answers_should_be(self, *counts: str) -> None:
        """Checks what the callers of `Acquire Leases At Once` got: ``4 granted``, ``46 NO_FREE_SLOT``.

        Example:
        | Answers Should Be | 50 POOL_DRAINING |
        """
        outcomes: list[Outcome] = self.scenario.memory.get("outcomes", [])
        seen = Counter("granted" if outcome.ok else str(outcome.code or outcome.status) for outcome in outcomes)
        wanted: Counter[str] = Counter()
        for count in counts:
            number, _, word = count.strip().partition(" ")
            wanted[word] = int(number)
        if +seen != +wanted:
            raise ExpectationFailed(f"The answers should be {dict(+wanted)}, they are {dict(seen)}.")

    @keyword
    def renew_lease(
        self, lease: str = "the lease", ttl: timedelta | None = None, protocol: str = "HTTP", name: str | None = None
    ) -> Outcome:
        """Renews a lease: *the lease*, one of `Take Leases`, or any id.

        Example:
        | Renew Lease | ttl=2 s |
        """
        found = self._lease(lease, name)
        self.scenario.act(f"renewing {lease}")
        return self.operate(
            "renew",
            protocol=protocol_of(protocol),
            pool_id=found.pool_id,
            lease_id=found.lease_id,
            ttl_ms=None if ttl is None else milliseconds(ttl),
        )

    @keyword
    def release_lease(self, lease: str = "the lease", protocol: str = "HTTP", name: str | None = None) -> Outcome:
        """Releases a lease: *the lease* (the newest that is still held, else the newest), or any id.

        Example:
        | Release Lease |
        """
        found = self._lease(lease, name)
        self.scenario.act(f"releasing {lease}")
        outcome = self.operate(
            "release", protocol=protocol_of(protocol), pool_id=found.pool_id, lease_id=found.lease_id
        )
        found.released = found.released or outcome.ok
        return outcome

    @keyword
    def release_all_leases(self) -> None:
        """Releases every lease that the scenario holds, those in the background too.

        Example:
        | Release All Leases |
        """
        for held in self.scenario.memory.pop("held", []):
            held.end()
        for lease in self.scenario.leases:
            if not lease.released:
                call(self.daemon, "release", pool_id=lease.pool_id, lease_id=lease.lease_id)
                lease.released = True
        self.scenario.act("the release of all leases")

    @keyword
    def hold_lease(
        self,
        name: str = "the pool",
        duration: timedelta | None = None,
        ttl: timedelta | None = None,
        renew_every: timedelta | None = None,
        count: int = 1,
    ) -> list[str]:
        """Takes leases and holds them in the background for a time (or until `Release All Leases`). Returns their ids.

        Example:
        | Hold Lease | chat | 2 s | count=3 |
        | Hold Lease | chat | ttl=300 ms | renew_every=100 ms |
        """
        ids = self.take_leases(count, name, ttl)
        for lease in self.scenario.leases[-count:]:
            held = HeldLease(
                self.daemon,
                lease,
                hold_s=None if duration is None else seconds(duration),
                renew_every_s=None if renew_every is None else seconds(renew_every),
            )
            self.scenario.memory.setdefault("held", []).append(held)
            self.scenario.cleanups.append(("a held lease", held.end))
        return ids

    @keyword
    def get_leases(self, name: str = "the pool", protocol: str = "HTTP") -> list[dict[str, Any]]:
        """Returns the leases that the daemon lists for a pool.

        Example:
        | ${leases} = | Get Leases | chat |
        """
        body = self.must(
            self.operate("leases", protocol=protocol_of(protocol), pool_id=self.scenario.pool_id(name))
        ).body
        leases: list[dict[str, Any]] = body["leases"] if isinstance(body, dict) else body
        return leases

    @keyword
    def get_lease(
        self,
        field: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        lease: str = "the lease",
    ) -> Any:
        """Returns a field of a lease as it was granted, such as ``lease_id``, ``url`` or ``expires_at``.

        Example:
        | ${url} = | Get Lease | url |
        """
        value = self._lease(lease, None).document.get(field)
        return check(value, assertion_operator, assertion_expected, f"{field} of {lease}")

    @keyword
    def get_granted_leases(self, name: str = "the pool") -> list[dict[str, Any]]:
        """Returns the leases that the scenario was granted on a pool, as the grants said, whatever became of them.

        Example:
        | ${granted} = | Get Granted Leases | chat |
        """
        pool_id = self.scenario.pool_id(name)
        return [lease.document for lease in self.scenario.leases if lease.pool_id == pool_id]

    @keyword
    def listed_leases_should_be_those_held(self, name: str = "the pool") -> None:
        """Checks that the daemon lists exactly the leases that the scenario was granted and has not released.

        Example:
        | Listed Leases Should Be Those Held |
        """
        pool_id = self.scenario.pool_id(name)
        listed = {lease["lease_id"] for lease in self.get_leases(name)}
        held = {lease.lease_id for lease in self.scenario.leases if lease.pool_id == pool_id and not lease.released}
        if listed != held:
            raise ExpectationFailed(f"The daemon should list the leases {sorted(held)}, it lists {sorted(listed)}.")

    @keyword
    def mix_leases(self, operations: int = 100, name: str = "the pool", seed: int | None = None) -> int:
        """Does random operations on a pool's leases, and returns how many are active then.

        Example:
        | ${active} = | Mix Leases | 100 |
        | Get Pool Field | the pool | active_leases | == | ${active} |
        """
        rng = random.Random(seed if seed is not None else time.time_ns())  # noqa: S311  # no secret
        pool_id = self.scenario.pool_id(name)
        daemon = self.daemon
        for _ in range(operations):
            self._random_operation(rng, daemon, pool_id)
        return sum(lease.pool_id == pool_id and not lease.released for lease in self.scenario.leases)

    def _random_operation(self, rng: Any, daemon: Any, pool_id: str) -> None:
        mine = [lease for lease in self.scenario.leases if lease.pool_id == pool_id]
        kind = rng.choice(["acquire", "acquire", "release", "release", "again", "renew"])
        if kind == "acquire" or not mine:
            outcome = call(daemon, "acquire", pool_id=pool_id)
            if outcome.ok:
                self.scenario.leases.append(_lease(pool_id, outcome))
            return
        lease = rng.choice([one for one in mine if one.released] or mine) if kind == "again" else rng.choice(mine)
        operation = "renew" if kind == "renew" else "release"
        outcome = call(daemon, operation, pool_id=pool_id, lease_id=lease.lease_id)
        if operation == "release" and outcome.ok:
            lease.released = True

    def _lease(self, lease: str, name: str | None) -> Lease:
        leases: list[Lease] = self.scenario.leases
        text = lease.strip().lower()
        if text in {"the lease", "it", ""}:
            if not leases:
                raise UsageError("The scenario has no lease yet.")
            held = [one for one in leases if not one.released]
            return (held or leases)[-1]
        if text == "the released lease":
            return next(one for one in reversed(leases) if one.released)
        found = next((one for one in leases if one.lease_id == lease), None)
        if found is not None:
            return found
        pool_id = self.scenario.pool_id(name or "the pool")
        return Lease(pool_id, lease, "", "", {})


def _lease(pool_id: str, outcome: Outcome) -> Lease:
    document = outcome.body
    return Lease(pool_id, document["lease_id"], document["url"], document["replica_id"], document)
