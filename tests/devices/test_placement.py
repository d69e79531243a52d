"""Plans of random pools on random GPUs. The 10,000 of the promise:

pytest tests/devices/test_placement.py --hypothesis-profile=plans
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from pool_managerd.core.errors import Code
from pool_managerd.devices.capacity import capacity
from pool_managerd.devices.mask import resolve_mask
from pool_managerd.devices.need import DeviceShare, ModelNeed, Need
from pool_managerd.devices.placement import plan
from pool_managerd.devices.ram import HostRam
from pool_managerd.devices.snapshot import Device, DevicesSnapshot, GpuProcess

MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Pool:
    """A pool as the plan reads it; ``model_need`` stands for its model file."""

    id: str
    masks: tuple[tuple[str, ...], ...]
    tensor_split: tuple[float, ...]
    share_devices: bool
    model_need: ModelNeed | None
    engine: str = "llamacpp"
    model: None = None
    context: int = 4096
    slots: int = 4
    kv_type: str = "f16"
    vram_bytes: int | None = None
    ram_bytes: int | None = None
    simulated: dict[str, Any] = field(default_factory=dict)

    @property
    def replica_ids(self):
        return tuple(f"r{number}" for number in range(len(self.masks)))


def need(pool, _model, devices, split):
    found = pool.model_need
    if found is None:
        return Need((), 0, "unknown")
    shares = tuple(
        DeviceShare(uuid, part, math.ceil(found.weights * part), math.ceil(found.kv * part), found.compute, 0)
        for uuid, part in zip(devices, split, strict=True)
    )
    return Need(shares, found.host, found.basis)


@st.composite
def hosts(draw):
    devices = []
    order = draw(st.permutations(range(draw(st.integers(1, 6)))))
    for number, index in enumerate(order):
        total = draw(st.integers(1, 96)) * GIB // 2
        used = draw(st.sampled_from([0, 0, total // 7, total // 2, total]))
        health = draw(st.sampled_from(["ok"] * 19 + ["lost"]))
        holder = (GpuProcess(4000 + number, used),) if used and draw(st.booleans()) else ()
        devices.append(Device(f"GPU-{number}", index, "", "", total, total - used, used, holder, health))
    return DevicesSnapshot(tuple(sorted(devices, key=lambda device: device.index)))


@st.composite
def pools(draw, snapshot):
    made = []
    willing = draw(st.sampled_from([True, True, True, False]))
    for number in range(draw(st.integers(1, 6))):
        width = draw(st.integers(1, min(4, len(snapshot.devices))))
        masks = tuple(draw(masks_of(snapshot, width)) for _ in range(draw(st.integers(1, 3))))
        weights = draw(st.lists(st.floats(0.01, 100), min_size=width, max_size=width))
        if draw(st.integers(0, 19)) == 0:
            weights = weights[:-1]  # one too few, or none at all
        size = draw(st.sampled_from([1, 1, 4, 16, 64])) * draw(st.integers(0, 1 << 10)) * MIB
        model = ModelNeed(size, draw(st.integers(0, 8 << 10)) * MIB, draw(st.integers(0, 256)) * MIB, MIB, 0, "gguf")
        made.append(
            Pool(
                f"p{number}",
                masks,
                () if width == 1 and draw(st.booleans()) else tuple(weights),
                willing or draw(st.booleans()),
                draw(st.sampled_from([model, model, model, None])),
                draw(st.sampled_from(["llamacpp"] * 5 + ["vllm"])),
            )
        )
    return made


@st.composite
def masks_of(draw, snapshot, width):
    chosen = draw(st.permutations(snapshot.devices))[:width]
    written = [draw(st.sampled_from([device.uuid, str(device.index)])) for device in chosen]
    if draw(st.integers(0, 39)) == 0:
        written[0] = "GPU-absent"
    return tuple(written)


@settings(deadline=None)  # a busy machine may take its time
@given(
    data=st.data(),
    snapshot=hosts(),
    overhead=st.sampled_from([0, 512 * MIB, 3 * GIB]),
    ram=st.sampled_from([3, 10_000, 10_000]),
)
def test_a_plan_is_never_over_capacity_never_outside_a_mask_and_always_the_same(data, snapshot, overhead, ram):
    made = data.draw(pools(snapshot))
    rows = plan(made, snapshot, overhead, ram=HostRam(ram * MIB), even_only={"vllm"}, need=need)
    again = plan(
        list(made), DevicesSnapshot(snapshot.devices), overhead, ram=HostRam(ram * MIB), even_only={"vllm"}, need=need
    )
    assert rows == again
    by_id = {pool.id: pool for pool in made}
    event(f"{sum(row.fits for row in rows)} rows that fit")
    for row in rows:
        event(str(row.code))
        assert row.fits is (row.code is None)

    # Every replica is spoken of once: by one line for each GPU of its mask, or by one that says what is wrong.
    for pool in made:
        for replica_id, mask in zip(pool.replica_ids, pool.masks, strict=True):
            mine = [row for row in rows if (row.pool_id, row.replica_id) == (pool.id, replica_id)]
            placed = [row.device for row in mine if row.device is not None]
            if placed:
                assert placed == [device.uuid for device in resolve_mask(mask, snapshot)]  # in its order
                assert math.isclose(math.fsum(row.ratio or 0 for row in mine), 1, abs_tol=1e-6)
            else:
                assert [row.fits for row in mine] == [False]
            # A replica is placed as a whole or not at all.
            assert len({row.fits for row in mine}) == 1

    for device in snapshot.devices:
        here = [row for row in rows if row.device == device.uuid and row.fits]
        assert sum(row.need_bytes or 0 for row in here) <= max(0, device.free - overhead)
        assert not here or device.health == "ok"
        # Nobody shares a GPU with a pool that is not willing to.
        users = {row.pool_id for row in here}
        assert len(users) <= 1 or all(by_id[user].share_devices for user in users)
        taken = 0
        for row in rows:
            if row.device == device.uuid:
                assert row.reserved_bytes == taken
                assert row.free_bytes == max(0, device.free - taken - overhead)
                taken += (row.need_bytes or 0) if row.fits else 0

    # A share is never reduced: what is refused as a split could not be held by an empty GPU.
    for row in rows:
        if row.code == Code.INVALID_SPLIT and row.missing_bytes:
            device = snapshot.by_uuid[row.device]
            assert row.need_bytes == capacity(device, overhead) + row.missing_bytes
    assert (
        sum(
            by_id[key[0]].model_need.host
            for key in {(r.pool_id, r.replica_id) for r in rows if r.fits}
            if by_id[key[0]].model_need
        )
        <= ram * MIB
    )


@settings(deadline=None)  # a busy machine may take its time
@given(data=st.data(), snapshot=hosts(), overhead=st.sampled_from([0, 512 * MIB]))
def test_what_was_taken_below_never_changes_what_was_placed_above(data, snapshot, overhead):
    made = data.draw(pools(snapshot))
    unshared = [Pool(**{**vars(pool), "share_devices": True}) for pool in made]
    whole = plan(unshared, snapshot, overhead, need=need)
    for count in range(1, len(unshared)):
        part = plan(unshared[:count], snapshot, overhead, need=need)
        assert part == whole[: len(part)]
