"""Engines that do not end as they should, and a state directory that does not take what is written."""

import asyncio

from supervisor_world import alive, pool, until

from pool_managerd.core.errors import Code
from pool_managerd.runtime import spawning
from pool_managerd.runtime.release import Releasing


async def test_an_engine_that_ignores_sigterm_is_killed_and_the_event_says_so(world):
    async with world(pool(simulated="ignore_sigterm = true")) as w:
        await w.phase("ready")
        pid = w.replica().run.process.pid
        await w.service.drain("p", deadline_ms=0, wait_s=5)
        assert not alive(pid)
        assert w.of("phase", to="stopped")[-1].details["forced"] is True


async def test_what_an_engine_left_in_another_session_is_gone_before_the_next_start(world):
    for child in ("session", "orphan"):
        async with world(pool(simulated=f'child = "{child}"')) as w:
            await w.service.preload("p", wait_s=5)
            pid = w.replica().run.process.pid
            children = await until(lambda w=w, pid=pid: w.place.engines() - {pid})
            w.place.control(exit_code=3)
            await until(lambda w=w: w.of("phase", to="starting")[1:])
            assert not any(alive(one) for one in children)
            await w.phase("ready")
            await w.service.drain("p", deadline_ms=0, wait_s=5)
            await until(lambda w=w: not w.place.engines())


async def test_a_handoff_that_cannot_be_written_is_a_warning_until_it_can(world):
    async with world(pool(more="preload = false")) as w:
        folder = w.place.state / "engines"
        folder.rmdir()
        folder.write_text("in the way")
        await w.service.preload("p", wait_s=5)
        status = w.service.get_pool("p")
        assert (status.ready, status.last_error.code) == (True, "STORE_UNAVAILABLE")
        folder.unlink()
        await until(lambda: w.place.handoff() is not None)
        await until(lambda: w.service.get_pool("p").last_error is None)
        assert (await w.service.acquire_lease("p")).replica_id == "r0"


async def test_a_log_that_vanishes_or_a_state_directory_that_takes_nothing_ends_no_supervision(world):
    async with world() as w:
        await w.phase("ready")
        log = w.replica().log_path
        log.unlink()
        log.mkdir()
        w.replica().run.process.kill_group()
        await w.phase("backoff")
        await until(lambda: w.replica().state.failure.code is Code.SPAWN_FAILED)
        assert str(log) in w.replica().state.failure.message
        log.rmdir()
        await w.service.reset_circuit("p")
        await w.phase("ready")


async def test_told_to_stop_while_it_loads_the_daemon_leaves_no_process(world):
    w = world(pool("p", simulated="load_ms = 60000"), pool("q"))
    async with w:
        await w.phase("loading")
        await w.phase("ready", pool_id="q")
        pids = w.place.engines()
        await w.stop()
        assert not any(alive(pid) for pid in pids)
        assert all(pool_.desired == "running" for pool_ in w.registry.pools.values())


async def test_a_port_taken_from_the_range_is_replaced_without_a_failure(world):
    async with world() as w:
        await w.phase("ready")
        old = w.replica().run.spec.port
        await w.service.drain("p", deadline_ms=0, wait_s=5)
        w.host.ports._next = old
        w.place.control(load_ms=300)
        await w.service.preload("p")
        await w.phase("loading")
        w.place.control(port_in_use=True)
        await until(lambda: w.replica().run is not None and w.replica().run.port_attempts == 1)
        w.place.control()
        await w.phase("ready")
        assert w.replica().run.spec.port != old
        history = w.replica().state.history
        assert (history.failures, history.restart_count) == (0, 0)
        assert w.host.ports._taken == {w.replica().run.spec.port}


async def test_an_engine_that_is_just_being_started_is_stopped_once_it_is_there(world, monkeypatch):
    born = []
    real = spawning.spawn

    async def spawn(spec):
        process = await real(spec)
        born.append(process)
        await asyncio.sleep(0.2)
        return process

    monkeypatch.setattr(spawning, "spawn", spawn)
    async with world(pool(more="preload = false")) as w:
        await w.service.preload("p")
        await w.phase("starting")
        _, result = await w.service.drain("p", wait_s=5)
        assert result.outcome == "drained"
        assert w.replica().state.phase == "stopped"
        assert len(born) == 1
        assert not born[0].running
        assert (w.place.engines(), w.place.pid_file(), w.host.ports._taken) == (set(), None, set())


async def test_a_stop_goes_on_after_a_fault_of_our_own(world, monkeypatch):
    real = Releasing.of

    def of(*args):
        monkeypatch.setattr(Releasing, "of", real)
        raise RuntimeError("a fault")

    async with world() as w:
        await w.phase("ready")
        pid = w.replica().run.process.pid
        monkeypatch.setattr(Releasing, "of", of)
        await w.service.drain("p", deadline_ms=0, wait_s=5)
        assert (w.replica().state.phase, alive(pid), w.place.pid_file()) == ("stopped", False, None)


async def test_nothing_is_started_while_the_daemon_ends(world):
    w = world(pool(simulated="exit_code = 3"))
    async with w:
        await w.phase("backoff")
        await w.stop()
        count = len(w.events)
        await asyncio.sleep(0.2)
        assert len(w.events) == count
        assert w.host.store.load("replica")["p/r0"]["phase"] == "backoff"


async def test_a_pid_file_that_could_not_be_written_is_written_once_that_works(world):
    async with world(pool(more="preload = false")) as w:
        in_the_way = w.host.state_dir.pid_file("p", "r0")
        in_the_way.mkdir()
        await w.service.preload("p")
        await w.phase("ready")
        status = w.service.get_pool("p")
        assert (status.ready, status.last_error.code) == (True, "STORE_UNAVAILABLE")
        in_the_way.rmdir()
        await until(in_the_way.is_file)
        assert int(in_the_way.read_text()) == w.replica().run.process.pid
        await until(lambda: w.of("daemon", to="store_available"))
        assert w.service.get_pool("p").last_error is None
