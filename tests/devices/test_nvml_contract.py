"""One contract for whatever stands where NVML stands: the simulated folder, a C library behind the real pynvml, and a
real driver where there is one. What is promised here is what the daemon above relies on.
"""

from __future__ import annotations

import contextlib
import os
import threading

import pynvml
import pytest
from nvml_sources import MIB, REAL_LIBRARY, DriverWorld, Instance, SimulatedWorld, World, build_stand_in

from pool_managerd.devices.inventory import Inventory

REAL = "a real driver"
RECOVERY_ACTION = 230


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return build_stand_in(tmp_path_factory.mktemp("driver"))


@pytest.fixture(params=["simulated", "driver library"])
def world(request, tmp_path, monkeypatch):
    if request.param == "simulated":
        shown = World(SimulatedWorld(tmp_path))
    else:
        shown = World(DriverWorld(tmp_path, request.getfixturevalue("library"), monkeypatch))
    yield shown
    with contextlib.suppress(pynvml.NVMLError):
        shown.nvml.nvmlShutdown()


@pytest.fixture(params=["simulated", "driver library", REAL])
def nvml(request, tmp_path, monkeypatch):
    """For what can be asked of any NVML, a real one included."""
    if request.param == REAL:
        if REAL_LIBRARY is None:
            pytest.skip("no NVIDIA driver library here")
        monkeypatch.setattr(pynvml, "nvmlLib", REAL_LIBRARY)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            pytest.skip(f"no real NVIDIA GPU: {error}")
        yield pynvml
        pynvml.nvmlShutdown()
        return
    if request.param == "simulated":
        yield World(SimulatedWorld(tmp_path)).nvml
    else:
        yield World(DriverWorld(tmp_path, request.getfixturevalue("library"), monkeypatch)).nvml


def handles(nvml):
    return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]


def test_every_gpu_says_who_it_is(nvml):
    assert isinstance(nvml.nvmlSystemGetDriverVersion(), str)
    assert nvml.nvmlSystemGetCudaDriverVersion_v2() >= 11_000
    found = handles(nvml)
    assert found
    for index, handle in enumerate(found):
        uuid = nvml.nvmlDeviceGetUUID(handle)
        assert uuid.startswith("GPU-")
        assert nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByUUID(uuid)) == uuid
        assert nvml.nvmlDeviceGetIndex(handle) == index
        assert isinstance(nvml.nvmlDeviceGetName(handle), str)
        bus = nvml.nvmlDeviceGetPciInfo(handle).busId
        assert (bus.decode() if isinstance(bus, bytes) else bus).count(":") == 2
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        assert (major, minor) >= (3, 0)


def test_memory_adds_up_in_both_versions(nvml):
    for handle in handles(nvml):
        memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
        assert memory.reserved + memory.used + memory.free == memory.total
        old = nvml.nvmlDeviceGetMemoryInfo(handle)
        assert old.total == memory.total
        assert old.used + old.free == old.total


def test_processes_have_a_pid_and_bytes_or_none(nvml):
    for handle in handles(nvml):
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
            assert process.pid >= 0
            assert process.usedGpuMemory is None or process.usedGpuMemory >= 0


def test_the_recovery_action_is_a_field_of_its_own(nvml):
    for handle in handles(nvml):
        (value,) = nvml.nvmlDeviceGetFieldValues(handle, [RECOVERY_ACTION])
        # Drivers before 560 do not know it.
        assert value.nvmlReturn in {nvml.NVML_SUCCESS, nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_INVALID_ARGUMENT}


def test_what_is_not_there_is_refused_by_name(nvml):
    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        nvml.nvmlDeviceGetHandleByIndex(nvml.nvmlDeviceGetCount())
    with pytest.raises(pynvml.NVMLError_NotFound):
        nvml.nvmlDeviceGetHandleByUUID("GPU-ffffffff-ffff-ffff-ffff-ffffffffffff")


def test_a_wait_without_an_event_times_out(nvml):
    events = nvml.nvmlEventSetCreate()
    for handle in handles(nvml):
        if nvml.nvmlDeviceGetSupportedEventTypes(handle) & nvml.nvmlEventTypeXidCriticalError:
            nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, events)
    with pytest.raises(pynvml.NVMLError_Timeout):
        nvml.nvmlEventSetWait_v2(events, 20)
    nvml.nvmlEventSetFree(events)


def test_nothing_is_told_before_it_is_initialised(world):
    world.nvml.nvmlShutdown()
    with pytest.raises(pynvml.NVMLError_Uninitialized):
        world.nvml.nvmlDeviceGetCount()
    world.nvml.nvmlInit()
    assert world.nvml.nvmlDeviceGetCount() == 2


def test_the_gpus_are_those_of_the_world(world):
    for gpu, handle in zip(world.gpus, handles(world.nvml), strict=True):
        assert world.nvml.nvmlDeviceGetUUID(handle) == gpu.uuid
        assert world.nvml.nvmlDeviceGetName(handle) == "Stand-in"
        memory = world.nvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
        assert (memory.total, memory.reserved, memory.used) == (gpu.total, 100 * MIB, 0)
        assert world.nvml.nvmlDeviceGetMemoryInfo(handle).used == 100 * MIB


def test_a_holder_is_listed_with_its_bytes_on_its_gpu_alone(world, processes):
    holder = processes.start()
    world.change(1, holders={holder.pid: 300 * MIB, os.getpid(): 7 * MIB})
    world.nvml.nvmlDeviceGetCount()  # a look begins with it
    first, second = handles(world.nvml)
    assert world.nvml.nvmlDeviceGetComputeRunningProcesses(first) == []
    listed = world.nvml.nvmlDeviceGetComputeRunningProcesses(second)
    assert {(one.pid, one.usedGpuMemory) for one in listed} == {(holder.pid, 300 * MIB), (os.getpid(), 7 * MIB)}
    assert world.nvml.nvmlDeviceGetMemoryInfo(second, version=pynvml.nvmlMemory_v2).used == 307 * MIB


def test_a_lost_gpu_is_lost_to_every_question_and_the_other_answers(world):
    first, second = handles(world.nvml)
    world.change(1, health="lost")
    assert world.nvml.nvmlDeviceGetCount() == 2
    with pytest.raises(pynvml.NVMLError_GpuIsLost):
        world.nvml.nvmlDeviceGetHandleByIndex(1)
    with pytest.raises(pynvml.NVMLError_GpuIsLost):
        world.nvml.nvmlDeviceGetMemoryInfo(second, version=pynvml.nvmlMemory_v2)
    with pytest.raises(pynvml.NVMLError_GpuIsLost):
        world.nvml.nvmlDeviceGetUUID(second)
    assert world.nvml.nvmlDeviceGetMemoryInfo(first).total == world.gpus[0].total
    world.change(1, health="ok")
    world.nvml.nvmlDeviceGetCount()
    assert world.nvml.nvmlDeviceGetUUID(second) == world.gpus[1].uuid


def test_a_gpu_that_needs_a_reset_has_a_name_but_no_memory(world):
    world.change(0, health="reset_required", recovery_action=1)
    handle = handles(world.nvml)[0]
    assert world.nvml.nvmlDeviceGetUUID(handle) == world.gpus[0].uuid
    with pytest.raises(pynvml.NVMLError_ResetRequired):
        world.nvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    with pytest.raises(pynvml.NVMLError_ResetRequired):
        world.nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    (value,) = world.nvml.nvmlDeviceGetFieldValues(handle, [RECOVERY_ACTION])
    assert (value.nvmlReturn, value.value.uiVal) == (pynvml.NVML_SUCCESS, 1)


def test_an_xid_is_seen_once_by_each_set_that_was_there_before_it(world):
    world.xid(0, 13)
    sets = [world.nvml.nvmlEventSetCreate() for _ in range(2)]
    for events in sets:
        for handle in handles(world.nvml):
            world.nvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
    world.xid(1, 79)
    world.xid(0, 31)
    for events in sets:
        seen = [world.nvml.nvmlEventSetWait_v2(events, 2000) for _ in range(2)]
        uuids = [world.nvml.nvmlDeviceGetUUID(one.device) for one in seen]
        assert list(zip(uuids, [one.eventData for one in seen], strict=True)) == [
            (world.gpus[1].uuid, 79),
            (world.gpus[0].uuid, 31),
        ]
        assert {one.eventType for one in seen} == {pynvml.nvmlEventTypeXidCriticalError}
        with pytest.raises(pynvml.NVMLError_Timeout):
            world.nvml.nvmlEventSetWait_v2(events, 20)
        world.nvml.nvmlEventSetFree(events)


def test_an_xid_ends_a_wait(world):
    events = world.nvml.nvmlEventSetCreate()
    world.nvml.nvmlDeviceRegisterEvents(handles(world.nvml)[0], pynvml.nvmlEventTypeXidCriticalError, events)
    seen = []
    waiting = threading.Thread(target=lambda: seen.append(world.nvml.nvmlEventSetWait_v2(events, 10_000).eventData))
    waiting.start()
    world.xid(0, 94)
    waiting.join(5)
    assert seen == [94]
    world.nvml.nvmlEventSetFree(events)


async def test_the_inventory_above_reads_the_same(world):
    """What the daemon shows does not depend on what stands below."""
    world.change(0, used=50 * MIB, holders={os.getpid(): 10 * MIB})
    world.change(1, recovery_action=4)
    source = "nvml" if world.nvml is pynvml else "simulated"
    inventory = Inventory(world.nvml, source=source, wait_ms=20)
    first, second = (await inventory.start()).devices
    await inventory.close()
    assert inventory.driver_version == "580.1"
    assert [(device.uuid, device.index, device.name, device.pci_bus_id) for device in (first, second)] == [
        (gpu.uuid, gpu.number, "Stand-in", gpu.pci_bus_id) for gpu in world.gpus
    ]
    assert (first.total, first.free, first.used) == (1000 * MIB, 840 * MIB, 60 * MIB)
    assert [(process.pid, process.used) for process in first.processes] == [(os.getpid(), 10 * MIB)]
    assert (second.total, second.free, second.used, second.processes) == (2000 * MIB, 1900 * MIB, 0, ())
    assert (first.recovery_action, second.recovery_action) == (0, 4)
    assert {first.health, second.health} == {"ok"}


async def test_the_inventory_above_reads_the_same_of_how_a_gpu_is(world):
    world.change(0, utilization=87, temperature=64, ecc_errors=3)
    world.change(1, ecc_errors=None)
    inventory = Inventory(world.nvml, source="nvml" if world.nvml is pynvml else "simulated", wait_ms=20)
    first, second = (await inventory.start()).devices
    await inventory.close()
    assert (first.utilization, first.temperature, first.ecc_errors, first.compute_capability) == (87, 64, 3, (9, 0))
    assert (second.utilization, second.temperature, second.ecc_errors) == (0, 35, None)


async def test_the_inventory_above_reads_the_same_of_the_instances_of_a_divided_gpu(world):
    world.change(1, instances=[Instance(3, {os.getpid(): 30 * MIB}), Instance(4)])
    inventory = Inventory(world.nvml, source="nvml" if world.nvml is pynvml else "simulated", wait_ms=20)
    devices = (await inventory.start()).by_uuid
    await inventory.close()
    whole = devices[world.gpus[1].uuid]
    used, idle = (devices[one.uuid] for one in world.gpus[1].instances)
    assert (whole.mig, whole.processes) == (True, ())
    assert not devices[world.gpus[0].uuid].mig
    assert [(one.parent, one.instance, one.total, one.used) for one in (used, idle)] == [
        (whole.uuid, (3, 0), 100 * MIB, 30 * MIB),
        (whole.uuid, (4, 0), 100 * MIB, 0),
    ]
    assert [(process.pid, process.used) for process in used.processes] == [(os.getpid(), 30 * MIB)]
    assert idle.processes == ()
