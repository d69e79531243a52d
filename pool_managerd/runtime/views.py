"""How replicas and pools look from outside: the status values of the API, made anew at each request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pool_managerd.core.errors import PoolManagerError
from pool_managerd.core.failures import Failure
from pool_managerd.core.phases import WITH_PROCESS, Phase, pool_phase
from pool_managerd.core.restart_values import BreakerState, RestartHistory
from pool_managerd.core.status import BreakerStatus, LastError, PoolStatus, ReplicaStatus, VramStatus
from pool_managerd.core.times import rfc3339, rfc3339_or_none

if TYPE_CHECKING:
    from pool_managerd.runtime.pool import Pool
    from pool_managerd.runtime.replica import Replica

#: A pool shows the worst breaker of its replicas, in this order.
_WORST = (BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED)


def breaker_status(history: RestartHistory) -> BreakerStatus:
    """A replica's breaker."""
    return BreakerStatus(
        kind=str(history.kind),
        state=str(history.state),
        failures=history.failures,
        driver_failures=history.driver_failures,
        open_until=rfc3339_or_none(history.open_until),
    )


def replica_error(replica: Replica) -> LastError | None:
    """Why it failed last, or what else is wrong with it."""
    state = replica.state
    failed_at = 0.0 if state.failed_at is None else state.failed_at
    if replica.warning is not None and replica.warned_at >= failed_at:
        return error_of(replica.warning, replica.warned_at)
    if state.failure is None:
        return None
    error = state.failure.last_error(failed_at)
    if state.outlook is not None:
        # What follows, when, and what resets it: only while that is still to come.
        error.details["verdict"] = state.outlook
    return error


def error_of(error: PoolManagerError, at: float) -> LastError:
    """An error as ``last_error`` shows it."""
    return LastError(
        code=str(error.code),
        message=error.message,
        hint=error.hint,
        retriable=error.retriable,
        at=rfc3339(at),
        details=error.details,
    )


def as_error(failure: Failure, *, retry_after_ms: int | None = None) -> PoolManagerError:
    """A replica's failure as the answer to whoever waited for it."""
    details = {**failure.details, "cause": failure.cause}
    return PoolManagerError(
        failure.code, failure.message, hint=failure.hint, details=details, retry_after_ms=retry_after_ms
    )


def replica_status(replica: Replica) -> ReplicaStatus:
    """One replica."""
    state = replica.state
    run = replica.run
    return ReplicaStatus(
        replica_id=replica.replica_id,
        phase=str(state.phase),
        live=is_live(replica),
        ready=state.phase is Phase.READY,
        pid=None if run is None else run.process.pid,
        url=None if run is None else run.url,
        devices=replica.devices,
        split=[] if run is None else list(run.spec.split),
        since=rfc3339(state.since),
        adopted=run is not None and run.adopted,
        restart_count=state.history.restart_count,
        last_error=replica_error(replica),
        breaker=breaker_status(state.history),
        next_restart_at=rfc3339_or_none(state.next_restart_at),
    )


def is_live(replica: Replica) -> bool:
    """Whether its engine's process exists."""
    return replica.run is not None and replica.state.phase in WITH_PROCESS and replica.run.process.running


def worst_breaker(histories: Iterable[RestartHistory]) -> BreakerStatus:
    """The breaker that a pool shows."""
    ranked = sorted(histories, key=lambda one: (_WORST.index(one.state), -(one.failures + one.driver_failures)))
    return breaker_status(ranked[0])


def newest_error(pool: Pool) -> LastError | None:
    """The pool's last error: its own, or the newest of its replicas'."""
    errors = [error for replica in pool.replicas.values() if (error := replica_error(replica)) is not None]
    return max(errors, key=lambda error: error.at, default=None)


def pool_status(pool: Pool, revision: int) -> PoolStatus:
    """One pool."""
    replicas = list(pool.replicas.values())
    phases = [replica.state.phase for replica in replicas]
    ready = pool.ready
    slots_total = sum(replica.run.slots for replica in replicas if replica.run and replica.state.phase is Phase.READY)
    waiting = [replica.state.next_restart_at for replica in replicas if replica.state.next_restart_at is not None]
    versions = [replica.version for replica in replicas if replica.version is not None]
    model = pool.model_ref
    return PoolStatus(
        pool_id=pool.id,
        engine=pool.config.engine,
        engine_version=pool.config.engine_version or (versions[0] if versions else None),
        model=model,
        desired=str(pool.desired),
        phase=str(pool_phase(phases, min_ready=pool.config.min_ready)),
        live=any(is_live(replica) for replica in replicas),
        ready=ready,
        draining=pool.draining or Phase.DRAINING in phases,
        device_mask=list(dict.fromkeys(uuid for replica in replicas for uuid in replica.devices)),
        slots_total=slots_total,
        slots_free=max(0, slots_total - len(pool.leases)),
        active_leases=len(pool.leases),
        restart_count=sum(replica.state.history.restart_count for replica in replicas) + pool.retired_restarts,
        last_error=newest_error(pool),
        breaker=worst_breaker(replica.state.history for replica in replicas),
        next_restart_at=rfc3339_or_none(min(waiting, default=None)),
        vram=_vram(pool),
        replicas=[replica_status(replica) for replica in replicas],
        revision=revision,
    )


def _vram(pool: Pool) -> VramStatus:
    """The planned need of all replicas, as far as it is known, and what their processes hold."""
    snapshot = pool.host.inventory.snapshot
    replicas = list(pool.replicas.values())
    needs = [total for one in replicas if one.last_need is not None and (total := one.last_need.total) is not None]
    required = sum(needs) if needs else None
    runs = [replica.run for replica in replicas if replica.run is not None]
    if not runs or snapshot.residency != "process":
        return VramStatus(required_bytes=required, used_bytes=0 if not runs else None)
    held = [promise for replica in replicas if (promise := pool.host.reservations.get(replica.key)) is not None]
    pids = {run.process.pid for run in runs}.union(*(promise.pids for promise in held))
    return VramStatus(required_bytes=required, used_bytes=sum(device.held_by(pids) for device in snapshot.devices))
