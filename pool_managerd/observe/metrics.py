"""Prometheus metrics: counters and histograms as a projection of events, gauges read from the state when scraped.

What each kind of event raises is said in ``docs/events.md``. Labels hold only this host's pools, replicas, engine
kinds and devices, and values of closed lists; whatever is outside its list is counted as ``other``.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from pool_managerd.core.errors import Code
from pool_managerd.core.events import Event, EventKind
from pool_managerd.devices.xid import XidClass
from pool_managerd.observe.bus import EventBus
from pool_managerd.observe.gauges import PREFIX, StateCollector, StateSource

#: The content type of what :meth:`Metrics.render` gives.
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_CODES = frozenset(str(code) for code in Code)
#: An engine was, or by its arguments would be, where it does not belong: while it is loaded, or when it is Ready.
_SPILLOVER_CODES = (Code.CPU_SPILLOVER, Code.CROSS_MASK_SPILLOVER)
#: Refused loads that an alert tells of.
_MEMORY_CODES = (Code.INSUFFICIENT_VRAM, Code.INSUFFICIENT_RAM)
#: What a reload can fail of.
_RELOAD_CODES = (
    *(Code.INVALID_REQUEST, Code.INVALID_DEVICE_MASK, Code.INVALID_SPLIT, Code.FORBIDDEN, Code.CONFLICT),
    *(Code.MODEL_NOT_FOUND, Code.ENGINE_NOT_FOUND, *_MEMORY_CODES, Code.GPU_UNAVAILABLE, Code.GPU_REQUIRED),
    *(Code.STORE_UNAVAILABLE, Code.SHUTTING_DOWN, Code.READINESS_TIMEOUT, Code.DRAIN_TIMEOUT, Code.SPAWN_FAILED),
    *(Code.ENGINE_EXITED, Code.HEALTH_CHECK_FAILED, Code.DRIVER_ERROR, Code.CUDA_ERROR, Code.OUT_OF_MEMORY),
    *(Code.RELOAD_FAILED, *_SPILLOVER_CODES, Code.INTERNAL),
)
_CONFIG_OUTCOMES = ("reloaded", "unchanged", "refused")
_CAUSES = frozenset({"exit_code", "health_check", "driver_error", "cuda_error", "out_of_memory", "unknown"})
_XID_CLASSES = frozenset(str(xid_class) for xid_class in XidClass)
_LOAD_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_WAIT_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
_BACKOFF_BUCKETS = (0.1, 0.5, 1, 2, 4, 8, 16, 32, 60, 120, 300)

_log = logging.getLogger(__name__)

_POOL = ("pool_id",)
_REPLICA = ("pool_id", "replica_id")


def closed(value: Any, allowed: Collection[str]) -> str:
    """Return ``value`` if it is in the closed list ``allowed``, else ``other``."""
    return value if isinstance(value, str) and value in allowed else "other"


def crash_reason(text: Any) -> str:
    """Name a crash's cause from a closed list: a cause of the SPEC, a signal, or a code in small letters."""
    word = str(text or "unknown")
    if word.startswith("SIG"):
        return (
            word
            if word in signal.Signals.__members__ or re.fullmatch(r"SIGRT(MIN|MAX)([+-]\d{1,2})?", word)
            else "other"
        )
    word = word.lower()
    if word.startswith("exit"):
        return "exit_code"
    return word if word in _CAUSES or word.upper() in _CODES else "other"


class _Collected(CollectorRegistry):
    """What was collected already, as something that can be rendered."""

    def __init__(self, families: list[Metric]) -> None:
        super().__init__(auto_describe=False)
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Just that."""
        return self._families


class Metrics:
    """All metrics of one daemon, in a registry of their own.

    :param state: what gauges are read from; may be set later through :attr:`state`.
    :param bus: the event stream whose revision, watchers and gaps are shown.
    :param version: the daemon's version, shown in ``build_info``.
    """

    def __init__(self, state: StateSource | None = None, *, bus: EventBus | None = None, version: str = "") -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no type for it
        self._registry = CollectorRegistry(auto_describe=False)
        self._families: list[Counter | Histogram] = []
        self._gauges = StateCollector(state, bus=bus, version=version)
        self._engines: dict[str, str] = {}
        self._forgotten: set[str] = set()
        self._define()
        self._handlers: Mapping[EventKind, Callable[[Event], None]] = {
            EventKind.PHASE: self._on_phase,
            EventKind.POOL_READY: self._on_readiness,
            EventKind.POOL_UNREADY: self._on_readiness,
            EventKind.PRELOAD: self._on_preload,
            EventKind.DRAIN: self._on_drain,
            EventKind.RELOAD: self._on_reload,
            EventKind.LEASE: self._on_lease,
            EventKind.RESTART_SCHEDULED: self._on_restart_scheduled,
            EventKind.BREAKER: self._on_breaker,
            EventKind.STORM: self._on_storm,
            EventKind.DEVICE: self._on_device,
            EventKind.XID: self._on_xid,
            EventKind.CONFIG: self._on_config,
            EventKind.ADOPTED: self._on_adopted,
        }

    @property
    def state(self) -> StateSource | None:
        """What the gauges are read from."""
        return self._gauges.state

    @state.setter
    def state(self, source: StateSource) -> None:
        self._gauges.state = source

    def add_pool(self, pool_id: str, *, engine: str, replica_ids: Iterable[str]) -> None:
        """Begin a configured pool's series at zero, so that a first failure is seen as a rise."""
        self._forgotten.discard(pool_id)
        self._engines[pool_id] = engine
        for family in (
            self.reload_success,
            self.drain_duration,
            self.reload_duration,
            self.backoff_delay,
            self.restart_storm,
            *self.lease_outcomes.values(),
        ):
            family.labels(pool_id)
        for code in _RELOAD_CODES:
            self.reload_failure.labels(pool_id, str(code))
        self.preload_duration.labels(pool_id, engine)
        for replica_id in replica_ids:
            self.preload_success.labels(pool_id, replica_id, engine)
            for code in _MEMORY_CODES:
                self.preload_failure.labels(pool_id, replica_id, engine, str(code))
            for code in _SPILLOVER_CODES:
                self.spillover.labels(pool_id, replica_id, str(code))
            self.restart.labels(pool_id, replica_id)
            self.breaker_open.labels(pool_id, replica_id)

    def add_device(self, uuid: str) -> None:
        """Begin a GPU's series at zero, so that its first XID is seen as a rise.

        :meth:`scrape` does so for every GPU that the state shows, also for one that came after the daemon's start.
        """
        self.driver_reset.labels(uuid)
        for xid_class in XidClass:
            self.xid.labels(uuid, str(xid_class))

    def forget_pool(self, pool_id: str) -> None:
        """End all series of a pool that is no longer configured; its late events are not counted."""
        self._forgotten.add(pool_id)
        self._engines.pop(pool_id, None)
        self._end_series("pool_id", pool_id)

    def _end_series(self, label: str, value: str) -> None:
        for family in self._families:
            if label in family._labelnames:  # noqa: SLF001 - the library has no public name for them
                family.remove_by_labels({label: value})

    def on_event(self, event: Event) -> None:
        """Count an event (a projection of the bus)."""
        self.events.labels(str(event.kind)).inc()
        if event.pool_id in self._forgotten:
            return
        if handler := self._handlers.get(event.kind):
            handler(event)

    async def scrape(self) -> bytes:
        """What a scrape is given: :meth:`render`, after a look at what is measured only then.

        The gauges are read on the loop, so that they fit each other. The text is made in a thread: with hundreds of
        pools it is a megabyte, and takes a tenth of a second.
        """
        if self.state is not None:
            try:
                await self.state.look()
            except Exception:  # noqa: BLE001 - a scrape shows what can be shown
                _log.exception("what is measured for a scrape could not be read")
            self._add_devices(self.state)
        return await asyncio.to_thread(self._text, list(self._gauges.collect()))

    def _add_devices(self, state: StateSource) -> None:
        try:
            for device in state.devices():
                self.add_device(device.uuid)
        except Exception:  # noqa: BLE001 - a scrape shows what can be shown
            _log.exception("the devices could not be read for the metrics")

    def render(self) -> bytes:
        """Give everything in Prometheus' text format (:data:`CONTENT_TYPE`)."""
        return self._text(list(self._gauges.collect()))

    def _text(self, gauges: list[Metric]) -> bytes:
        return generate_latest(_Collected(gauges)) + generate_latest(self._registry)

    # -- definitions ----------------------------------------------------------------------------------------------

    def _define(self) -> None:
        counter, histogram = self._counter, self._histogram
        self.events = counter("events", "Events published, by kind.", ("kind",))
        for kind in EventKind:
            self.events.labels(str(kind))
        self.restart = counter("restart", "Supervised restarts of a replica.", _REPLICA)
        self.readiness = counter("readiness_transitions", "Changes of a pool's readiness.", ("pool_id", "to"))
        self.preload_success = counter("preload_success", "Loads that ended ready.", (*_REPLICA, "engine"))
        self.preload_failure = counter(
            "preload_failure", "Loads that failed, by error code.", (*_REPLICA, "engine", "reason")
        )
        self.spillover = counter(
            "spillover",
            "Engines stopped or refused over use of the CPU, or of a GPU outside their mask, by error code.",
            (*_REPLICA, "reason"),
        )
        self.preload_duration = histogram(
            "preload_duration_seconds", "Time from spawn to ready.", ("pool_id", "engine"), _LOAD_BUCKETS
        )
        self.drain = counter("drain", "Drains that ended, by outcome.", ("pool_id", "outcome"))
        self.drain_duration = histogram("drain_duration_seconds", "Duration of drains.", _POOL, _WAIT_BUCKETS)
        self.reload_success = counter("reload_success", "Reloads that ended on the new model.", _POOL)
        self.reload_failure = counter("reload_failure", "Reloads that failed, by cause.", ("pool_id", "reason"))
        self.reload_duration = histogram(
            "reload_duration_seconds", "Duration of successful reloads.", _POOL, _LOAD_BUCKETS
        )
        self.lease_outcomes = {
            action: counter(f"lease_{action}", f"Leases {action}.", _POOL)
            for action in ("granted", "renewed", "released", "expired", "forced")
        }
        self.lease_refused = counter("lease_refused", "Leases refused, by error code.", ("pool_id", "reason"))
        self.restart_scheduled = counter(
            "restart_scheduled", "Restarts scheduled after a failure, by its cause.", (*_REPLICA, "crash_reason")
        )
        self.backoff_delay = histogram(
            "backoff_delay_seconds", "Delay of each scheduled restart.", _POOL, _BACKOFF_BUCKETS
        )
        self.breaker_open = counter("circuit_breaker_open", "Openings of a circuit breaker.", _REPLICA)
        self.restart_storm = counter("restart_storm", "Restart storms.", _POOL)
        self.device_health = counter("device_health_transitions", "Changes of a GPU's health.", ("device", "to"))
        self.xid = counter("xid", "NVIDIA XID events, by class.", ("device", "xid_class"))
        self.driver_reset = counter("driver_reset", "XID events that need a reset of the GPU or lost it.", ("device",))
        self.config_reload = counter("config_reload", "Reloads of the config, by outcome.", ("outcome",))
        for outcome in _CONFIG_OUTCOMES:
            self.config_reload.labels(outcome)
        self.adopted = counter("adopted", "Running engines adopted at the daemon's start.", _REPLICA)

    def _counter(self, name: str, text: str, labels: Iterable[str] = ()) -> Counter:
        family = Counter(PREFIX + name, text, tuple(labels), registry=self._registry)
        self._families.append(family)
        return family

    def _histogram(self, name: str, text: str, labels: Iterable[str], buckets: Iterable[float]) -> Histogram:
        family = Histogram(PREFIX + name, text, tuple(labels), registry=self._registry, buckets=tuple(buckets))
        self._families.append(family)
        return family

    # -- one handler per kind of event ----------------------------------------------------------------------------

    def _on_phase(self, event: Event) -> None:
        if event.details.get("restart") is True:
            self.restart.labels(event.pool_id, event.replica_id).inc()
        if event.code in _SPILLOVER_CODES:
            self.spillover.labels(event.pool_id, event.replica_id, event.code).inc()

    def _on_readiness(self, event: Event) -> None:
        to = "ready" if event.kind is EventKind.POOL_READY else "unready"
        self.readiness.labels(event.pool_id, to).inc()

    def _on_preload(self, event: Event) -> None:
        engine = str(event.details.get("engine") or self._engines.get(event.pool_id or "", "other"))
        if event.to == "ready":
            self.preload_success.labels(event.pool_id, event.replica_id, engine).inc()
            if (seconds := _seconds(event, "load_ms")) is not None:
                self.preload_duration.labels(event.pool_id, engine).observe(seconds)
        elif event.to == "failed":
            reason = closed(event.code, _CODES)
            self.preload_failure.labels(event.pool_id, event.replica_id, engine, reason).inc()

    def _on_drain(self, event: Event) -> None:
        if event.to in {"drained", "forced", "cancelled"}:
            self.drain.labels(event.pool_id, event.to).inc()
        if event.to in {"drained", "forced"}:
            self.drain_duration.labels(event.pool_id).observe(_seconds(event, "waited_ms") or 0)

    def _on_reload(self, event: Event) -> None:
        if event.to == "done":
            self.reload_success.labels(event.pool_id).inc()
            self.reload_duration.labels(event.pool_id).observe(_seconds(event, "duration_ms") or 0)
        elif event.to == "failed":
            self.reload_failure.labels(event.pool_id, closed(event.details.get("cause") or event.code, _CODES)).inc()

    def _on_lease(self, event: Event) -> None:
        action = event.details.get("action")
        if action == "refused":
            # A pool that does not exist would be a label of the caller's choice.
            if event.code != Code.POOL_NOT_FOUND:
                self.lease_refused.labels(event.pool_id, closed(event.code, _CODES)).inc()
        elif family := self.lease_outcomes.get(str(action)):
            family.labels(event.pool_id).inc()

    def _on_restart_scheduled(self, event: Event) -> None:
        reason = crash_reason(event.details.get("crash_reason"))
        self.restart_scheduled.labels(event.pool_id, event.replica_id, reason).inc()
        self.backoff_delay.labels(event.pool_id).observe(_seconds(event, "backoff_ms") or 0)

    def _on_breaker(self, event: Event) -> None:
        if (event.to or event.details.get("new_state")) == "open":
            self.breaker_open.labels(event.pool_id, event.replica_id).inc()

    def _on_storm(self, event: Event) -> None:
        if event.to != "rate_limited":
            self.restart_storm.labels(event.pool_id).inc()

    def _on_device(self, event: Event) -> None:
        if event.device and event.to == "forgotten":
            self._end_series("device", event.device)
        elif event.device:
            to = closed(event.to, {"ok", "quarantined", "lost"})
            self.device_health.labels(event.device, to).inc()

    def _on_xid(self, event: Event) -> None:
        xid_class = closed(event.details.get("xid_class"), _XID_CLASSES)
        self.xid.labels(event.device, xid_class).inc()
        needs_reset = event.details.get("needs_reset")
        if needs_reset if isinstance(needs_reset, bool) else xid_class in {XidClass.LOST, XidClass.RESET}:
            self.driver_reset.labels(event.device).inc()

    def _on_config(self, event: Event) -> None:
        self.config_reload.labels(closed(event.to, _CONFIG_OUTCOMES)).inc()
        if event.to == "reloaded":
            for pool_id in event.details.get("removed") or ():
                self.forget_pool(pool_id)

    def _on_adopted(self, event: Event) -> None:
        self.adopted.labels(event.pool_id, event.replica_id).inc()


def _seconds(event: Event, key: str) -> float | None:
    value = event.details.get(key)
    return value / 1000 if isinstance(value, (int, float)) else None
