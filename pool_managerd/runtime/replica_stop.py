"""Ending the process of one replica and all that it started, and forgetting what belonged to it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from pool_managerd.core.replica_state import Input, Signal
from pool_managerd.runtime import announce
from pool_managerd.runtime.process import EngineProcess
from pool_managerd.runtime.release import Releasing
from pool_managerd.runtime.run import Run
from pool_managerd.runtime.stop import KILL_WAIT_S, end_leftovers, reap_leftovers, stop_ladder

if TYPE_CHECKING:
    from pool_managerd.runtime.replica import Replica

_log = logging.getLogger(__name__)

#: A process that cannot be killed is tried again, and reported, this often, in seconds.
STUCK_WAIT_S = 10.0
#: Seconds until a search for processes that failed is tried again.
STOP_RETRY_S = 0.5


class ReplicaStop:
    """Stops a replica's engine, and clears up after one that has ended."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self._leftovers: asyncio.Task[Any] | None = None

    async def stop(self) -> None:
        """End the engine, however long that takes."""
        replica = self.replica
        await replica.work.spawned()
        run = replica.run
        replica.forced = replica.stopped_with = None
        note = "nothing was running"
        if run is not None:
            self._note_release(run)
            replica.files.remove_handoff()
            replica.forced = await self._end(run)
            if run.process.exited.done():
                replica.stopped_with = run.process.exited.result()
            note = "it did not end by itself and was killed" if replica.forced else "the engine ended"
        self.clear()
        replica.signal(Input(Signal.GONE, reason=note))

    async def _end(self, run: Run) -> bool:
        """End the engine and all that it started, however long that takes; whether it had to be killed."""
        replica = self.replica
        loop = asyncio.get_running_loop()
        began = loop.time()
        grace_s, wait_s, forced = replica.owner.config.stop.grace_ms / 1000, KILL_WAIT_S, False
        while True:
            try:
                report = await stop_ladder(run.process, grace_s=grace_s, kill_wait_s=wait_s)
            except OSError as error:
                # No descriptor or no memory left for the search: the process is still there to be ended.
                _log.warning("stopping %s: %s", replica.name, error, extra=replica.log_fields)
                await asyncio.sleep(STOP_RETRY_S)
                continue
            forced = forced or report.forced
            if not report.survivors:
                return forced
            # Killed, and still there: it stays in phase stopping, and says so.
            announce.stuck(replica, report.survivors, loop.time() - began)
            grace_s, wait_s = 0.0, STUCK_WAIT_S

    def clear(self) -> None:
        """Forget a process that has ended: its files, port, reservation and what it left behind."""
        replica = self.replica
        replica.work.cancel()
        run, replica.run = replica.run, None
        replica.warning = None
        if run is not None:
            self._note_release(run)
            replica.host.logs.unwatch(replica.log_path)
            replica.files.remove_handoff()
            replica.files.remove_pid()
            replica.host.ports.release(run.spec.port)
            self._leftovers = replica.host.start_task(self._end_leftovers(run.process), f"leftovers {replica.name}")
        replica.starting.give_back()
        replica.persist()

    async def _end_leftovers(self, process: EngineProcess) -> None:
        """End what the engine left behind; nothing is started before that is done."""
        replica = self.replica
        loop = asyncio.get_running_loop()
        began = loop.time()
        wait_s = KILL_WAIT_S
        while True:
            try:
                report = await end_leftovers(process, kill_wait_s=wait_s)
            except OSError as error:
                _log.warning("ending what %s left behind: %s", replica.name, error, extra=replica.log_fields)
                await asyncio.sleep(STOP_RETRY_S)
                continue
            if not report.survivors:
                break
            announce.stuck(replica, report.survivors, loop.time() - began)
            wait_s = STUCK_WAIT_S
        if replica.warning is not None and replica.run is None:
            replica.warning = None

    def begin_reaping(self, marker: str) -> None:
        """End what carries this mark: a start that went wrong may have left it, and nobody knows its pid."""
        self._leftovers = self.replica.host.start_task(self._reap(marker), f"leftovers {self.replica.name}")

    async def cleaned_up(self) -> None:
        """Wait until nothing is left of the last process."""
        if self._leftovers is not None:
            await asyncio.shield(self._leftovers)

    async def _reap(self, marker: str) -> None:
        replica = self.replica
        while True:
            try:
                if not await reap_leftovers(marker):
                    return
            except OSError as error:
                _log.warning("ending what %s left behind: %s", replica.name, error, extra=replica.log_fields)
            # Nobody can say when they are gone: what we know of them is their mark only.
            await asyncio.sleep(STOP_RETRY_S)

    def _note_release(self, run: Run) -> None:
        """Remember whose memory has to be given back before a successor starts."""
        replica = self.replica
        if replica.releasing is None and run.spec.devices:
            replica.releasing = Releasing.of(replica.host, run)
