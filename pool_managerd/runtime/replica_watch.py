"""Following the process of one replica: its probes, its log and its end."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.failures import FailureClass
from pool_managerd.core.phases import WITH_PROCESS, Phase
from pool_managerd.core.replica_state import Input, Signal
from pool_managerd.runtime import announce
from pool_managerd.runtime.failures import (
    after_xid,
    from_exit,
    from_log_line,
    internal,
    log_tail,
    port_taken,
    recent_lines,
)
from pool_managerd.runtime.liveness import watch
from pool_managerd.runtime.process import ExitStatus
from pool_managerd.runtime.run import EXPLAINS_S, Run

if TYPE_CHECKING:
    from pool_managerd.runtime.replica import Replica

_log = logging.getLogger(__name__)

#: How often a port from the range may turn out to be taken within one start.
PORT_ATTEMPTS = 8


class ReplicaWatch:
    """Judges what a replica's process does by itself."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica

    def adopt(self, run: Run) -> None:
        """Take over an engine that was started by an earlier daemon."""
        replica = self.replica
        replica.run = run
        replica.host.ports.mark(run.spec.port)
        replica.host.reservations.reserve(replica.key, run.need.per_device, ram=run.need.ram)
        replica.last_need = run.need
        self.attach(run)

    def look_for_end(self) -> None:
        """Judge the end of an adopted engine that came before anybody was there to judge it."""
        run = self.replica.run
        if run is not None and run.process.exited.done():
            self._on_exit(run, run.process.exited)

    def attach(self, run: Run) -> None:
        """Follow the process and its log."""
        replica = self.replica
        replica.host.reservations.update(replica.key, pids={run.process.pid})
        run.process.exited.add_done_callback(lambda future: self._on_exit(run, future))
        run.process.explained.add_done_callback(lambda future: self._on_explained(run, future))
        replica.host.logs.watch(replica.log_path, run.judged_from, lambda line: self._on_line(run, line))

    async def watch(self) -> None:
        """Probe the Ready engine until it fails."""
        replica = self.replica
        run = replica.run
        assert run is not None, "READY has a process"  # noqa: S101 - the table's promise
        try:
            await watch(
                replica.host,
                lambda: replica.owner.config,
                run,
                leases=self._leases,
                on_failed_probe=self._on_failed_probe,
            )
        except PoolManagerError as error:
            error.details["log_tail"] = log_tail(replica.log_path, run.log_offset)
            replica.fail(error)

    def _leases(self) -> int | None:
        """What of the engine's slots is promised to callers; ``None`` while it takes no new work."""
        replica = self.replica
        if replica.state.phase is not Phase.READY:
            return None
        return replica.owner.lease_count(replica.replica_id)

    def _on_failed_probe(self) -> None:
        self.replica.failed_probes += 1

    def _on_exit(self, run: Run, exited: asyncio.Future[ExitStatus]) -> None:
        replica = self.replica
        if exited.cancelled() or run is not replica.run:
            return
        if replica.state.phase not in WITH_PROCESS or replica.state.phase is Phase.STOPPING:
            return
        try:
            self._judge_exit(run, exited.result())
        except Exception as error:  # noqa: BLE001 - it has ended, whatever its last words made of us
            _log.exception("judging the end of %s failed", replica.name, extra=replica.log_fields)
            replica.fail(internal(replica.pool_id, replica.replica_id, error))

    def _on_explained(self, run: Run, told: asyncio.Future[ExitStatus]) -> None:
        """How an engine ended whose end was announced without a cause; what followed from it stays as it was judged."""
        replica, judged, known = self.replica, run.ended, self.replica.state.failure
        if judged is None or judged.cause != "unknown" or replica.forgotten:
            return
        details = judged.details
        failure = from_exit(
            run, told.result(), run.last_lines, uptime_s=details["uptime_seconds"], tail=details["log_tail"]
        )
        failure = replace(failure, failure_class=judged.failure_class)
        if known is not None and known.cause == "unknown" and known.details.get("pid") == run.process.pid:
            replica.signal(Input(Signal.EXPLAINED, failure=failure))
        else:
            # Something else is its last error by now, or it is Ready again.
            announce.explained(replica, failure)

    def _judge_exit(self, run: Run, status: ExitStatus) -> None:
        replica = self.replica
        lines = recent_lines(replica.log_path, run.judged_from)
        if not run.was_ready and run.engine.exit_class(status.code, lines) == "port_in_use":
            if run.fixed_port or replica.plan is None:
                # Without its plan, as after an adoption, it is started from the beginning.
                replica.fail(port_taken(run))
                return
            if run.port_attempts < PORT_ATTEMPTS:
                replica.work.begin_spawn(partial(replica.starting.respawn, run))
                return
        uptime_s, tail = replica.host.clock() - run.spawned_at, log_tail(replica.log_path, run.log_offset)
        failure = run.ended = from_exit(run, status, lines, uptime_s=uptime_s, tail=tail)
        run.last_lines = lines
        if failure.code is Code.ENGINE_EXITED and failure.failure_class is FailureClass.CRASH:
            xid = run.xid
            if xid is not None and replica.host.clock() - xid.at <= EXPLAINS_S:
                failure = after_xid(failure, xid)
        replica.fail(failure)

    def _on_line(self, run: Run, line: str) -> None:
        replica = self.replica
        if run is not replica.run or replica.state.phase not in {Phase.LOADING, Phase.READY, Phase.DRAINING}:
            return
        fault = run.engine.log_fault(line)
        if fault is None or not fault.is_failure(loading=not run.was_ready):
            return
        if replica.state.after_stop is None:
            failure = from_log_line(run, fault, line)
            replica.fail(failure, let_leases_end=failure.failure_class is FailureClass.DRIVER)
