"""The driver reports a fault: who is concerned, how their work ends, and when they are back."""

import asyncio

from supervisor_world import QUICK, pool, until

from pool_managerd.core.errors import Code
from pool_managerd.core.failures import FailureClass
from pool_managerd.runtime import spawning

#: One restart, and that in an hour, so that what is seen is the first failure.
ONCE = QUICK.replace("initial_ms = 50", "initial_ms = 3600000\nmax_ms = 3600000")
MMU_FAULT, UNCORRECTABLE, LOST = 31, 95, 79


def first(w):
    return w.host.inventory.snapshot.devices[0].uuid


def xid(w, number: int):
    w.place.folder.emit_xid(first(w), number)
    return until(lambda: [event for event in w.of("xid") if event.details["xid"] == number])


async def test_a_driver_error_is_one_step_from_ready_to_restarted(world):
    drained = QUICK + "\n[pool.drain]\ndeadline_ms = 300\n"
    async with world(pool(quick=drained.replace("initial_ms = 50", "initial_ms = 200"))) as w:
        await w.phase("ready")
        lease = await w.service.acquire_lease("p", ttl_ms=60_000)
        pid = w.replica().run.process.pid
        w.place.folder.emit_xid(first(w), UNCORRECTABLE)
        await w.phase("draining")
        # Unready in the very step in which it is known.
        draining = w.of("phase", to="draining")[-1]
        unready = w.of("pool_unready")[-1]
        assert (draining.code, unready.code) == ("DRIVER_ERROR", "DRIVER_ERROR")
        assert unready.revision == draining.revision + 1
        assert w.replica().run.process.pid == pid
        assert (await w.service.devices()).devices[0].health == "quarantined"
        # The lease that does not end is ended at the deadline, not before.
        await w.phase("stopping")
        ended = next(event for event in w.of("lease") if event.details["action"] == "forced")
        assert ended.details["lease_id"] == lease.lease_id
        assert 0.25 <= w.of("phase", to="stopping")[-1].at - draining.at < 2
        await w.phase("ready")
        # Twice the ordinary delay, its own count, its re-test, one restart.
        scheduled = w.of("restart_scheduled")[-1].details
        assert (scheduled["backoff_ms"], scheduled["crash_reason"]) == (400, "driver_error")
        history = w.replica().state.history
        assert (history.failures, history.driver_failures, history.restart_count) == (0, 1, 1)
        assert (w.of("device")[-1].from_, w.of("device")[-1].to) == ("quarantined", "ok")
        assert w.of("device")[-1].revision < w.of("phase", to="ready")[-1].revision


async def test_a_device_stays_in_quarantine_while_an_engines_memory_is_not_given_back(world):
    async with world(pool(simulated="sticky_ms = 1200")) as w:
        await w.phase("ready")
        await xid(w, UNCORRECTABLE)
        await w.phase("backoff", "failed")
        gone = w.of("phase")[-1].at
        await until(lambda: w.of("device", to="ok"))
        assert w.of("device", to="ok")[0].at - gone > 1
        await w.phase("ready")


async def test_on_a_shared_device_only_who_dies_of_an_application_error_is_restarted_for_it(world):
    async with world(pool("p", quick=ONCE), pool("q", quick=ONCE)) as w:
        await w.phase("ready")
        await w.phase("ready", pool_id="q")
        await xid(w, MMU_FAULT)
        assert {w.replica(one).state.phase for one in "pq"} == {"ready"}
        w.place.control("q", signal="SIGABRT")
        await w.phase("backoff", pool_id="q")
        failure = w.replica("q").state.failure
        assert (failure.code, failure.cause) == (Code.DRIVER_ERROR, "driver_error")
        assert (failure.failure_class, failure.details["signal"]) == (FailureClass.DRIVER, "SIGABRT")
        assert w.replica("q").state.history.driver_failures == 1
        assert w.replica("p").state.phase == "ready"


async def test_on_a_shared_device_who_falls_silent_after_an_application_error_is_drained_at_once(world):
    often = ONCE.replace("failures = 2", "failures = 100")
    async with world(pool("p", quick=often), pool("q", quick=often)) as w:
        await w.phase("ready")
        await w.phase("ready", pool_id="q")
        lease = await w.service.acquire_lease("q")
        w.place.control("q", hang=True)
        await until(lambda: w.replica("q").run.probe_failures)
        await xid(w, MMU_FAULT)
        await w.phase("draining", pool_id="q")
        failure = w.replica("q").state.failure
        assert failure.code is Code.DRIVER_ERROR
        assert "XID 31" in failure.message
        assert w.replica("p").state.phase == "ready"
        await w.service.release_lease("q", lease.lease_id)
        await w.phase("backoff", pool_id="q")
        assert w.replica("q").state.history.driver_failures == 1


async def test_an_engine_that_is_just_being_made_does_not_stay_on_a_device_that_fails(world, monkeypatch):
    real = spawning.spawn
    failed = asyncio.Event()

    async def spawn(spec):
        process = await real(spec)
        await failed.wait()
        return process

    monkeypatch.setattr(spawning, "spawn", spawn)
    async with world(pool(simulated="load_ms = 300")) as w:
        await w.phase("starting")
        await xid(w, UNCORRECTABLE)
        failed.set()
        await w.phase("failed")
        assert w.replica().state.failure.code is Code.GPU_UNAVAILABLE
        assert not w.of("phase", to="ready")
        await w.phase("ready")


async def test_a_lost_gpu_is_no_reason_for_a_restart(world):
    async with world() as w:
        await w.phase("ready")
        await xid(w, LOST)
        await w.phase("failed")
        assert w.replica().state.failure.failure_class is FailureClass.DEVICE
        assert not w.of("restart_scheduled")
        assert w.replica().state.next_restart_at is None
