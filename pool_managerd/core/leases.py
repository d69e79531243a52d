"""Leases of one pool: who holds which slot until when. No I/O and no clock: the time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pool_managerd.core.errors import Code, PoolManagerError

#: How many ended leases are remembered, so that a second release is told from an id that never was.
REMEMBERED = 10_000


class LeaseEnd(StrEnum):
    """How a lease ended; the word is also the event's ``details.action``."""

    RELEASED = "released"
    EXPIRED = "expired"
    FORCED = "forced"


@dataclass(frozen=True, slots=True)
class Lease:
    """One unit of in-flight work. Times are wall-clock seconds since the epoch, ``ttl_ms`` is milliseconds."""

    lease_id: str
    pool_id: str
    replica_id: str
    holder: str | None
    ttl_ms: int
    expires_at: float

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
    def from_json(cls, doc: Mapping[str, Any]) -> Lease:
        """The inverse of :meth:`as_json`."""
        return cls(**{name: doc[name] for name in cls.__slots__})


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

    def renewed(self, lease_id: str, *, now: float, ttl_ms: int | None) -> Lease:
        """The lease as a renewal makes it: a full TTL from now. It is entered with :meth:`add`.

        :raises PoolManagerError: LEASE_NOT_FOUND, with the reason of its end in ``details.reason``.
        """
        lease = self._active.get(lease_id)
        if lease is None:
            raise self.not_found(lease_id)
        ttl = lease.ttl_ms if ttl_ms is None else ttl_ms
        return replace(lease, ttl_ms=ttl, expires_at=now + ttl / 1000)

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
        """Leases whose time is over."""
        return [lease for lease in self._active.values() if lease.expires_at <= now]

    def next_expiry(self) -> float | None:
        """When the next lease runs out."""
        return min((lease.expires_at for lease in self._active.values()), default=None)

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
        return PoolManagerError(
            Code.LEASE_NOT_FOUND,
            f"lease {shown!r} on pool {self._pool_id} is over: {ended.reason}",
            hint="take a new lease",
            details={"pool_id": self._pool_id, "lease_id": shown, "ended": str(ended.how), "reason": ended.reason},
        )
