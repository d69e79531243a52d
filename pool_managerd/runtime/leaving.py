"""Pools on their way out: drained, stopped and forgotten, because the config no longer has them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pool_managerd.core.errors import PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.core.phases import Desired
from pool_managerd.runtime.draining import PoolDrain
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.store import Delete


@dataclass(frozen=True, slots=True)
class Leaving:
    """A pool that the config no longer has, and whose engines have not ended yet."""

    pool: Pool
    drain: PoolDrain
    dropping: asyncio.Task[None]


class LeavingPools:
    """The pools that the config no longer has, by id, until the last of their engines has ended."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.by_id: dict[str, Leaving] = {}

    def remove(self, pool: Pool) -> None:
        """Drain a pool in the background, and forget it when nothing of it runs any more."""
        pool.removed = True
        pool.desired = Desired.STOPPED
        end_activity(pool)
        deadline = self.host.clock() + pool.config.drain.deadline_ms / 1000
        drain = PoolDrain(pool, deadline, "config")
        # Entered first: the log and the API find the pool here from its drain's first event on.
        dropping = self.host.start_task(self._drop(pool, drain), f"remove {pool.id}")
        self.by_id[pool.id] = Leaving(pool, drain, dropping)
        drain.begin()

    async def _drop(self, pool: Pool, drain: PoolDrain) -> None:
        try:
            if drain.activity.task is not None:
                await asyncio.wait([drain.activity.task])
            await self._forget(pool)
        finally:
            self.by_id.pop(pool.id, None)

    async def _forget(self, pool: Pool) -> None:
        """Nothing of it runs any more: its files and documents go."""
        first = pool.config.replica_ids[0]
        operations = [Delete("pool", pool.id)]
        for replica_id, replica in pool.replicas.items():
            await replica.stopping.cleaned_up()
            replica.forget()
            operations.append(Delete("replica", f"{pool.id}/{replica_id}"))
            try:
                self.host.state_dir.forget_replica(pool.id, replica_id, first=replica_id == first)
            except PoolManagerError as error:
                self.host.bus.publish(
                    EventKind.DAEMON, pool_id=pool.id, to="warning", code=str(error.code), reason=error.message
                )
        pool.close()
        self.host.store.post(operations)


def end_activity(pool: Pool) -> None:
    """Give up a pool's drain, reload or move to another config: something stronger takes its place."""
    activity, pool.activity = pool.activity, None
    if activity is not None and activity.task is not None:
        activity.task.cancel()
    if pool.follower is not None:
        pool.follower.cancel()
