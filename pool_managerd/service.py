"""The use cases: what both protocols call, and the only way in.

Values are judged here, so that gRPC and HTTP refuse alike. A grant, drain or reload is stored before it is
answered; losing readiness is announced before it is stored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from pool_managerd import __version__
from pool_managerd.config import Config
from pool_managerd.core.errors import Code, PoolManagerError, invalid_request
from pool_managerd.core.events import Event
from pool_managerd.core.phases import AT_REST, Desired
from pool_managerd.core.replica_state import Input, Signal
from pool_managerd.core.status import (
    ConfigChanges,
    DeviceList,
    DrainResult,
    LeaseStatus,
    PoolList,
    PoolReadiness,
    PoolStatus,
    ReadySummary,
)
from pool_managerd.core.times import rfc3339
from pool_managerd.observe.correlation import CORRELATION_ID
from pool_managerd.runtime.device_views import device_list
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.registry import Registry
from pool_managerd.runtime.waiting import wait_at_most
from pool_managerd.service_checks import (
    MAX_REVISION,
    MAX_TAIL,
    check_activity,
    check_int,
    check_present,
    check_running,
    check_wait,
)
from pool_managerd.service_config import ServiceConfig
from pool_managerd.service_leases import ServiceLeases
from pool_managerd.service_operations import ServiceOperations


class PoolManagerService:
    """The daemon's use cases over its pools.

    :param load_config: reads the config file anew; raises ``ConfigError`` with all that is wrong.
    """

    def __init__(self, host: Host, registry: Registry, load_config: Callable[[], Config]) -> None:
        self.host = host
        self.registry = registry
        self.version = __version__
        self._operations = ServiceOperations(host, registry)
        self._leases = ServiceLeases(host, registry)
        self._config = ServiceConfig(host, registry, load_config)

    # -- looking ---------------------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """The daemon serves."""
        return {"status": "ok", "version": self.version}

    def ready(self) -> ReadySummary:
        """Whether every pool that is desired to run is ready, and the store takes writes."""
        pools = []
        for pool in self._sorted():
            status = pool.status()
            pools.append(
                PoolReadiness(
                    pool_id=pool.id,
                    desired=status.desired,
                    phase=status.phase,
                    ready=status.ready,
                    stopped_by_operator=pool.drained,
                    last_error=status.last_error,
                )
            )
        store_ok = self.host.store.available
        ready = store_ok and all(one.ready for one in pools if one.desired == Desired.RUNNING)
        return ReadySummary(
            ready=ready,
            status="ready" if ready else "unready",
            store="ok" if store_ok else "unavailable",
            pools=pools,
        )

    def list_pools(self) -> PoolList:
        """All pools, sorted by id, with the revision that they reflect."""
        return PoolList(pools=[pool.status() for pool in self._sorted()], revision=self.host.bus.revision)

    def get_pool(self, pool_id: str) -> PoolStatus:
        """One pool."""
        return self.registry.get(pool_id).status()

    def pool_ready(self, pool_id: str) -> bool | None:
        """Whether a pool is ready; ``None`` for one that is not configured."""
        pool = self.registry.pools.get(pool_id)
        return None if pool is None else pool.ready

    def is_leaving(self, pool_id: str) -> bool:
        """Whether the config no longer has the pool, and its leases may still be renewed and given back."""
        return pool_id in self.registry.leaving.by_id

    def _sorted(self) -> list[Pool]:
        return [pool for _, pool in sorted(self.registry.pools.items())]

    # -- preload ---------------------------------------------------------------------------------------------------

    async def preload(self, pool_id: str, *, wait_s: float | None = None) -> tuple[PoolStatus, bool]:
        """Set desired = running, and wait for it if asked to."""
        pool = self.registry.get(pool_id)
        check_wait(wait_s)
        async with pool.intent:
            check_running(self.host)
            check_present(pool)
            check_activity(pool, "preload")
            if pool.ready and pool.desired is Desired.RUNNING:
                return pool.status(), True
            if not pool.ready and pool.all_circuits_open():
                raise self._circuit_open(pool)
            if pool.desired is not Desired.RUNNING:
                await self._want_running(pool)
                check_present(pool)
                check_activity(pool, "preload")
            pool.start_all(trigger="operator", correlation_id=CORRELATION_ID.get())
        if wait_s is not None:
            await wait_at_most(pool.settled(), wait_s)
        return pool.status(), pool.ready

    @staticmethod
    async def _want_running(pool: Pool) -> None:
        before = pool.drained
        pool.desired, pool.drained = Desired.RUNNING, False
        try:
            await pool.commit()
        except BaseException:
            # Not stored, or its caller went away before it was: then it never happened.
            if not pool.removed:
                pool.desired, pool.drained = Desired.STOPPED, before
                pool.stop_what_was_started()
                pool.post()
            raise

    def _circuit_open(self, pool: Pool) -> PoolManagerError:
        until = [
            replica.state.history.open_until
            for replica in pool.replicas.values()
            if replica.state.history.open_until is not None
        ]
        retry_after_ms = max(1, round((min(until) - self.host.clock()) * 1000)) if until else None
        return PoolManagerError(
            Code.CIRCUIT_OPEN,
            f"pool {pool.id} failed too often: its circuit is open",
            hint="wait, or reset the circuit once the cause is put right",
            details={"pool_id": pool.id, "open_until": rfc3339(min(until)) if until else None},
            retry_after_ms=retry_after_ms,
        )

    async def reset_circuit(self, pool_id: str) -> PoolStatus:
        """Close the breakers of all replicas and make an attempt at once."""
        pool = self.registry.get(pool_id)
        # Not while another call asks the store: what it has set meanwhile may be taken back.
        async with pool.intent:
            check_running(self.host)
            check_present(pool)
            for replica in pool.replicas.values():
                replica.trigger = "operator"
                replica.correlation_id = CORRELATION_ID.get()
                given = Input(Signal.RESET, reason="the circuit was reset by the operator")
                if pool.desired is Desired.STOPPED and replica.state.phase in AT_REST:
                    replica.signal(Input(Signal.STOP, reason=pool.stopped_because))
                replica.signal(given)
            if pool.desired is Desired.RUNNING and pool.activity is None:
                pool.start_all(trigger="operator", correlation_id=CORRELATION_ID.get())
            return pool.status()

    # -- drain -----------------------------------------------------------------------------------------------------

    async def drain(
        self, pool_id: str, *, deadline_ms: int | None = None, wait_s: float | None = None
    ) -> tuple[PoolStatus, DrainResult | None]:
        """Set desired = stopped, durably, and let the work in flight end until the deadline."""
        return await self._operations.drain(pool_id, deadline_ms=deadline_ms, wait_s=wait_s)

    async def cancel_drain(self, pool_id: str) -> PoolStatus:
        """Take back a drain that still waits."""
        return await self._operations.cancel_drain(pool_id)

    # -- reload ----------------------------------------------------------------------------------------------------

    async def reload(
        self, pool_id: str, *, new_model_ref: str, drain_deadline_ms: int | None = None, wait_s: float | None = None
    ) -> tuple[PoolStatus, bool]:
        """Move the pool to another model, and back if that fails."""
        return await self._operations.reload(
            pool_id, new_model_ref=new_model_ref, drain_deadline_ms=drain_deadline_ms, wait_s=wait_s
        )

    # -- leases ----------------------------------------------------------------------------------------------------

    async def acquire_lease(self, pool_id: str, *, holder: str | None = None, ttl_ms: int | None = None) -> LeaseStatus:
        """Grant a slot on a Ready replica; answered after its commit."""
        return await self._leases.acquire(pool_id, holder=holder, ttl_ms=ttl_ms)

    def list_leases(self, pool_id: str) -> list[LeaseStatus]:
        """The active leases of a pool."""
        return self._leases.list_active(pool_id)

    async def renew_lease(self, pool_id: str, lease_id: str, *, ttl_ms: int | None = None) -> LeaseStatus:
        """Move a lease's expiry to a full TTL from now."""
        return await self._leases.renew(pool_id, lease_id, ttl_ms=ttl_ms)

    async def release_lease(self, pool_id: str, lease_id: str) -> None:
        """End a lease; ending it again is fine."""
        await self._leases.release(pool_id, lease_id)

    # -- logs, devices, events -------------------------------------------------------------------------------------

    async def logs(
        self, pool_id: str, *, replica: str | None = None, tail: int | None = None, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """The engine's log, of the first replica unless another is named."""
        pool = self.registry.get(pool_id)
        replica_id = pool.config.replica_ids[0] if replica is None else replica
        if replica_id not in pool.replicas:
            known = ", ".join(pool.replicas)
            raise invalid_request("replica", f"pool {pool_id} has no replica {replica_id!r}; it has {known}")
        lines = None if tail is None else check_int("tail", tail, low=0, high=MAX_TAIL, default=0)
        path = self.host.state_dir.log_file(pool.id, replica_id)
        return self.host.logs.read(path, tail=lines, follow=follow)

    async def devices(self) -> DeviceList:
        """All GPUs, freshly read; the last known values, marked stale, where NVML fails."""
        await self.host.inventory.refresh()
        return device_list(self.host, self.registry.pools)

    async def watch(self, since: int | None = None) -> AsyncIterator[list[Event]]:
        """Events after ``since``, without end, as many at a time as there are.

        :raises PoolManagerError: STORE_UNAVAILABLE where they begin with what only the store holds, and it cannot be
            read. If that happens later, the stream ends.
        """
        if since is not None:
            check_int("since", since, low=0, high=MAX_REVISION, default=0)
            if self.host.bus.is_past(since):
                await self.host.history(since, 1)
        return self.host.bus.watch(since, self.host.history, self.host.oldest_revision)

    # -- config ----------------------------------------------------------------------------------------------------

    async def reload_config(self, *, dry_run: bool = False) -> ConfigChanges:
        """Read the config file again, and put it in force unless this is a dry run. All of it or nothing."""
        return await self._config.reload(dry_run=dry_run)
