"""Engines that an earlier daemon left running and that no pool of the config has any more: ended in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.runtime.descendants import marked_processes
from pool_managerd.runtime.files import TEMPORARY
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.identity import ProcessIdentity
from pool_managerd.runtime.process import adopt
from pool_managerd.runtime.replica_stop import STOP_RETRY_S, STUCK_WAIT_S
from pool_managerd.runtime.stop import KILL_WAIT_S, reap_leftovers, stop_ladder
from pool_managerd.runtime.store import Operation

_log = logging.getLogger(__name__)

#: Seconds of grace for an engine whose pool, and with it ``stop.grace_ms``, is gone: the default of that key.
GRACE_S = 5.0


def why_stale(host: Host, path: Path, left: Collection[tuple[str, str]]) -> str:
    """Why a pid or handoff file of an earlier daemon says nothing any more, in words.

    :param left: the pool and replica ids of processes that are left and that nobody can name.
    """
    state_dir = host.state_dir
    for pool in host.config.pools:
        for replica_id in pool.replica_ids:
            files = {state_dir.pid_file(pool.id, replica_id), state_dir.handoff_file(pool.id, replica_id)}
            if replica_id == pool.replica_ids[0]:
                files.add(state_dir.pid_file(pool.id))
            if path in files:
                if (pool.id, replica_id) in left:
                    return "nothing says which of the processes that are left is its engine"
                return "its engine does not run any more"
    if path.name.startswith(TEMPORARY):
        return "it was never finished"
    return "the config has no such pool or replica any more, and what still runs of it is ended"


class LeftBehind:
    """The replicas that the config no longer has, by pool and replica id, until nothing of them is left."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.ending: dict[tuple[str, str], asyncio.Task[None]] = {}

    def end(
        self, pool_id: str, replica_id: str, identity: ProcessIdentity | None, *, first: bool, then: Sequence[Operation]
    ) -> None:
        """End what is left of a replica, gently first, and remove its files. Returns at once.

        :param identity: its main process, where that is known.
        :param first: whether it was the first of its pool, to which ``engine-<pool>.log`` leads.
        :param then: what the store is told once it is done.
        """
        key = (pool_id, replica_id)
        work = self._end(pool_id, replica_id, identity, first=first, then=then)
        task = self.ending[key] = self.host.start_task(work, f"what is left of {pool_id}-{replica_id}")
        task.add_done_callback(lambda _: self.ending.pop(key, None))

    async def _end(
        self, pool_id: str, replica_id: str, identity: ProcessIdentity | None, *, first: bool, then: Sequence[Operation]
    ) -> None:
        marker = self.host.marker(pool_id, replica_id)
        process = None if identity is None else adopt(identity)
        grace_s, said = GRACE_S, False
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            survivors: tuple[int, ...] = ()
            try:
                if not said and (process is not None or marker in await marked_processes(marker)):
                    self._say(pool_id, replica_id)
                said = True
                if process is not None:
                    survivors = (await stop_ladder(process, grace_s=grace_s)).survivors
                survivors = (*survivors, *(pid for pid in await reap_leftovers(marker) if pid not in survivors))
            except OSError as error:
                # No descriptor or no memory left for the search: they are still there to be ended.
                _log.warning("ending what is left of %s-%s: %s", pool_id, replica_id, error)
                await asyncio.sleep(STOP_RETRY_S)
                continue
            if not survivors:
                break
            self._stuck(pool_id, replica_id, survivors, loop.time() - began)
            grace_s = 0.0
            await asyncio.sleep(STUCK_WAIT_S - KILL_WAIT_S)
        try:
            self.host.state_dir.forget_replica(pool_id, replica_id, first=first)
        except PoolManagerError as error:
            self.host.bus.publish(
                EventKind.DAEMON, pool_id=pool_id, to="warning", code=str(error.code), reason=error.message
            )
        self.host.store.post(then)
        self.host.look_again.set()

    def _say(self, pool_id: str, replica_id: str) -> None:
        self.host.bus.publish(
            EventKind.DAEMON,
            to="warning",
            pool_id=pool_id,
            replica_id=replica_id,
            reason=f"pool {pool_id} replica {replica_id} is stopped: the config no longer has it, and it still runs",
            details={"marker": self.host.marker(pool_id, replica_id)},
        )

    def _stuck(self, pool_id: str, replica_id: str, pids: tuple[int, ...], waited_s: float) -> None:
        """Processes that were killed and are still there are not forgotten."""
        named = ", ".join(str(pid) for pid in pids)
        self.host.bus.publish(
            EventKind.DAEMON,
            to="warning",
            pool_id=pool_id,
            replica_id=replica_id,
            code=str(Code.HEALTH_CHECK_FAILED),
            reason=f"pool {pool_id} replica {replica_id}: pid {named} cannot be killed, {waited_s:.0f} s so far",
            details={
                "pids": list(pids),
                "waited_ms": round(waited_s * 1000),
                "hint": "it hangs in the kernel (state D), as a rule in the GPU driver",
            },
        )
