"""What the API shows: plain values, with the field names of the wire.

Times are RFC 3339 strings (see :mod:`pool_managerd.core.times`), sizes are bytes, ``None`` is no value.
``dataclasses.asdict`` of any of these is the JSON document.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class LastError:
    """Why a replica or pool failed last."""

    code: str
    message: str
    hint: str | None
    retriable: bool
    at: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """A circuit breaker. ``kind`` is ``general`` or ``driver``; ``state`` closed, open or half_open."""

    kind: str
    state: str
    failures: int
    driver_failures: int
    open_until: str | None


@dataclass(frozen=True, slots=True)
class VramStatus:
    """GPU memory of a pool in bytes; ``None`` where it is not known."""

    required_bytes: int | None
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One engine process of a pool, or its absence."""

    replica_id: str
    phase: str
    live: bool
    ready: bool
    pid: int | None
    url: str | None
    devices: list[str]
    split: list[float]
    since: str
    adopted: bool
    restart_count: int
    last_error: LastError | None
    breaker: BreakerStatus
    next_restart_at: str | None


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """A pool as every surface shows it."""

    pool_id: str
    engine: str
    engine_version: str | None
    model: str | None
    desired: str
    phase: str
    live: bool
    ready: bool
    draining: bool
    device_mask: list[str]
    slots_total: int
    slots_free: int
    active_leases: int
    restart_count: int
    last_error: LastError | None
    breaker: BreakerStatus
    next_restart_at: str | None
    vram: VramStatus
    replicas: list[ReplicaStatus]
    revision: int


@dataclass(frozen=True, slots=True)
class PoolList:
    """All pools, sorted by id, with the revision of the newest event that they reflect."""

    pools: list[PoolStatus]
    revision: int


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """One unit of in-flight work that a caller holds on a replica."""

    lease_id: str
    pool_id: str
    replica_id: str
    holder: str | None
    url: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class DrainResult:
    """How a drain ended. ``outcome`` is ``drained`` or ``forced``; ``note`` says what else is worth knowing."""

    outcome: str
    waited_ms: int
    leases_forced: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class HolderStatus:
    """Who holds memory on a device. ``pool_id`` is ``None`` for a process that is no engine of ours."""

    pid: int
    used_bytes: int | None
    pool_id: str | None


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """One GPU, or one MIG instance of a GPU. ``health`` is ok, quarantined or lost; ``residency`` is process or device.

    :param memory_driver_bytes: what the driver keeps for itself: neither used nor free.
    :param recovery_action: NVML's number of what it advises; 0 is nothing.
    :param mig: a GPU that is divided into MIG instances; ``parent`` is, for an instance, the UUID of its GPU.
    """

    uuid: str
    index: int
    name: str
    memory_total_bytes: int
    memory_free_bytes: int
    memory_used_bytes: int
    memory_reserved_bytes: int
    health: str
    residency: str
    stale: bool
    holders: list[HolderStatus]
    pci_bus_id: str = ""
    compute_capability: str | None = None
    memory_driver_bytes: int | None = None
    utilization_percent: int | None = None
    temperature_celsius: int | None = None
    ecc_uncorrected_errors: int | None = None
    recovery_action: int | None = None
    mig: bool = False
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceList:
    """All GPUs. ``source`` is nvml or simulated; ``stale`` says that the values are the last known ones."""

    devices: list[DeviceStatus]
    source: str
    stale: bool
    taken_at: str
    driver_version: str | None = None
    cuda_version: str | None = None


@dataclass(frozen=True, slots=True)
class PoolReadiness:
    """One line of ``/ready``."""

    pool_id: str
    desired: str
    phase: str
    ready: bool
    stopped_by_operator: bool
    last_error: LastError | None


@dataclass(frozen=True, slots=True)
class ReadySummary:
    """What ``/ready`` answers; ``store`` is ``ok`` or ``unavailable``."""

    ready: bool
    status: str
    store: str
    pools: list[PoolReadiness]


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A changed pool and the keys that changed."""

    pool_id: str
    keys: list[str]


@dataclass(frozen=True, slots=True)
class ConfigChanges:
    """What a config reload did, or would do."""

    added: list[str]
    changed: list[ConfigChange]
    removed: list[str]
    unchanged: list[str]
    dry_run: bool
    restart_required: list[str] = field(default_factory=list)
