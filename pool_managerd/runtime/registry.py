"""All pools of the daemon: restored at the start, changed with the config, left or stopped at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pool_managerd.config import Config, PoolConfig
from pool_managerd.config_diff import ConfigDiff, diff
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.core.leases import Lease, LeaseEnd
from pool_managerd.core.phases import AT_REST, Desired, Phase
from pool_managerd.core.replica import Input, Signal
from pool_managerd.core.status import ConfigChange, ConfigChanges
from pool_managerd.devices.mask import MaskUse, check_overlaps, resolve_mask
from pool_managerd.devices.snapshot import DevicesSnapshot
from pool_managerd.observe.correlation import CORRELATION_ID
from pool_managerd.runtime.adoption import Adoption
from pool_managerd.runtime.device_events import DeviceEvents
from pool_managerd.runtime.draining import PoolDrain
from pool_managerd.runtime.following import follow
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.loading import learn
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.reloading import PoolReload
from pool_managerd.runtime.replica import Replica
from pool_managerd.runtime.store import Delete

#: How long, in seconds, the daemon's end waits for engines that neither SIGTERM nor SIGKILL ends.
LAST_WAIT_S = 15.0


def check_masks(config: Config, snapshot: DevicesSnapshot) -> None:
    """Every mask names devices that are there, and no two pools share one that have not both agreed to it.

    :raises PoolManagerError: INVALID_DEVICE_MASK naming pool and mask.
    """
    uses: list[MaskUse] = []
    for pool in config.pools:
        uuids: set[str] = set()
        for mask in pool.masks:
            try:
                uuids |= {device.uuid for device in resolve_mask(mask, snapshot)}
            except PoolManagerError as error:
                raise PoolManagerError(
                    error.code,
                    f"pool {pool.id}: {error.message}",
                    hint=error.hint,
                    details={**error.details, "pool_id": pool.id, "mask": ",".join(mask)},
                ) from error
        uses.append(MaskUse(pool.id, pool.share_devices, frozenset(uuids)))
    check_overlaps(uses, snapshot)


@dataclass(frozen=True, slots=True)
class Leaving:
    """A pool that the config no longer has, and whose engines have not ended yet."""

    pool: Pool
    drain: PoolDrain
    dropping: asyncio.Task[None]


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
        self._adoption: Adoption | None = None
        self._leaving: dict[str, Leaving] = {}
        self.devices = DeviceEvents(host, self.pools)

    def get(self, pool_id: str) -> Pool:
        """A pool.

        :raises PoolManagerError: POOL_NOT_FOUND with the asked id.
        """
        pool = self.pools.get(pool_id)
        if pool is None:
            raise PoolManagerError(
                Code.POOL_NOT_FOUND,
                f"there is no pool {pool_id!r}",
                hint="GET /v2/pools lists the configured pools",
                details={"pool_id": pool_id},
            )
        return pool

    def of_lease(self, pool_id: str, lease_id: str) -> Pool:
        """The pool that a lease is on: one that the config no longer has still waits for its leases to be given back.

        :raises PoolManagerError: POOL_NOT_FOUND with the asked id.
        """
        leaving = self._leaving.get(pool_id)
        return leaving.pool if leaving is not None and leaving.pool.leases.has(lease_id) else self.get(pool_id)

    # -- the start -------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Bring back what was, adopt what runs, and clean up what nobody wants. Nothing is started yet."""
        store = self.host.store
        replica_documents = store.load("replica")
        pool_documents = store.load("pool")
        self.devices.restore(store.load("device"))
        adoption = self._adoption = Adoption(self.host, replica_documents)
        for config in self.host.config.pools:
            pool = self._restore_pool(config, pool_documents.get(config.id))
            for replica in pool.replicas.values():
                adoption.restore(pool, replica)
        self._restore_leases(store.load("lease"), adoption)
        await adoption.clean_up()
        self._forget_strangers(replica_documents, pool_documents)

    def begin(self) -> None:
        """Let everything go on from where it was, and start what is desired to run."""
        adoption = self._adoption
        if adoption is None:
            raise RuntimeError("restore comes before begin")
        self.devices.connect()
        due: list[tuple[Pool, Replica]] = []
        for pool in self.pools.values():
            due += [(pool, replica) for replica in pool.replicas.values() if adoption.resume(pool, replica)]
            self._resume_operation(pool)
            pool.arm_expiry()
            pool.post()
        self.host.start_task(self._start_in_turn(due), "first starts")

    @staticmethod
    async def _start_in_turn(due: list[tuple[Pool, Replica]]) -> None:
        """Start one replica after the other, and let callers in between: a start costs the loop about a millisecond."""
        for pool, replica in due:
            if replica.state.phase is Phase.STOPPED and pool.desired is Desired.RUNNING and not pool.removed:
                replica.start(Input(Signal.START, reason="the daemon starts"), trigger="serve")
                await asyncio.sleep(0)

    def _restore_pool(self, config: PoolConfig, document: dict[str, Any] | None) -> Pool:
        desired = Desired.RUNNING if config.preload else Desired.STOPPED
        pool = Pool(self.host, config, desired)
        self.pools[config.id] = pool
        self._on_added(config)
        if document is not None:
            pool.drained = document.get("drained", False)
            if not config.preload or pool.drained:
                pool.desired = Desired(document["desired"])
            pool.retired_restarts = document["retired_restarts"]
            pool.pending_drain = document["drain"]
            pool.pending_reload = document["reload"]
            if document["model_override"] is not None and document["override_of"] == config.model_ref:
                pool.override_model(document["model_override"], Path(document["override_path"]))
        self._link_log(config)
        return pool

    def _link_log(self, config: PoolConfig) -> None:
        try:
            self.host.state_dir.link_log(config.id, config.replica_ids[0])
        except PoolManagerError as error:
            self.host.bus.publish(EventKind.DAEMON, to="warning", code=str(error.code), reason=error.message)

    def _restore_leases(self, documents: dict[str, dict[str, Any]], adoption: Adoption) -> None:
        """Leases on adopted engines go on; those whose engine is gone are over."""
        gone = []
        for key, document in documents.items():
            lease = Lease.from_json(document)
            pool = self.pools.get(lease.pool_id)
            if pool is None:
                gone.append(Delete("lease", key))
                continue
            pool.leases.add(lease)
            if (lease.pool_id, lease.replica_id) not in adoption.kept:
                pool.end_leases([lease], LeaseEnd.FORCED, "its engine ended while no daemon was running")
        if gone:
            self.host.store.post(gone)

    def _forget_strangers(self, replicas: dict[str, Any], pools: dict[str, Any]) -> None:
        """Drop what the store knows of pools and replicas that the config no longer has."""
        operations = [Delete("pool", pool_id) for pool_id in pools if pool_id not in self.pools]
        for key in replicas:
            pool_id, _, replica_id = key.partition("/")
            pool = self.pools.get(pool_id)
            if pool is None or replica_id not in pool.replicas:
                operations.append(Delete("replica", key))
                if pool is not None:
                    # What the config dropped meanwhile still counts.
                    pool.retired_restarts += replicas[key]["history"]["restart_count"]
        if operations:
            self.host.store.post(operations)

    def _resume_operation(self, pool: Pool) -> None:
        """Go on with a drain or reload that the last daemon had promised."""
        drain, reload = pool.pending_drain, pool.pending_reload
        if drain is not None:
            PoolDrain(pool, drain["deadline"], "operator", drain["began"]).begin()
        elif pool.desired is Desired.STOPPED:
            pool.pending_reload = None
            for replica in pool.replicas.values():
                replica.signal(Input(Signal.STOP, reason="its operator stopped the pool"))
        elif reload is not None:
            self._resume_reload(pool, reload)

    def _resume_reload(self, pool: Pool, told: dict[str, Any]) -> None:
        """A promised reload begins anew, once what is coming up has come up; the pool is its own until then."""
        try:
            model = self.host.config.resolve_model_ref(told["model_ref"])
        except PoolManagerError as error:
            pool.pending_reload = None
            for replica in pool.replicas.values():
                replica.model = None
            reason = f"pool {pool.id}: the reload to {told['model_ref']!r} is given up: {error.message}"
            self.host.bus.publish(
                EventKind.RELOAD,
                pool_id=pool.id,
                to="failed",
                code=str(Code.RELOAD_FAILED),
                reason=reason,
                details={"model": told["model_ref"], "cause": str(error.code), "restored": True},
            )
            return
        PoolReload(pool, told["model_ref"], model, told["drain_ms"]).begin(resumed=True)

    # -- the config ------------------------------------------------------------------------------------------------

    def changes(self, new: Config, *, dry_run: bool) -> tuple[ConfigDiff, ConfigChanges]:
        """What another config would change.

        :raises PoolManagerError: CONFLICT if it has a pool again that is still on its way out.
        """
        found = diff(self.host.config, new)
        if again := sorted(self._leaving.keys() & set(found.added)):
            raise PoolManagerError(
                Code.CONFLICT,
                f"pool {again[0]} was removed by an earlier config and is still being drained: nothing was changed",
                hint="reload the config again once its engines have ended",
                details={"pool_id": again[0], "operation": "drain"},
            )
        changes = ConfigChanges(
            added=sorted(found.added),
            changed=[ConfigChange(pool_id, list(keys)) for pool_id, keys in sorted(found.changed.items())],
            removed=sorted(found.removed),
            unchanged=sorted(found.unchanged),
            dry_run=dry_run,
            restart_required=sorted(found.daemon_keys),
        )
        return found, changes

    def apply(self, new: Config, found: ConfigDiff) -> None:
        """Put another config in force. All of it is in force when this returns; engines follow in the background."""
        old = self.host.config
        self.host.config = new
        self.host.turns.set_limit(new.server.max_parallel_loads)
        for pool_id in found.removed:
            self._remove(self.pools.pop(pool_id))
            self._on_removed(pool_id)
        for config in new.pools:
            pool = self.pools.get(config.id)
            if pool is None:
                self._add(config)
            elif config.id in found.changed:
                self._change(pool, config, found)
        self.host.logs.configure(new.log.engine_log_max_bytes, new.log.engine_log_keep)
        if old.server.port_range != new.server.port_range:
            self.host.ports.set_range(new.server.port_range)
        self.devices.look_again()

    def _add(self, config: PoolConfig) -> None:
        pool = self.pools[config.id] = Pool(self.host, config, Desired.RUNNING if config.preload else Desired.STOPPED)
        self._on_added(config)
        self._link_log(config)
        pool.post()
        if pool.desired is Desired.RUNNING:
            pool.start_all(trigger="config", correlation_id=CORRELATION_ID.get())

    def _remove(self, pool: Pool) -> None:
        pool.removed = True
        pool.desired = Desired.STOPPED
        self._end_activity(pool)
        deadline = self.host.clock() + pool.config.drain.deadline_ms / 1000
        drain = PoolDrain(pool, deadline, "config")
        drain.begin()
        dropping = self.host.start_task(self._drop(pool, drain), f"remove {pool.id}")
        self._leaving[pool.id] = Leaving(pool, drain, dropping)

    @staticmethod
    def _end_activity(pool: Pool) -> None:
        activity, pool.activity = pool.activity, None
        if activity is not None and activity.task is not None:
            activity.task.cancel()
        if pool.follower is not None:
            pool.follower.cancel()

    async def _drop(self, pool: Pool, drain: PoolDrain) -> None:
        try:
            if drain.activity.task is not None:
                await asyncio.wait([drain.activity.task])
            await self._forget(pool)
        finally:
            self._leaving.pop(pool.id, None)

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

    def _change(self, pool: Pool, config: PoolConfig, found: ConfigDiff) -> None:
        """Give a pool its new config; replicas whose spawn spec changed are replaced one after the other."""
        if "model" in found.changed[pool.id]:
            pool.drop_override()
        pool.config = config
        fresh = [replica_id for replica_id in config.replica_ids if replica_id not in pool.replicas]
        for replica_id in fresh:
            pool.add_replica(replica_id)
        pool.outdated |= set(found.restart_replicas.get(pool.id, ())) | set(fresh)
        if config.preload and "preload" in found.changed[pool.id] and not pool.drained:
            pool.desired = Desired.RUNNING
            pool.outdated |= {one.replica_id for one in pool.replicas.values() if one.state.phase is Phase.STOPPED}
        pool.post()
        reloading = pool.activity is not None and pool.activity.kind == "reload"
        for replica in pool.replicas.values():
            startable = replica.state.phase is Phase.FAILED or (
                replica.replica_id in pool.outdated and replica.state.phase in AT_REST
            )
            if replica.state.phase is Phase.READY:
                replica.timers.arm_stable()
            elif startable and pool.desired is Desired.RUNNING and not reloading:
                # What was wrong may have been put right.
                pool.outdated.discard(replica.replica_id)
                replica.start(Input(Signal.START, reason="the config changed"), trigger="config")
        if "engine_version" in found.changed.get(pool.id, ()):
            self.host.start_task(self._tell_version(pool), f"version of {pool.id}")
        follow(pool)
        pool.announce_readiness("the config changed")
        pool.wake()

    @staticmethod
    async def _tell_version(pool: Pool) -> None:
        """The config names another version, or none: the status and the handoff files follow."""
        for replica in list(pool.replicas.values()):
            run = replica.run
            if run is None or replica.state.phase not in {Phase.READY, Phase.DRAINING}:
                continue
            await learn(run, pool.config)
            replica.version = run.version
            if replica.run is run:
                replica.files.write_handoff()
                replica.persist()

    # -- the end ---------------------------------------------------------------------------------------------------

    async def stop_all(self, deadline: float) -> None:
        """Drain and stop all engines for the daemon's end. No pool's desired state is changed by it.

        :param deadline: wall-clock seconds since the epoch.
        """
        tasks: list[asyncio.Task[Any]] = []
        grace_ms = 0
        for pool in self.pools.values():
            self._end_activity(pool)
            drain = PoolDrain(pool, deadline, "shutdown")
            kept = pool.pending_drain
            drain.begin()
            pool.pending_drain = kept
            grace_ms = max(grace_ms, pool.config.stop.grace_ms)
            if drain.activity.task is not None:
                tasks.append(self.host.start_task(_cleaned_up(pool, drain.activity.task), f"stop {pool.id}"))
        for leaving in self._leaving.values():
            leaving.drain.deadline = min(leaving.drain.deadline, deadline)
            leaving.pool.wake()
            grace_ms = max(grace_ms, leaving.pool.config.stop.grace_ms)
            tasks.append(leaving.dropping)
        if not tasks:
            return
        limit_s = max(0.0, deadline - self.host.clock()) + grace_ms / 1000 + LAST_WAIT_S
        _, late = await asyncio.wait(tasks, timeout=limit_s)
        for task in late:
            self.host.bus.publish(
                EventKind.DAEMON, to="warning", reason=f"{task.get_name()}: not over after {limit_s:.0f} s, left behind"
            )

    def hurry(self) -> None:
        """Whoever ends the daemon does not want to wait: drains end now."""
        for pool in [*self.pools.values(), *(leaving.pool for leaving in self._leaving.values())]:
            if pool.activity is not None and isinstance(pool.activity.owner, PoolDrain):
                pool.activity.owner.hurry()

    def close(self) -> None:
        """Stop all work of the daemon; engines that still run are left alone."""
        for leaving in self._leaving.values():
            leaving.dropping.cancel()
        for pool in [*self.pools.values(), *(leaving.pool for leaving in self._leaving.values())]:
            self._end_activity(pool)
            pool.close()


async def _cleaned_up(pool: Pool, drain: asyncio.Task[Any]) -> None:
    """Wait until a drain is over and nothing is left of the pool's engines."""
    await asyncio.wait([drain])
    for replica in list(pool.replicas.values()):
        await replica.stopping.cleaned_up()
