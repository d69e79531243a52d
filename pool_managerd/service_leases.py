"""Leases: granted on a Ready replica, renewed, released."""

from __future__ import annotations

import contextlib
import secrets

from pool_managerd.core.errors import Code, PoolManagerError, invalid_request
from pool_managerd.core.events import EventKind
from pool_managerd.core.leases import Lease, LeaseEnd, choose_replica
from pool_managerd.core.status import LeaseStatus
from pool_managerd.core.times import rfc3339
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.registry import Registry
from pool_managerd.runtime.store import Delete, Put
from pool_managerd.service_checks import MAX_HOLDER, check_running, check_ttl


class ServiceLeases:
    """The use cases of leases."""

    def __init__(self, host: Host, registry: Registry) -> None:
        self.host = host
        self.registry = registry

    async def acquire(self, pool_id: str, *, holder: str | None = None, ttl_ms: int | None = None) -> LeaseStatus:
        """Grant a slot on a Ready replica; answered after its commit."""
        pool = self.registry.get(pool_id)
        ttl = check_ttl(pool, ttl_ms)
        if holder is not None and (not isinstance(holder, str) or not holder.isprintable() or len(holder) > MAX_HOLDER):
            raise invalid_request("holder", f"holder must be at most {MAX_HOLDER} printable characters")
        try:
            while True:
                check_running(self.host)
                lease = Lease(
                    lease_id=secrets.token_hex(16),
                    pool_id=pool.id,
                    replica_id=self._choose(pool),
                    holder=holder,
                    ttl_ms=ttl,
                    expires_at=self.host.clock() + ttl / 1000,
                    ends_at=self.host.monotonic() + ttl / 1000,
                )
                await self._enter(pool, lease)
                if pool.leases.has(lease.lease_id):
                    break
                # Its replica failed while the store was busy: there may be another one.
        except PoolManagerError as error:
            self._publish_refused(pool, error)
            raise
        pool.publish_lease(lease, "granted", f"granted to {holder or 'an unnamed holder'}")
        pool.arm_expiry()
        return self._status(pool, lease)

    async def _enter(self, pool: Pool, lease: Lease) -> None:
        """Enter a lease and store it. First, so that the slot can't be given twice while the store is busy."""
        pool.leases.add(lease)
        try:
            await self.host.store.commit([Put("lease", lease.lease_id, lease.as_json())])
        except BaseException:
            # Not stored, or the caller went away before it was.
            pool.leases.forget(lease.lease_id)
            pool.wake()
            raise

    def _choose(self, pool: Pool) -> str:
        if pool.draining:
            raise PoolManagerError(
                Code.POOL_DRAINING,
                f"pool {pool.id} is draining: no new leases",
                hint="use another pool; this one takes leases again after its next preload",
                details={"pool_id": pool.id},
            )
        if not pool.ready:
            status = pool.status()
            code = None if status.last_error is None else status.last_error.code
            raise PoolManagerError(
                Code.POOL_UNREADY,
                f"pool {pool.id} is not ready: it is {status.phase}" + (f", last error {code}" if code else ""),
                hint="wait until the pool is ready; its status says why it is not",
                details={"pool_id": pool.id, "phase": status.phase, "last_error_code": code},
                retry_after_ms=pool.retry_after_ms(),
            )
        replica_id = choose_replica(pool.free_slots_by_replica(), pool.leases.used())
        if replica_id is None:
            raise PoolManagerError(
                Code.NO_FREE_SLOT,
                f"all {sum(pool.free_slots_by_replica().values())} slots of pool {pool.id} are taken",
                hint="try again when a lease has been released",
                details={"pool_id": pool.id, "active_leases": len(pool.leases)},
            )
        return replica_id

    def _publish_refused(self, pool: Pool, error: PoolManagerError) -> None:
        self.host.bus.publish(
            EventKind.LEASE,
            pool_id=pool.id,
            code=str(error.code),
            reason=error.message,
            details={"action": "refused", "active_leases": len(pool.leases)},
        )

    def list_active(self, pool_id: str) -> list[LeaseStatus]:
        """The active leases of a pool."""
        pool = self.registry.get(pool_id)
        return [self._status(pool, lease) for lease in pool.leases.active()]

    async def renew(self, pool_id: str, lease_id: str, *, ttl_ms: int | None = None) -> LeaseStatus:
        """Move a lease's expiry to a full TTL from now."""
        pool = self.registry.of_lease(pool_id, lease_id)
        ttl = None if ttl_ms is None else check_ttl(pool, ttl_ms)
        lease = self._renewed(pool, lease_id, ttl)
        await self.host.store.commit([Put("lease", lease_id, lease.as_json())])
        # It may have ended while the store was busy.
        self._renewed(pool, lease_id, ttl)
        pool.leases.add(lease)
        pool.publish_lease(lease, "renewed", "renewed by its holder")
        pool.arm_expiry()
        return self._status(pool, lease)

    def _renewed(self, pool: Pool, lease_id: str, ttl_ms: int | None) -> Lease:
        return pool.leases.renewed(lease_id, now=self.host.monotonic(), wall=self.host.clock(), ttl_ms=ttl_ms)

    async def release(self, pool_id: str, lease_id: str) -> None:
        """End a lease; ending it again is fine. It returns once that is stored, or cannot be for now."""
        pool = self.registry.of_lease(pool_id, lease_id)
        lease = pool.leases.end(lease_id, LeaseEnd.RELEASED, "its holder released it")
        if lease is None:
            return
        pool.publish_lease(lease, "released", "released by its holder")
        pool.arm_expiry()
        pool.wake()
        # Posted, because it has ended in any case; the empty commit comes after it.
        self.host.store.post([Delete("lease", lease_id)])
        with contextlib.suppress(PoolManagerError):
            await self.host.store.commit([])

    def _status(self, pool: Pool, lease: Lease) -> LeaseStatus:
        replica = pool.replicas.get(lease.replica_id)
        url = replica.run.url if replica is not None and replica.run is not None else ""
        return LeaseStatus(
            lease_id=lease.lease_id,
            pool_id=lease.pool_id,
            replica_id=lease.replica_id,
            holder=lease.holder,
            url=url,
            expires_at=rfc3339(lease.expires_at),
        )
