"""The handoff and pid files of one replica: written, tried again, removed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.phases import Phase
from pool_managerd.runtime import announce
from pool_managerd.runtime.run import Run

if TYPE_CHECKING:
    from pool_managerd.runtime.replica import Replica

#: A file that could not be written is tried again this often, in seconds.
RETRY_S = 0.5


class ReplicaFiles:
    """The files that tell others of a replica's engine.

    If one can't be written, the engine runs all the same: a warning says so, and it is tried again.
    """

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        #: What could not be written of this run, in the order in which it was tried.
        self._missing: dict[Path, None] = {}
        self._missing_of: Run | None = None
        self._log_lost_of: Run | None = None

    def write_pid(self) -> None:
        """Write the pid files."""
        self._keep(self.replica.host.state_dir.pid_file(self.replica.pool_id, self.replica.replica_id))

    def write_handoff(self) -> None:
        """Write the handoff file."""
        self._keep(self.replica.host.state_dir.handoff_file(self.replica.pool_id, self.replica.replica_id))

    def _keep(self, path: Path) -> None:
        replica = self.replica
        run = replica.run
        if run is None:
            return
        try:
            self._write(path, run)
        except PoolManagerError as error:
            replica.warning = error
            announce.warns(replica, error)
            if self._missing_of is not run:
                self._missing, self._missing_of = {}, run
                replica.host.start_task(self._retry(run), f"files {replica.name}")
            self._missing[path] = None

    def _write(self, path: Path, run: Run) -> None:
        replica = self.replica
        state_dir = replica.host.state_dir
        if path == state_dir.handoff_file(replica.pool_id, replica.replica_id):
            state_dir.write_handoff(replica.pool_id, replica.replica_id, run.handoff())
        else:
            state_dir.write_pid(replica.pool_id, replica.replica_id, run.process.pid, first=replica.is_first)

    async def _retry(self, run: Run) -> None:
        """Write what is missing, as soon as that can be done, for as long as the engine is not on its way out."""
        replica = self.replica
        while self._missing_of is run and self._missing:
            await asyncio.sleep(RETRY_S)
            serving = {Phase.STARTING, Phase.LOADING, Phase.READY, Phase.DRAINING}
            if replica.run is not run or replica.state.phase not in serving:
                return
            try:
                for path in tuple(self._missing):
                    self._write(path, run)
                    del self._missing[path]
                    announce.warning_over(replica, path)
            except PoolManagerError:
                continue
        if self._missing_of is run:
            replica.warning = self._missing_of = None

    def write_anew(self) -> None:
        """Write what others read of this replica again: somebody removed it."""
        replica = self.replica
        if replica.run is None or not replica.run.process.running:
            return
        self.write_pid()
        if replica.state.phase in {Phase.READY, Phase.DRAINING}:
            self.write_handoff()
        self._tell_lost_log(replica.run)

    def _tell_lost_log(self, run: Run) -> None:
        """Say once of a run that its log was removed: the engine has it open, and nothing can give it another one."""
        replica = self.replica
        if self._log_lost_of is run or replica.log_path.exists():
            return
        self._log_lost_of = run
        announce.warns(
            replica,
            PoolManagerError(
                Code.STORE_UNAVAILABLE,
                f"the log {replica.log_path} of {replica.name} was removed: "
                "its engine goes on writing into the removed file until its next start",
                hint="to have its log again, drain the pool and preload it when it suits you",
                details={"path": str(replica.log_path)},
            ),
        )

    def remove_handoff(self) -> None:
        """Remove the handoff file; if that can't be done, a warning says so."""
        replica = self.replica
        try:
            replica.host.state_dir.remove_handoff(replica.pool_id, replica.replica_id)
        except PoolManagerError as error:
            announce.warns(replica, error)

    def remove_pid(self) -> None:
        """Remove the pid file; if that can't be done, a warning says so."""
        replica = self.replica
        try:
            replica.host.state_dir.remove_pid(replica.pool_id, replica.replica_id, first=replica.is_first)
        except PoolManagerError as error:
            announce.warns(replica, error)
