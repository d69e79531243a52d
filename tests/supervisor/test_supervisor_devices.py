"""Devices that are lost, come back, or do not say who holds their memory."""

import asyncio

from supervisor_world import QUICK, pool, until

from pool_managerd.core.errors import Code
from pool_managerd.runtime import preflight
from pool_managerd.runtime.registry_config import named_devices


def first(w):
    return w.host.inventory.snapshot.devices[0].uuid


async def test_a_lost_gpu_is_shown_lost_and_its_pool_is_back_with_it(world):
    async with world() as w:
        await w.phase("ready")
        w.place.folder.emit_xid(first(w), 79)
        await w.phase("failed")
        assert w.replica().state.failure.code is Code.GPU_UNAVAILABLE
        assert (await w.service.devices()).devices[0].health == "lost"
        await asyncio.sleep(0.7)
        assert w.replica().state.phase == "failed"
        await w.service.preload("p")
        await w.phase("failed")
        w.place.folder.set_health(first(w), "lost")
        await until(lambda: w.host.inventory.snapshot.devices[0].health == "lost")
        w.place.folder.set_health(first(w), "ok")
        await w.phase("ready")
        assert (await w.service.devices()).devices[0].health == "ok"
        assert w.replica().state.history.restart_count == 0


async def test_a_gpu_that_an_xid_called_lost_is_back_with_a_driver_that_shows_it_well(world):
    async with world() as w:
        await w.phase("ready")
        w.place.folder.emit_xid(first(w), 79)
        await w.phase("failed")
        w.place.folder.set_driver(mode="unknown_error")
        await until(lambda: w.of("device", to="stale"))
        w.place.folder.set_driver(mode="ok")
        await w.phase("ready")
        assert [event.from_ for event in w.of("device", to="ok")] == ["lost"]


async def test_a_quarantined_gpu_is_tested_again_and_its_pool_restarts(world):
    async with world() as w:
        await w.phase("ready")
        await w.service.acquire_lease("p")
        w.place.folder.emit_xid(first(w), 95)
        await w.phase("draining")
        status = w.service.get_pool("p")
        assert (status.draining, status.desired, status.ready) == (True, "running", False)
        await w.service.release_lease("p", w.service.list_leases("p")[0].lease_id)
        await w.phase("backoff", "failed", "preflight")
        await w.phase("ready")
        assert w.of("device", to="quarantined")
        assert len(w.of("restart_scheduled")) == 1


async def test_an_operators_drain_of_a_pool_with_a_broken_gpu_keeps_it_stopped(world):
    async with world() as w:
        await w.phase("ready")
        lease = await w.service.acquire_lease("p")
        w.place.folder.emit_xid(first(w), 95)
        await w.phase("draining")
        await w.service.drain("p", deadline_ms=5000)
        await w.service.release_lease("p", lease.lease_id)
        await w.phase("stopped")
        await asyncio.sleep(0.3)
        assert w.replica().state.phase == "stopped"


async def test_a_gpu_that_appears_later_brings_its_pool_up(world):
    async with world(pool(more='devices = "GPU-later"')) as w:
        await w.phase("failed")
        assert w.replica().state.failure.code is Code.GPU_UNAVAILABLE
        w.place.folder.add_gpu(uuid="GPU-later")
        await w.phase("ready")


async def test_a_new_config_forgets_the_gpus_that_are_gone_and_named_by_no_pool(world):
    async with world() as w:
        await w.phase("ready")
        w.place.folder.add_gpu(uuid="GPU-broken")
        await until(lambda: len(w.host.inventory.snapshot.devices) == 3)
        w.place.folder.emit_xid("GPU-broken", 95)
        await until(lambda: w.of("device", to="quarantined"))
        named, unnamed, broken = (device.uuid for device in w.host.inventory.snapshot.devices)
        for uuid in (named, unnamed, broken):
            w.place.folder.remove_gpu(uuid)
        await until(lambda: all(device.health == "lost" for device in w.host.inventory.snapshot.devices))
        await w.service.reload_config(dry_run=True)
        await w.host.inventory.refresh()
        assert not w.of("device", to="forgotten")
        await w.service.reload_config()
        await until(lambda: w.of("device", to="forgotten"))
        assert [event.device for event in w.of("device", to="forgotten")] == [unnamed]
        assert [device.uuid for device in (await w.service.devices()).devices] == [named, broken]


async def test_a_pool_without_a_mask_means_every_gpu_also_one_that_is_gone(world):
    async with world(pool(more='devices = ""\npreload = false')) as w:
        assert named_devices(w.host.config, w.host.inventory.snapshot) == set(w.host.inventory.snapshot.by_uuid)


async def test_an_engine_that_crashed_before_it_took_memory_is_restarted_at_once_also_without_pids(world):
    slow_release = QUICK.replace("vram_release_ms = 2000", "vram_release_ms = 30000")
    w = world(pool(simulated="exit_code = 3", quick=slow_release))
    w.place.folder.set_driver(process_mode="no_bytes")
    async with w:
        assert w.host.inventory.snapshot.residency == "device"
        await until(lambda: w.replica().state.history.restart_count >= 2)


async def test_who_waits_for_memory_is_quiet_and_starts_when_it_is_free(world):
    quick = QUICK.replace("initial_ms = 50", "initial_ms = 60000").replace("floor_ms = 50", "floor_ms = 60000")
    big = pool("big", more="preload = false", quick=quick).replace("1GiB", "20GiB")
    async with world(big, pool("p").replace("1GiB", "20GiB")) as w:
        await w.phase("ready")
        await w.service.preload("big")
        await w.phase("backoff", pool_id="big")
        assert w.replica("big").state.failure.code is Code.INSUFFICIENT_VRAM
        assert w.replica("big").state.history.failures == 0
        seen = len(w.of("phase", pool_id="big"))
        await asyncio.sleep(1.2)
        assert len(w.of("phase", pool_id="big")) == seen
        await w.service.drain("p", deadline_ms=0, wait_s=5)
        await w.phase("ready", pool_id="big", timeout_s=3)


async def test_looking_after_those_who_wait_survives_a_fault(world, monkeypatch):
    async with world(pool(more='devices = "GPU-later"')) as w:
        await w.phase("failed")
        real = preflight.check

        async def check(*args, **more):
            monkeypatch.setattr(preflight, "check", real)
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(preflight, "check", check)
        w.place.folder.add_gpu(uuid="GPU-later")
        await w.phase("ready")
