"""The one event stream: what happened, in one order, with one shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pool_managerd.core.times import parse_rfc3339, rfc3339


class EventKind(StrEnum):
    """What an event is about. Clients may build on these words."""

    PHASE = "phase"
    POOL_READY = "pool_ready"
    POOL_UNREADY = "pool_unready"
    PRELOAD = "preload"
    DRAIN = "drain"
    RELOAD = "reload"
    LEASE = "lease"
    RESTART_SCHEDULED = "restart_scheduled"
    BREAKER = "breaker"
    STORM = "storm"
    DEVICE = "device"
    XID = "xid"
    CONFIG = "config"
    ADOPTED = "adopted"
    DAEMON = "daemon"
    GAP = "gap"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    :param revision: strictly rising over the life of a state directory; never repeated.
    :param at: wall time, seconds since the epoch.
    :param from_: the old phase or state (``from`` on the wire).
    :param to: the new phase or state.
    :param code: an error code, where a failure is the cause.
    :param reason: a sentence a person can read.
    """

    revision: int
    at: float
    kind: EventKind
    pool_id: str | None = None
    replica_id: str | None = None
    device: str | None = None
    from_: str | None = None
    to: str | None = None
    code: str | None = None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    correlation_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The wire form, with every field present and ``None`` for no value."""
        return {
            "revision": self.revision,
            "at": rfc3339(self.at),
            "kind": str(self.kind),
            "pool_id": self.pool_id,
            "replica_id": self.replica_id,
            "device": self.device,
            "from": self.from_,
            "to": self.to,
            "code": self.code,
            "reason": self.reason,
            "details": dict(self.details),
            "correlation_id": self.correlation_id,
        }

    @classmethod
    def from_json(cls, doc: Mapping[str, Any]) -> Event:
        """The inverse of :meth:`as_json`; the time has lost what is below a millisecond."""
        return cls(
            revision=doc["revision"],
            at=parse_rfc3339(doc["at"]),
            kind=EventKind(doc["kind"]),
            pool_id=doc["pool_id"],
            replica_id=doc["replica_id"],
            device=doc["device"],
            from_=doc["from"],
            to=doc["to"],
            code=doc["code"],
            reason=doc["reason"],
            details=doc["details"],
            correlation_id=doc["correlation_id"],
        )
