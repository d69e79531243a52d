"""What the restart policy works with: its numbers, what is remembered of a replica, and its verdicts. Values only.

Times are wall-clock seconds since the epoch; durations are milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class BreakerState(StrEnum):
    """Whether starts are allowed."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerKind(StrEnum):
    """Which count opened the breaker."""

    GENERAL = "general"
    DRIVER = "driver"


class Next(StrEnum):
    """What is to follow a failure or a stop; ``start`` is an operator's wish for a start right after it."""

    BACKOFF = "backoff"
    CIRCUIT_OPEN = "circuit_open"
    FAILED = "failed"
    STOPPED = "stopped"
    START = "start"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """The numbers of ``[pool.restart]`` and ``[pool.breaker]``, with the SPEC's defaults; ``_ms`` is milliseconds."""

    initial_ms: int = 1_000
    factor: float = 2.0
    max_ms: int = 60_000
    floor_ms: int = 500
    jitter: float = 0.1
    driver_factor: float = 2.0
    stable_ms: int = 300_000
    rate: int = 10
    rate_window_ms: int = 60_000
    storm_warn: int = 5
    storm_open: int = 10
    storm_open_window_ms: int = 30_000
    on_exit_zero: str = "stop"
    breaker_failures: int = 5
    breaker_driver_failures: int = 5
    breaker_open_ms: int = 300_000
    breaker_max_open_ms: int = 3_600_000
    breaker_stable_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class RestartHistory:
    """All that the policy remembers of one replica; it survives the daemon.

    :param failures: consecutive failures, without those of the driver.
    :param driver_failures: consecutive driver and CUDA failures.
    :param restarts: when the supervisor restarted this replica, oldest first; only the longest window is kept.
    :param restart_count: all restarts ever made by the supervisor; never falls.
    :param last_open_ms: how long the breaker was opened for last; 0 once it has closed.
    :param oom_times: when the replica ran out of memory, for naming an OOM storm.
    """

    failures: int = 0
    driver_failures: int = 0
    state: BreakerState = BreakerState.CLOSED
    kind: BreakerKind = BreakerKind.GENERAL
    open_until: float | None = None
    last_open_ms: int = 0
    restarts: tuple[float, ...] = ()
    restart_count: int = 0
    oom_times: tuple[float, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For the store."""
        return {
            "failures": self.failures,
            "driver_failures": self.driver_failures,
            "state": str(self.state),
            "kind": str(self.kind),
            "open_until": self.open_until,
            "last_open_ms": self.last_open_ms,
            "restarts": list(self.restarts),
            "restart_count": self.restart_count,
            "oom_times": list(self.oom_times),
        }

    @classmethod
    def from_json(cls, doc: Mapping[str, Any]) -> RestartHistory:
        """The inverse of :meth:`as_json`."""
        return cls(
            failures=doc["failures"],
            driver_failures=doc["driver_failures"],
            state=BreakerState(doc["state"]),
            kind=BreakerKind(doc["kind"]),
            open_until=doc["open_until"],
            last_open_ms=doc["last_open_ms"],
            restarts=tuple(doc["restarts"]),
            restart_count=doc["restart_count"],
            oom_times=tuple(doc["oom_times"]),
        )


@dataclass(frozen=True, slots=True)
class Burst:
    """So many restarts within the last ``window_ms``."""

    restarts: int
    window_ms: int

    def __str__(self) -> str:
        return f"{self.restarts} restarts within {self.window_ms / 1000:g} s"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows a failure, and why.

    :param at: when the next start is due, or when the circuit turns half-open; ``None`` if never by itself.
    :param delay_ms: the same as a duration from now.
    :param storm: ``restart_storm`` or ``oom_storm`` where one was found, else ``None``.
    :param opened: whether this verdict opened (or reopened) the breaker.
    :param rate_limited: whether the rate window, not the backoff, set the delay.
    :param burst: the restarts that were counted for a storm or for the rate limit.
    """

    next: Next
    reason: str
    at: float | None = None
    delay_ms: int | None = None
    storm: str | None = None
    opened: bool = False
    rate_limited: bool = False
    burst: Burst | None = None

    def as_json(self) -> dict[str, Any]:
        """For the store."""
        return {"next": str(self.next), "reason": self.reason, "at": self.at, "delay_ms": self.delay_ms}

    @classmethod
    def from_json(cls, doc: Mapping[str, Any]) -> Verdict:
        """The inverse of :meth:`as_json`: what is still to be done, without what was announced already."""
        return cls(Next(doc["next"]), doc["reason"], doc["at"], doc["delay_ms"])
