"""Judging where an engine's memory is, from positive evidence only. Pure functions over snapshots."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.need import Need
from pool_managerd.devices.reservations import check_usable
from pool_managerd.devices.sizes import human
from pool_managerd.devices.snapshot import Device, DevicesSnapshot

_OFFLOAD_HINT = (
    "inference on the CPU is never used as a fallback: check the engine's log for how many layers it offloaded, "
    "and its arguments for what keeps layers, experts or the KV cache in host memory"
)


@dataclass(frozen=True, slots=True)
class Held:
    """Memory that a process holds on a GPU; ``used`` is bytes, ``None`` where NVML does not say."""

    device: Device
    pid: int
    used: int | None


def judge(
    pids: Collection[int],
    mask: Sequence[str],
    before: DevicesSnapshot | None,
    after: DevicesSnapshot,
    need: Need | None,
    tolerance: float,
) -> PoolManagerError | None:
    """What is wrong with where a loaded engine's memory is; ``None``: nothing.

    In residency mode ``process`` the process list decides: something on each GPU of the mask, not less than the
    need's evidence, and nothing elsewhere. In mode ``device`` each GPU's used memory must have grown by as much.

    :param pids: the engine's process tree.
    :param mask: the UUIDs that the replica may use.
    :param before: from before the start; ``None`` for an adopted engine, which mode ``device`` says nothing about.
    :param tolerance: the part of the need by which it may fall short, for instance 0.1.
    """
    try:
        check_usable(mask, after)
    except PoolManagerError as error:
        return error
    if after.residency == "process":
        return cross_mask(pids, mask, after) or _judge_processes(frozenset(pids), mask, after, need, tolerance)
    if before is None:
        return None
    return _judge_devices(mask, before, after, need, tolerance)


def cross_mask(pids: Collection[int], mask: Collection[str], snapshot: DevicesSnapshot) -> PoolManagerError | None:
    """Whether a process of the engine holds memory outside its mask; says nothing in residency mode ``device``."""
    if snapshot.residency != "process" or snapshot.stale:
        return None
    wrong = [held for held in still_held(pids, snapshot) if held.device.uuid not in mask]
    if not wrong:
        return None
    worst = max(wrong, key=lambda held: held.used or 0)
    return PoolManagerError(
        Code.CROSS_MASK_SPILLOVER,
        f"process {worst.pid} holds {worst.used} bytes ({human(worst.used or 0)}) on {worst.device.label()}, "
        f"which is outside its mask ({', '.join(mask)})",
        hint="the engine ignores CUDA_VISIBLE_DEVICES: check its arguments for devices named by index",
        details={
            "pid": worst.pid,
            "device": worst.device.uuid,
            "index": worst.device.index,
            "used_bytes": worst.used,
            "device_mask": list(mask),
        },
    )


def still_held(pids: Collection[int], snapshot: DevicesSnapshot) -> tuple[Held, ...]:
    """What these processes hold, on any GPU; empty also where the process list cannot be matched with our pids."""
    if snapshot.residency != "process":
        return ()
    return tuple(
        Held(device, process.pid, process.used)
        for device in snapshot.devices
        for process in device.processes
        if process.pid in pids and process.used != 0
    )


def _judge_processes(
    pids: frozenset[int], mask: Sequence[str], after: DevicesSnapshot, need: Need | None, tolerance: float
) -> PoolManagerError | None:
    for uuid in mask:
        device = after.by_uuid[uuid]
        used = device.held_by(pids)
        least = 1 if need is None else need.least(uuid, tolerance)
        if used < least:
            return _spillover(device, used, least, "the engine's processes hold")
    return None


def _judge_devices(
    mask: Sequence[str], before: DevicesSnapshot, after: DevicesSnapshot, need: Need | None, tolerance: float
) -> PoolManagerError | None:
    for uuid in mask:
        device, earlier = after.by_uuid[uuid], before.by_uuid.get(uuid)
        grown = max(0, device.used - (earlier.used if earlier is not None else 0))
        least = 1 if need is None else need.least(uuid, tolerance)
        if grown < least:
            return _spillover(device, grown, least, "the load added")
    return None


def _spillover(device: Device, used: int, least: int, who: str) -> PoolManagerError:
    amount = f"only {used} bytes ({human(used)})" if used else "no memory"
    expected = f"; at least {least} bytes ({human(least)}) were expected" if least > 1 else ""
    return PoolManagerError(
        Code.CPU_SPILLOVER,
        f"the engine is not resident: {who} {amount} on {device.label()}{expected}",
        hint=_OFFLOAD_HINT,
        details={"device": device.uuid, "index": device.index, "used_bytes": used, "expected_bytes": least},
    )
