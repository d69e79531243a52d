"""Drains, reloads, leases and preloads that meet each other, a slow store, or a caller that goes away."""

import asyncio
import os
import signal
import sqlite3
from contextlib import closing

import pytest
from supervisor_world import QUICK, pool, until

from pool_managerd.api import checks
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.phases import Desired, Phase
from pool_managerd.core.restart_values import BreakerState
from pool_managerd.core.times import parse_rfc3339
from pool_managerd.runtime import announce, preflight


async def give_up(call, after=0):
    """Begin a call and cancel it, as a client that closes its connection does."""
    task = asyncio.get_running_loop().create_task(call)
    for _ in range(after + 1):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_release_is_answered_once_it_is_stored(world):
    async with world() as w:
        await w.phase("ready")
        lease = await w.service.acquire_lease("p")
        with closing(sqlite3.connect(w.place.state / "state.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")  # the store has to wait
            release = asyncio.create_task(w.service.release_lease("p", lease.lease_id))
            await until(lambda: [one for one in w.of("lease") if one.details["action"] == "released"])
            assert not release.done()
            database.execute("ROLLBACK")
            await release
            assert database.execute("SELECT key FROM documents WHERE kind = 'lease'").fetchall() == []


async def test_a_pool_becomes_ready_and_drains(world):
    async with world() as w:
        await w.phase("ready")
        assert w.place.handoff()["pid"] == w.place.pid_file()
        _, result = await w.service.drain("p", wait_s=5)
        assert (result.outcome, result.leases_forced) == ("drained", 0)
        status = w.service.get_pool("p")
        assert (status.phase, status.live, status.draining, status.next_restart_at) == ("stopped", False, False, None)
        assert (w.place.pid_file(), w.place.handoff()) == (None, None)
        assert w.host.reservations.holders(w.host.inventory.snapshot.devices[0].uuid) == {}


async def test_a_caller_that_goes_away_before_the_commit_leaves_nothing_behind(world):
    async with world() as w:
        await w.phase("ready")
        owner = w.pool()
        await give_up(w.service.acquire_lease("p"))
        assert len(owner.leases) == 0
        await give_up(w.service.drain("p"))
        assert (owner.activity, owner.draining, owner.desired) == (None, False, Desired.RUNNING)
        await give_up(w.service.reload("p", new_model_ref="b.txt"))
        assert (owner.activity, owner.pending_reload) == (None, None)
        await w.service.acquire_lease("p")
        await w.service.drain("p", deadline_ms=5000)
        await give_up(w.service.cancel_drain("p"))
        assert (owner.draining, owner.desired) == (True, Desired.STOPPED)
        status = await w.service.cancel_drain("p")
        assert (status.draining, status.desired, status.ready, status.active_leases) == (False, "running", True, 1)


@pytest.mark.parametrize("jump_s", [3600, -3600])
async def test_a_jump_of_the_wall_clock_neither_ends_nor_prolongs_a_lease(world, jump_s):
    async with world() as w:
        await w.phase("ready")
        short, long = [await w.service.acquire_lease("p", ttl_ms=ttl) for ttl in (400, 60_000)]
        began, clock = w.host.monotonic(), w.host.clock
        w.host.clock = lambda: clock() + jump_s
        w.pool().arm_expiry()
        await until(lambda: len(w.service.list_leases("p")) == 1, 5)
        assert w.host.monotonic() - began > 0.3
        assert [one.lease_id for one in w.service.list_leases("p")] == [long.lease_id]
        renewed = await w.service.renew_lease("p", long.lease_id)
        assert parse_rfc3339(renewed.expires_at) == pytest.approx(w.host.clock() + 60, abs=1)
        with pytest.raises(PoolManagerError) as refused:
            await w.service.renew_lease("p", short.lease_id)
        assert refused.value.details["ended"] == "expired"


async def test_an_unknown_pool_is_refused_in_the_same_words_by_the_api_and_the_service(world):
    async with world() as w:
        for name in ("nobody", "x" * 63):
            with pytest.raises(PoolManagerError) as by_service:
                w.service.get_pool(name)
            with pytest.raises(PoolManagerError) as by_api:
                checks.pool_id(w.service, name)
            assert vars(by_service.value) == vars(by_api.value)


async def test_nobody_builds_on_a_wish_that_is_not_stored_yet(world):
    async with world(pool(more="preload = false")) as w:
        await w.host.store.flush()
        database = w.host.state_dir.database
        database.rename(database.with_name("away"))
        database.mkdir()
        calls = [w.service.preload("p"), w.service.reload("p", new_model_ref="b.txt"), w.service.preload("p")]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [answer.code for answer in answers] == [Code.STORE_UNAVAILABLE, Code.CONFLICT, Code.STORE_UNAVAILABLE]
        assert (w.pool().desired, w.replica().state.phase) == (Desired.STOPPED, "stopped")
        database.rmdir()
        await until(lambda: w.host.store.available)
        assert (await w.service.preload("p", wait_s=5))[1]
        assert w.host.store.load("pool")["p"]["desired"] == "running"


async def test_a_drain_whose_pool_is_removed_before_it_is_stored_never_was(world):
    async with world(pool(), pool("q")) as w:
        await w.phase("ready")
        owner = w.pool()
        drain = asyncio.get_running_loop().create_task(w.service.drain("p"))
        await asyncio.sleep(0)
        w.registry.remove("p")
        with pytest.raises(PoolManagerError) as refused:
            await drain
        assert refused.value.code is Code.POOL_NOT_FOUND
        await until(lambda: not w.registry.leaving.by_id)
        assert [event.details["trigger"] for event in w.of("drain", to="started")] == ["config"]
        await w.host.store.flush()
        assert (owner.desired, "p" in w.host.store.load("pool")) == (Desired.STOPPED, False)


async def test_of_two_who_cancel_a_drain_at_once_one_does_and_nothing_newer_is_hurt(world):
    async with world() as w:
        await w.phase("ready")
        await w.service.acquire_lease("p")
        await w.service.drain("p", deadline_ms=5000)
        outcomes = await asyncio.gather(*(w.service.cancel_drain("p") for _ in range(3)), return_exceptions=True)
        assert any(not isinstance(one, Exception) for one in outcomes)
        assert len(w.of("drain", to="cancelled")) == 1
        assert w.pool().activity is None


async def test_a_cancelled_drain_starts_again_what_it_had_stopped_while_it_was_loading(world):
    async with world(pool(more='replicas = 2\ndevices = ["0", "1"]')) as w:
        await w.phase("ready")
        await w.phase("ready", replica_id="r1")
        w.place.control(replica_id="r0", load_ms=20_000, term_ms=200)
        os.kill(w.replica().run.process.pid, signal.SIGKILL)
        await w.phase("backoff")
        await w.phase("loading")
        await w.service.acquire_lease("p")
        await w.service.drain("p", deadline_ms=5000)
        assert w.replica().state.phase == "stopping"
        w.place.control(replica_id="r0", load_ms=0)
        await w.service.cancel_drain("p")
        await w.phase("ready")


async def test_a_drained_pool_whose_circuit_was_open_can_be_preloaded_once_its_time_is_over(world):
    breaker = QUICK + "[pool.breaker]\nfailures = 1\nopen_ms = 300\n"
    async with world(pool(simulated="exit_code = 3", quick=breaker)) as w:
        await w.phase("circuit_open")
        with pytest.raises(PoolManagerError) as refused:
            await w.service.preload("p")
        assert refused.value.code is Code.CIRCUIT_OPEN
        assert 0 < refused.value.retry_after_ms <= 300
        await w.service.drain("p", wait_s=2)
        await asyncio.sleep(0.31)
        status, _ = await w.service.preload("p")
        assert status.phase in {"half_open", "preflight"}
        assert w.replica().state.history.state is BreakerState.HALF_OPEN


async def test_the_leases_of_a_crashed_replica_end_and_its_slot_is_given_elsewhere(world):
    async with world() as w:
        await w.phase("ready")
        lease = await w.service.acquire_lease("p", holder="me")
        os.kill(w.replica().run.process.pid, signal.SIGSEGV)
        await w.phase("backoff")
        assert w.service.list_leases("p") == []
        with pytest.raises(PoolManagerError) as refused:
            await w.service.renew_lease("p", lease.lease_id)
        assert (refused.value.code, "SIGSEGV" in refused.value.details["reason"]) == (Code.LEASE_NOT_FOUND, True)
        with pytest.raises(PoolManagerError) as refused:
            await w.service.acquire_lease("p")
        assert refused.value.code is Code.POOL_UNREADY


async def test_a_drain_with_deadline_0_stops_a_hanging_engine_at_once(world):
    async with world(pool(quick=QUICK.replace("interval_ms = 60", "interval_ms = 60000"))) as w:
        await w.phase("ready")
        os.kill(w.replica().run.process.pid, signal.SIGSTOP)
        began = asyncio.get_running_loop().time()
        await w.service.drain("p", deadline_ms=0, wait_s=5)
        assert asyncio.get_running_loop().time() - began < 0.9
        assert w.replica().state.phase == "stopped"


async def test_a_failed_reload_brings_the_old_model_back_and_leaves_the_breaker_alone(world):
    async with world() as w:
        await w.phase("ready")
        (w.place.path / "b.txt").unlink()
        pid = w.replica().run.process.pid
        with pytest.raises(PoolManagerError) as failed:
            await w.service.reload("p", new_model_ref="b.txt", wait_s=5)
        assert (failed.value.code, failed.value.details["cause"], failed.value.details["restored"]) == (
            Code.RELOAD_FAILED,
            "MODEL_NOT_FOUND",
            True,
        )
        assert w.replica().run.process.pid == pid
        w.place.control(exit_code=3)
        await w.phase("backoff")
        w.place.control()
        await w.phase("ready")
        failures = w.replica().state.history.failures
        status, done = await w.service.reload("p", new_model_ref="c.txt", wait_s=5)
        assert (done, status.model, status.breaker.failures) == (True, "c.txt", failures)


async def test_a_reload_to_the_very_model_that_fails_leaves_no_replica_stopped(world):
    async with world(pool(quick=QUICK.replace("initial_ms = 50", "initial_ms = 5000"))) as w:
        await w.phase("ready")
        w.place.control(exit_code=3, times=1)
        os.kill(w.replica().run.process.pid, signal.SIGKILL)
        await w.phase("backoff")
        with pytest.raises(PoolManagerError) as failed:
            await w.service.reload("p", new_model_ref="a.txt", wait_s=5)
        assert (failed.value.details["cause"], failed.value.details["restored"]) == ("ENGINE_EXITED", True)
        await w.phase("ready")


async def test_an_override_stays_in_force_when_its_folder_is_no_longer_one_for_models(world, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "m.txt").write_text("m")
    other = pool("q").replace('model = "a.txt"', f'model = "{elsewhere}/m.txt"')
    async with world(pool(), other) as w:
        await w.phase("ready")
        await w.service.reload("p", new_model_ref=str(elsewhere / "m.txt"), wait_s=5)
        w.place.write(pool())
        await w.service.reload_config()
        os.kill(w.replica().run.process.pid, signal.SIGKILL)
        await w.phase("backoff")
        await w.phase("ready")
        assert w.place.handoff()["model"]["path"] == str(elsewhere / "m.txt")
        assert w.service.get_pool("p").model == str(elsewhere / "m.txt")


async def test_who_waits_for_a_drain_or_reload_that_is_given_up_is_told_so(world):
    async with world() as w:
        await w.phase("ready")
        await w.service.acquire_lease("p")
        waiting = asyncio.get_running_loop().create_task(w.service.reload("p", new_model_ref="b.txt", wait_s=5))
        await until(lambda: w.pool().activity is not None and w.pool().activity.task is not None)
        w.place.write()
        await w.service.reload_config()
        with pytest.raises(PoolManagerError) as told:
            await waiting
        assert told.value.code is Code.POOL_NOT_FOUND


async def test_a_spawn_that_fails_gives_its_port_its_memory_and_its_turn_back(world, tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF not really")
    broken.chmod(0o755)
    command = f'command = ["{broken}", "{{port}}"]'
    text = pool(more=command).replace('engine = "simulated"', 'engine = "command"').replace("[pool.simulated]", "")
    async with world(text) as w:
        await until(lambda: w.replica().state.history.failures >= 3)
        await w.phase("backoff", "circuit_open")
        assert w.replica().state.failure.code is Code.SPAWN_FAILED
        assert w.host.ports._taken == set()
        assert w.host.turns._held == set()
        assert w.host.reservations.reserved(w.host.inventory.snapshot.devices[0].uuid) == 0
        assert w.place.pid_file() is None


async def test_a_port_from_the_range_is_never_one_that_another_pool_is_configured_to_have(world):
    pools = (pool("p"), pool("q", more="port = 31001\npreload = false"))
    async with world(*pools, server="") as w:
        w.host.ports.set_range((31000, 31002))
        for _ in range(4):
            await w.phase("ready")
            assert w.replica().run.spec.port != 31001
            os.kill(w.replica().run.process.pid, signal.SIGKILL)
            await w.phase("backoff")


async def test_a_configured_port_that_is_taken_while_the_engine_starts_is_no_failure_of_the_engine(world):
    async with world(pool(more="port = 31500", simulated="port_in_use = true")) as w:
        await until(lambda: len(w.of("phase", to="backoff")) >= 2)
        assert w.replica().state.failure.code is Code.SPAWN_FAILED
        assert w.replica().state.failure.details["port"] == 31500
        history = w.replica().state.history
        assert (history.failures, history.restart_count) == (0, 0)


async def test_work_that_dies_of_a_fault_of_our_own_leaves_no_phase_for_ever(world, monkeypatch):
    real, left = preflight.need_of, [2]

    def need_of(*args):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(5, "Input/output error")
        return real(*args)

    monkeypatch.setattr(preflight, "need_of", need_of)
    faults = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with world() as w:
        await w.phase("backoff")
        assert w.replica().state.failure.code is Code.INTERNAL
        await w.phase("ready")
        assert w.replica().state.failure is None
    assert len(faults) == 2


async def test_what_cannot_be_killed_is_the_last_error_with_its_time(world):
    async with world(pool(simulated="exit_code = 3")) as w:
        await w.phase("backoff")
        announce.stuck(w.replica(), (4711,), 12.0)
        error = w.service.get_pool("p").last_error
        assert "4711" in error.message
        assert abs(parse_rfc3339(error.at) - w.host.clock()) < 5


async def test_a_reset_during_an_undrain_that_cannot_be_stored_starts_nothing(world):
    async with world() as w:
        await w.phase("ready")
        with closing(sqlite3.connect(w.place.state / "state.db", isolation_level=None)) as database:
            await w.service.acquire_lease("p")
            await w.service.drain("p", deadline_ms=300)
            await w.host.store.flush()
            database.execute("BEGIN IMMEDIATE")  # the store has to wait, until it gives up
            undrain = asyncio.create_task(w.service.cancel_drain("p"))
            await w.phase("stopped")
            reset = asyncio.create_task(w.service.reset_circuit("p"))
            with pytest.raises(PoolManagerError) as caught:
                await undrain
            assert caught.value.code in {Code.STORE_UNAVAILABLE, Code.CONFLICT}
            database.execute("ROLLBACK")
            await reset
        assert w.pool().desired is Desired.STOPPED
        assert w.replica().state.phase is Phase.STOPPED
