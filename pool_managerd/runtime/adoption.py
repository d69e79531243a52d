"""Taking over what an earlier daemon left: engines that still run, waits that go on, and what must be cleaned up.

An engine is adopted only if boot id, pid, start ticks and spawn digest agree with the running process, and if it
was started from the very plan that the config asks for now. Everything else is stopped and, if the pool is desired
to run, started anew; nobody else has to wait for that. An engine that died meanwhile counts as a crash whose cause
nobody knows.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.core.failures import Failure, FailureClass
from pool_managerd.core.phases import COMING_UP, WITH_PROCESS, Desired, Phase
from pool_managerd.core.replica_state import Input, ReplicaState, Signal, StartCause
from pool_managerd.core.restart_values import BreakerState, Next, Verdict
from pool_managerd.devices.memory import Need
from pool_managerd.engines import get_engine
from pool_managerd.engines.base import EngineSpec
from pool_managerd.runtime import preflight
from pool_managerd.runtime.announce import state_from_document
from pool_managerd.runtime.cgroups import groups
from pool_managerd.runtime.descendants import marked_processes
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.identity import environ_value, read_environ
from pool_managerd.runtime.left_behind import why_stale
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.preflight import Plan
from pool_managerd.runtime.process import EngineProcess, adopt
from pool_managerd.runtime.remembered import Remembered, need_from_document
from pool_managerd.runtime.replica import Replica
from pool_managerd.runtime.run import PLAN_VARIABLE, Run


def _at_rest(was: ReplicaState) -> ReplicaState:
    # Who asked for a start matters for as long as it is under way.
    start = was.start if was.phase in COMING_UP else StartCause.OPERATOR
    return replace(was, phase=Phase.STOPPED, next_restart_at=None, start=start, drain=None, after_stop=None)


class Adoption:
    """The first thing a daemon does with its pools.

    :param documents: the store's replica documents by ``<pool>/<replica>``.

    :ivar kept: pool and replica ids of the adopted engines.
    :ivar unwanted: of those that run, and are to be stopped because something else is wanted: why.
    """

    def __init__(self, host: Host, documents: dict[str, dict[str, Any]]) -> None:
        self.host = host
        self.documents = documents
        self.kept: set[tuple[str, str]] = set()
        self.unwanted: dict[tuple[str, str], str] = {}
        self._was: dict[tuple[str, str], ReplicaState] = {}
        self._ended_by_us: set[tuple[str, str]] = set()

    def restore(self, pool: Pool, replica: Replica) -> None:
        """Give a replica its state from before, and its engine, if that still runs.

        Until :meth:`resume` it counts as stopped, so that nobody is told it were Ready.
        """
        document = self.documents.get(f"{replica.pool_id}/{replica.replica_id}")
        told: Remembered | None = None
        if document is not None:
            try:
                was = state_from_document(document)
                told = Remembered.from_document(document, host=pool.config.host)
                version, model = document["version"], document["model"]
                need = need_from_document(document)
            except (KeyError, TypeError, ValueError) as error:
                self.host.bus.publish(
                    EventKind.DAEMON,
                    to="warning",
                    pool_id=replica.pool_id,
                    replica_id=replica.replica_id,
                    reason=f"what is stored of {replica.name} cannot be used ({error!r}); its handoff file counts",
                )
                document = None
            else:
                self._was[replica.key] = was
                replica.state = _at_rest(was)
                replica.version, replica.last_need = version, need
                if pool.pending_reload is not None and model is not None:
                    replica.model = Path(model)
        if document is None:
            told = self._handoff(replica)
        process = None if told is None else adopt(told.identity)
        if process is None or told is None:
            return
        self._take(pool, replica, process, told, from_handoff=document is None)

    def _take(
        self, pool: Pool, replica: Replica, process: EngineProcess, told: Remembered, *, from_handoff: bool
    ) -> None:
        """Take a running engine over, be it to keep it or to stop it."""
        plan: Plan | None = None
        if self._is_on_its_way_out(replica):
            why = "the last daemon was stopping it"
        else:
            if from_handoff and told.model is not None and pool.model != told.model:
                # The store that knew of a reload is lost; the running engine shows what it led to.
                pool.override_model(str(told.model), told.model)
            plan, why = self._wanted(replica, process, told)
            if plan is None and from_handoff:
                pool.drop_override()
        replica.watching.adopt(self._run(replica, process, told, plan))
        if plan is None:
            self.unwanted[replica.key] = why
            replica.model = None
            return
        self.kept.add(replica.key)
        if from_handoff:
            # Nobody knows what its operator wanted, but that it runs.
            pool.desired = Desired.RUNNING

    def _is_on_its_way_out(self, replica: Replica) -> bool:
        """Whether the engine was being stopped, or drained because of a driver error: that is carried to its end."""
        was = self._was.get(replica.key)
        return was is not None and (was.phase is Phase.STOPPING or was.after_stop is not None)

    def _handoff(self, replica: Replica) -> Remembered | None:
        """What the handoff file says, where the store says nothing."""
        handoff = self.host.state_dir.read_handoff(replica.pool_id, replica.replica_id)
        if handoff is None:
            return None
        try:
            return Remembered.from_handoff(handoff, now=self.host.clock())
        except (KeyError, TypeError, ValueError):
            return None

    def _wanted(self, replica: Replica, process: EngineProcess, told: Remembered) -> tuple[Plan | None, str]:
        """The plan that the engine was started from, if the config still asks for it; else why not."""
        snapshot = self.host.inventory.snapshot
        try:
            plan = preflight.plan_for_adoption(
                self.host, replica.target, snapshot, started_as=told.binary, need=told.need
            )
        except PoolManagerError as error:
            return None, error.message
        if environ_value(read_environ(process.pid), PLAN_VARIABLE) != plan.digest:
            return None, "its spawn spec changed in the config while no daemon was running"
        return plan, ""

    def _run(self, replica: Replica, process: EngineProcess, told: Remembered, plan: Plan | None) -> Run:
        """The process as a run: of the plan that it was started from, or of what is known of an unwanted one."""
        offset = told.log_offset
        if offset is None:
            log = replica.log_path
            offset = log.stat().st_size if log.exists() else 0
        config = replica.owner.config
        age_s = max(0.0, self.host.clock() - told.spawned_at)
        return Run(
            engine=get_engine(config.engine) if plan is None else plan.engine,
            spec=_spec_of(replica, told) if plan is None else replace(plan.spec, port=told.port),
            digest="" if plan is None else plan.digest,
            need=(told.need or Need((), 0, "unknown")) if plan is None else plan.need,
            before=None,
            process=process,
            spawned_at=told.spawned_at,
            spawned_clock=asyncio.get_running_loop().time() - age_s,
            log_offset=offset,
            adopted=True,
            was_ready=told.was_ready,
            ready_offset=told.ready_offset,
            fixed_port=config.port != 0,
            slots=told.slots,
            version=told.version,
        )

    async def clean_up(self) -> set[tuple[str, str]]:
        """Begin to end what nobody can name, and remove stale files.

        :returns: pool and replica ids that the config does not have, of which processes are left.
        """
        known = self.kept | self.unwanted.keys()
        await asyncio.to_thread(groups().remove_stale)
        found = await marked_processes(f"{self.host.state_id}:")
        left: set[tuple[str, str]] = set()
        for marker in sorted(found.keys() - {self.host.marker(*key) for key in known}):
            _, pool_id, replica_id = marker.split(":", 2)
            left.add((pool_id, replica_id))
        first = {pool.id: pool.replica_ids[0] for pool in self.host.config.pools}
        for path in self.host.state_dir.remove_stale(known, first=first):
            self.host.bus.publish(
                EventKind.DAEMON,
                to="warning",
                reason=f"removed the stale file {path.name}: {why_stale(self.host, path, left)}",
                details={"path": str(path)},
            )
        return left

    def reap(self, replica: Replica) -> None:
        """End processes of a replica of which nothing is known but their mark; its next start waits for that."""
        self._ended_by_us.add(replica.key)
        self.host.bus.publish(
            EventKind.DAEMON,
            to="warning",
            pool_id=replica.pool_id,
            replica_id=replica.replica_id,
            reason=f"processes of {replica.name} were left running, and nothing says which they are: they are ended",
            details={"marker": self.host.marker(*replica.key)},
        )
        replica.stopping.begin_reaping(self.host.marker(*replica.key))

    def resume(self, pool: Pool, replica: Replica) -> bool:
        """Let a replica go on from where it was; true if it simply has to be started."""
        was = self._was.get(replica.key, replica.state)
        rest = _at_rest(was)
        if replica.run is not None and replica.key in self.unwanted:
            why = self.unwanted[replica.key]
            after = was.after_stop
            if after is None and pool.desired is Desired.RUNNING:
                after = Verdict(Next.START, why)
            replica.state = replace(rest, after_stop=after)
            replica.signal(Input(Signal.LEFT_OVER, reason=why))
        elif replica.run is not None:
            self._announce(replica, replica.run)
            # The last daemon may have found no room for it, or somebody removed it.
            replica.files.write_pid()
            replica.signal(Input(Signal.ADOPTED))
            replica.watching.look_for_end()
        elif pool.desired is Desired.STOPPED:
            replica.persist()
        elif was.after_stop is not None:
            # It was being stopped for a failure that is judged already; by now it is gone.
            replica.state = replace(was, phase=Phase.STOPPING)
            replica.signal(Input(Signal.GONE, reason="it was stopped while no daemon was running"))
        elif was.phase in {Phase.BACKOFF, Phase.CIRCUIT_OPEN} and was.next_restart_at is not None:
            replica.state = was
            replica.timers.resume()
        elif was.phase in WITH_PROCESS and was.phase is not Phase.STOPPING:
            replica.state = replace(was, phase=Phase.LOADING if was.phase is Phase.STARTING else was.phase)
            replica.fail(died(replica, ended_by_us=replica.key in self._ended_by_us))
        elif was.history.state is BreakerState.HALF_OPEN:
            replica.state = replace(rest, phase=Phase.HALF_OPEN)
            replica.signal(Input(Signal.TRIAL))
        else:
            return True
        return False

    def _announce(self, replica: Replica, run: Run) -> None:
        self.host.bus.publish(
            EventKind.ADOPTED,
            pool_id=replica.pool_id,
            replica_id=replica.replica_id,
            reason=f"the running engine, pid {run.process.pid}, was adopted",
            details={
                "engine": run.spec.kind,
                "engine_version": run.version,
                "pid": run.process.pid,
                "model": None if run.spec.model is None else str(run.spec.model),
                "device_mask": list(run.spec.devices),
                "url": run.url,
            },
        )


def died(replica: Replica, *, ended_by_us: bool = False) -> Failure:
    """The failure of an engine that ended while nobody could be told how.

    :param ended_by_us: it ran on, but nothing said which process it is.
    """
    what = "ended while no daemon was running"
    hint = "nobody could be told how it ended; look at the engine's log"
    if ended_by_us:
        what = "was left behind by a daemon that ended before it could note which process it is: it was ended"
        hint = "nothing to do: it is started again"
    return Failure(
        Code.ENGINE_EXITED,
        f"pool {replica.pool_id} replica {replica.replica_id} {what}",
        hint,
        FailureClass.CRASH,
        "unknown",
        {"exit_code": None, "signal": None},
    )


def _spec_of(replica: Replica, told: Remembered) -> EngineSpec:
    """What is known of an engine that was started from another plan, as far as its stop needs it."""
    config = replica.owner.config
    return EngineSpec(
        pool_id=replica.pool_id,
        replica_id=replica.replica_id,
        kind=config.engine,
        binary=told.binary or Path(),
        model=told.model,
        host=told.host,
        port=told.port,
        slots=told.slots,
        context=config.context,
        kv_type=config.kv_type,
        devices=told.devices,
        need={} if told.need is None else dict(told.need.per_device),
    )
