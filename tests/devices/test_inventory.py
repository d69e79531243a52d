from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from pathlib import Path

import pytest

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices import simulated_feed
from pool_managerd.devices.inventory import Inventory
from pool_managerd.devices.nvml import load_nvml
from pool_managerd.devices.simulated import FOREIGN_PID_OFFSET
from pool_managerd.devices.simulated_folder import GIB, SimulatedFolder
from pool_managerd.devices.sweep import Sweeper


class Watched:
    """An inventory over a folder, with what its callbacks said."""

    def __init__(self, folder):
        self.inventory = Inventory(load_nvml("simulated", Path(folder.path)), source="simulated", refresh_timeout_s=1.0)
        self.xids, self.healths, self.changes, self.forgotten = [], [], [], []
        self._news = asyncio.Event()
        logs = {"xid": self.xids, "health": self.healths, "change": self.changes, "forgotten": self.forgotten}
        for name, log in logs.items():
            setattr(self.inventory, f"on_{name}", lambda value, log=log: (log.append(value), self._news.set()))

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition():
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def watched(folder):
    one = Watched(folder)
    await one.inventory.start()
    yield one
    await one.inventory.close()


def by_uuid(watched, uuid):
    return watched.inventory.snapshot.by_uuid[uuid]


async def test_it_shows_every_gpu(watched, uuids):
    snapshot = watched.inventory.snapshot
    assert [(d.index, d.uuid, d.total, d.free, d.health) for d in snapshot.devices] == [
        (index, uuid, 24 * GIB, 24 * GIB, "ok") for index, uuid in enumerate(uuids)
    ]
    assert (snapshot.residency, snapshot.stale, snapshot.source) == ("process", False, "simulated")
    assert watched.inventory.driver_version


class Unplugging:
    """NVML over a folder, of which one GPU is taken away while the GPUs are being enumerated."""

    def __init__(self, folder, gone):
        self._nvml = load_nvml("simulated", Path(folder.path))
        self._folder, self._gone = folder, gone
        self.armed = False

    def __getattr__(self, name):
        return getattr(self._nvml, name)

    def nvmlDeviceGetHandleByIndex(self, slot):  # noqa: N802 - NVML's own name
        if slot == 1 and self.armed:
            self.armed = False
            self._folder.remove_gpu(self._gone)
        return self._nvml.nvmlDeviceGetHandleByIndex(slot)


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_gpu_that_goes_while_they_are_enumerated_is_the_only_one_lost(tmp_path, gone):
    folder = SimulatedFolder(tmp_path / "devices").create(gpus=3)
    uuids = [gpu["uuid"] for gpu in folder.gpus()]
    nvml = Unplugging(folder, uuids[gone])
    nvml.nvmlInit()
    sweeper = Sweeper(nvml, source="simulated")
    assert {device.health for device in sweeper.sweep().devices} == {"ok"}
    nvml.armed = True
    health = {device.uuid: device.health for device in sweeper.sweep().devices}
    assert health == {uuid: "lost" if uuid == uuids[gone] else "ok" for uuid in uuids}
    nvml.nvmlShutdown()


async def test_a_missing_folder_is_made_with_two_gpus(tmp_path):
    inventory = Inventory(load_nvml("simulated", tmp_path / "new"), source="simulated")
    await inventory.start()
    assert len(inventory.snapshot.devices) == 2
    await inventory.close()


async def test_memory_taken_and_given_back_is_noticed(watched, folder, uuids, processes):
    process = processes.start()
    folder.allocate(process.pid, {uuids[0]: 2 * GIB})
    await watched.until(lambda: by_uuid(watched, uuids[0]).used == 2 * GIB)
    assert [(p.pid, p.used) for p in by_uuid(watched, uuids[0]).processes] == [(process.pid, 2 * GIB)]
    process.kill()
    await watched.until(lambda: by_uuid(watched, uuids[0]).used == 0)
    folder.allocate(os.getpid(), {uuids[1]: GIB})
    await watched.until(lambda: by_uuid(watched, uuids[1]).free == 23 * GIB)
    folder.free(os.getpid())
    await watched.until(lambda: by_uuid(watched, uuids[1]).free == 24 * GIB)


async def test_sticky_memory_is_given_back_by_itself(watched, folder, uuids, processes):
    process = processes.start()
    folder.allocate(process.pid, {uuids[0]: GIB}, sticky_ms=150)
    await watched.until(lambda: by_uuid(watched, uuids[0]).used == GIB)
    process.kill()
    process.wait()
    since = time.monotonic()
    assert [p.pid for p in (await watched.inventory.refresh()).by_uuid[uuids[0]].processes] == [process.pid]
    await watched.until(lambda: by_uuid(watched, uuids[0]).used == 0)
    assert time.monotonic() - since > 0.12


async def test_a_refresh_never_shows_what_was_before_its_call(watched, folder, uuids):
    for count in range(1, 30):
        folder.allocate(os.getpid(), {uuids[0]: count})
        snapshots = await asyncio.gather(*(watched.inventory.refresh() for _ in range(5)))
        assert [snapshot.by_uuid[uuids[0]].used for snapshot in snapshots] == [count] * 5
    folder.free(os.getpid())


async def test_a_lost_gpu_is_kept_as_lost_and_comes_back(watched, folder, uuids):
    for lose, find in (
        (lambda: folder.set_health(uuids[0], "lost"), lambda: folder.set_health(uuids[0], "ok")),
        (lambda: folder.remove_gpu(uuids[0]), lambda: folder.add_gpu(uuid=uuids[0], index=0)),
        (lambda: folder.set_driver(mode="no_devices"), lambda: folder.set_driver(mode="ok")),
    ):
        lose()
        await watched.until(lambda: by_uuid(watched, uuids[0]).health == "lost")
        assert by_uuid(watched, uuids[0]).index == 0
        find()
        await watched.until(lambda: all(d.health == "ok" for d in watched.inventory.snapshot.devices))
    mine = [(event.before, event.after) for event in watched.healths if event.uuid == uuids[0]]
    assert mine == [("ok", "lost"), ("lost", "ok")] * 3


async def test_only_a_gpu_that_is_no_longer_enumerated_can_be_forgotten(watched, folder, uuids):
    folder.set_health(uuids[0], "lost")
    folder.remove_gpu(uuids[1])
    await watched.until(lambda: all(d.health == "lost" for d in watched.inventory.snapshot.devices))
    watched.inventory.forget(uuids)
    await watched.until(lambda: watched.forgotten)
    assert [device.uuid for device in watched.forgotten] == uuids[1:]
    assert [device.uuid for device in watched.inventory.snapshot.devices] == uuids[:1]
    folder.add_gpu(uuid=uuids[1], index=1)
    await watched.until(lambda: len(watched.inventory.snapshot.devices) == 2)
    assert (watched.healths[-1].uuid, watched.healths[-1].before, watched.healths[-1].after) == (uuids[1], None, "ok")


@pytest.mark.parametrize("health", ["reset_required", "unreadable"])
async def test_one_sick_gpu_leaves_the_other_well(watched, folder, uuids, health):
    folder.set_health(uuids[1], health, recovery_action=1)
    await watched.until(lambda: watched.healths)
    assert (by_uuid(watched, uuids[1]).health, by_uuid(watched, uuids[0]).health) == (health, "ok")
    assert watched.healths[0].recovery_action == 1
    assert not watched.inventory.snapshot.stale


async def test_a_new_gpu_is_announced_and_its_xids_are_heard(watched, folder):
    uuid = folder.add_gpu(name="Third")
    await watched.until(lambda: watched.healths)
    assert (watched.healths[0].uuid, watched.healths[0].before, watched.healths[0].after) == (uuid, None, "ok")
    folder.emit_xid(uuid, 13)
    await watched.until(lambda: watched.xids)
    assert (watched.xids[0].uuid, watched.xids[0].xid) == (uuid, 13)


async def test_each_xid_is_heard_once_and_none_from_before(folder, uuids):
    folder.emit_xid(uuids[0], 1)
    watched = Watched(folder)
    await watched.inventory.start()
    folder.set_health(uuids[1], "lost")
    for number in (79, 31, 79):
        folder.emit_xid(uuids[1], number)
    folder.emit_xid("GPU-unknown", 5)
    folder.emit_xid(uuids[0], 45)
    await watched.until(lambda: len(watched.xids) == 4)
    assert [(event.uuid, event.xid) for event in watched.xids] == [
        (uuids[1], 79),
        (uuids[1], 31),
        (uuids[1], 79),
        (uuids[0], 45),
    ]
    await watched.inventory.close()


async def test_a_failing_library_leaves_the_last_values_marked_stale(watched, folder, uuids):
    folder.set_driver(mode="unknown_error")
    snapshot = await watched.inventory.refresh()
    assert snapshot.stale
    assert snapshot.error
    assert [device.uuid for device in snapshot.devices] == uuids
    await watched.until(lambda: watched.changes and watched.changes[-1].stale)
    folder.set_driver(mode="ok")
    await watched.until(lambda: not watched.inventory.snapshot.stale)
    assert watched.healths == []


@pytest.mark.parametrize("mode", ["foreign_pids", "no_bytes"])
async def test_processes_that_cannot_be_matched_are_noticed_on_idle_gpus_too(folder, uuids, mode):
    folder.set_driver(process_mode=mode)
    watched = Watched(folder)
    assert (await watched.inventory.start()).residency == "device"
    folder.allocate(os.getpid(), {uuids[0]: GIB})
    snapshot = await watched.inventory.refresh()
    assert snapshot.residency == "device"
    assert snapshot.by_uuid[uuids[0]].used == GIB
    listed = {(p.pid, p.used) for p in snapshot.by_uuid[uuids[0]].processes}
    assert ((os.getpid() + FOREIGN_PID_OFFSET, GIB) if mode == "foreign_pids" else (os.getpid(), None)) in listed
    folder.set_driver(process_mode="own")
    assert (await watched.inventory.refresh()).residency == "process"
    folder.free(os.getpid())
    await watched.inventory.close()


@pytest.mark.parametrize(
    ("mode", "missing", "named"),
    [
        ("no_driver", "driver library", "libnvidia-ml.so.1"),
        ("no_devices", "devices", "shows no GPU"),
        ("unknown_error", "driver", "Unknown Error"),
    ],
)
async def test_without_a_gpu_it_says_what_is_missing(folder, mode, missing, named):
    folder.set_driver(mode=mode)
    inventory = Inventory(load_nvml("simulated", Path(folder.path)), source="simulated")
    with pytest.raises(PoolManagerError) as caught:
        await inventory.start()
    error = caught.value
    assert (error.code, error.details["missing"]) == (Code.GPU_REQUIRED, missing)
    assert named in error.message
    assert "inference on the CPU is never used as a fallback" in error.message
    assert error.hint


async def test_a_host_without_driver_is_told_at_once(monkeypatch):
    if os.access("/proc/driver/nvidia", os.F_OK):
        pytest.skip("this host has an NVIDIA driver")
    since = time.monotonic()
    with pytest.raises(PoolManagerError) as caught:
        await Inventory(load_nvml("nvml"), source="nvml").start()
    assert caught.value.code == Code.GPU_REQUIRED
    assert time.monotonic() - since < 0.5


async def test_a_library_that_hangs_makes_the_values_stale_and_nothing_wait(watched, folder, uuids):
    release = threading.Event()
    nvml = watched.inventory._nvml
    watched.inventory._timeout_s = 0.1
    count = nvml.nvmlDeviceGetCount
    nvml.nvmlDeviceGetCount = lambda: (release.wait(10), count())[1]
    assert (await watched.inventory.refresh()).stale
    since = time.monotonic()
    assert (await watched.inventory.refresh()).stale
    assert time.monotonic() - since < 0.05
    release.set()
    await watched.until(lambda: not watched.inventory.snapshot.stale)


async def test_without_an_inotify_instance_changes_are_seen_a_little_later(folder, uuids, monkeypatch):
    def none_left(**_):
        raise OSError(errno.EMFILE, "too many inotify instances")

    monkeypatch.setattr(simulated_feed, "Inotify", none_left)
    watched = Watched(folder)
    await watched.inventory.start()
    folder.set_health(uuids[0], "lost")
    folder.emit_xid(uuids[1], 13)
    await watched.until(lambda: watched.healths and watched.xids)
    await watched.inventory.close()


async def test_a_failing_callback_does_not_stop_the_inventory(watched, folder, uuids):
    watched.inventory.on_change = lambda _: 1 / 0
    folder.set_health(uuids[0], "lost")
    await watched.until(lambda: watched.healths)
    folder.set_health(uuids[0], "ok")
    await watched.until(lambda: len(watched.healths) == 2)


async def test_closing_leaves_no_thread_and_no_descriptor(folder):
    async def once():
        inventory = Inventory(load_nvml("simulated", Path(folder.path)), source="simulated")
        await inventory.start()
        await inventory.close()

    def descriptors_now():
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the loop is idle

    await once()
    descriptors = descriptors_now()
    for _ in range(3):
        await once()
    assert descriptors_now() == descriptors
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"nvml-events", "simulated-gpus"}


async def test_a_refresh_is_cheap(tmp_path, processes):
    folder = SimulatedFolder(tmp_path / "many").create(gpus=8)
    uuids = [gpu["uuid"] for gpu in folder.gpus()]
    for number in range(20):
        folder.allocate(processes.start().pid, {uuids[number % 8]: GIB})
    watched = Watched(folder)
    await watched.inventory.start()
    await watched.until(lambda: watched.inventory.snapshot.devices[0].used)
    times = []
    for _ in range(30):
        since = time.perf_counter()
        await watched.inventory.refresh()
        times.append(time.perf_counter() - since)
    await watched.inventory.close()
    assert min(times) < 0.003
