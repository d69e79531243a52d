"""What the next daemon makes of what the last one left, at each moment."""

import asyncio
import errno
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from supervisor_world import QUICK, World, alive, pool, until

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.phases import Desired, Phase
from pool_managerd.core.restart_values import BreakerState
from pool_managerd.runtime import descendants
from pool_managerd.runtime.adoption import died
from pool_managerd.runtime.learned import read_learned
from pool_managerd.runtime.store import Put


async def after(place, *, leave=True, before=None):
    """One life of a daemon, up to Ready and what ``before`` does then."""

    async def work(w):
        await w.phase("ready")
        return w.replica().run.process.pid, await before(w) if before is not None else None

    return await life(place, work, leave=leave)


async def life(place, work, *, leave=True):
    """One life of a daemon that does ``work``; its engines outlive it."""
    async with World(place) as w:
        result = await work(w)
        await (w.leave() if leave else w.stop())
        place.kill_engines = lambda: None
    del place.kill_engines
    return result


async def both_ready(w):
    """The pids of the pools p and q."""
    for name in "pq":
        await w.phase("ready", pool_id=name)
    return {name: w.replica(name).run.process.pid for name in "pq"}


async def test_a_drain_goes_on_with_its_leases_and_deadline(place):
    async def drain(w):
        lease = await w.service.acquire_lease("p")
        await w.service.drain("p", deadline_ms=4000)
        return lease, w.pool().pending_drain["deadline"]

    here = place()
    pid, (lease, deadline) = await after(here, before=drain)
    async with World(here) as w:
        assert w.pool().draining
        await w.phase("draining")
        assert alive(pid)
        assert w.pool().activity.owner.deadline == deadline
        assert not w.of("pool_ready")
        await w.service.renew_lease("p", lease.lease_id)
        await w.service.release_lease("p", lease.lease_id)
        await w.phase("stopped")
        assert w.of("drain", to="drained")
        assert w.pool().pending_drain is None


async def test_a_drain_that_goes_on_can_be_cancelled(place):
    async def drain(w):
        await w.service.acquire_lease("p")
        await w.service.drain("p", deadline_ms=4000)

    here = place()
    pid, _ = await after(here, before=drain)
    async with World(here) as w:
        await w.phase("draining")
        status = await w.service.cancel_drain("p")
        assert (status.ready, status.active_leases, status.replicas[0].pid) == (True, 1, pid)


async def test_a_finished_reload_leaves_no_model_of_its_own_behind(place):
    async def reload(w):
        await w.service.reload("p", new_model_ref="b.txt", wait_s=5)
        return w.replica().run.process.pid

    here = place()
    _, pid = await after(here, before=reload)
    async with World(here) as w:
        await w.phase("ready")
        assert (w.replica().run.process.pid, w.pool().status().model) == (pid, "b.txt")
        assert not w.of("reload")
        here.write(pool().replace("a.txt", "c.txt"))
        await w.service.reload_config()
        await until(lambda: not w.pool().is_following and w.pool().ready)
        assert here.handoff()["model"]["path"].endswith("c.txt")


async def test_a_reload_that_was_promised_is_carried_out_and_what_runs_the_new_model_already_is_left_alone(place):
    two = pool(more='replicas = 2\ndevices = ["0", "1"]')

    async def reload(w):
        await w.phase("ready", replica_id="r1")
        w.place.control(replica_id="r1", load_ms=60_000)
        await w.service.reload("p", new_model_ref="b.txt")
        await w.phase("loading", replica_id="r1")
        return w.replica(replica_id="r0").run.process.pid

    here = place(two)
    _, pid = await after(here, before=reload)
    here.control(replica_id="r1", load_ms=0)
    async with World(here) as w:
        assert w.pool().activity.kind == "reload"
        await until(lambda: w.of("reload", to="done"))
        assert w.replica().run.process.pid == pid
        for replica_id in ("r0", "r1"):
            assert here.handoff(replica_id=replica_id)["model"]["path"].endswith("b.txt")
        assert w.pool().status().model == "b.txt"


@pytest.mark.parametrize("engine_ends", [True, False])
async def test_a_promised_reload_whose_model_is_gone_meanwhile_is_taken_back_on_all_replicas(place, engine_ends):
    async def reload(w):
        await w.phase("ready", replica_id="r1")
        w.place.control(replica_id="r1", load_ms=60_000, model="b.txt")
        await w.service.reload("p", new_model_ref="b.txt")
        await w.phase("loading", replica_id="r1")
        return w.replica(replica_id="r1").run.process.pid

    here = place(pool(more='replicas = 2\ndevices = ["0", "1"]'))
    _, pid = await after(here, before=reload)
    if engine_ends:
        os.kill(pid, signal.SIGKILL)
    (here.path / "b.txt").unlink()
    here.control(replica_id="r1")
    async with World(here) as w:
        await until(lambda: w.of("reload", to="failed"))
        told = w.of("reload", to="failed")[0].details
        assert (told["cause"], told["restored"]) == ("MODEL_NOT_FOUND", True)
        for replica_id in ("r0", "r1"):
            await w.phase("ready", replica_id=replica_id)
            assert here.handoff(replica_id=replica_id)["model"]["path"].endswith("a.txt")
        assert w.pool().status().model == "a.txt"


async def test_a_promised_reload_to_a_model_that_does_not_load_ends_on_the_old_one(place):
    async def reload(w):
        w.place.control(never_ready=True)
        await w.service.reload("p", new_model_ref="b.txt")
        await w.phase("loading")

    here = place(pool(quick=QUICK + "[pool.readiness]\ntimeout_ms = 600\n"))
    await after(here, before=reload)
    async with World(here) as w:
        await until(lambda: w.of("reload", to="failed"))
        here.control()
        await w.phase("ready")
        assert (w.pool().status().model, w.pool().pending_reload) == ("a.txt", None)
        assert here.handoff()["model"]["path"].endswith("a.txt")
        assert w.of("reload", to="failed")[0].details["cause"] == "READINESS_TIMEOUT"


async def test_a_backoff_goes_on_after_a_restart_with_sigterm_too(place):
    slow = QUICK.replace("initial_ms = 50", "initial_ms = 3000")

    async def crash(w):
        os.kill(w.replica().run.process.pid, signal.SIGKILL)
        await w.phase("backoff")
        return w.replica().state

    here = place(pool(quick=slow))
    _, state = await after(here, leave=False, before=crash)
    async with World(here) as w:
        assert w.replica().state.phase is Phase.BACKOFF
        assert w.replica().state.next_restart_at == state.next_restart_at
        assert w.replica().state.failure == state.failure
        await w.service.preload("p", wait_s=5)
        assert w.pool().ready


async def test_what_was_being_stopped_for_a_failure_is_not_taken_back(place):
    async def fail(w):
        w.place.control(term_ms=5000)
        await asyncio.sleep(0.05)
        w.replica().fail(replace(died(w.replica()), code=Code.HEALTH_CHECK_FAILED))
        assert w.replica().state.phase is Phase.STOPPING
        await asyncio.sleep(0.05)

    here = place(pool(quick=QUICK.replace("initial_ms = 50", "initial_ms = 700")))
    pid, _ = await after(here, before=fail)
    async with World(here) as w:
        assert w.replica().state.phase is Phase.STOPPING
        await w.phase("backoff")
        assert not alive(pid)
        assert w.replica().state.failure.code is Code.HEALTH_CHECK_FAILED
        assert w.replica().state.history.failures == 1
        await w.phase("ready")


async def test_an_engine_that_runs_is_adopted_from_its_handoff_file_when_the_database_is_lost(place):
    async def reload(w):
        await w.service.preload("p", wait_s=5)
        await w.service.reload("p", new_model_ref="b.txt", wait_s=5)
        return w.replica().run.process.pid

    here = place()
    _, pid = await after(here, before=reload)
    here.write(pool(more="preload = false"))
    (here.state / "state.db").write_bytes(b"this is no database" * 100)
    async with World(here) as w:
        await w.phase("ready")
        assert (w.replica().run.process.pid, w.pool().desired) == (pid, Desired.RUNNING)
        assert here.handoff()["model"]["path"].endswith("b.txt")


async def test_pid_files_that_are_missing_are_written_for_an_adopted_engine(place):
    async def lose(w):
        for replica_id in ("r0", None):
            w.host.state_dir.pid_file("p", replica_id).unlink()

    here = place()
    pid, _ = await after(here, before=lose)
    async with World(here) as w:
        await w.phase("ready")
        for replica_id in ("r0", None):
            assert int(w.host.state_dir.pid_file("p", replica_id).read_text()) == pid


async def test_the_leases_of_an_adopted_engine_that_hangs_end_with_it(place):
    here = place()
    pid, lease = await after(here, before=lambda w: w.service.acquire_lease("p"))
    os.kill(pid, signal.SIGSTOP)
    async with World(here) as w:
        assert [one.lease_id for one in w.service.list_leases("p")] == [lease.lease_id]
        await w.phase("stopping", "backoff")
        assert w.service.list_leases("p") == []
        assert w.replica().state.failure.code is Code.HEALTH_CHECK_FAILED
        await w.phase("ready")
        assert not alive(pid)


async def test_a_pool_marked_preload_while_no_daemon_ran_is_loaded(place):
    here = place(pool(more="preload = false"), pool("q"))
    async with World(here) as w:
        await w.phase("ready", pool_id="q")
        await w.leave()
    here.write(pool(), pool("q"))
    async with World(here) as w:
        await w.phase("ready")


async def test_restarts_of_replicas_that_the_config_dropped_meanwhile_still_count(place):
    async def crash(w):
        await w.phase("ready", replica_id="r1")
        os.kill(w.replica(replica_id="r1").run.process.pid, signal.SIGKILL)
        await w.phase("backoff", replica_id="r1")
        await w.phase("ready", replica_id="r1")

    here = place(pool(more='replicas = 2\ndevices = ["0", "1"]'))
    await after(here, leave=False, before=crash)
    here.write(pool())
    async with World(here) as w:
        assert w.pool().status().restart_count == 1


async def test_an_open_circuit_stays_open_until_the_same_time_and_the_failures_stay(place):
    breaker = QUICK + "[pool.breaker]\nfailures = 1\nopen_ms = 1000\n"
    here = place(pool(simulated="exit_code = 3", quick=breaker))
    async with World(here) as w:
        await w.phase("circuit_open")
        until_ = w.replica().state.history.open_until
        await w.leave()
    async with World(here) as w:
        assert w.replica().state.phase is Phase.CIRCUIT_OPEN
        history = w.replica().state.history
        assert (history.state, history.open_until, history.failures) == (BreakerState.OPEN, until_, 1)
        await w.phase("preflight", "loading", "starting")
        assert w.host.clock() >= until_


async def test_what_a_slow_engine_of_a_changed_pool_needs_to_stop_delays_nobody(place):
    slow = QUICK.replace("grace_ms = 300", "grace_ms = 20000")
    here = place(pool(simulated="term_ms = 1500", quick=slow), pool("q"))
    pids = await life(here, both_ready)
    here.write(pool(simulated="term_ms = 1500", quick=slow, more="slots = 7"), pool("q"))
    began = time.monotonic()
    async with World(here) as w:
        assert time.monotonic() - began < 1
        await w.phase("ready", pool_id="q")
        assert w.replica("q").run.process.pid == pids["q"]
        assert (w.replica().state.phase, w.replica().run.process.pid) == (Phase.STOPPING, pids["p"])
        assert not w.of("adopted", pool_id="p")
        await w.phase("ready")
        assert not alive(pids["p"])
        assert (w.replica().run.slots, w.replica().run.adopted) == (7, False)
        assert w.replica().state.history.failures == w.replica().state.history.restart_count == 0


async def test_an_engine_whose_model_file_is_gone_by_now_is_adopted_all_the_same(place):
    here = place()
    pid, _ = await after(here)
    (here.path / "a.txt").unlink()
    async with World(here) as w:
        await w.phase("ready")
        assert w.replica().run.process.pid == pid
        assert w.host.reservations.get(w.replica().key).per_device


async def test_a_pool_that_the_config_dropped_meanwhile_leaves_nothing_but_its_log(place):
    here = place(pool(), pool("q"))
    pid = (await life(here, both_ready))["q"]
    here.write(pool())
    async with World(here) as w:
        await until(lambda: not w.registry.left_behind.ending)
        assert not alive(pid)
        assert [path.name for path in here.state.rglob("*q*")] == ["engine-q-r0.log"]
        assert w.of("daemon", pool_id="q", to="warning")
        await w.host.store.flush()
        assert set(w.host.store.load("pool")) == {"p"}
        assert set(w.host.store.load("replica")) == {"p/r0"}


def without_descriptors(monkeypatch, times: int) -> list[int]:
    """The next searches through all processes find no descriptor left."""
    failed: list[int] = []
    read = descendants.process_table

    def table():
        if len(failed) < times:
            failed.append(errno.EMFILE)
            raise OSError(errno.EMFILE, "Too many open files")
        return read()

    monkeypatch.setattr(descendants, "process_table", table)
    return failed


@pytest.mark.parametrize("times", [1, 3])
async def test_what_a_dropped_pool_left_is_ended_although_there_was_no_descriptor_for_a_while(
    place, monkeypatch, times
):
    here = place(pool(), pool("q"))
    pid = (await life(here, both_ready))["q"]
    here.write(pool())
    async with World(here, begin=False) as w:
        ending = w.registry.left_behind.ending
        await until(lambda: not ending)
        failed = without_descriptors(monkeypatch, times)
        w.registry.left_behind.end("q", "r0", None, first=True, then=())
        await until(lambda: len(failed) == times)
        await until(lambda: not ending)
        assert not alive(pid)
        w.registry.begin()


async def test_a_start_waits_for_what_an_earlier_one_left_although_there_was_no_descriptor_for_a_while(
    place, monkeypatch
):
    here = place()
    async with World(here) as w:
        await w.phase("ready")
        stopping = w.replica().stopping
        failed = without_descriptors(monkeypatch, 1)
        stopping.begin_reaping("nobody:has:this")
        await stopping.cleaned_up()
        assert len(failed) == 1


async def test_a_measured_need_that_cannot_be_read_is_left_out_with_a_warning(place, caplog):
    here = place()
    async with World(here) as w:
        await w.phase("ready")
        w.host.store.post([Put("need", "a/1", {}), Put("need", "b/1", {"held": [1], "version": "1", "at": 2.0})])
        await w.host.store.flush()
    async with World(here) as w:
        assert [one.details["key"] for one in w.of("daemon", to="warning") if one.details.get("kind") == "need"] == [
            "a/1"
        ]
        await w.phase("ready")
    read_learned(here.state / "state.db", 0)
    assert "the stored need a/1 cannot be used" in caplog.text


async def test_a_pool_cannot_come_back_while_its_old_engine_is_being_ended(place):
    here = place(pool(), pool("q", simulated="term_ms = 700"))
    await life(here, both_ready)
    here.write(pool())
    async with World(here) as w:
        here.write(pool(), pool("q"))
        with pytest.raises(PoolManagerError) as caught:
            await w.service.reload_config()
        assert caught.value.code is Code.CONFLICT
        await until(lambda: not w.registry.left_behind.ending)
        await w.service.reload_config()
        await w.phase("ready", pool_id="q")


async def test_an_engine_that_ends_before_the_daemon_has_begun_is_not_waited_for(place):
    here = place()
    pid, _ = await after(here)
    async with World(here, begin=False) as w:
        os.kill(pid, signal.SIGKILL)
        await w.replica().run.process.gone()
        w.registry.begin()
        assert w.replica().state.phase is Phase.BACKOFF
        assert w.replica().state.failure.code is Code.ENGINE_EXITED
        await w.phase("ready")


async def test_an_adopted_engine_whose_port_was_taken_is_started_again_on_another(place):
    here = place()
    here.control(load_ms=60_000)
    await life(here, lambda w: w.phase("loading"))
    async with World(here) as w:
        await w.phase("loading")
        here.control(port_in_use=True)
        await until(lambda: w.of("preload", to="failed"))
        here.control()
        await w.phase("ready")
        assert w.replica().state.history.failures == 0


async def test_documents_that_cannot_be_used_are_no_reason_not_to_start(place):
    async def spoil(w):
        await w.service.acquire_lease("p")
        await w.host.store.commit(
            [Put("pool", "p", {"desired": "?"}), Put("replica", "p/r0", {"phase": 1}), Put("lease", "x", {})]
        )

    here = place()
    pid, _ = await after(here, before=spoil)
    async with World(here) as w:
        assert [event.details.get("kind") for event in w.of("daemon", to="warning")] == ["pool", None, "lease"]
        await w.phase("ready")
        assert w.replica().run.process.pid == pid


async def test_a_stale_file_is_removed_with_the_true_reason(world):
    w = world(pool(more="preload = false"))
    engines = w.place.state / "engines"
    engines.mkdir(parents=True)
    w.place.state.chmod(0o700)
    for file in ("p.pid", "p-r0.pid", "gone.pid", "p-r1.pid", ".tmp-1-ab", "engines/p-r0.json", "engines/gone-r0.json"):
        (w.place.state / file).write_text("4242")
    async with w:
        told = {event.details["path"]: event.reason for event in w.of("daemon", to="warning")}
    reasons = {str(Path(path).relative_to(w.place.state)): text.partition(": ")[2] for path, text in told.items()}
    ended = "its engine does not run any more"
    left = "the config has no such pool or replica any more, and what still runs of it is ended"
    assert reasons == {
        "p.pid": ended, "p-r0.pid": ended, "engines/p-r0.json": ended, ".tmp-1-ab": "it was never finished",
        "gone.pid": left, "p-r1.pid": left, "engines/gone-r0.json": left,
    }  # fmt: skip
