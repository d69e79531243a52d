"""Config reloads: replicas that are replaced, added, retired, and those that come back."""

import asyncio
import os
import signal

import pytest
from supervisor_world import QUICK, World, alive, pool, until

from pool_managerd.core.errors import Code, PoolManagerError

TWO = 'replicas = 2\ndevices = ["0", "1"]'


async def settled(w, pool_id="p"):
    owner = w.pool(pool_id)
    async with asyncio.timeout(8):
        while owner.is_following or not owner.ready:
            await owner.changed()


async def test_two_reloads_in_a_row_replace_each_engine_as_often_as_it_takes_and_no_more(world):
    async with world(pool(more=TWO)) as w:
        await w.phase("ready")
        await w.phase("ready", replica_id="r1")
        w.place.write(pool(more=TWO + '\nargs = ["--one"]'))
        await w.service.reload_config()
        w.place.write(pool(more=TWO + '\nargs = ["--two"]'))
        await w.service.reload_config()
        await settled(w)
        for replica in w.pool().replicas.values():
            assert replica.owner.config.args == ("--two",)
            assert "--two" in replica.run.engine.command_line(replica.run.spec)
        assert w.pool().status().restart_count == 0
        assert len(w.of("preload", to="ready")) == 4
        # Nothing waits on to stop them once more.
        os.kill(w.replica().run.process.pid, signal.SIGKILL)
        await w.phase("backoff")
        await w.phase("ready")
        assert w.replica().state.history.restart_count == 1


async def test_a_new_readiness_path_is_asked_at_once_and_costs_no_restart(place):
    here = place()
    asked = '[pool.readiness]\npath = "/v2/health/live"\n'
    async with World(here) as w:
        await w.phase("ready")
        pid = w.replica().run.process.pid
        here.write(pool(quick=QUICK + asked))
        changes = await w.service.reload_config()
        assert changes.restart_required == []
        # What is asked now says that it is well; the former path does not.
        here.control(health_status=500)
        await until(lambda: w.replica().run.heartbeat > w.host.clock() - 0.02)
        await asyncio.sleep(0.3)
        assert (w.replica().state.phase, w.replica().failed_probes) == ("ready", 0)
        here.control()
        await w.host.store.flush()
        await w.leave()
        here.kill_engines = lambda: None
    del here.kill_engines
    async with World(here) as w:
        await w.phase("ready")
        assert w.replica().run.process.pid == pid


async def test_a_replica_that_the_config_drops_and_takes_back_is_there_again(world):
    async with world(pool(more=TWO)) as w:
        await w.phase("ready")
        await w.phase("ready", replica_id="r1")
        leases = [await w.service.acquire_lease("p") for _ in range(2)]
        w.place.write(pool())
        await w.service.reload_config()
        await w.phase("draining", replica_id="r1")
        w.place.write(pool(more=TWO))
        await w.service.reload_config()
        for lease in leases:
            await w.service.release_lease("p", lease.lease_id)
        await settled(w)
        await w.phase("ready", replica_id="r1")
        assert sorted(w.pool().replicas) == ["r0", "r1"]


async def test_a_pool_that_is_still_leaving_cannot_come_back_yet(world):
    async with world(pool("p"), pool("q")) as w:
        await w.phase("ready")
        pid = w.replica().run.process.pid
        await w.service.acquire_lease("p")
        w.place.write(pool("q"))
        await w.service.reload_config()
        assert [one.pool_id for one in w.service.list_pools().pools] == ["q"]
        w.place.write(pool("p"), pool("q"))
        with pytest.raises(PoolManagerError) as refused:
            await w.service.reload_config()
        assert refused.value.code is Code.CONFLICT
        assert alive(pid)
        w.registry.leaving.by_id["p"].drain.hurry()
        await until(lambda: not w.registry.leaving.by_id)
        assert (w.place.pid_file(), w.place.handoff(), alive(pid)) == (None, None, False)
        await w.service.reload_config()
        await w.phase("ready")
        assert w.host.store.load("pool").keys() >= {"q"}


async def test_a_config_that_changes_the_model_during_a_reload_wins(world):
    async with world() as w:
        await w.phase("ready")
        w.place.control(load_ms=300)
        await w.service.reload("p", new_model_ref="b.txt")
        await w.phase("loading")
        w.place.write(pool().replace("a.txt", "c.txt"))
        await w.service.reload_config()
        await until(lambda: w.of("reload", to="done"))
        w.place.control(load_ms=0)
        await settled(w)
        assert w.pool().status().model == "c.txt"
        assert w.place.handoff()["model"]["path"].endswith("c.txt")


async def test_a_reload_of_the_model_waits_its_turn_while_a_changed_config_is_carried_out(world):
    async with world() as w:
        await w.phase("ready")
        await w.service.acquire_lease("p")
        w.place.write(pool(more='args = ["--one"]'))
        await w.service.reload_config()
        await w.phase("draining")
        with pytest.raises(PoolManagerError) as refused:
            await w.service.reload("p", new_model_ref="b.txt")
        assert refused.value.code is Code.CONFLICT


async def test_what_was_wrong_is_put_right_by_a_config_and_started_once(world):
    async with world(pool().replace("a.txt", "missing.txt")) as w:
        await w.phase("failed")
        assert w.replica().state.next_restart_at is None
        before = len(w.of("preload", to="started"))
        w.place.write(pool())
        await w.service.reload_config()
        await settled(w)
        assert len(w.of("preload", to="started")) == before + 1


async def test_a_spec_that_changes_during_a_backoff_is_tried_at_once(world):
    slow = QUICK.replace("initial_ms = 50", "initial_ms = 60000")
    async with world(pool(simulated="exit_code = 3", quick=slow)) as w:
        await w.phase("backoff")
        w.place.write(pool(quick=slow))
        await w.service.reload_config()
        await w.phase("ready")


async def test_a_pool_marked_preload_by_a_new_config_is_loaded_unless_its_operator_stopped_it(world):
    waits = (pool("p", more="preload = false"), pool("q", more="preload = false"))
    async with world(*waits) as w:
        await w.service.preload("q", wait_s=5)
        await w.service.drain("q", wait_s=5)
        w.place.write(pool("p"), pool("q"))
        changes = await w.service.reload_config()
        assert [one.keys for one in changes.changed] == [["preload"], ["preload"]]
        await w.phase("ready")
        assert w.service.get_pool("q").desired == "stopped"


async def test_a_pool_that_the_config_makes_ready_or_unready_says_so(world):
    async with world(pool(more=TWO)) as w:
        await w.phase("ready")
        await w.phase("ready", replica_id="r1")
        w.place.control(replica_id="r1", never_ready=True)
        os.kill(w.replica(replica_id="r1").run.process.pid, signal.SIGKILL)
        await w.phase("backoff", replica_id="r1")
        await w.phase("loading", replica_id="r1")
        w.place.write(pool(more=TWO + "\nmin_ready = 2"))
        await w.service.reload_config()
        assert w.service.get_pool("p").ready is False
        assert w.of("pool_unready")
        w.place.write(pool(more=TWO))
        await w.service.reload_config()
        assert len(w.of("pool_ready")) == 2


async def test_a_pool_that_never_ran_shows_the_devices_of_its_mask(world):
    async with world(pool(more=TWO + "\npreload = false")) as w:
        uuids = [device.uuid for device in w.host.inventory.snapshot.devices]
        status = w.service.get_pool("p")
        assert status.device_mask == uuids
        assert [replica.devices for replica in status.replicas] == [[uuids[0]], [uuids[1]]]
        assert (status.engine_version, status.last_error, status.live) == (None, None, False)


async def test_the_leases_of_a_pool_that_leaves_can_be_renewed_and_given_back(world):
    async with world(pool()) as w:
        await w.phase("ready")
        lease = await w.service.acquire_lease("p")
        w.place.write("")
        await w.service.reload_config()
        with pytest.raises(PoolManagerError, match="there is no pool 'p'"):
            w.service.get_pool("p")
        await w.service.renew_lease("p", lease.lease_id)
        await w.service.release_lease("p", lease.lease_id)
        await until(lambda: w.of("drain", to="drained"))
