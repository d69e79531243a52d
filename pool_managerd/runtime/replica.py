"""One replica: carries out what the core's transition table decides, and announces every change.

All changes go through :meth:`Replica.signal`. It asks the core, publishes what happened, stores it, and then does
what the table says: check, spawn, load, watch, stop. How each of these is done stands in ``replica_*.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from pool_managerd.config import PoolConfig
from pool_managerd.core.errors import PoolManagerError
from pool_managerd.core.failures import Failure
from pool_managerd.core.phases import COMING_UP, Phase
from pool_managerd.core.replica import step
from pool_managerd.core.replica_state import Action, Input, ReplicaState, Signal, Step
from pool_managerd.core.restart_values import RestartPolicy
from pool_managerd.devices.mask import resolve_mask
from pool_managerd.devices.memory import Need
from pool_managerd.observe.correlation import CORRELATION_ID
from pool_managerd.runtime import announce
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.preflight import Plan, Target
from pool_managerd.runtime.process import ExitStatus
from pool_managerd.runtime.release import Releasing
from pool_managerd.runtime.replica_files import ReplicaFiles
from pool_managerd.runtime.replica_start import ReplicaStart
from pool_managerd.runtime.replica_stop import ReplicaStop
from pool_managerd.runtime.replica_timers import ReplicaTimers
from pool_managerd.runtime.replica_watch import ReplicaWatch
from pool_managerd.runtime.replica_work import ReplicaWork
from pool_managerd.runtime.restart_policy import policy_of
from pool_managerd.runtime.run import Run
from pool_managerd.runtime.store import Put

_log = logging.getLogger(__name__)

#: What begins a start. While the daemon shuts down these mean nothing, and what they belong to waits for the next one.
STARTING_SIGNALS = frozenset({Signal.START, Signal.TIMER, Signal.TRIAL, Signal.RECHECK, Signal.RESET})


class Owner(Protocol):
    """What a replica needs of its pool."""

    @property
    def config(self) -> PoolConfig:
        """The pool's present config."""

    def model_of(self, replica_id: str) -> Path | None:
        """The model that this replica is to run."""

    def lease_count(self, replica_id: str) -> int:
        """How many leases this replica has."""

    def on_change(self, replica: Replica, before: ReplicaState, taken: Step) -> None:
        """Called after each change, before the table's actions are carried out."""


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
        #: The memory that it needs, as planned for the present or the last attempt.
        self.last_need: Need | None = None
        #: Liveness probes without a good answer since the daemon's start, whichever engine it was.
        self.failed_probes = 0
        self.files = ReplicaFiles(self)
        self.timers = ReplicaTimers(self)
        self.work = ReplicaWork(self)
        self.starting = ReplicaStart(self)
        self.watching = ReplicaWatch(self)
        self.stopping = ReplicaStop(self)
        self.forgotten = False

    @property
    def pool_id(self) -> str:
        """The pool it belongs to."""
        return self.owner.config.id

    @property
    def name(self) -> str:
        """Names it among all replicas of the daemon: ``<pool>-<replica>``."""
        return f"{self.pool_id}-{self.replica_id}"

    @property
    def log_fields(self) -> dict[str, Any]:
        """By what a line of the log that is no event names it: ``extra=replica.log_fields``."""
        return {"pool_id": self.pool_id, "replica_id": self.replica_id}

    @property
    def policy(self) -> RestartPolicy:
        """The restart policy in force."""
        return policy_of(self.owner.config)

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
        return Target(self.owner.config, self.replica_id, self.owner.model_of(self.replica_id), self.version)

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
            _log.exception("announcing a change of %s failed", self.name, extra=self.log_fields)
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
        process = None
        if self.run is not None:
            process = self.run.process
            uptime_s = round(self.host.clock() - self.run.spawned_at, 3)
            known = {"pid": process.pid, "uptime_seconds": uptime_s, "engine_version": self.run.version}
            failure = replace(failure, details={**known, **failure.details})
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
        if self.forgotten:
            return
        key = f"{self.pool_id}/{self.replica_id}"
        self.host.store.post([Put("replica", key, announce.replica_document(self))])

    # -- carrying out ----------------------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        match action:
            case Action.PREFLIGHT:
                self.work.begin(self.starting.preflight, "preflight")
            case Action.SPAWN:
                self.work.begin_spawn(self.starting.spawn)
            case Action.LOAD:
                self.work.begin(self.starting.load, "load")
            case Action.WATCH:
                self.work.begin(self.watching.watch, "watch")
            case Action.STOP_PROCESS:
                self.work.begin(self.stopping.stop, "stop")
            case Action.CLEAR_PROCESS:
                self.stopping.clear()
            case Action.CANCEL_PREFLIGHT:
                self.work.cancel()
                self.starting.give_back()
            case Action.ARM_TIMER:
                self.timers.arm()
            case Action.BEGIN_TRIAL:
                self.trigger = "restart"
                asyncio.get_running_loop().call_soon(self.signal, Input(Signal.TRIAL), context=contextvars.Context())

    def _on_phase(self, old: Phase) -> None:
        """What belongs to entering and leaving phases, whatever led there."""
        if self.state.phase not in COMING_UP:
            self.host.turns.release(self.name)
            self.waiting_for_turn = False
        self.timers.on_phase(old)

    # -- the end ---------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Store nothing any more, and tell nothing: the replica is no longer configured."""
        self.forgotten = True

    def close(self) -> None:
        """Stop all work without touching the process (the daemon ends and leaves its engines)."""
        self.work.close()
        self.timers.close()
        if self.run is not None:
            self.host.logs.unwatch(self.log_path)
            self.run.process.detach()
