"""The use cases: what both protocols call, and the only way in.

Values are judged here, so that gRPC and HTTP refuse alike. A grant, drain or reload is stored before it is
answered; losing readiness is announced before it is stored.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from pool_managerd import __version__
from pool_managerd.config import Config
from pool_managerd.config_problems import ConfigError
from pool_managerd.core.errors import Code, PoolManagerError, invalid_request
from pool_managerd.core.events import Event, EventKind
from pool_managerd.core.leases import Lease, LeaseEnd, choose_replica
from pool_managerd.core.phases import AT_REST, Desired, Phase
from pool_managerd.core.replica import Input, Signal
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
from pool_managerd.runtime.draining import PoolDrain
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.registry import Registry
from pool_managerd.runtime.registry_config import check_masks
from pool_managerd.runtime.reloading import PoolReload, ReloadOutcome
from pool_managerd.runtime.store import Delete, Put
from pool_managerd.runtime.waiting import wait_at_most

#: The longest that a caller may wait for the outcome of a call, in seconds.
MAX_WAIT_S = 3600.0
#: The most lines of a log that may be asked for at once.
MAX_TAIL = 100_000
MAX_HOLDER = 256
MAX_REVISION = 2**63 - 1

T = TypeVar("T")


class PoolManagerService:
    """The daemon's use cases over its pools.

    :param load_config: reads the config file anew; raises ``ConfigError`` with all that is wrong.
    """

    def __init__(self, host: Host, registry: Registry, load_config: Callable[[], Config]) -> None:
        self.host = host
        self.registry = registry
        self.version = __version__
        self._load_config = load_config
        self._config_lock = asyncio.Lock()

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
                    stopped_by_operator=pool.desired is Desired.STOPPED,
                    last_error=status.last_error,
                )
            )
        store_ok = self.host.store.available
        ready = store_ok and all(one.ready for one in pools if not one.stopped_by_operator)
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

    def _sorted(self) -> list[Pool]:
        return [pool for _, pool in sorted(self.registry.pools.items())]

    # -- preload ---------------------------------------------------------------------------------------------------

    async def preload(self, pool_id: str, *, wait_s: float | None = None) -> tuple[PoolStatus, bool]:
        """Set desired = running, and wait for it if asked to."""
        pool = self.registry.get(pool_id)
        _check_wait(wait_s)
        self._check_running()
        _check_activity(pool, "preload")
        if pool.ready and pool.desired is Desired.RUNNING:
            return pool.status(), True
        if not pool.ready and pool.all_circuits_open():
            raise self._circuit_open(pool)
        if pool.desired is not Desired.RUNNING:
            before = pool.drained
            pool.desired, pool.drained = Desired.RUNNING, False
            try:
                await pool.commit()
            except BaseException:
                # Not stored, or its caller went away before it was: then it never happened.
                pool.desired, pool.drained = Desired.STOPPED, before
                raise
            _check_activity(pool, "preload")
        pool.start_all(trigger="operator", correlation_id=CORRELATION_ID.get())
        if wait_s is not None:
            await wait_at_most(pool.settled(), wait_s)
        return pool.status(), pool.ready

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
        self._check_running()
        for replica in pool.replicas.values():
            replica.trigger = "operator"
            replica.correlation_id = CORRELATION_ID.get()
            given = Input(Signal.RESET, reason="the circuit was reset by the operator")
            if pool.desired is Desired.STOPPED and replica.state.phase in AT_REST:
                replica.signal(Input(Signal.STOP, reason="its operator stopped the pool"))
            replica.signal(given)
        if pool.desired is Desired.RUNNING and pool.activity is None:
            pool.start_all(trigger="operator", correlation_id=CORRELATION_ID.get())
        return pool.status()

    # -- drain -----------------------------------------------------------------------------------------------------

    async def drain(
        self, pool_id: str, *, deadline_ms: int | None = None, wait_s: float | None = None
    ) -> tuple[PoolStatus, DrainResult | None]:
        """Set desired = stopped, durably, and let the work in flight end until the deadline."""
        pool = self.registry.get(pool_id)
        limit = pool.config.drain.max_deadline_ms
        deadline_ms = _check_int("deadline_ms", deadline_ms, low=0, high=limit, default=pool.config.drain.deadline_ms)
        _check_wait(wait_s)
        self._check_running()
        _check_activity(pool, "drain")
        began = self.host.clock()
        deadline = began + deadline_ms / 1000
        drain = PoolDrain(pool, deadline, "operator", began)
        before = (pool.desired, pool.drained, pool.pending_drain)
        pool.desired, pool.drained = Desired.STOPPED, True
        pool.pending_drain = {"deadline": deadline, "began": began}
        # From here on no lease is granted; nothing is announced before it is stored.
        pool.draining, pool.activity = True, drain.activity
        try:
            await pool.commit()
        except BaseException:
            pool.desired, pool.drained, pool.pending_drain = before
            if pool.activity is drain.activity:
                pool.draining, pool.activity = False, None
            raise
        drain.begin()
        task = drain.activity.task
        if wait_s is None or task is None:
            return pool.status(), None
        result = await wait_at_most(_outcome(pool, task), wait_s)
        return pool.status(), result

    async def cancel_drain(self, pool_id: str) -> PoolStatus:
        """Take back a drain that still waits."""
        pool = self.registry.get(pool_id)
        self._check_running()
        activity = pool.activity
        if activity is None or activity.kind != "drain":
            return pool.status()
        drain = activity.owner
        if not activity.can_cancel or not isinstance(drain, PoolDrain) or drain.trigger != "operator":
            raise _conflict(pool, "cancelling the drain", "the drain is already stopping the engine")
        # From here on it can be cancelled by nobody else; it goes on while the store is asked.
        activity.can_cancel = False
        pool.desired, pool.drained = Desired.RUNNING, False
        kept, pool.pending_drain = pool.pending_drain, None
        try:
            await pool.commit()
        except BaseException:
            self._drain_goes_on(pool, drain, kept)
            raise
        if pool.activity is not activity or drain.is_stopping:
            self._drain_goes_on(pool, drain, kept)
            pool.post()
            raise _conflict(pool, "cancelling the drain", "the drain is already stopping the engine")
        drain.cancel()
        pool.start_all(trigger="operator", correlation_id=CORRELATION_ID.get())
        return pool.status()

    @staticmethod
    def _drain_goes_on(pool: Pool, drain: PoolDrain, pending: dict[str, Any] | None) -> None:
        """A drain was not cancelled after all; it may even be over by now."""
        pool.desired, pool.drained = Desired.STOPPED, True
        under_way = pool.activity is drain.activity
        pool.pending_drain = pending if under_way else None
        drain.activity.can_cancel = under_way and not drain.is_stopping

    # -- reload ----------------------------------------------------------------------------------------------------

    async def reload(
        self, pool_id: str, *, new_model_ref: str, drain_deadline_ms: int | None = None, wait_s: float | None = None
    ) -> tuple[PoolStatus, bool]:
        """Move the pool to another model, and back if that fails."""
        pool = self.registry.get(pool_id)
        limit = pool.config.drain.max_deadline_ms
        drain_ms = _check_int(
            "drain_deadline_ms", drain_deadline_ms, low=0, high=limit, default=pool.config.drain.deadline_ms
        )
        _check_wait(wait_s)
        model = self.host.config.resolve_model_ref(new_model_ref)
        self._check_running()
        _check_activity(pool, "reload")
        if pool.desired is Desired.STOPPED:
            raise _conflict(pool, "a reload", "its operator stopped the pool", hint="preload the pool first")
        reload = PoolReload(pool, new_model_ref, model, drain_ms)
        pool.activity = reload.activity
        pool.pending_reload = {"model_ref": new_model_ref, "drain_ms": drain_ms}
        try:
            await pool.commit()
        except BaseException:
            pool.pending_reload = None
            if pool.activity is reload.activity:
                pool.activity = None
            raise
        reload.begin()
        task = reload.activity.task
        if wait_s is None or task is None:
            return pool.status(), False
        outcome: ReloadOutcome | None = await wait_at_most(_outcome(pool, task), wait_s)
        if outcome is not None and outcome.error is not None:
            raise outcome.error
        return pool.status(), outcome is not None

    # -- leases ----------------------------------------------------------------------------------------------------

    async def acquire_lease(self, pool_id: str, *, holder: str | None = None, ttl_ms: int | None = None) -> LeaseStatus:
        """Grant a slot on a Ready replica; answered after its commit."""
        pool = self.registry.get(pool_id)
        ttl = _check_ttl(pool, ttl_ms)
        if holder is not None and (not isinstance(holder, str) or not holder.isprintable() or len(holder) > MAX_HOLDER):
            raise invalid_request("holder", f"holder must be at most {MAX_HOLDER} printable characters")
        try:
            while True:
                self._check_running()
                lease = Lease(
                    lease_id=secrets.token_hex(16),
                    pool_id=pool.id,
                    replica_id=self._choose(pool),
                    holder=holder,
                    ttl_ms=ttl,
                    expires_at=self.host.clock() + ttl / 1000,
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
        return self._lease_status(pool, lease)

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

    def list_leases(self, pool_id: str) -> list[LeaseStatus]:
        """The active leases of a pool."""
        pool = self.registry.get(pool_id)
        return [self._lease_status(pool, lease) for lease in pool.leases.active()]

    async def renew_lease(self, pool_id: str, lease_id: str, *, ttl_ms: int | None = None) -> LeaseStatus:
        """Move a lease's expiry to a full TTL from now."""
        pool = self.registry.of_lease(pool_id, lease_id)
        ttl = None if ttl_ms is None else _check_ttl(pool, ttl_ms)
        lease = pool.leases.renewed(lease_id, now=self.host.clock(), ttl_ms=ttl)
        await self.host.store.commit([Put("lease", lease_id, lease.as_json())])
        # It may have ended while the store was busy.
        pool.leases.renewed(lease_id, now=self.host.clock(), ttl_ms=ttl)
        pool.leases.add(lease)
        pool.publish_lease(lease, "renewed", "renewed by its holder")
        pool.arm_expiry()
        return self._lease_status(pool, lease)

    async def release_lease(self, pool_id: str, lease_id: str) -> None:
        """End a lease; ending it again is fine."""
        pool = self.registry.of_lease(pool_id, lease_id)
        lease = pool.leases.end(lease_id, LeaseEnd.RELEASED, "its holder released it")
        if lease is None:
            return
        pool.publish_lease(lease, "released", "released by its holder")
        pool.arm_expiry()
        pool.wake()
        self.host.store.post([Delete("lease", lease_id)])

    def _lease_status(self, pool: Pool, lease: Lease) -> LeaseStatus:
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
        lines = None if tail is None else _check_int("tail", tail, low=0, high=MAX_TAIL, default=0)
        path = self.host.state_dir.log_file(pool.id, replica_id)
        return self.host.logs.read(path, tail=lines, follow=follow)

    async def devices(self) -> DeviceList:
        """All GPUs, freshly read; the last known values, marked stale, where NVML fails."""
        await self.host.inventory.refresh()
        return device_list(self.host, self.registry.pools)

    def watch(self, since: int | None = None) -> AsyncIterator[Event]:
        """Events after ``since``, without end."""
        if since is not None:
            _check_int("since", since, low=0, high=MAX_REVISION, default=0)
        return self.host.bus.watch(since, self.host.history, self.host.oldest_revision)

    # -- config ----------------------------------------------------------------------------------------------------

    async def reload_config(self, *, dry_run: bool = False) -> ConfigChanges:
        """Read the config file again, and put it in force unless this is a dry run. All of it or nothing."""
        if not dry_run:
            self._check_running()
        async with self._config_lock:
            try:
                new = await asyncio.to_thread(self._load_config)
                check_masks(new, await self.host.inventory.refresh())
                found, changes = self.registry.changes(new, dry_run=dry_run)
            except ConfigError as error:
                problems = [str(problem) for problem in error.problems]
                self._publish_config_refused(problems, dry_run=dry_run)
                first = error.problems[0]
                raise PoolManagerError(
                    Code(first.code) if first.code else Code.INVALID_REQUEST,
                    f"the config has {len(problems)} fault(s), nothing was changed: " + "; ".join(problems),
                    hint=first.hint
                    or "correct the file; `pool-managerd check-config` shows all faults with their lines",
                    details={"field": first.key, "problems": problems},
                ) from error
            except PoolManagerError as error:
                self._publish_config_refused([error.message], dry_run=dry_run, code=error.code)
                raise
            if dry_run:
                return changes
            # The event first: what the new config starts and stops comes after it.
            touched = bool(changes.added or changes.changed or changes.removed or changes.restart_required)
            self.host.bus.publish(
                EventKind.CONFIG,
                to="reloaded" if touched else "unchanged",
                reason=f"{len(changes.added)} added, {len(changes.changed)} changed, {len(changes.removed)} removed, "
                f"{len(changes.unchanged)} unchanged",
                details={
                    "added": changes.added,
                    "changed": {change.pool_id: change.keys for change in changes.changed},
                    "removed": changes.removed,
                    "unchanged": changes.unchanged,
                    "restart_required": changes.restart_required,
                },
            )
            self.registry.apply(new, found)
            return changes

    def _publish_config_refused(self, problems: list[str], *, dry_run: bool, code: Code = Code.INVALID_REQUEST) -> None:
        if dry_run:
            return
        self.host.bus.publish(
            EventKind.CONFIG,
            to="refused",
            code=str(code),
            reason=f"the config was refused, nothing was changed: {'; '.join(problems)}",
            details={"problems": problems},
        )

    def _check_running(self) -> None:
        if self.host.shutting_down:
            raise PoolManagerError(
                Code.SHUTTING_DOWN,
                "the daemon is shutting down and starts nothing any more",
                hint="try again once it is back",
            )


async def _outcome(pool: Pool, task: asyncio.Task[T]) -> T:
    """A background task's result; giving up the wait leaves the task alone.

    :raises PoolManagerError: if the task was given up for something stronger.
    """
    await asyncio.wait([task])
    if not task.cancelled():
        return task.result()
    if pool.removed:
        raise PoolManagerError(Code.POOL_NOT_FOUND, f"pool {pool.id!r} was removed from the config meanwhile")
    if pool.host.shutting_down:
        raise PoolManagerError(Code.SHUTTING_DOWN, "the daemon shuts down", hint="try again once it is back")
    raise _conflict(pool, "waiting for the outcome", "the operation was cancelled")


def _conflict(pool: Pool, wanted: str, why: str, *, hint: str | None = None) -> PoolManagerError:
    return PoolManagerError(
        Code.CONFLICT,
        f"pool {pool.id}: {wanted} is not possible: {why}",
        hint=hint or "wait until the operation under way is over",
        details={"pool_id": pool.id, "operation": None if pool.activity is None else pool.activity.kind},
    )


def _check_activity(pool: Pool, wanted: str) -> None:
    if pool.activity is not None:
        raise _conflict(pool, f"a {wanted}", f"{pool.activity.description} is under way")
    if wanted == "reload" and pool.is_following:
        raise _conflict(pool, "a reload", "its replicas are being brought to a changed config")
    if wanted == "preload" and any(
        replica.state.phase is Phase.STOPPING and pool.desired is Desired.STOPPED for replica in pool.replicas.values()
    ):
        raise _conflict(pool, "a preload", "the pool is being stopped")


def _check_int(field: str, value: object, *, low: int, high: int, default: int) -> int:
    """An integer within its bounds; ``None`` stands for the default."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid_request(field, f"{field} must be an integer, not {value!r}", value=value)
    if not low <= value <= high:
        raise invalid_request(field, f"{field} must be between {low} and {high}, not {value}", value=value)
    return value


def _check_ttl(pool: Pool, ttl_ms: object) -> int:
    limit = pool.config.lease.max_ttl_ms
    return _check_int("ttl_ms", ttl_ms, low=1, high=limit, default=min(limit, pool.config.lease.ttl_ms))


def _check_wait(wait_s: object) -> None:
    if wait_s is None:
        return
    if isinstance(wait_s, bool) or not isinstance(wait_s, (int, float)) or not math.isfinite(wait_s):
        raise invalid_request("wait", f"wait must be a number of seconds, not {wait_s!r}")
    if not 0 <= wait_s <= MAX_WAIT_S:
        raise invalid_request("wait", f"wait must be between 0 and {MAX_WAIT_S:g} seconds, not {wait_s!r}")
