"""All pools of the daemon: restored at the start, changed with the config, left or stopped at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pool_managerd.config import Config, PoolConfig
from pool_managerd.config_diff import ConfigDiff
from pool_managerd.core.errors import PoolManagerError, pool_not_found
from pool_managerd.core.events import EventKind
from pool_managerd.core.failures import FailureClass
from pool_managerd.core.phases import Desired
from pool_managerd.core.replica_state import Input, Signal
from pool_managerd.core.status import ConfigChanges
from pool_managerd.runtime.device_events import DeviceEvents
from pool_managerd.runtime.draining import PoolDrain
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.leaving import LeavingPools, end_activity
from pool_managerd.runtime.left_behind import LeftBehind
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.registry_config import RegistryConfig
from pool_managerd.runtime.registry_restore import RegistryRestore

#: How long, in seconds, the daemon's end waits for engines that neither SIGTERM nor SIGKILL ends.
LAST_WAIT_S = 15.0


class Registry:
    """The pools by id.

    :param on_added: told of each pool that comes into being.
    :param on_removed: told of the id of each pool that the config no longer has.
    """

    def __init__(
        self,
        host: Host,
        *,
        on_added: Callable[[PoolConfig], None] = lambda _: None,
        on_removed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.host = host
        self.pools: dict[str, Pool] = {}
        self._on_added = on_added
        self._on_removed = on_removed
        self.leaving = LeavingPools(host)
        self.left_behind = LeftBehind(host)
        self.devices = DeviceEvents(host, self.pools)
        self._restore = RegistryRestore(self)
        self._config = RegistryConfig(self)

    def get(self, pool_id: str) -> Pool:
        """A pool.

        :raises PoolManagerError: POOL_NOT_FOUND with the asked id.
        """
        pool = self.pools.get(pool_id)
        if pool is None:
            raise pool_not_found(pool_id)
        return pool

    def of_lease(self, pool_id: str, lease_id: str) -> Pool:
        """The pool that a lease is on: one that the config no longer has still waits for its leases to be given back.

        :raises PoolManagerError: POOL_NOT_FOUND with the asked id.
        """
        leaving = self.leaving.by_id.get(pool_id)
        return leaving.pool if leaving is not None and leaving.pool.leases.has(lease_id) else self.get(pool_id)

    # -- coming and going ------------------------------------------------------------------------------------------

    def add(self, config: PoolConfig, desired: Desired) -> Pool:
        """Enter a pool that the config has."""
        pool = self.pools[config.id] = Pool(self.host, config, desired)
        self._on_added(config)
        return pool

    def remove(self, pool_id: str) -> None:
        """Take out a pool that the config no longer has; its engines end in the background."""
        self.leaving.remove(self.pools.pop(pool_id))
        self._on_removed(pool_id)

    def link_log(self, config: PoolConfig) -> None:
        """Let the pool's log lead to its first replica's; if that can't be done, a warning says so."""
        try:
            self.host.state_dir.link_log(config.id, config.replica_ids[0])
        except PoolManagerError as error:
            self.host.bus.publish(
                EventKind.DAEMON, pool_id=config.id, to="warning", code=str(error.code), reason=error.message
            )

    def write_anew(self) -> None:
        """Write the files of all engines again that others read, and start what waits for the state directory."""
        for pool in self.pools.values():
            self.link_log(pool.config)
            for replica in pool.replicas.values():
                replica.files.write_anew()
                if replica.state.waits_for is FailureClass.STORE:
                    replica.signal(Input(Signal.RECHECK, reason="the state directory can be written again"))

    # -- the start -------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Bring back what was, adopt what runs, and clean up what nobody wants. Nothing is started yet."""
        await self._restore.restore()

    def begin(self) -> None:
        """Let everything go on from where it was, and start what is desired to run."""
        self._restore.begin()

    # -- the config ------------------------------------------------------------------------------------------------

    def changes(self, new: Config, *, dry_run: bool) -> tuple[ConfigDiff, ConfigChanges]:
        """What another config would change.

        :raises PoolManagerError: CONFLICT if it has a pool again that is still on its way out.
        """
        return self._config.changes(new, dry_run=dry_run)

    def apply(self, new: Config, found: ConfigDiff) -> None:
        """Put another config in force. All of it is in force when this returns; engines follow in the background."""
        self._config.apply(new, found)

    # -- the end ---------------------------------------------------------------------------------------------------

    async def stop_all(self, deadline: float) -> None:
        """Drain and stop all engines for the daemon's end. No pool's desired state is changed by it.

        :param deadline: wall-clock seconds since the epoch.
        """
        tasks: dict[asyncio.Task[Any], str] = {}
        grace_ms = 0
        for pool in self.pools.values():
            end_activity(pool)
            drain = PoolDrain(pool, deadline, "shutdown")
            kept = pool.pending_drain
            drain.begin()
            pool.pending_drain = kept
            grace_ms = max(grace_ms, pool.config.stop.grace_ms)
            if drain.activity.task is not None:
                tasks[self.host.start_task(_cleaned_up(pool, drain.activity.task), f"stop {pool.id}")] = pool.id
        for leaving in self.leaving.by_id.values():
            leaving.drain.deadline = min(leaving.drain.deadline, deadline)
            leaving.pool.wake()
            grace_ms = max(grace_ms, leaving.pool.config.stop.grace_ms)
            tasks[leaving.dropping] = leaving.pool.id
        tasks |= {task: pool_id for (pool_id, _), task in self.left_behind.ending.items()}
        if not tasks:
            return
        limit_s = max(0.0, deadline - self.host.clock()) + grace_ms / 1000 + LAST_WAIT_S
        _, late = await asyncio.wait(tasks, timeout=limit_s)
        for task in late:
            self.host.bus.publish(
                EventKind.DAEMON,
                pool_id=tasks[task],
                to="warning",
                reason=f"{task.get_name()}: not over after {limit_s:.0f} s, left behind",
            )

    def hurry(self) -> None:
        """Whoever ends the daemon does not want to wait: drains end now."""
        for pool in [*self.pools.values(), *(leaving.pool for leaving in self.leaving.by_id.values())]:
            if pool.activity is not None and isinstance(pool.activity.owner, PoolDrain):
                pool.activity.owner.hurry()

    def close(self) -> None:
        """Stop all work of the daemon; engines that still run are left alone."""
        for leaving in self.leaving.by_id.values():
            leaving.dropping.cancel()
        for pool in [*self.pools.values(), *(leaving.pool for leaving in self.leaving.by_id.values())]:
            end_activity(pool)
            pool.close()


async def _cleaned_up(pool: Pool, drain: asyncio.Task[Any]) -> None:
    """Wait until a drain is over and nothing is left of the pool's engines."""
    await asyncio.wait([drain])
    for replica in list(pool.replicas.values()):
        await replica.stopping.cleaned_up()
