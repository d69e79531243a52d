"""One replica: carries out what the core's transition table decides, and announces every change.

All changes go through :meth:`Replica.signal`. It asks the core, publishes what happened, stores it, and then does
what the table says: check, spawn, load, watch, stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pool_managerd.config import PoolConfig
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.failures import Failure, FailureClass
from pool_managerd.core.phases import COMING_UP, WITH_PROCESS, Phase
from pool_managerd.core.replica import Action, Input, ReplicaState, Signal, Step, step
from pool_managerd.core.restart import RestartPolicy
from pool_managerd.devices.mask import resolve_mask
from pool_managerd.devices.memory import Need
from pool_managerd.observe.correlation import CORRELATION_ID
from pool_managerd.runtime import announce, preflight, spawning
from pool_managerd.runtime.failures import from_exit, from_log_line, log_tail
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.liveness import watch
from pool_managerd.runtime.loading import learn, wait_until_ready
from pool_managerd.runtime.preflight import Plan, Target
from pool_managerd.runtime.process import EngineProcess, ExitStatus
from pool_managerd.runtime.release import Releasing
from pool_managerd.runtime.run import Run
from pool_managerd.runtime.sockets import port_is_free
from pool_managerd.runtime.stop import KILL_WAIT_S, end_leftovers, reap_leftovers, stop_ladder
from pool_managerd.runtime.store import Put

_log = logging.getLogger(__name__)

#: What begins a start. While the daemon shuts down these mean nothing, and what they belong to waits for the next one.
STARTING_SIGNALS = frozenset({Signal.START, Signal.TIMER, Signal.TRIAL, Signal.RECHECK, Signal.RESET})
#: A handoff file that could not be written is tried again this often, in seconds.
HANDOFF_RETRY_S = 0.5
#: A process that cannot be killed is tried again, and reported, this often, in seconds.
STUCK_WAIT_S = 10.0
#: Seconds until a search for processes that failed is tried again.
STOP_RETRY_S = 0.5
#: How often a port from the range may turn out to be taken within one start.
PORT_ATTEMPTS = 8
#: How often a configured port that is taken is looked at again, in seconds (SPEC, "Whose 200 was it?").
PORT_RECHECK_S = 0.5


class Owner(Protocol):
    """What a replica needs of its pool."""

    @property
    def config(self) -> PoolConfig:
        """The pool's present config."""

    def model_of(self, replica_id: str) -> Path | None:
        """The model that this replica is to run."""

    def on_change(self, replica: Replica, before: ReplicaState, taken: Step) -> None:
        """Called after each change, before the table's actions are carried out."""


def policy_of(config: PoolConfig) -> RestartPolicy:
    """The core's policy value for a pool's config."""
    general = config.restart
    breaker = config.breaker
    return RestartPolicy(
        initial_ms=general.initial_ms,
        factor=general.factor,
        max_ms=general.max_ms,
        floor_ms=general.floor_ms,
        jitter=general.jitter,
        driver_factor=general.driver_factor,
        stable_ms=general.stable_ms,
        rate=general.rate,
        rate_window_ms=general.rate_window_ms,
        storm_warn=general.storm_warn,
        storm_open=general.storm_open,
        storm_open_window_ms=general.storm_open_window_ms,
        on_exit_zero=general.on_exit_zero,
        breaker_failures=breaker.failures,
        breaker_driver_failures=breaker.driver_failures,
        breaker_open_ms=breaker.open_ms,
        breaker_max_open_ms=breaker.max_open_ms,
        breaker_stable_ms=breaker.stable_ms,
    )


def _internal(replica: Replica, error: Exception) -> Failure:
    """A fault of our own: the replica is restarted like after a crash, and the log has the traceback."""
    return Failure(
        Code.INTERNAL,
        f"pool {replica.pool_id} replica {replica.replica_id}: {type(error).__name__}: {error}",
        "this is a fault of pool-managerd or of the host; the daemon's log has more",
        FailureClass.CRASH,
        "internal",
        {},
    )


def _port_taken(run: Run) -> Failure:
    """Somebody was quicker to take a configured port; the next look before a start names the holder."""
    spec = run.spec
    return Failure(
        Code.SPAWN_FAILED,
        f"pool {spec.pool_id}: port {spec.port} on {spec.host} was taken while the engine started",
        "free the port, or set `port = 0` for one from port_range; it is looked at again every 500 ms",
        FailureClass.PORT,
        "spawn_failed",
        {"port": spec.port, "host": spec.host},
    )


class Replica:
    """One engine process of a pool, or its absence.

    :param state: where it stands, as restored from the store or new.
    """

    def __init__(self, host: Host, owner: Owner, replica_id: str, state: ReplicaState) -> None:
        self.host = host
        self.owner = owner
        self.replica_id = replica_id
        self.state = state
        self.run: Run | None = None
        self.plan: Plan | None = None
        self.correlation_id: str | None = None
        self.trigger = "serve"
        self.warning: PoolManagerError | None = None
        self.waiting_for_turn = False
        self.releasing: Releasing | None = None
        self.version: str | None = None
        self.model: Path | None = None
        self.warned_at = 0.0
        self.forced: bool | None = None
        self.stopped_with: ExitStatus | None = None
        self._work: asyncio.Task[Any] | None = None
        self._spawning: asyncio.Task[Any] | None = None
        self._leftovers: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stable_timer: asyncio.TimerHandle | None = None
        self._forgotten = False
        self._need: Need | None = None

    @property
    def pool_id(self) -> str:
        """The pool it belongs to."""
        return self.owner.config.id

    @property
    def name(self) -> str:
        """Names it among all replicas of the daemon: ``<pool>-<replica>``."""
        return f"{self.pool_id}-{self.replica_id}"

    @property
    def policy(self) -> RestartPolicy:
        """The restart policy in force."""
        return policy_of(self.owner.config)

    @property
    def last_need(self) -> Need | None:
        """The memory that it needs, as planned for the present or the last attempt."""
        return self._need

    @property
    def is_first(self) -> bool:
        """Whether it is the pool's first replica, whose pid stands in ``<pool>.pid``."""
        return self.replica_id == self.owner.config.replica_ids[0]

    @property
    def devices(self) -> list[str]:
        """UUIDs of the GPUs that it uses or would use; none if its mask names no GPU that is there."""
        if self.run is not None:
            return list(self.run.spec.devices)
        if self.plan is not None:
            return list(self.plan.spec.devices)
        with contextlib.suppress(PoolManagerError):
            snapshot = self.host.inventory.snapshot
            return [device.uuid for device in resolve_mask(self.target.mask, snapshot, absent="unavailable")]
        return []

    @property
    def key(self) -> tuple[str, str]:
        """Names it in the ledger of reservations."""
        return (self.pool_id, self.replica_id)

    @property
    def target(self) -> Target:
        """What is to run."""
        return Target(self.owner.config, self.replica_id, self.owner.model_of(self.replica_id))

    @property
    def log_path(self) -> Path:
        """Where the engine's output goes."""
        return self.host.state_dir.log_file(self.pool_id, self.replica_id)

    # -- the one way to change -------------------------------------------------------------------------------------

    def signal(self, given: Input) -> Step:
        """Tell the replica that something happened."""
        before = self.state
        if self.host.shutting_down and given.signal in STARTING_SIGNALS:
            return Step(before, reason="the daemon is shutting down: nothing is started")
        now = self.host.clock()
        taken = step(before, given, self.policy, now)
        self.state = taken.state
        if taken.state == before and not taken.actions:
            return taken
        token = CORRELATION_ID.set(self.correlation_id)
        try:
            announce.change(self, before, taken, given)
        except Exception:  # noqa: BLE001 - what is announced wrongly must be done all the same
            _log.exception("announcing a change of %s failed", self.name)
        finally:
            CORRELATION_ID.reset(token)
        if taken.state.phase is not before.phase:
            self._on_phase(before.phase)
        self.owner.on_change(self, before, taken)
        if taken.state.phase is Phase.READY:
            # What the caller asked for is done: what happens from now on is not its doing.
            self.correlation_id = None
        self.persist()
        for action in taken.actions:
            self._act(action)
        return taken

    def start(self, given: Input, *, trigger: str, correlation_id: str | None = None) -> Step:
        """Deliver a START; its events carry the caller's correlation id."""
        self.correlation_id = correlation_id
        self.trigger = trigger
        return self.signal(given)

    def fail(self, error: PoolManagerError | Failure, *, let_leases_end: bool = False) -> None:
        """Deliver a FAILED for an error that the shell met."""
        failure = error if isinstance(error, Failure) else Failure.from_error(error)
        process = self.run.process if self.run is not None else None
        self.signal(
            Input(
                Signal.FAILED,
                failure=failure,
                process_left=process is not None and process.running,
                let_leases_end=let_leases_end,
                spread=random.uniform(-1, 1),  # noqa: S311 - jitter needs no secrecy
            )
        )

    def persist(self) -> None:
        """Store what another daemon needs to go on from here."""
        if self._forgotten:
            return
        key = f"{self.pool_id}/{self.replica_id}"
        self.host.store.post([Put("replica", key, announce.replica_document(self))])

    # -- carrying out ----------------------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        match action:
            case Action.PREFLIGHT:
                self._begin(self._preflight, "preflight")
            case Action.SPAWN:
                self._begin_spawn(self._spawn)
            case Action.LOAD:
                self._begin(self._load, "load")
            case Action.WATCH:
                self._begin(self._watch, "watch")
            case Action.STOP_PROCESS:
                self._begin(self._stop, "stop")
            case Action.CLEAR_PROCESS:
                self._clear_process()
            case Action.CANCEL_PREFLIGHT:
                self._cancel_work()
                self._give_back()
            case Action.ARM_TIMER:
                self._arm_timer()
            case Action.BEGIN_TRIAL:
                self.trigger = "restart"
                asyncio.get_running_loop().call_soon(self.signal, Input(Signal.TRIAL), context=contextvars.Context())

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._cancel_work()
        self._work = self.host.start_task(self._to_its_end(work), f"{name} {self.name}")

    def _begin_spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """What makes a process is never cancelled: a stop waits until the process is there, and then ends it."""
        self._cancel_work()
        self._spawning = self.host.start_task(self._to_its_end(work), f"spawn {self.name}")

    async def _to_its_end(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Whatever goes wrong, the replica hears of it: no phase is for ever because its work died."""
        while True:
            try:
                await work()
            except Exception as error:
                if work != self._stop:
                    self._give_back_unused()
                    self.fail(_internal(self, error))
                    raise
                # A stop has only one way to end.
                _log.exception("stopping %s", self.name)
                await asyncio.sleep(STOP_RETRY_S)
            else:
                return

    def _cancel_work(self) -> None:
        work, self._work = self._work, None
        if work is not None and work is not asyncio.current_task():
            work.cancel()

    def _on_phase(self, old: Phase) -> None:
        """What belongs to entering and leaving phases, whatever led there."""
        phase = self.state.phase
        if old in {Phase.BACKOFF, Phase.CIRCUIT_OPEN, Phase.FAILED} and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if phase not in COMING_UP:
            self.host.turns.release(self.name)
            self.waiting_for_turn = False
        if phase is Phase.READY and self._stable_timer is None:
            self.arm_stable_timer()
        elif phase not in {Phase.READY, Phase.DRAINING} and self._stable_timer is not None:
            self._stable_timer.cancel()
            self._stable_timer = None

    async def _preflight(self) -> None:
        try:
            if self._leftovers is not None:
                await asyncio.shield(self._leftovers)
            if self.releasing is not None:
                await self.releasing.verified(self.host, self.owner.config.stop.vram_release_ms / 1000)
                self.releasing = None
            plan = await preflight.check(self.host, self.target)
            if not self.host.turns.is_free():
                self.waiting_for_turn = True
                announce.waits_for_turn(self)
            await self.host.turns.acquire(self.name)
            if self.waiting_for_turn:
                self.waiting_for_turn = False
                plan = await preflight.check(self.host, self.target)
            self._need = plan.need
            plan = await preflight.with_port(self.host, plan)
        except PoolManagerError as error:
            self._give_back()
            port_taken = error.code is Code.SPAWN_FAILED and "port" in error.details
            self.fail(Failure.from_error(error, failure_class=FailureClass.PORT if port_taken else None))
            return
        self.plan = plan
        if self.host.shutting_down:
            self._give_back()
            return
        self.signal(Input(Signal.PREFLIGHT_PASSED))

    async def _spawn(self) -> None:
        plan = self.plan
        assert plan is not None, "STARTING follows a passed preflight"  # noqa: S101 - the table's promise
        try:
            run = await spawning.spawn_engine(self.host, self.owner.config, plan)
        except PoolManagerError as error:
            self._give_back()
            self.fail(error)
            return
        except Exception as error:
            # It may have been started all the same, and nobody would know its pid.
            marker = self.host.marker(self.pool_id, self.replica_id)
            self._leftovers = self.host.start_task(self._reap(marker), f"leftovers {self.name}")
            self._give_back()
            self.fail(_internal(self, error))
            raise
        self.run = run
        self._attach(run)
        self.signal(Input(Signal.SPAWNED))  # which means nothing if it is being stopped by now

    def adopt(self, run: Run) -> None:
        """Take over an engine that was started by an earlier daemon."""
        self.run = run
        self.host.ports.mark(run.spec.port)
        self.host.reservations.reserve(self.key, run.need.per_device, ram=run.need.ram)
        self._need = run.need
        self._attach(run)

    def _attach(self, run: Run) -> None:
        """Follow the process and its log."""
        self.host.reservations.update(self.key, pids={run.process.pid})
        run.process.exited.add_done_callback(lambda future: self._on_exit(run, future))
        self.host.logs.watch(self.log_path, run.log_offset, lambda line: self._on_line(run, line))

    async def _load(self) -> None:
        run = self.run
        assert run is not None, "LOADING has a process"  # noqa: S101 - the table's promise
        config = self.owner.config
        loop = asyncio.get_running_loop()
        deadline = run.spawned_clock + config.readiness.timeout_ms / 1000
        if run.adopted and run.was_ready:
            # It had loaded already: it gets as long as a Ready engine may stay silent, not another load's time.
            deadline = loop.time() + config.liveness.failures * config.liveness.probe_timeout_ms / 1000
        try:
            await wait_until_ready(self.host, config, run, deadline=deadline)
            while config is not self.owner.config:
                # The config was reloaded meanwhile: what it says of the version holds for this engine, too.
                config = self.owner.config
                await learn(run, config)
        except PoolManagerError as error:
            if run.adopted and run.was_ready and error.code is Code.READINESS_TIMEOUT:
                error.code = Code.HEALTH_CHECK_FAILED
            error.details["log_tail"] = log_tail(self.log_path, run.log_offset)
            self.fail(error)
            return
        if not run.process.running:
            return  # its end is judged where it is noticed
        run.was_ready = True
        self.version = run.version
        self.host.reservations.update(self.key, resident=True)
        self.write_handoff()
        self.signal(Input(Signal.BECAME_READY))

    async def _watch(self) -> None:
        run = self.run
        assert run is not None, "READY has a process"  # noqa: S101 - the table's promise
        try:
            await watch(self.host, lambda: self.owner.config, run)
        except PoolManagerError as error:
            error.details["log_tail"] = log_tail(self.log_path, run.log_offset)
            self.fail(error)

    async def _stop(self) -> None:
        if self._spawning is not None:
            await asyncio.wait([self._spawning])
        run = self.run
        self.forced = self.stopped_with = None
        note = "nothing was running"
        if run is not None:
            self._note_release(run)
            self._remove_handoff()
            self.forced = await self._end(run)
            if run.process.exited.done():
                self.stopped_with = run.process.exited.result()
            note = "it did not end by itself and was killed" if self.forced else "the engine ended"
        self._clear_process()
        self.signal(Input(Signal.GONE, reason=note))

    async def _end(self, run: Run) -> bool:
        """End the engine and all that it started, however long that takes; whether it had to be killed."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        grace_s, wait_s, forced = self.owner.config.stop.grace_ms / 1000, KILL_WAIT_S, False
        while True:
            try:
                report = await stop_ladder(run.process, grace_s=grace_s, kill_wait_s=wait_s)
            except OSError as error:
                # No descriptor or no memory left for the search: the process is still there to be ended.
                _log.warning("stopping %s: %s", self.name, error)
                await asyncio.sleep(STOP_RETRY_S)
                continue
            forced = forced or report.forced
            if not report.survivors:
                return forced
            # Killed, and still there: it stays in phase stopping, and says so.
            announce.stuck(self, report.survivors, loop.time() - began)
            grace_s, wait_s = 0.0, STUCK_WAIT_S

    # -- what happens to the process -------------------------------------------------------------------------------

    def _on_exit(self, run: Run, exited: asyncio.Future[ExitStatus]) -> None:
        if exited.cancelled() or run is not self.run:
            return
        if self.state.phase not in WITH_PROCESS or self.state.phase is Phase.STOPPING:
            return
        try:
            self._judge_exit(run, exited.result())
        except Exception as error:  # noqa: BLE001 - it has ended, whatever its last words made of us
            _log.exception("judging the end of %s failed", self.name)
            self.fail(_internal(self, error))

    def _judge_exit(self, run: Run, status: ExitStatus) -> None:
        lines = log_tail(self.log_path, run.log_offset)
        if self.state.phase is Phase.LOADING and run.engine.exit_class(status.code, lines) == "port_in_use":
            if run.fixed_port:
                self.fail(_port_taken(run))
                return
            if run.port_attempts < PORT_ATTEMPTS:
                self._begin_spawn(partial(self._respawn, run))
                return
        ready = self.state.phase in {Phase.READY, Phase.DRAINING}
        uptime_s = self.host.clock() - run.spawned_at
        self.fail(from_exit(run, status, was_ready=ready, lines=lines, uptime_s=uptime_s))

    async def _respawn(self, run: Run) -> None:
        """Start the same plan on another port: no failure, no backoff, no restart counted."""
        await end_leftovers(run.process)
        if self.run is not run or not self._is_loading() or self.plan is None:
            return
        self.host.logs.unwatch(self.log_path)
        self.host.ports.release(run.spec.port)
        try:
            spec = replace(self.plan.spec, port=preflight.choose_port(self.host, run.spec.host))
            self.plan = replace(self.plan, spec=spec)
            fresh = await spawning.spawn_engine(self.host, self.owner.config, self.plan)
        except PoolManagerError as error:
            self.fail(error)
            return
        fresh.port_attempts = run.port_attempts + 1
        self.run = fresh
        self._attach(fresh)
        self.persist()
        if self._is_loading():
            announce.moved_port(self, run.spec.port)
            self._begin(self._load, "load")

    def _is_loading(self) -> bool:
        return self.state.phase is Phase.LOADING

    def _on_line(self, run: Run, line: str) -> None:
        if run is not self.run or self.state.phase not in {Phase.LOADING, Phase.READY, Phase.DRAINING}:
            return
        fault = run.engine.log_fault(line)
        if fault is not None and self.state.after_stop is None:
            failure = from_log_line(run, fault, line)
            self.fail(failure, let_leases_end=failure.failure_class is FailureClass.DRIVER)

    # -- what belongs to the process -------------------------------------------------------------------------------

    def write_handoff(self) -> None:
        """Write the handoff file; if that can't be done, the replica is Ready all the same and it is tried again."""
        run = self.run
        if run is None:
            return
        try:
            self.host.state_dir.write_handoff(self.pool_id, self.replica_id, run.handoff())
        except PoolManagerError as error:
            self.warning = error
            announce.warns(self, error)
            self.host.start_task(self._retry_handoff(run), f"handoff {self.name}")

    async def _retry_handoff(self, run: Run) -> None:
        while self.warning is not None:
            await asyncio.sleep(HANDOFF_RETRY_S)
            if self.run is not run or self.state.phase not in {Phase.LOADING, Phase.READY, Phase.DRAINING}:
                return
            try:
                self.host.state_dir.write_handoff(self.pool_id, self.replica_id, run.handoff())
            except PoolManagerError:
                continue
            self.warning = None
            announce.warning_over(self, self.host.state_dir.handoff_file(self.pool_id, self.replica_id))

    def _remove_handoff(self) -> None:
        try:
            self.host.state_dir.remove_handoff(self.pool_id, self.replica_id)
        except PoolManagerError as error:
            announce.warns(self, error)

    def _remove_pid(self) -> None:
        try:
            self.host.state_dir.remove_pid(self.pool_id, self.replica_id, first=self.is_first)
        except PoolManagerError as error:
            announce.warns(self, error)

    def _clear_process(self) -> None:
        """Forget a process that has ended: its files, port, reservation and what it left behind."""
        self._cancel_work()
        run, self.run = self.run, None
        self.warning = None
        if run is not None:
            self._note_release(run)
            self.host.logs.unwatch(self.log_path)
            self._remove_handoff()
            self._remove_pid()
            self.host.ports.release(run.spec.port)
            self._leftovers = self.host.start_task(self._end_leftovers(run.process), f"leftovers {self.name}")
        self._give_back()
        self.persist()

    async def _end_leftovers(self, process: EngineProcess) -> None:
        """End what the engine left behind; nothing is started before that is done."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        wait_s = KILL_WAIT_S
        while True:
            try:
                report = await end_leftovers(process, kill_wait_s=wait_s)
            except OSError as error:
                _log.warning("ending what %s left behind: %s", self.name, error)
                await asyncio.sleep(STOP_RETRY_S)
                continue
            if not report.survivors:
                break
            announce.stuck(self, report.survivors, loop.time() - began)
            wait_s = STUCK_WAIT_S
        if self.warning is not None and self.run is None:
            self.warning = None

    async def _reap(self, marker: str) -> None:
        # Nobody can say when they are gone: what we know of them is their mark only.
        while await reap_leftovers(marker):  # noqa: ASYNC110 - there is nothing to wait for
            await asyncio.sleep(STOP_RETRY_S)

    def _note_release(self, run: Run) -> None:
        """Remember whose memory has to be given back before a successor starts."""
        if self.releasing is None and run.spec.devices:
            self.releasing = Releasing.of(self.host, run)

    def _give_back(self) -> None:
        """Give up what a start had been promised: memory, its turn, its port."""
        plan, self.plan = self.plan, None
        if plan is not None:
            self.host.ports.release(plan.spec.port)
        self.host.turns.release(self.name)
        self.host.reservations.release(self.key)

    def _give_back_unused(self) -> None:
        if self.run is None:
            self._give_back()

    # -- timers ----------------------------------------------------------------------------------------------------

    def _arm_timer(self) -> None:
        at = self.state.next_restart_at
        if at is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        delay = max(0.0, at - self.host.clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer, context=contextvars.Context())
        if self.state.waits_for is FailureClass.PORT:
            self.host.start_task(self._recheck_port(), f"port {self.name}")

    def resume_timer(self) -> None:
        """Go on waiting for a time that was set before the daemon was restarted."""
        self._arm_timer()

    def _on_timer(self) -> None:
        self._timer = None
        self.trigger = "restart"
        self.correlation_id = None
        self.signal(Input(Signal.TIMER))

    def pause(self) -> None:
        """Start nothing any more; what it waits for stays stored for the next daemon."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _recheck_port(self) -> None:
        since = self.state.since
        while True:
            await asyncio.sleep(PORT_RECHECK_S)
            if self.state.waits_for is not FailureClass.PORT or self.state.since != since or self.host.shutting_down:
                return
            config = self.owner.config
            free = True
            with contextlib.suppress(OSError):
                free = await asyncio.to_thread(port_is_free, config.host, config.port)
            if free and self.state.since == since:
                self.signal(Input(Signal.RECHECK, reason=f"port {config.port} is free"))
                return

    def arm_stable_timer(self) -> None:
        """Wake when the replica has been Ready for long enough that something may be forgotten."""
        if self._stable_timer is not None:
            self._stable_timer.cancel()
            self._stable_timer = None
        wait_s = announce.next_stable(self.state, self.policy, self.host.clock())
        if wait_s is not None:
            self._stable_timer = asyncio.get_running_loop().call_later(
                wait_s + 0.001, self._on_stable, context=contextvars.Context()
            )

    def _on_stable(self) -> None:
        self._stable_timer = None
        self.signal(Input(Signal.STABLE))
        if self.state.phase is Phase.READY:
            self.arm_stable_timer()

    async def cleaned_up(self) -> None:
        """Wait until nothing is left of the last process."""
        if self._leftovers is not None:
            await asyncio.shield(self._leftovers)

    def forget(self) -> None:
        """Store nothing any more: the replica is no longer configured."""
        self._forgotten = True

    def close(self) -> None:
        """Stop all work without touching the process (the daemon ends and leaves its engines)."""
        self._cancel_work()
        if self._spawning is not None:
            self._spawning.cancel()
        for timer in (self._timer, self._stable_timer):
            if timer is not None:
                timer.cancel()
        if self.run is not None:
            self.host.logs.unwatch(self.log_path)
            self.run.process.detach()
