"""Taking over what an earlier daemon left: engines that still run, waits that go on, and what must be cleaned up.

An engine is adopted only if boot id, pid, start ticks and spawn digest agree with the running process, and if it
was started from the very plan that the config asks for now. Everything else is stopped and, if the pool is desired
to run, started anew. An engine that died meanwhile counts as a crash whose cause nobody knows.
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
from pool_managerd.core.replica import Input, ReplicaState, Signal, StartCause
from pool_managerd.core.restart import BreakerState
from pool_managerd.runtime import preflight
from pool_managerd.runtime.announce import state_from_document
from pool_managerd.runtime.descendants import marked_processes
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.identity import environ_value, read_environ
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.process import EngineProcess, adopt
from pool_managerd.runtime.replica import Replica
from pool_managerd.runtime.run import PLAN_VARIABLE, Run, identity_from_json
from pool_managerd.runtime.stop import reap_leftovers, stop_ladder


def _at_rest(was: ReplicaState) -> ReplicaState:
    # Who asked for a start matters for as long as it is under way.
    start = was.start if was.phase in COMING_UP else StartCause.OPERATOR
    return replace(was, phase=Phase.STOPPED, next_restart_at=None, start=start, drain=None, after_stop=None)


class Adoption:
    """The first thing a daemon does with its pools.

    :param documents: the store's replica documents by ``<pool>/<replica>``.
    """

    def __init__(self, host: Host, documents: dict[str, dict[str, Any]]) -> None:
        self.host = host
        self.documents = documents
        self.kept: set[tuple[str, str]] = set()
        self._was: dict[tuple[str, str], ReplicaState] = {}

    def restore(self, pool: Pool, replica: Replica) -> None:
        """Give a replica its state from before, and its engine, if that still runs and still is what is wanted.

        Until :meth:`resume` it counts as stopped, so that nobody is told it were Ready.
        """
        document = self.documents.get(f"{replica.pool_id}/{replica.replica_id}")
        reloading = pool.pending_reload is not None
        if document is not None:
            try:
                was = state_from_document(document)
                self._was[replica.pool_id, replica.replica_id] = was
                replica.state = _at_rest(was)
                replica.version = document["version"]
                if reloading and document["model"] is not None:
                    replica.model = Path(document["model"])
            except (KeyError, TypeError, ValueError):
                document = None
        told = self._told(replica, document)
        process = None if told is None else adopt(identity_from_json(told["identity"]))
        if process is None or told is None:
            return
        if self._is_on_its_way_out(replica):
            process.detach()
            replica.model = None
            return
        if document is None and told["model"] is not None and pool.model != Path(told["model"]):
            # The store that knew of a reload is lost; the running engine shows what it led to.
            pool.override_model(told["model"], Path(told["model"]))
        run = self._run(replica, process, told)
        if run is None:
            process.detach()
            replica.model = None
            if document is None:
                pool.drop_override()
            return
        replica.watching.adopt(run)
        self.kept.add((replica.pool_id, replica.replica_id))
        if document is None:
            # Nobody knows what its operator wanted, but that it runs.
            pool.desired = Desired.RUNNING

    def _is_on_its_way_out(self, replica: Replica) -> bool:
        """Whether the engine was being stopped, or drained because of a driver error: that is carried to its end."""
        was = self._was.get((replica.pool_id, replica.replica_id))
        return was is not None and (was.phase is Phase.STOPPING or was.after_stop is not None)

    def _told(self, replica: Replica, document: dict[str, Any] | None) -> dict[str, Any] | None:
        """What is known of the process: from the store or, where that was lost, from the handoff file."""
        if document is not None:
            run = document.get("run")
            return run if isinstance(run, dict) else None
        handoff = self.host.state_dir.read_handoff(replica.pool_id, replica.replica_id)
        if handoff is None:
            return None
        try:
            return {
                "identity": {name: handoff[name] for name in ("pid", "start_ticks", "boot_id", "spec_digest")},
                "port": int(str(handoff["url"]).rpartition(":")[2]),
                "slots": int(handoff["slots"]),
                "version": handoff["engine_version"],
                "spawned_at": self.host.clock(),
                "log_offset": None,
                "was_ready": True,
                "model": handoff["model"]["path"],
            }
        except (KeyError, TypeError, ValueError):
            return None

    def _run(self, replica: Replica, process: EngineProcess, told: dict[str, Any]) -> Run | None:
        """The adopted run, or ``None`` if the config asks for something else by now."""
        try:
            plan = preflight.plan_for_adoption(self.host, replica.target, self.host.inventory.snapshot)
        except PoolManagerError:
            return None
        started_from = environ_value(read_environ(process.pid), PLAN_VARIABLE)
        if started_from != plan.digest:
            return None
        log = replica.log_path
        offset = told["log_offset"]
        if offset is None:
            offset = log.stat().st_size if log.exists() else 0
        loop = asyncio.get_running_loop()
        age_s = max(0.0, self.host.clock() - float(told["spawned_at"]))
        return Run(
            engine=plan.engine,
            spec=replace(plan.spec, port=int(told["port"])),
            digest=plan.digest,
            need=plan.need,
            before=None,
            process=process,
            spawned_at=float(told["spawned_at"]),
            spawned_clock=loop.time() - age_s,
            log_offset=offset,
            adopted=True,
            was_ready=bool(told["was_ready"]),
            fixed_port=replica.owner.config.port != 0,
            slots=int(told["slots"]),
            version=told["version"],
        )

    async def clean_up(self) -> None:
        """End every engine of this state directory that was not adopted, and remove stale files."""
        keep = {self.host.marker(pool_id, replica_id) for pool_id, replica_id in self.kept}
        found = await marked_processes(f"{self.host.state_id}:")
        await asyncio.gather(*(self._end(marker) for marker in sorted(found.keys() - keep)))
        first = {pool.id: pool.replica_ids[0] for pool in self.host.config.pools}
        for path in self.host.state_dir.remove_stale(self.kept, first=first):
            self.host.bus.publish(
                EventKind.DAEMON,
                to="warning",
                reason=f"removed the stale file {path.name}: its engine does not run any more",
                details={"path": str(path)},
            )

    async def _end(self, marker: str) -> None:
        """Stop an engine that nobody wants any more, gently first."""
        _, pool_id, replica_id = marker.split(":", 2)
        document = self.documents.get(f"{pool_id}/{replica_id}")
        run = None if document is None else document.get("run")
        process = None
        if isinstance(run, dict):
            process = adopt(identity_from_json(run["identity"]))
        if process is not None:
            config = self.host.config.pool(pool_id)
            grace_ms = 5000 if config is None else config.stop.grace_ms
            await stop_ladder(process, grace_s=grace_ms / 1000)
        await reap_leftovers(marker)
        self.host.bus.publish(
            EventKind.DAEMON,
            to="warning",
            pool_id=pool_id,
            replica_id=replica_id,
            reason=f"ended what was left of pool {pool_id} replica {replica_id}: the config asks for something else",
            details={"marker": marker},
        )

    def resume(self, pool: Pool, replica: Replica) -> bool:
        """Let a replica go on from where it was; true if it simply has to be started."""
        was = self._was.get((pool.id, replica.replica_id), replica.state)
        rest = _at_rest(was)
        if replica.run is not None:
            self._announce(replica, replica.run)
            # The last daemon may have found no room for it, or somebody removed it.
            pid = replica.run.process.pid
            self.host.keep_pid_file(pool.id, replica.replica_id, pid, first=replica.is_first)
            replica.signal(Input(Signal.ADOPTED))
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
            replica.fail(self._died(replica))
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

    @staticmethod
    def _died(replica: Replica) -> Failure:
        return Failure(
            Code.ENGINE_EXITED,
            f"pool {replica.pool_id} replica {replica.replica_id} ended while no daemon was running",
            "nobody could be told how it ended; look at the engine's log",
            FailureClass.CRASH,
            "unknown",
            {"exit_code": None, "signal": None},
        )
