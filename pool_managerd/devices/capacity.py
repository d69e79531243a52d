"""Whether a split can ever hold: each GPU's share against that GPU's whole memory."""

from __future__ import annotations

import math

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.need import DeviceShare, Need
from pool_managerd.devices.sizes import human
from pool_managerd.devices.snapshot import Device, DevicesSnapshot


def capacity(device: Device, overhead: int) -> int:
    """Bytes that an otherwise empty GPU has for a pool: all but the driver's own and the overhead."""
    return max(0, device.used + device.free - overhead)


def largest_ratio(share: DeviceShare, need: Need, room: int) -> float:
    """The largest ratio, in millionths, whose part of weights and KV cache fits into ``room`` bytes."""
    weights = sum(other.weights for other in need.shares)
    kv = sum(other.kv for other in need.shares)
    if weights + kv == 0:
        return 1.0
    millionths = min(1_000_000, math.floor((room - share.fixed) / (weights + kv) * 1e6))
    while millionths > 0 and _parts(weights, kv, millionths / 1e6) + share.fixed > room:
        millionths -= 1
    return max(0, millionths) / 1e6


def check_split(need: Need, snapshot: DevicesSnapshot, overhead: int) -> None:
    """Refuse a split of which some GPU could not hold its share even when empty. Nothing is ever reduced.

    :param overhead: bytes that stay free on each device.
    :raises PoolManagerError: INVALID_SPLIT naming the (smallest such) GPU, its ratio and bytes, and the largest
        ratio that would fit there.
    """
    if len(need.shares) < 2:
        return
    over = [
        (snapshot.by_uuid[share.uuid], share)
        for share in need.shares
        if share.uuid in snapshot.by_uuid and share.total > capacity(snapshot.by_uuid[share.uuid], overhead)
    ]
    if not over:
        return
    device, share = min(over, key=lambda pair: pair[0].total)
    room = capacity(device, overhead)
    largest = largest_ratio(share, need, room)
    enough = sum(capacity(snapshot.by_uuid[s.uuid], overhead) for s in need.shares if s.uuid in snapshot.by_uuid)
    if enough >= sum(other.total for other in need.shares):
        hint = f"give this GPU a weight of at most {largest:.6f} of the sum of all"
    else:
        hint = "no split fits these GPUs: lower context or slots, or choose a smaller model or more GPUs"
    raise PoolManagerError(
        Code.INVALID_SPLIT,
        f"{device.label()} cannot hold its share: ratio {share.ratio:.6f} is {share.total} bytes "
        f"({human(share.total)}), and it has {room} bytes ({human(room)}) for a pool; "
        f"the largest ratio that it can hold is {largest:.6f}",
        hint=hint,
        details={
            "device": device.uuid,
            "index": device.index,
            "ratio": share.ratio,
            "required_bytes": share.total,
            "capacity_bytes": room,
            "largest_ratio": largest,
            "devices": [other.uuid for other, _ in over],
            "rooms": {
                other.uuid: capacity(snapshot.by_uuid[other.uuid], overhead)
                for other in need.shares
                if other.uuid in snapshot.by_uuid
            },
        },
    )


def _parts(weights: int, kv: int, ratio: float) -> int:
    return math.ceil(weights * ratio) + math.ceil(kv * ratio)
