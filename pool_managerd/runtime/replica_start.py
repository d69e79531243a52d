"""From the checks before a start of one replica until its engine is Ready."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.failures import Failure, FailureClass
from pool_managerd.core.phases import Phase
from pool_managerd.core.replica_state import Input, Signal
from pool_managerd.devices.memory import Need
from pool_managerd.runtime import announce, preflight, spawning
from pool_managerd.runtime.failures import internal, log_tail
from pool_managerd.runtime.loading import learn, wait_until_ready
from pool_managerd.runtime.run import Run
from pool_managerd.runtime.stop import end_leftovers

if TYPE_CHECKING:
    from pool_managerd.runtime.replica import Replica


class ReplicaStart:
    """Checks, spawns and loads a replica's engine; gives back what the start had been promised if it fails."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica

    async def preflight(self) -> None:
        """Check what is to run, and wait until it may: for what is left of the last process, and for a turn to load."""
        replica = self.replica
        try:
            await replica.stopping.cleaned_up()
            if replica.releasing is not None:
                await replica.releasing.verified(replica.host, replica.owner.config.stop.vram_release_ms / 1000)
                replica.releasing = None
            plan = await preflight.check(replica.host, replica.target, on_need=self._note_need)
            if not replica.host.turns.is_free():
                replica.waiting_for_turn = True
                announce.waits_for_turn(replica)
            await replica.host.turns.acquire(replica.name)
            if replica.waiting_for_turn:
                replica.waiting_for_turn = False
                plan = await preflight.check(replica.host, replica.target, on_need=self._note_need)
            plan = await preflight.with_port(replica.host, plan)
        except PoolManagerError as error:
            self.give_back()
            port_taken = error.code is Code.SPAWN_FAILED and "port" in error.details
            replica.fail(Failure.from_error(error, failure_class=FailureClass.PORT if port_taken else None))
            return
        replica.plan = plan
        if replica.host.shutting_down:
            self.give_back()
            return
        replica.signal(Input(Signal.PREFLIGHT_PASSED))

    def _note_need(self, need: Need) -> None:
        self.replica.last_need = need

    async def spawn(self) -> None:
        """Start the engine that was planned."""
        replica = self.replica
        plan = replica.plan
        assert plan is not None, "STARTING follows a passed preflight"  # noqa: S101 - the table's promise
        try:
            run = await spawning.spawn_engine(replica.host, replica.owner.config, plan)
        except PoolManagerError as error:
            self.give_back()
            replica.fail(error)
            return
        except Exception as error:
            # It may have been started all the same, and nobody would know its pid.
            marker = replica.host.marker(replica.pool_id, replica.replica_id)
            replica.stopping.begin_reaping(marker)
            self.give_back()
            replica.fail(internal(replica.pool_id, replica.replica_id, error))
            raise
        replica.run = run
        replica.files.write_pid()
        replica.watching.attach(run)
        replica.signal(Input(Signal.SPAWNED))  # which means nothing if it is being stopped by now
        self._check_devices(run)

    async def respawn(self, run: Run) -> None:
        """Start the same plan on another port: no failure, no backoff, no restart counted."""
        replica = self.replica
        await end_leftovers(run.process)
        if replica.run is not run or not self._is_loading() or replica.plan is None:
            return
        replica.host.logs.unwatch(replica.log_path)
        replica.host.ports.release(run.spec.port)
        try:
            spec = replace(replica.plan.spec, port=preflight.choose_port(replica.host, run.spec.host))
            replica.plan = replace(replica.plan, spec=spec)
            fresh = await spawning.spawn_engine(replica.host, replica.owner.config, replica.plan)
        except PoolManagerError as error:
            replica.fail(error)
            return
        fresh.port_attempts = run.port_attempts + 1
        replica.run = fresh
        replica.files.write_pid()
        replica.watching.attach(fresh)
        replica.persist()
        if self._is_loading():
            announce.moved_port(replica, run.spec.port)
            replica.work.begin(self.load, "load")
            self._check_devices(fresh)

    def _check_devices(self, run: Run) -> None:
        """A device may have failed while the process was being made, when nothing of it was known to be there."""
        replica = self.replica
        snapshot = replica.host.inventory.snapshot
        # While NVML itself fails there is no evidence either way.
        if replica.run is run and self._is_loading() and not snapshot.stale:
            try:
                preflight.check_devices(replica.host, run.spec.devices, snapshot)
            except PoolManagerError as error:
                replica.fail(error)

    async def load(self) -> None:
        """Wait until the engine is ready, and tell others where it is."""
        replica = self.replica
        run = replica.run
        assert run is not None, "LOADING has a process"  # noqa: S101 - the table's promise
        config = replica.owner.config
        loop = asyncio.get_running_loop()
        deadline = run.spawned_clock + config.readiness.timeout_ms / 1000
        if run.adopted and run.was_ready:
            # It had loaded already: it gets as long as a Ready engine may stay silent, not another load's time.
            deadline = loop.time() + config.liveness.failures * config.liveness.probe_timeout_ms / 1000
        try:
            await wait_until_ready(replica.host, lambda: replica.owner.config, run, deadline=deadline)
            while config is not replica.owner.config:
                # The config was reloaded meanwhile: what it says of the version holds for this engine, too.
                config = replica.owner.config
                await learn(run, config)
        except PoolManagerError as error:
            if run.adopted and run.was_ready and error.code is Code.READINESS_TIMEOUT:
                error.code = Code.HEALTH_CHECK_FAILED
            error.details["log_tail"] = log_tail(replica.log_path, run.log_offset)
            replica.fail(error)
            return
        if not run.process.running:
            return  # its end is judged where it is noticed
        run.note_ready(replica.log_path)
        replica.version = run.version
        replica.host.reservations.update(replica.key, resident=True)
        replica.files.write_handoff()
        replica.signal(Input(Signal.BECAME_READY))

    def _is_loading(self) -> bool:
        return self.replica.state.phase is Phase.LOADING

    def give_back(self) -> None:
        """Give up what a start had been promised: memory, its turn, its port."""
        replica = self.replica
        plan, replica.plan = replica.plan, None
        if plan is not None:
            replica.host.ports.release(plan.spec.port)
        replica.host.turns.release(replica.name)
        replica.host.reservations.release(replica.key)

    def give_back_unused(self) -> None:
        """Give up what a start had been promised, unless a process was made of it."""
        if self.replica.run is None:
            self.give_back()
