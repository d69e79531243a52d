"""A new config for the pools that are there: what it would change, and putting it in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pool_managerd.config import Config, PoolConfig
from pool_managerd.config_diff import ConfigDiff, diff
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.failures import FailureClass
from pool_managerd.core.phases import AT_REST, Desired, Phase
from pool_managerd.core.replica_state import Input, Signal
from pool_managerd.core.status import ConfigChange, ConfigChanges
from pool_managerd.devices.mask import MaskUse, check_overlaps, resolve_mask
from pool_managerd.devices.snapshot import DevicesSnapshot
from pool_managerd.observe.correlation import CORRELATION_ID
from pool_managerd.runtime.following import follow
from pool_managerd.runtime.loading import learn
from pool_managerd.runtime.pool import Pool

if TYPE_CHECKING:
    from pool_managerd.runtime.registry import Registry

SPILLOVERS = frozenset({Code.CPU_SPILLOVER, Code.CROSS_MASK_SPILLOVER})


def check_masks(config: Config, snapshot: DevicesSnapshot) -> None:
    """Every mask names devices that are there, and no two pools share one that have not both agreed to it.

    :raises PoolManagerError: INVALID_DEVICE_MASK naming pool and mask.
    """
    check_overlaps(_uses(config, snapshot), snapshot)


def _uses(config: Config, snapshot: DevicesSnapshot) -> list[MaskUse]:
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
    return uses


def named_devices(config: Config, snapshot: DevicesSnapshot) -> frozenset[str]:
    """The UUIDs of the GPUs that pools are meant for; a pool without a mask means whatever there is."""
    if not all(mask for pool in config.pools for mask in pool.masks):
        return frozenset(snapshot.by_uuid)
    return frozenset[str]().union(*(use.uuids for use in _uses(config, snapshot)))


class RegistryConfig:
    """Compares and applies configs."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.host = registry.host

    def changes(self, new: Config, *, dry_run: bool) -> tuple[ConfigDiff, ConfigChanges]:
        """What another config would change.

        :raises PoolManagerError: CONFLICT if it has a pool or a replica again that is still on its way out.
        """
        found = diff(self.host.config, new)
        leaving = self.registry.leaving.by_id.keys() & set(found.added)
        for pool_id, replica_id in self.registry.left_behind.ending:
            config = new.pool(pool_id)
            if config is not None and replica_id in config.replica_ids:
                leaving |= {pool_id}
        if again := sorted(leaving):
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
            self.registry.remove(pool_id)
        for config in new.pools:
            pool = self.registry.pools.get(config.id)
            if pool is None:
                self._add(config)
            elif config.id in found.changed:
                self._change(pool, config, found)
            else:
                self._try_failed(pool)
        self.host.logs.configure(new.log.engine_log_max_bytes, new.log.engine_log_keep)
        if old.server.port_range != new.server.port_range:
            self.host.ports.set_range(new.server.port_range)
        self.registry.devices.forget_absent(named_devices(new, self.host.inventory.snapshot))
        self.registry.devices.look_again()

    def _add(self, config: PoolConfig) -> None:
        pool = self.registry.add(config, Desired.RUNNING if config.preload else Desired.STOPPED)
        self.registry.link_log(config)
        pool.post()
        if pool.desired is Desired.RUNNING:
            pool.start_all(trigger="config", correlation_id=CORRELATION_ID.get())

    @staticmethod
    def _try_failed(pool: Pool) -> None:
        """What failed for a missing file or the like may have been put right outside the config."""
        if pool.desired is not Desired.RUNNING or pool.activity is not None:
            return
        for replica in pool.replicas.values():
            failure = replica.state.failure
            if replica.state.phase is not Phase.FAILED or failure is None:
                continue
            # Arguments that offload stay what they are until the config or the operator says something else.
            if failure.failure_class is FailureClass.CONFIGURATION and failure.code not in SPILLOVERS:
                replica.start(Input(Signal.START, reason="the config was reloaded"), trigger="config")

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
