"""Where a config's pools would go: what each replica needs on each of its GPUs, and whether it is there.

Memory of engines that run now under a daemon of this host counts as free, as if the host were started anew with
this config; memory of any other process does not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pool_managerd.cli.host import own_engines
from pool_managerd.config import Config, PoolConfig
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.mask import resolve_mask
from pool_managerd.devices.need import need_of
from pool_managerd.devices.sizes import human
from pool_managerd.devices.snapshot import Device, DevicesSnapshot
from pool_managerd.devices.split import normalise_split


@dataclass(frozen=True, slots=True)
class Placement:
    """One replica on one GPU; sizes in bytes.

    :param need_bytes: ``None`` if it is not known (no model file to read it from, and none configured).
    :param reserved_bytes: what replicas above this one have taken of the GPU.
    :param free_bytes: what is left for this one.
    :param verdict: ``fits``, ``unknown``, or a code and its reason.
    """

    pool_id: str
    replica_id: str
    index: int | None
    device: str | None
    need_bytes: int | None
    reserved_bytes: int | None
    free_bytes: int | None
    verdict: str
    fits: bool

    def as_json(self) -> dict[str, Any]:
        """The fields as a document."""
        return asdict(self)


def make_plan(config: Config, snapshot: DevicesSnapshot) -> list[Placement]:
    """Place all replicas in the order of the config. One that does not fit takes nothing."""
    taken = dict.fromkeys(snapshot.by_uuid, 0)
    ours = {device.uuid: sum(p.used or 0 for p in device.processes) for device in own_engines(snapshot).devices}
    available = {
        device.uuid: device.free + ours[device.uuid] - config.devices.overhead_bytes for device in snapshot.devices
    }
    rows: list[Placement] = []
    for pool in config.pools:
        for replica_id, mask in zip(pool.replica_ids, pool.masks, strict=True):
            try:
                devices = resolve_mask(mask, snapshot)
                need = _need(pool, devices)
            except PoolManagerError as error:
                rows.append(_refused(pool, replica_id, error))
                continue
            placed = [
                _place(pool, replica_id, device, need, taken[device.uuid], available[device.uuid]) for device in devices
            ]
            rows += placed
            if need is not None and all(row.fits for row in placed):
                for uuid, size in need.items():
                    taken[uuid] += size
    return rows


def _need(pool: PoolConfig, devices: tuple[Device, ...]) -> dict[str, int] | None:
    split = normalise_split(pool.tensor_split, len(devices))
    need = need_of(pool, pool.model, [device.uuid for device in devices], split)
    return dict(need.per_device) or None


def _place(
    pool: PoolConfig, replica_id: str, device: Device, need: dict[str, int] | None, taken: int, available: int
) -> Placement:
    free = max(0, available - taken)
    size = None if need is None else need.get(device.uuid, 0)
    if device.health != "ok":
        verdict, fits = f"{Code.GPU_UNAVAILABLE}: the device is {device.health}", False
    elif size is None:
        verdict, fits = "unknown: set vram_bytes", True
    elif size <= free:
        verdict, fits = "fits", True
    else:
        verdict, fits = f"{Code.INSUFFICIENT_VRAM}: {human(size - free)} short", False
    return Placement(pool.id, replica_id, device.index, device.uuid, size, taken, free, verdict, fits)


def _refused(pool: PoolConfig, replica_id: str, error: PoolManagerError) -> Placement:
    return Placement(pool.id, replica_id, None, None, None, None, None, f"{error.code}: {error.message}", fits=False)
