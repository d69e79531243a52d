"""GPUs that are divided into MIG instances, each a device of its own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.inventory import Inventory
from pool_managerd.devices.mask import resolve_mask
from pool_managerd.devices.nvml import load_nvml
from pool_managerd.devices.simulated_folder import GIB

ONE, TWO = "MIG-00000000-0000-4000-8000-000000000001", "MIG-00000000-0000-4000-8000-000000000002"
INSTANCES = [
    {"uuid": ONE, "memory_total": 10 * GIB, "gpu_instance_id": 1, "compute_instance_id": 0, "name": "MIG 1g.10gb"},
    {"uuid": TWO, "memory_total": 12 * GIB, "gpu_instance_id": 2, "compute_instance_id": 0},
]


@pytest.fixture
async def divided(folder, uuids):
    """The first of two GPUs is divided into two instances."""
    folder.change_gpu(uuids[0], mig=INSTANCES, temperature=61)
    folder.allocate(os.getpid(), {TWO: 2 * GIB})
    inventory = Inventory(load_nvml("simulated", Path(folder.path)), source="simulated")
    await inventory.start()
    yield inventory
    await inventory.close()
    folder.free(os.getpid())


async def test_instances_are_devices_of_their_own(divided, uuids):
    shown = divided.snapshot.devices
    assert [(one.uuid, one.index, one.mig, one.parent) for one in shown] == [
        (uuids[0], 0, True, None),
        (ONE, 0, False, uuids[0]),
        (TWO, 0, False, uuids[0]),
        (uuids[1], 1, False, None),
    ]
    first, second = divided.snapshot.by_uuid[ONE], divided.snapshot.by_uuid[TWO]
    assert (first.name, first.total, first.used, first.instance) == ("MIG 1g.10gb", 10 * GIB, 0, (1, 0))
    assert (second.free, second.used, second.temperature) == (10 * GIB, 2 * GIB, 61)
    assert [(one.pid, one.used) for one in second.processes] == [(os.getpid(), 2 * GIB)]
    # The GPU's own list of processes would make each of them a stranger on it.
    assert divided.snapshot.by_uuid[uuids[0]].processes == ()
    assert {one.uuid for one in divided.snapshot.family(ONE)} == {uuids[0], ONE, TWO}


async def test_a_mask_names_instances_by_uuid_and_not_their_gpu(divided, uuids):
    assert [one.uuid for one in resolve_mask([TWO], divided.snapshot)] == [TWO]
    assert [one.uuid for one in resolve_mask(["1"], divided.snapshot)] == [uuids[1]]
    for mask, said in (
        (["0"], "divided into MIG instances"),
        ([uuids[0]], ONE),
        ([ONE, TWO], "several devices"),
        ([uuids[1], ONE], "several devices"),
        ([], "this host has 3 GPUs"),
    ):
        with pytest.raises(PoolManagerError) as caught:
            resolve_mask(mask, divided.snapshot)
        assert caught.value.code == Code.INVALID_DEVICE_MASK
        assert said in caught.value.message


async def test_an_xid_is_told_of_its_instance_or_of_the_whole_gpu(divided, folder, uuids):
    seen = asyncio.Queue()
    divided.on_xid = seen.put_nowait
    folder.emit_xid(TWO, 13)
    folder.emit_xid(uuids[0], 31)
    async with asyncio.timeout(5):
        told = [await seen.get(), await seen.get()]
    assert [(one.uuid, one.xid) for one in told] == [(TWO, 13), (uuids[0], 31)]


async def test_with_their_gpu_the_instances_are_lost_and_come_back(divided, folder, uuids):
    async def until(health):
        async with asyncio.timeout(5):
            while {divided.snapshot.by_uuid[uuid].health for uuid in (ONE, TWO, uuids[0])} != {health}:
                await divided.refresh()

    folder.set_health(uuids[0], "lost")
    await until("lost")
    assert divided.snapshot.by_uuid[uuids[1]].health == "ok"
    folder.set_health(uuids[0], "ok")
    await until("ok")


async def test_an_instance_that_is_taken_away_is_lost(divided, folder, uuids):
    folder.change_gpu(uuids[0], mig=INSTANCES[:1])
    snapshot = await divided.refresh()
    assert (snapshot.by_uuid[TWO].health, snapshot.by_uuid[ONE].health) == ("lost", "ok")


async def test_what_a_gpu_tells_of_how_it_is(folder, uuids):
    folder.change_gpu(
        uuids[0], utilization=87, temperature=71, ecc_errors=3, compute_capability=[8, 6], memory_reserved=GIB
    )
    folder.change_gpu(uuids[1], ecc_errors=None)
    inventory = Inventory(load_nvml("simulated", Path(folder.path)), source="simulated")
    snapshot = await inventory.start()
    changes = []
    inventory.on_change = changes.append
    first, second = snapshot.devices
    assert (first.utilization, first.temperature, first.ecc_errors) == (87, 71, 3)
    assert (first.compute_capability, first.reserved) == ((8, 6), GIB)
    assert second.ecc_errors is None
    assert (snapshot.driver_version, snapshot.cuda_version) == ("580.00", "13.0")
    folder.change_gpu(uuids[0], utilization=1, temperature=30)
    assert (await inventory.refresh()).devices[0].temperature == 30
    assert changes == []  # such a change wakes nobody
    folder.change_gpu(uuids[0], ecc_errors=4)
    await inventory.refresh()
    assert changes
    await inventory.close()
