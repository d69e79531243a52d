"""The gauges of ``/metrics``: what is true now, read from the state at the moment of a scrape."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from pool_managerd.core.phases import Desired
from pool_managerd.core.status import DeviceStatus, PoolStatus
from pool_managerd.observe.bus import EventBus
from pool_managerd.observe.logwriter import dropped_lines

#: Every metric's name begins so.
NAMESPACE = "pool_managerd"
PREFIX = f"{NAMESPACE}_"

_BREAKER_STATES = {"closed": 0, "open": 1, "half_open": 2}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReplicaGauges:
    """What is measured of one replica beside its status.

    :param engine: the engine's kind, ``engine_version`` what it says it is, if anything.
    :param devices: UUIDs of the GPUs that it uses or would use.
    :param last_heartbeat: wall time of the last good probe of the present engine, seconds since the epoch.
    :param probe_failures: failed liveness probes since the daemon's start, whichever engine it was.
    :param vram_used: bytes that its process tree holds, by device UUID; empty without a process.
    :param ram_used: resident bytes of its process tree; ``None`` without a process.
    :param next_restart: wall time of its next start, seconds since the epoch; ``None`` while none is waited for.
    """

    pool_id: str
    replica_id: str
    engine: str = ""
    engine_version: str | None = None
    devices: tuple[str, ...] = ()
    last_heartbeat: float | None = None
    probe_failures: int = 0
    vram_used: Mapping[str, int] = field(default_factory=dict)
    ram_used: int | None = None
    next_restart: float | None = None


class StateSource(Protocol):
    """Where gauges come from. All of it must answer at once, from what is known: no probe, no NVML call."""

    async def look(self) -> None:
        """Called before each scrape, for what cannot be read at once."""
        ...

    def pools(self) -> Sequence[PoolStatus]:
        """Every configured pool."""
        ...

    def devices(self) -> Sequence[DeviceStatus]:
        """Every known GPU, as ``/v2/devices`` shows it."""
        ...

    def replica_gauges(self) -> Iterable[ReplicaGauges]:
        """What is measured of each configured replica."""
        ...

    def restart_rates(self) -> Mapping[str, int]:
        """Restarts in the current window, by pool."""
        ...

    def host_ram(self) -> tuple[int, int] | None:
        """Total and available bytes of host memory; ``None`` if not known."""
        ...

    def store_available(self) -> bool:
        """Whether the state store takes writes."""
        ...


class StateCollector(Collector):
    """Turns a :class:`StateSource`, the bus and the daemon's own process into gauges."""

    def __init__(self, state: StateSource | None, *, bus: EventBus | None, version: str) -> None:
        self.state = state
        self._bus = bus
        self._version = version
        self._process = ProcessCollector(namespace=NAMESPACE, registry=None)

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering asks for no state."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read everything once. A part that fails is logged and left out; the rest is shown."""
        parts = [self._own, self._stream]
        if self.state is not None:
            parts += [self._pools, self._replicas, self._devices, self._host]
        for part in parts:
            try:
                yield from list(part())
            except Exception:  # noqa: BLE001 - a scrape shows what can be shown
                _log.exception("some metrics could not be read")

    def _own(self) -> Iterator[Metric]:
        yield from self._process.collect()
        info = _family("build_info", "The daemon's version; always 1.", "version")
        info.add_metric([self._version], 1)
        yield info
        yield _counter("log_lines_dropped", "Log lines lost because nobody read the daemon's output.", dropped_lines())

    def _stream(self) -> Iterator[Metric]:
        if self._bus is None:
            return
        yield _gauge("event_revision", "Revision of the newest event.", self._bus.revision)
        yield _gauge("event_subscribers", "Watchers of the event stream.", self._bus.subscribers)
        yield _counter("event_gaps", "Gaps that watchers were told of.", self._bus.gaps)

    def _pools(self) -> Iterator[Metric]:
        info = _family("pool_info", "What a pool runs; always 1.", "pool_id", "engine", "engine_version")
        ready = _family("pool_ready", "Whether the pool is ready.", "pool_id")
        desired = _family("pool_desired_running", "Whether the pool is wanted to run.", "pool_id")
        slots = _family("slots", "Slots of the ready replicas.", "pool_id")
        free = _family("slots_free", "Slots without a lease.", "pool_id")
        leases = _family("active_leases", "Leases in use.", "pool_id")
        phase = _family("replica_phase", "1 for the phase that the replica is in.", "pool_id", "replica_id", "phase")
        breaker = _family(
            "circuit_breaker_state", "State of the breaker: 0 closed, 1 open, 2 half-open.", "pool_id", "replica_id"
        )
        for pool in self._state().pools():
            info.add_metric([pool.pool_id, pool.engine, pool.engine_version or ""], 1)
            ready.add_metric([pool.pool_id], int(pool.ready))
            desired.add_metric([pool.pool_id], int(pool.desired == Desired.RUNNING))
            slots.add_metric([pool.pool_id], pool.slots_total)
            free.add_metric([pool.pool_id], pool.slots_free)
            leases.add_metric([pool.pool_id], pool.active_leases)
            for replica in pool.replicas:
                labels = [pool.pool_id, replica.replica_id]
                phase.add_metric([*labels, str(replica.phase)], 1)
                breaker.add_metric(labels, _BREAKER_STATES.get(replica.breaker.state, 0))
        yield from (info, ready, desired, slots, free, leases, phase, breaker)
        rate = _family("restart_rate", "Restarts in the current window.", "pool_id")
        for pool_id, restarts in self._state().restart_rates().items():
            rate.add_metric([pool_id], restarts)
        yield rate

    def _replicas(self) -> Iterator[Metric]:
        replica_labels = ("pool_id", "replica_id")
        info = _family(
            "replica_info",
            "What a replica runs, once for each of its GPUs; always 1.",
            *replica_labels,
            "engine",
            "engine_version",
            "device",
        )
        heartbeat = _family(
            "last_heartbeat_timestamp_seconds", "When the engine last answered a probe well.", *replica_labels
        )
        failures = CounterMetricFamily(PREFIX + "probe_failures", "Failed liveness probes.", labels=replica_labels)
        vram = _family("vram_used_bytes", "GPU memory that the engine's processes hold.", *replica_labels, "device")
        ram = _family("ram_used_bytes", "Resident host memory of the engine's processes.", *replica_labels)
        start = _family(
            "next_restart_timestamp_seconds",
            "When the replica is started next; absent while none is due.",
            *replica_labels,
        )
        for replica in self._state().replica_gauges():
            labels = [replica.pool_id, replica.replica_id]
            for device in replica.devices:
                info.add_metric([*labels, replica.engine, replica.engine_version or "", device], 1)
            failures.add_metric(labels, replica.probe_failures)
            if replica.last_heartbeat is not None:
                heartbeat.add_metric(labels, replica.last_heartbeat)
            for device, used in replica.vram_used.items():
                vram.add_metric([*labels, device], used)
            if replica.ram_used is not None:
                ram.add_metric(labels, replica.ram_used)
            if replica.next_restart is not None:
                start.add_metric(labels, replica.next_restart)
        yield from (info, heartbeat, failures, vram, ram, start)

    def _devices(self) -> Iterator[Metric]:
        info = _family("device_info", "Index and name of the GPU; always 1.", "device", "index", "name")
        total = _family("vram_total_bytes", "Memory of the GPU.", "device")
        free = _family("vram_free_bytes", "Free memory of the GPU.", "device")
        used = _family("device_vram_used_bytes", "Memory of the GPU in use, by whomever.", "device")
        reserved = _family("vram_reserved_bytes", "Memory of the GPU reserved for pools.", "device")
        healthy = _family("device_healthy", "Whether the GPU's health is ok.", "device")
        stale = False
        for device in self._state().devices():
            labels = [device.uuid]
            info.add_metric([*labels, str(device.index), device.name], 1)
            total.add_metric(labels, device.memory_total_bytes)
            free.add_metric(labels, device.memory_free_bytes)
            used.add_metric(labels, device.memory_used_bytes)
            reserved.add_metric(labels, device.memory_reserved_bytes)
            healthy.add_metric(labels, int(device.health == "ok"))
            stale = stale or device.stale
        yield from (info, total, free, used, reserved, healthy)
        yield _gauge("devices_stale", "Whether the values of the GPUs are the last known ones only.", int(stale))

    def _host(self) -> Iterator[Metric]:
        yield _gauge("store_available", "Whether the state store takes writes.", int(self._state().store_available()))
        if (ram := self._state().host_ram()) is not None:
            yield _gauge("host_ram_total_bytes", "Memory of the host, or of the cgroup that bounds it.", ram[0])
            yield _gauge("host_ram_available_bytes", "Host memory that is still to be had.", ram[1])

    def _state(self) -> StateSource:
        if self.state is None:
            raise RuntimeError("no state source is set")
        return self.state


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, value=value)
