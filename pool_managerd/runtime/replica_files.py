"""The handoff and pid files of one replica: written, tried again, removed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pool_managerd.core.errors import PoolManagerError
from pool_managerd.core.phases import Phase
from pool_managerd.runtime import announce
from pool_managerd.runtime.run import Run

if TYPE_CHECKING:
    from pool_managerd.runtime.replica import Replica

#: A handoff file that could not be written is tried again this often, in seconds.
HANDOFF_RETRY_S = 0.5


class ReplicaFiles:
    """The files that tell others of a replica's engine."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica

    def write_handoff(self) -> None:
        """Write the handoff file; if that can't be done, the replica is Ready all the same and it is tried again."""
        replica = self.replica
        run = replica.run
        if run is None:
            return
        try:
            replica.host.state_dir.write_handoff(replica.pool_id, replica.replica_id, run.handoff())
        except PoolManagerError as error:
            replica.warning = error
            announce.warns(replica, error)
            replica.host.start_task(self._retry_handoff(run), f"handoff {replica.name}")

    async def _retry_handoff(self, run: Run) -> None:
        replica = self.replica
        while replica.warning is not None:
            await asyncio.sleep(HANDOFF_RETRY_S)
            if replica.run is not run or replica.state.phase not in {Phase.LOADING, Phase.READY, Phase.DRAINING}:
                return
            try:
                # Where the one could not be written, the other may be missing, too.
                state_dir, pid = replica.host.state_dir, run.process.pid
                state_dir.write_pid(replica.pool_id, replica.replica_id, pid, first=replica.is_first)
                state_dir.write_handoff(replica.pool_id, replica.replica_id, run.handoff())
            except PoolManagerError:
                continue
            replica.warning = None
            announce.warning_over(replica, replica.host.state_dir.handoff_file(replica.pool_id, replica.replica_id))

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
