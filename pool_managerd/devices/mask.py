"""Device masks: which GPUs a replica may use, as written and as resolved."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.snapshot import Device, DevicesSnapshot

_INDEX = re.compile(r"(?:GPU)?(\d{1,4})", re.ASCII | re.IGNORECASE)
_UUID = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z][0-9A-Za-z/-]*", re.ASCII)
_FORMS = 'write indices ("0,1"), names ("GPU0,GPU1") or full UUIDs ("GPU-…"), separated by commas or as a list'


def parse_mask(mask: str | int | Iterable[str | int]) -> tuple[str, ...]:
    """Read a mask as an operator writes it; the result is canonical (indices without ``GPU``), in the same order.

    ``""`` and ``[]`` are the empty mask: none given.

    :raises PoolManagerError: INVALID_DEVICE_MASK for an empty, malformed or repeated element.
    """
    elements: list[Any]
    if isinstance(mask, str):
        elements = mask.split(",") if mask.strip() else []
    elif isinstance(mask, Iterable):
        elements = list(mask)
    else:
        elements = [mask]
    found: list[str] = []
    for number, element in enumerate(elements, start=1):
        name = _canonical(element, number, mask)
        if name in found:
            raise _invalid(f"device mask {_show(mask)} names {element!s} twice", mask, element)
        found.append(name)
    return tuple(found)


def resolve_mask(
    mask: Sequence[str], snapshot: DevicesSnapshot, *, absent: Literal["refuse", "unavailable"] = "refuse"
) -> tuple[Device, ...]:
    """The GPUs that a parsed mask selects, in mask order.

    :param absent: what a device that the host has not means: ``refuse`` is INVALID_DEVICE_MASK (check-config and
        a config reload), ``unavailable`` is GPU_UNAVAILABLE (at serve: it may come back).
    :raises PoolManagerError: INVALID_DEVICE_MASK, also for the same GPU under two names and for an empty mask on a
        host that has not exactly one GPU; GPU_UNAVAILABLE as said above.
    """
    if not mask:
        usable = tuple(device for device in snapshot.devices if not device.mig)
        if len(usable) == 1:
            return usable
        raise PoolManagerError(
            Code.INVALID_DEVICE_MASK,
            f"no device mask is given, and this host has {len(usable)} GPUs",
            hint=f"set devices = … to name the pool's GPUs; present: {snapshot.listing()}",
            details={"devices": [], "present": [device.uuid for device in usable]},
        )
    found: list[Device] = []
    for name in mask:
        device = _find(name, snapshot)
        if device is None:
            raise _absent(name, mask, snapshot, absent)
        if device in found:
            raise _invalid(
                f"device mask {_show(mask)} selects {device.label()} twice, the second time as {name!r}", mask, name
            )
        if device.mig:
            raise _divided(name, mask, device, snapshot)
        found.append(device)
    if len(found) > 1 and (instance := next((one for one in found if one.parent is not None), None)) is not None:
        # NVIDIA's MIG user guide: CUDA enumerates one compute instance for a process.
        raise _invalid(
            f"device mask {_show(mask)} has several devices, and {instance.label()} is one of them", mask, "MIG"
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class MaskUse:
    """Which GPUs a pool uses (the UUIDs of all its replicas), and whether it is willing to share them."""

    pool_id: str
    share_devices: bool
    uuids: frozenset[str]


def overlapping(uses: Iterable[MaskUse]) -> list[tuple[MaskUse, MaskUse, frozenset[str]]]:
    """All pairs of different pools that use the same GPU without both being willing to, with those GPUs."""
    return [
        (one, other, one.uuids & other.uuids)
        for one, other in combinations(uses, 2)
        if one.pool_id != other.pool_id and one.uuids & other.uuids and not (one.share_devices and other.share_devices)
    ]


def check_overlaps(uses: Iterable[MaskUse], snapshot: DevicesSnapshot) -> None:
    """Refuse pools whose masks overlap unless each sets ``share_devices``; replicas of one pool may overlap.

    :raises PoolManagerError: INVALID_DEVICE_MASK naming both pools and the shared GPUs.
    """
    for one, other, uuids in overlapping(uses):
        raise overlap_error(one, other, uuids, snapshot)


def check_own(own: MaskUse, others: Iterable[MaskUse], snapshot: DevicesSnapshot) -> None:
    """Refuse one pool whose masks overlap with another's, unless each sets ``share_devices``.

    :raises PoolManagerError: INVALID_DEVICE_MASK naming both pools and the shared GPUs.
    """
    for other in others:
        for one, two, uuids in overlapping([own, other]):
            raise overlap_error(one, two, uuids, snapshot)


def mask_use(pool_id: str, masks: Iterable[Sequence[str]], snapshot: DevicesSnapshot, *, share: bool) -> MaskUse:
    """Which GPUs a pool's masks name, as far as they are there."""
    uuids: set[str] = set()
    for mask in masks:
        with contextlib.suppress(PoolManagerError):
            uuids |= {device.uuid for device in resolve_mask(mask, snapshot)}
    return MaskUse(pool_id, share, frozenset(uuids))


def overlap_error(one: MaskUse, other: MaskUse, uuids: frozenset[str], snapshot: DevicesSnapshot) -> PoolManagerError:
    """The refusal of one pair from :func:`overlapping`."""
    shared = sorted(uuids)
    labels = ", ".join(snapshot.by_uuid[uuid].label() if uuid in snapshot.by_uuid else uuid for uuid in shared)
    unwilling = [use.pool_id for use in (one, other) if not use.share_devices]
    return PoolManagerError(
        Code.INVALID_DEVICE_MASK,
        f"pools {one.pool_id!r} and {other.pool_id!r} both use {labels}",
        hint=f"give them different devices, or set share_devices = true in {' and '.join(map(repr, unwilling))}",
        details={"pools": [one.pool_id, other.pool_id], "devices": shared},
    )


def _canonical(element: Any, number: int, mask: Any) -> str:
    if isinstance(element, int) and not isinstance(element, bool) and element >= 0:
        return str(element)
    if not isinstance(element, str):
        raise _invalid(f"device mask {_show(mask)}: element {number} is {element!r}, not a device", mask, element)
    text = element.strip()
    if not text:
        raise _invalid(f"device mask {_show(mask)}: element {number} is empty", mask, element)
    if match := _INDEX.fullmatch(text):
        return str(int(match[1]))
    if _UUID.fullmatch(text):
        return text
    raise _invalid(f"device mask {_show(mask)}: {text!r} is no index, name or UUID", mask, element)


def _find(name: str, snapshot: DevicesSnapshot) -> Device | None:
    if not name.isdigit():
        return next((device for device in snapshot.devices if device.uuid.lower() == name.lower()), None)
    matching = [device for device in snapshot.devices if device.index == int(name) and device.parent is None]
    matching.sort(key=lambda device: device.health == "lost")  # a lost GPU's index may be another's by now
    return matching[0] if matching else None


def _absent(name: str, mask: Sequence[str], snapshot: DevicesSnapshot, absent: str) -> PoolManagerError:
    what = f"index {name}" if name.isdigit() else name
    message = f"device mask {_show(mask)} names {what}, which this host has not; present: {snapshot.listing()}"
    details = {
        "devices": list(mask),
        "device": name,
        "present": [{"index": device.index, "uuid": device.uuid} for device in snapshot.devices],
    }
    if absent == "unavailable":
        hint = "the pool starts by itself once the device is there; see nvidia-smi and the kernel log for why it is not"
        return PoolManagerError(Code.GPU_UNAVAILABLE, message, hint=hint, details=details)
    return PoolManagerError(Code.INVALID_DEVICE_MASK, message, hint="name devices that exist", details=details)


def _divided(name: str, mask: Sequence[str], device: Device, snapshot: DevicesSnapshot) -> PoolManagerError:
    instances = [one.uuid for one in snapshot.devices if one.parent == device.uuid]
    return PoolManagerError(
        Code.INVALID_DEVICE_MASK,
        f"device mask {_show(mask)} names {device.label()}, which is divided into MIG instances: "
        f"{', '.join(instances) or 'none yet'}",
        hint="name one of its instances by its UUID",
        details={"devices": list(mask), "device": name, "present": instances},
    )


def _show(mask: Any) -> str:
    if isinstance(mask, str):
        return repr(mask)
    if isinstance(mask, Iterable):
        return repr(",".join(map(str, mask)))
    return repr(mask)


def _invalid(message: str, mask: Any, element: Any) -> PoolManagerError:
    one_instance = "a process can use one MIG instance only, and no other GPU beside it: give each its own replica"
    return PoolManagerError(
        Code.INVALID_DEVICE_MASK,
        message,
        hint=one_instance if element == "MIG" else _FORMS,
        details={"devices": mask if isinstance(mask, str) else _show(mask)[1:-1], "device": str(element)},
    )
