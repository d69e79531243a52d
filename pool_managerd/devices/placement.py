"""Where pools would go: each replica's need on each of its GPUs, one after the other, and whether it is there.

Pure: the same pools on the same GPUs are always planned alike. What a replica is judged by (:func:`check_fit`) is what
the daemon judges it by before it starts anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.advice import advise
from pool_managerd.devices.capacity import check_split
from pool_managerd.devices.mask import check_own, mask_use, resolve_mask
from pool_managerd.devices.need import DeviceShare, Need, PoolLike, need_of
from pool_managerd.devices.ram import HostRam, fit_ram
from pool_managerd.devices.reservations import Key, Reservations, check_usable, fit, free_for
from pool_managerd.devices.sizes import human
from pool_managerd.devices.snapshot import Device, DevicesSnapshot
from pool_managerd.devices.split import normalise_split

PoolT = TypeVar("PoolT", bound="PlannedPool")


class PlannedPool(PoolLike, Protocol):
    """What is read of a pool's config beside what its need depends on."""

    @property
    def id(self) -> str: ...  # noqa: D102 - the config's own names
    @property
    def model(self) -> Path | None: ...  # noqa: D102
    @property
    def masks(self) -> tuple[tuple[str, ...], ...]: ...  # noqa: D102
    @property
    def replica_ids(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def tensor_split(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def share_devices(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Placement:
    """One replica on one GPU; sizes in bytes.

    :param ratio: the GPU's part of the weights and the KV cache.
    :param compute_bytes: what it needs beside them: buffers, the same on each GPU.
    :param need_bytes: all of it; ``None`` if it is not known (no model file to read it from, and none configured).
    :param basis: where the need comes from: configured, gguf, safetensors, simulated, measured or unknown.
    :param reserved_bytes: what replicas above this one have taken of the GPU.
    :param free_bytes: what is left there for this one, the overhead apart.
    :param missing_bytes: how much the GPU is short by; 0 where it is not.
    :param code: why the replica would not start, ``None`` if it would; the verdict says on which GPU and how to help.
    """

    pool_id: str
    replica_id: str
    index: int | None
    device: str | None
    ratio: float | None
    weights_bytes: int | None
    kv_bytes: int | None
    compute_bytes: int | None
    need_bytes: int | None
    basis: str
    reserved_bytes: int | None
    free_bytes: int | None
    missing_bytes: int
    fits: bool
    code: str | None
    verdict: str
    hint: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields as a document."""
        return asdict(self)


def check_fit(
    need: Need,
    snapshot: DevicesSnapshot,
    reservations: Reservations,
    overhead: int,
    *,
    ram: HostRam | None,
    key: Key,
    releasing: Collection[int] = (),
) -> None:
    """Whether a replica may be started now: its split, its host memory, its memory on each GPU.

    :param overhead: bytes that stay free on each GPU.
    :param ram: host memory that is free; ``None`` where that is not asked.
    :param releasing: processes whose memory counts as free.
    :raises PoolManagerError: INVALID_SPLIT, INSUFFICIENT_RAM, INSUFFICIENT_VRAM or GPU_UNAVAILABLE.
    """
    check_split(need, snapshot, overhead)
    if ram is not None:
        fit_ram(need.ram, ram, reservations, own_key=key)
    fit(need, snapshot, reservations, overhead, own_key=key, releasing=releasing)


def plan(
    pools: Iterable[PoolT],
    snapshot: DevicesSnapshot,
    overhead: int,
    *,
    ram: HostRam | None = None,
    even_only: Collection[str] = (),
    need: Callable[[PoolT, Path | None, Sequence[str], Sequence[float]], Need] = need_of,
) -> list[Placement]:
    """Place all replicas in the order given. One that does not fit takes nothing.

    :param even_only: engine kinds that can only split evenly.
    :param need: what a replica needs (see :func:`pool_managerd.devices.need.need_of`).
    """
    planned = list(pools)
    uses = [mask_use(pool.id, pool.masks, snapshot, share=pool.share_devices) for pool in planned]
    ledger = Reservations()
    rows: list[Placement] = []
    for place, pool in enumerate(planned):
        for replica_id, mask in zip(pool.replica_ids, pool.masks, strict=True):
            key = (pool.id, replica_id)
            try:
                devices = resolve_mask(mask, snapshot)
                check_own(uses[place], uses, snapshot)
                kind = pool.engine if pool.engine in even_only else None
                split = normalise_split(pool.tensor_split, len(devices), even_only=kind)
                check_usable([device.uuid for device in devices], snapshot)
                needed = need(pool, pool.model, [device.uuid for device in devices], split)
            except PoolManagerError as error:
                rows.append(_refused(key, error))
                continue
            refusal = None
            free = {
                device.uuid: max(0, free_for(device, snapshot, ledger, own_key=key) - overhead) for device in devices
            }
            reserved = {device.uuid: ledger.reserved(device.uuid) for device in devices}
            try:
                check_fit(needed, snapshot, ledger, overhead, ram=ram, key=key)
            except PoolManagerError as error:
                if error.code is Code.INSUFFICIENT_VRAM:
                    error.hint = "lower context, slots or the model's size, or use another GPU or split"
                advise(error, pool, pool.model, needed)
                refusal = error
            else:
                ledger.reserve(key, needed.per_device, ram=needed.ram)
            shares = needed.shares or tuple(
                _unknown(device, ratio) for device, ratio in zip(devices, split, strict=True)
            )
            rows += [
                _placed(key, device, share, needed.basis, reserved[device.uuid], free[device.uuid], refusal)
                for device, share in zip(devices, shares, strict=True)
            ]
    return rows


def as_if_empty(snapshot: DevicesSnapshot, engines: Collection[int]) -> DevicesSnapshot:
    """The GPUs without what these processes hold, as if they had ended."""
    return replace(
        snapshot,
        devices=tuple(
            replace(
                device,
                free=device.free + (held := device.held_by(frozenset(engines))),
                used=device.used - held,
                processes=tuple(process for process in device.processes if process.pid not in engines),
            )
            for device in snapshot.devices
        ),
    )


def _unknown(device: Device, ratio: float) -> DeviceShare:
    return DeviceShare(device.uuid, ratio, 0, 0, 0, 0)


def _placed(
    key: Key, device: Device, share: DeviceShare, basis: str, reserved: int, free: int, refusal: PoolManagerError | None
) -> Placement:
    known = basis != "unknown"
    missing, verdict = _verdict(device, share, free, refusal) if refusal is not None else (0, "fits")
    return Placement(
        pool_id=key[0],
        replica_id=key[1],
        index=device.index,
        device=device.uuid,
        ratio=share.ratio,
        weights_bytes=share.weights if known else None,
        kv_bytes=share.kv if known else None,
        compute_bytes=share.fixed if known else None,
        need_bytes=share.total if known else None,
        basis=basis,
        reserved_bytes=reserved,
        free_bytes=free,
        missing_bytes=missing,
        fits=refusal is None,
        code=None if refusal is None else str(refusal.code),
        verdict=verdict if known or refusal is not None else "unknown: set vram_bytes",
        hint=None if refusal is None else refusal.hint,
    )


def _verdict(device: Device, share: DeviceShare, free: int, refusal: PoolManagerError) -> tuple[int, str]:
    """By how much this GPU is short, and what is said of it; another GPU of the same replica may be at fault."""
    if refusal.code is Code.INVALID_SPLIT and device.uuid in refusal.details["devices"]:
        room = refusal.details["rooms"][device.uuid]
        largest = f"; the largest ratio is {refusal.details['largest_ratio']:.6f}"
        named = largest if device.uuid == refusal.details["device"] else ""
        return share.total - room, f"{refusal.code}: {human(share.total - room)} too large a share{named}"
    if refusal.code is Code.INSUFFICIENT_VRAM and share.total > free:
        holder = refusal.details["holder"] if device.uuid == refusal.details["device"] else None
        who = "" if holder is None else f"; held by {holder['pool_id'] or 'process ' + str(holder['pid'])}"
        return share.total - free, f"{refusal.code}: {human(share.total - free)} short{who}"
    if refusal.code is Code.INSUFFICIENT_RAM:
        return 0, f"{refusal.code}: {human(refusal.details['missing_bytes'])} of host memory short"
    return 0, "has room, but another of its GPUs has not"


def _refused(key: Key, error: PoolManagerError) -> Placement:
    return Placement(
        pool_id=key[0],
        replica_id=key[1],
        index=error.details.get("index"),
        device=None,
        ratio=None,
        weights_bytes=None,
        kv_bytes=None,
        compute_bytes=None,
        need_bytes=None,
        basis="unknown",
        reserved_bytes=None,
        free_bytes=None,
        missing_bytes=0,
        fits=False,
        code=str(error.code),
        verdict=f"{error.code}: {error.message}",
        hint=error.hint,
    )
