"""Leases of one pool: who holds which slot until when. No I/O and no clock: the time is an argument.

Within one life of the daemon a lease ends by the monotonic clock, so that a jump of the wall clock neither ends nor
prolongs it. What is shown and stored is wall-clock time: it is all there is across a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pool_managerd.core.errors import Code, PoolManagerError

#: How many ended leases are remembered, so that a second release is told from an id that never was.
REMEMBERED = 10_000
#: Why an expired lease is over, in words.
NOT_RENEWED = "it was not renewed in time"


class LeaseEnd(StrEnum):
    """How a lease ended; the word is also the event's ``details.action``."""

    RELEASED = "released"
    EXPIRED = "expired"
    FORCED = "forced"


@dataclass(frozen=True, slots=True)
class Lease:
    """One unit of in-flight work.

    :ivar ttl_ms: milliseconds.
    :ivar expires_at: wall-clock seconds since the epoch, as shown and stored.
    :ivar ends_at: when it is over by this daemon's monotonic clock, in seconds; not stored.
    """

    lease_id: str
    pool_id: str
    replica_id: str
    holder: str | None
    ttl_ms: int
    expires_at: float
    ends_at: float

    def as_json(self) -> dict[str, Any]:
        """For the store."""
        return {
            "lease_id": self.lease_id,
            "pool_id": self.pool_id,
            "replica_id": self.replica_id,
            "holder": self.holder,
            "ttl_ms": self.ttl_ms,
            "expires_at": self.expires_at,
        }

    @classmethod
    def from_json(cls, doc: Mapping[str, Any], *, now: float, wall: float) -> Lease:
        """The inverse of :meth:`as_json`; a wall clock that went back meanwhile gives it no more than a full TTL.

        :param now: the monotonic clock, in seconds.
        :param wall: the wall clock, in seconds since the epoch.
        """
        stored = {name: doc[name] for name in cls.__slots__ if name != "ends_at"}
        return cls(**stored, ends_at=now + min(doc["expires_at"] - wall, doc["ttl_ms"] / 1000))


@dataclass(frozen=True, slots=True)
class Ended:
    """What is remembered of a lease that is over."""

    how: LeaseEnd
    reason: str


def choose_replica(slots: Mapping[str, int], used: Mapping[str, int]) -> str | None:
    """The Ready replica with the lowest share of its slots in use; ``None`` if no slot is free.

    :param slots: the slots of each Ready replica.
    :param used: the leases on each replica.
    """
    free = [replica for replica, total in slots.items() if used.get(replica, 0) < total]
    return min(free, key=lambda replica: (used.get(replica, 0) / slots[replica], replica), default=None)


class LeaseBook:
    """The leases of one pool, active and lately ended."""

    def __init__(self, pool_id: str) -> None:
        self._pool_id = pool_id
        self._active: dict[str, Lease] = {}
        self._ended: OrderedDict[str, Ended] = OrderedDict()

    def __len__(self) -> int:
        return len(self._active)

    def active(self) -> list[Lease]:
        """All active leases, oldest first."""
        return list(self._active.values())

    def used(self) -> dict[str, int]:
        """How many leases each replica carries."""
        counts: dict[str, int] = {}
        for lease in self._active.values():
            counts[lease.replica_id] = counts.get(lease.replica_id, 0) + 1
        return counts

    def add(self, lease: Lease) -> None:
        """Enter a lease that was granted, now or before a restart of the daemon."""
        self._active[lease.lease_id] = lease

    def forget(self, lease_id: str) -> None:
        """Undo :meth:`add` for a grant that could not be stored."""
        self._active.pop(lease_id, None)

    def renewed(self, lease_id: str, *, now: float, wall: float, ttl_ms: int | None) -> Lease:
        """The lease as a renewal makes it: a full TTL from now. It is entered with :meth:`add`.

        :param now: the monotonic clock, in seconds.
        :param wall: the wall clock, in seconds since the epoch.
        :raises PoolManagerError: LEASE_NOT_FOUND, with the reason of its end in ``details.reason``; also for a lease
            whose time is over and that is still to be ended.
        """
        lease = self._active.get(lease_id)
        if lease is None:
            raise self.not_found(lease_id)
        if lease.ends_at <= now:
            raise self._is_over(lease_id, Ended(LeaseEnd.EXPIRED, NOT_RENEWED))
        ttl = lease.ttl_ms if ttl_ms is None else ttl_ms
        return replace(lease, ttl_ms=ttl, expires_at=wall + ttl / 1000, ends_at=now + ttl / 1000)

    def end(self, lease_id: str, how: LeaseEnd, reason: str) -> Lease | None:
        """End a lease. ``None`` if it had ended before.

        :raises PoolManagerError: LEASE_NOT_FOUND for an id that never was.
        """
        lease = self._active.pop(lease_id, None)
        if lease is None:
            if lease_id in self._ended:
                return None
            raise self.not_found(lease_id)
        self._ended[lease_id] = Ended(how, reason)
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        return lease

    def due(self, now: float) -> list[Lease]:
        """Leases whose time is over by the monotonic clock."""
        return [lease for lease in self._active.values() if lease.ends_at <= now]

    def next_expiry(self) -> float | None:
        """When the next lease runs out, by the monotonic clock."""
        return min((lease.ends_at for lease in self._active.values()), default=None)

    def on_replica(self, replica_id: str) -> list[Lease]:
        """The leases that one replica carries."""
        return [lease for lease in self._active.values() if lease.replica_id == replica_id]

    def has(self, lease_id: str) -> bool:
        """Whether the lease is active."""
        return lease_id in self._active

    def not_found(self, lease_id: str) -> PoolManagerError:
        """LEASE_NOT_FOUND, with the reason of the lease's end where it is remembered."""
        shown = lease_id[:64]
        ended = self._ended.get(lease_id)
        if ended is None:
            message = f"pool {self._pool_id} has no lease {shown!r}"
            return PoolManagerError(
                Code.LEASE_NOT_FOUND,
                message,
                hint="the lease was never granted, or ended long ago; take a new one",
                details={"pool_id": self._pool_id, "lease_id": shown, "reason": "unknown lease"},
            )
        return self._is_over(lease_id, ended)

    def _is_over(self, lease_id: str, ended: Ended) -> PoolManagerError:
        shown = lease_id[:64]
        return PoolManagerError(
            Code.LEASE_NOT_FOUND,
            f"lease {shown!r} on pool {self._pool_id} is over: {ended.reason}",
            hint="take a new lease",
            details={"pool_id": self._pool_id, "lease_id": shown, "ended": str(ended.how), "reason": ended.reason},
        )
