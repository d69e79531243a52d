"""The judge of the event stream: what must be true of it at every moment, whatever strikes.

It knows the daemon's documents (docs/architecture.md, docs/events.md) and nothing of its code: which phase may follow
which is written down here a second time, on purpose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from PoolManagerLibrary.event_log import SeenEvent
from PoolManagerLibrary.units import epoch

from endurance.shape import RESTART

#: Which phase may follow which. A failure leads to where its verdict says, through ``stopping`` if a process is left.
_VERDICTS = {"stopped", "backoff", "circuit_open", "failed"}
#: What becomes of a start that somebody asked for: a start, or what an open circuit makes of it.
_AGAIN = {"preflight", "circuit_open", "half_open"}
ALLOWED: Mapping[str, frozenset[str]] = {
    "stopped": frozenset({"loading", "stopping", *_AGAIN}),  # adopted; or left behind, and not wanted any more
    "preflight": frozenset({"starting", *_VERDICTS}),
    "starting": frozenset({"loading", "stopping", *_VERDICTS}),
    "loading": frozenset({"ready", "draining", "stopping", *_VERDICTS}),  # draining: adopted in the midst of a drain
    "ready": frozenset({"draining", "stopping", *_VERDICTS}),
    "draining": frozenset({"ready", "stopping", *_VERDICTS, *_AGAIN}),
    "stopping": frozenset({*_VERDICTS, *_AGAIN}),
    "backoff": frozenset({"stopped", *_AGAIN}),
    "circuit_open": frozenset({"half_open", "stopped", "preflight"}),  # preflight: reset by the operator
    "half_open": frozenset({"preflight", "stopped"}),
    "failed": frozenset({"stopped", *_AGAIN}),
}
#: Times in events are rounded to milliseconds, and two of them are compared.
ROUNDING_S = 0.003
#: What an operator or a reload asks for is no restart of the supervisor's own.
ASKED_FOR = {"operator", "reload", "config", "serve"}
ENDED = {"released", "expired", "forced"}
#: The end of a lease that was told less than so many seconds before a daemon's last words may not have been stored.
LAST_WORDS_S = 0.5


@dataclass(slots=True)
class _Replica:
    """What the stream has said of one replica. ``None`` is not known: a daemon has just started."""

    phase: str | None = None
    restart_count: int = 0
    restarts: deque[float] = field(default_factory=lambda: deque(maxlen=64))
    next_restart_at: float | None = None
    breaker: str | None = "closed"
    trials: int = 0
    trigger: str = ""


class StreamJudge:
    """Hears every event of one state directory, over the deaths of its daemons."""

    def __init__(self) -> None:
        self._replicas: dict[tuple[str, str], _Replica] = {}
        self._ready: dict[str, bool | None] = {}
        self._leases: dict[str, str] = {}
        self._ended_at: dict[str, float] = {}
        #: Leases whose end was told right before a daemon died: that is no promise, and may not have been stored.
        self._unsure: set[str] = set()
        self._heard_at = 0.0
        self._revision = 0
        self._jumps = 1
        self.problems: list[str] = []
        #: Pools whose reload was begun and is not over.
        self.reloading: set[str] = set()
        #: A daemon was killed that could not store what it had said.
        self.forgot = False
        self._unstored = False

    def killed(self) -> None:
        """The daemon was killed: revisions go on above those that it might have handed out."""
        self._jumps += 1

    def caught_up(self) -> None:
        """Everything that the present daemon has said was heard."""
        self._jumps = 0

    def restart_count(self, pool_id: str) -> int:
        """The restarts that the stream has told of, of all replicas of a pool."""
        return sum(one.restart_count for (pool, _), one in self._replicas.items() if pool == pool_id)

    def ended_leases(self) -> set[str]:
        """Leases whose end was told."""
        return {lease for lease, action in self._leases.items() if action in ENDED}

    def hear(self, events: Iterable[SeenEvent]) -> list[str]:
        """Judge more events; what is wrong with them, in sentences."""
        self.problems = []
        judges: dict[str, Callable[[SeenEvent], None]] = {
            "daemon": self._daemon,
            "phase": self._phase,
            "preload": self._preload,
            "restart_scheduled": self._scheduled,
            "breaker": self._breaker,
            "pool_ready": self._readiness,
            "pool_unready": self._readiness,
            "lease": self._lease,
            "config": self._config,
            "reload": self._reload,
            "gap": lambda event: self._say(event, "events are missing in the stream"),
        }
        for event in events:
            self._revisions(event)
            if event.kind in judges:
                judges[event.kind](event)
            if event.code == "INTERNAL":
                self._say(event, "a fault of the daemon's own")
            self._heard_at = event.at
        return self.problems

    def _say(self, event: SeenEvent, problem: str) -> None:
        self.problems.append(f"{problem}: {event.describe()}")

    def _of(self, event: SeenEvent) -> _Replica:
        return self._replicas.setdefault((event.pool_id or "", event.replica_id or ""), _Replica())

    # -- one stream ----------------------------------------------------------------------------------------------------

    def _revisions(self, event: SeenEvent) -> None:
        expected = self._revision + 1
        if event.revision < expected:
            self._say(event, f"revision {event.revision} after {self._revision}")
        elif event.revision > expected:
            # Of a daemon that was killed at once nothing may have been heard.
            self._jumps -= 1
            if self._jumps < 0:
                self._say(event, f"the revisions {expected} to {event.revision - 1} are missing")
        self._revision = max(self._revision, event.revision)

    def _daemon(self, event: SeenEvent) -> None:
        if event.to in {"store_unavailable", "store_available"}:
            self._unstored = event.to == "store_unavailable"
        if event.to != "started":
            return
        if self._unstored:
            # Killed while its disk was full: what was not promised to anybody may be forgotten.
            self.forgot, self._unstored = True, False
            self._leases.clear()
            for replica in self._replicas.values():
                replica.restart_count = 0
                replica.restarts.clear()
                replica.breaker = None
        self._unsure |= {lease for lease, at in self._ended_at.items() if at >= self._heard_at - LAST_WORDS_S}
        self._ended_at.clear()
        # A daemon goes on from what was stored: what its predecessor said last may not have been.
        for replica in self._replicas.values():
            replica.phase = None
            replica.trials = 0
        self.reloading.clear()
        for pool_id in self._ready:
            self._ready[pool_id] = False

    def _config(self, event: SeenEvent) -> None:
        """A pool that is removed is forgotten with its counts; one of the same name that comes later is a new one."""
        if event.to != "reloaded":
            return
        added = set(event.details.get("added", ()))
        # So is a replica; what the pool counts is compared at rest.
        added |= {pool for pool, keys in event.details.get("changed", {}).items() if "replicas" in keys}
        for (pool_id, _), replica in self._replicas.items():
            if pool_id in added:
                replica.restart_count = 0
                replica.breaker = "closed"
        self.reloading -= set(event.details.get("removed", ()))

    def _reload(self, event: SeenEvent) -> None:
        if event.to == "started":
            self.reloading.add(event.pool_id or "")
        else:
            self.reloading.discard(event.pool_id or "")

    # -- phases and restarts -------------------------------------------------------------------------------------------

    def _phase(self, event: SeenEvent) -> None:
        replica, old, new = self._of(event), event.from_ or "", event.to or ""
        if replica.phase is not None and replica.phase != old:
            self._say(event, f"it was {replica.phase} and not {old}")
        if old != new and new not in ALLOWED.get(old, ()):
            self._say(event, f"{new} never follows {old}")
        if event.details.get("restart"):
            self._restart(event, replica)
        count = event.details.get("restart_count")
        if count is not None:
            if count < replica.restart_count:
                self._say(event, f"restart_count falls from {replica.restart_count} to {count}")
            replica.restart_count = count
        if new == "backoff" and old != new:
            self._backoff(event, replica)
        elif new == "starting" and old != new:
            self._starting(event, replica)
        if new not in {"backoff", "half_open", "circuit_open"}:
            replica.next_restart_at = None
        if new == "failed":
            # Something was missing, such as a GPU that is lost: the trial has shown nothing, and is made again.
            replica.trials = 0
        replica.phase = new

    def _backoff(self, event: SeenEvent, replica: _Replica) -> None:
        told = event.details.get("next_restart_at")
        if told is None:
            self._say(event, "a backoff without next_restart_at")
            return
        replica.next_restart_at = epoch(told)

    def _scheduled(self, event: SeenEvent) -> None:
        delay_ms = event.details.get("backoff_ms")
        if delay_ms is None or delay_ms < RESTART["floor_ms"]:
            self._say(event, f"the backoff of {delay_ms} ms is shorter than the floor of {RESTART['floor_ms']} ms")

    def _restart(self, event: SeenEvent, replica: _Replica) -> None:
        if replica.next_restart_at is not None and event.at < replica.next_restart_at - ROUNDING_S:
            self._say(event, f"restarted {replica.next_restart_at - event.at:.3f} s before its time")
        replica.restarts.append(event.at)
        window_s = RESTART["rate_window_ms"] / 1000 - ROUNDING_S
        recent = sum(at > event.at - window_s for at in replica.restarts)
        if recent > RESTART["rate"]:
            self._say(event, f"{recent} restarts within {window_s:g} s, allowed are {RESTART['rate']}")

    def _preload(self, event: SeenEvent) -> None:
        if event.to == "started":
            self._of(event).trigger = str(event.details.get("trigger"))

    def _starting(self, event: SeenEvent, replica: _Replica) -> None:
        if replica.breaker == "open" and replica.trigger != "reload":
            self._say(event, "started while its circuit is open")
        if replica.breaker == "half_open" and replica.trigger == "restart":
            replica.trials += 1
            if replica.trials > 1:
                self._say(event, f"trial {replica.trials} of one half-open circuit")

    def _breaker(self, event: SeenEvent) -> None:
        replica = self._of(event)
        replica.breaker = event.to or ""
        replica.trials = 0

    # -- pools and leases ----------------------------------------------------------------------------------------------

    def _readiness(self, event: SeenEvent) -> None:
        pool_id, ready = event.pool_id or "", event.kind == "pool_ready"
        if self._ready.get(pool_id) is ready:
            self._say(event, f"{event.kind} twice in a row")
        self._ready[pool_id] = ready
        if ready:
            up = sum(one.phase == "ready" for (pool, _), one in self._replicas.items() if pool == pool_id)
            if up == 0:
                self._say(event, "Ready without any replica that is")

    def _lease(self, event: SeenEvent) -> None:
        action, lease = event.details.get("action"), event.details.get("lease_id")
        if lease is None:
            return
        before = self._leases.get(lease)
        if action == "granted":
            if before is not None:
                self._say(event, f"granted after it was {before}")
            if self._of(event).phase not in {"ready", "draining"}:
                self._say(event, f"granted on a replica that is {self._of(event).phase}")
        elif before in ENDED and lease not in self._unsure:
            self._say(event, f"{action} after it was {before}")
        if action in ENDED:
            self._unsure.discard(lease)
            self._ended_at[lease] = event.at
        self._leases[lease] = str(action)
