"""Who has been promised how much memory, and whether one more fits: a pure ledger and a pure verdict."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.need import Need
from pool_managerd.devices.sizes import human
from pool_managerd.devices.snapshot import RECOVERY_ACTIONS, Device, DevicesSnapshot

#: (pool id, replica id)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one replica was promised.

    :param per_device: bytes by GPU UUID.
    :param ram: bytes of host memory.
    :param pids: its processes, whose memory is part of the promise and not counted twice.
    :param resident: it has finished loading: what it needs is already part of the devices' used memory.
    """

    key: Key
    per_device: Mapping[str, int]
    ram: int = 0
    pids: frozenset[int] = field(default_factory=frozenset)
    resident: bool = False


class Reservations:
    """The ledger of all replicas; to be used from one thread."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Reservation] = {}

    def reserve(
        self,
        key: Key,
        per_device: Mapping[str, int],
        *,
        ram: int = 0,
        pids: Collection[int] = (),
        resident: bool = False,
    ) -> None:
        """Promise memory to a replica, instead of what it was promised before."""
        self._by_key[key] = Reservation(key, dict(per_device), ram, frozenset(pids), resident)

    def update(self, key: Key, *, pids: Collection[int] | None = None, resident: bool | None = None) -> None:
        """Tell the replica's processes, or that it has finished loading; nothing happens without a promise."""
        held = self._by_key.get(key)
        if held is None:
            return
        if pids is not None:
            held = replace(held, pids=frozenset(pids))
        if resident is not None:
            held = replace(held, resident=resident)
        self._by_key[key] = held

    def release(self, key: Key) -> bool:
        """Take the promise back; whether there was one."""
        return self._by_key.pop(key, None) is not None

    def get(self, key: Key) -> Reservation | None:
        """One replica's promise."""
        return self._by_key.get(key)

    def others(self, key: Key | None) -> Iterable[Reservation]:
        """All promises but this replica's."""
        return [held for held in self._by_key.values() if held.key != key]

    def reserved(self, uuid: str) -> int:
        """Bytes promised on one GPU."""
        return sum(held.per_device.get(uuid, 0) for held in self._by_key.values())

    def holders(self, uuid: str) -> dict[Key, int]:
        """Bytes promised on one GPU, by replica."""
        return {held.key: held.per_device[uuid] for held in self._by_key.values() if held.per_device.get(uuid)}

    def owner_of(self, pid: int) -> Key | None:
        """The replica that a process belongs to; ``None`` for one that is not ours."""
        return next((held.key for held in self._by_key.values() if pid in held.pids), None)


@dataclass(frozen=True, slots=True)
class _Shortage:
    device: Device
    required: int
    free: int
    overhead: int
    holders: tuple[dict[str, Any], ...]

    @property
    def missing(self) -> int:
        return self.required + self.overhead - self.free


def check_usable(uuids: Iterable[str], snapshot: DevicesSnapshot, *, quarantined: Collection[str] = ()) -> None:
    """Whether these GPUs can be used at all now.

    :raises PoolManagerError: GPU_UNAVAILABLE naming the GPU and why.
    """
    if snapshot.stale:
        raise PoolManagerError(
            Code.GPU_UNAVAILABLE,
            f"the GPUs' state is not known: NVML fails ({snapshot.error})",
            hint="the daemon goes on by itself once NVML answers; see nvidia-smi and the kernel log",
            details={"stale": True},
        )
    for uuid in uuids:
        device = snapshot.by_uuid.get(uuid)
        health = "absent" if device is None else "quarantined" if uuid in quarantined else device.health
        if device is not None and health == "ok":
            continue
        action = None if device is None else device.recovery_action
        advised = f" NVML advises: {RECOVERY_ACTIONS.get(action, action)}." if action else ""
        raise PoolManagerError(
            Code.GPU_UNAVAILABLE,
            f"{uuid if device is None else device.label()} is {health.replace('_', ' ')}",
            hint="the pool starts by itself once the GPU is back; "
            f"a lost GPU usually takes a restart of the host.{advised}",
            details={"device": uuid, "health": health, "recovery_action": action},
        )


def fit(
    need: Need,
    snapshot: DevicesSnapshot,
    reservations: Reservations,
    overhead: int,
    *,
    own_key: Key | None = None,
    releasing: Collection[int] = (),
) -> None:
    """Whether the need fits on its devices beside what is there and what others were promised.

    :param overhead: bytes that stay free on each device.
    :param own_key: the replica itself: its own promise does not stand in its way.
    :param releasing: processes whose memory counts as free (the replica that a reload replaces).
    :raises PoolManagerError: GPU_UNAVAILABLE, or INSUFFICIENT_VRAM naming device, required and free bytes, and
        the largest holder; ``details`` has them for every device that is short.
    """
    check_usable(need.per_device, snapshot)
    short = []
    rooms = {}
    for uuid, required in need.per_device.items():
        device = snapshot.by_uuid[uuid]
        free = free_for(device, snapshot, reservations, own_key=own_key, releasing=releasing)
        rooms[uuid] = max(0, free - overhead)
        if required + overhead > free:
            holders = _holders(device, snapshot, reservations, own_key, releasing)
            short.append(_Shortage(device, required, free, overhead, holders))
    if short:
        raise _insufficient(short, rooms)


def free_for(
    device: Device,
    snapshot: DevicesSnapshot,
    reservations: Reservations,
    *,
    own_key: Key | None = None,
    releasing: Collection[int] = (),
) -> int:
    """Bytes that are neither used nor promised to another replica; what a promise already uses counts once."""
    uuid, free = device.uuid, device.free
    by_process = snapshot.residency == "process"
    if by_process:
        free += device.held_by(frozenset(releasing))
    elif releasing and own_key is not None and (own := reservations.get(own_key)) is not None and own.resident:
        free += min(own.per_device.get(uuid, 0), device.used)
    for other in reservations.others(own_key):
        promised = other.per_device.get(uuid, 0)
        if by_process:
            free -= max(0, promised - device.held_by(other.pids))
        elif not other.resident:
            free -= promised
    return max(0, free)


def _holders(
    device: Device,
    snapshot: DevicesSnapshot,
    reservations: Reservations,
    own_key: Key | None,
    releasing: Collection[int],
) -> tuple[dict[str, Any], ...]:
    """Who stands in the way, the largest first: replicas, and processes that are none of ours."""
    found: list[dict[str, Any]] = []
    ours = set(releasing)
    for other in reservations.others(own_key):
        ours |= other.pids
        count = max(other.per_device.get(device.uuid, 0), device.held_by(other.pids))
        if count:
            pid = min(other.pids, default=None)
            found.append({"pool_id": other.key[0], "replica_id": other.key[1], "pid": pid, "bytes": count})
    if snapshot.residency == "process":
        found.extend(
            {"pool_id": None, "replica_id": None, "pid": process.pid, "bytes": process.used}
            for process in device.processes
            if process.pid not in ours and process.used
        )
    return tuple(sorted(found, key=lambda holder: -holder["bytes"]))


def _insufficient(short: list[_Shortage], rooms: Mapping[str, int]) -> PoolManagerError:
    worst = max(short, key=lambda shortage: shortage.missing)
    pool = next((holder for holder in worst.holders if holder["pool_id"]), None)
    foreign = next((holder for holder in worst.holders if not holder["pool_id"]), None)
    named = [_name(holder) for holder in (pool, foreign) if holder is not None]
    message = (
        f"{worst.device.label()}: {worst.required} bytes ({human(worst.required)}) required, "
        f"{worst.free} bytes ({human(worst.free)}) free, of which {human(worst.overhead)} are kept free"
        + (f"; held by {' and '.join(named)}" if named else "")
    )
    return PoolManagerError(
        Code.INSUFFICIENT_VRAM,
        message,
        hint="the pool becomes Ready by itself once memory is free; or lower context, slots or the model's size",
        details={
            "device": worst.device.uuid,
            "index": worst.device.index,
            "required_bytes": worst.required,
            "free_bytes": worst.free,
            "missing_bytes": worst.missing,
            "overhead_bytes": worst.overhead,
            "holder": worst.holders[0] if worst.holders else None,
            "holders": list(worst.holders),
            "devices": [
                {
                    "device": shortage.device.uuid,
                    "required_bytes": shortage.required,
                    "free_bytes": shortage.free,
                    "missing_bytes": shortage.missing,
                }
                for shortage in short
            ],
            "rooms": dict(rooms),
        },
    )


def _name(holder: Mapping[str, Any]) -> str:
    who = f"pool {holder['pool_id']!r} ({holder['replica_id']})" if holder["pool_id"] else f"process {holder['pid']}"
    return f"{who} with {human(holder['bytes'])}"
