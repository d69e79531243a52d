"""Drains and reloads: stored before they are answered, and carried out in the background."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.phases import Desired
from pool_managerd.core.status import DrainResult, PoolStatus
from pool_managerd.observe.correlation import CORRELATION_ID
from pool_managerd.runtime.draining import PoolDrain
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.pool import Activity, Pool
from pool_managerd.runtime.registry import Registry
from pool_managerd.runtime.reloading import PoolReload, ReloadOutcome
from pool_managerd.runtime.waiting import wait_at_most
from pool_managerd.service_checks import check_activity, check_int, check_present, check_running, check_wait, conflict

T = TypeVar("T")


class ServiceOperations:
    """The use cases of drains and reloads."""

    def __init__(self, host: Host, registry: Registry) -> None:
        self.host = host
        self.registry = registry

    async def drain(
        self, pool_id: str, *, deadline_ms: int | None = None, wait_s: float | None = None
    ) -> tuple[PoolStatus, DrainResult | None]:
        """Set desired = stopped, durably, and let the work in flight end until the deadline."""
        pool = self.registry.get(pool_id)
        limit = pool.config.drain.max_deadline_ms
        deadline_ms = check_int("deadline_ms", deadline_ms, low=0, high=limit, default=pool.config.drain.deadline_ms)
        check_wait(wait_s)
        async with pool.intent:
            check_running(self.host)
            check_present(pool)
            check_activity(pool, "drain")
            drain = await self._promise_drain(pool, deadline_ms)
        task = drain.activity.task
        if wait_s is None or task is None:
            return pool.status(), None
        result = await wait_at_most(_outcome(pool, task), wait_s)
        return pool.status(), result

    async def _promise_drain(self, pool: Pool, deadline_ms: int) -> PoolDrain:
        """Store the drain, and begin it."""
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
            self._check_own(pool, drain.activity)
        except BaseException:
            if pool.activity is drain.activity:
                pool.draining, pool.activity = False, None
            if not pool.removed:
                pool.desired, pool.drained, pool.pending_drain = before
                pool.post()
            raise
        drain.begin()
        return drain

    async def cancel_drain(self, pool_id: str) -> PoolStatus:
        """Take back a drain that still waits."""
        pool = self.registry.get(pool_id)
        async with pool.intent:
            check_running(self.host)
            check_present(pool)
            activity = pool.activity
            if activity is None or activity.kind != "drain":
                return pool.status()
            await self._take_back(pool, activity)
            pool.start_all(trigger="operator", correlation_id=CORRELATION_ID.get())
            return pool.status()

    async def _take_back(self, pool: Pool, activity: Activity) -> None:
        """Cancel the drain that is under way, unless it stops engines already."""
        drain = activity.owner
        if not activity.can_cancel or not isinstance(drain, PoolDrain) or drain.trigger != "operator":
            raise conflict(pool, "cancelling the drain", "the drain is already stopping the engine")
        # It goes on while the store is asked.
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
            raise conflict(pool, "cancelling the drain", "the drain is already stopping the engine")
        drain.cancel()

    @staticmethod
    def _drain_goes_on(pool: Pool, drain: PoolDrain, pending: dict[str, Any] | None) -> None:
        """A drain was not cancelled after all; it may even be over by now."""
        pool.desired, pool.drained = Desired.STOPPED, True
        under_way = pool.activity is drain.activity
        pool.pending_drain = pending if under_way else None
        drain.activity.can_cancel = under_way and not drain.is_stopping
        if not pool.removed:
            if not under_way:
                pool.stop_what_was_started()
            pool.post()

    async def reload(
        self, pool_id: str, *, new_model_ref: str, drain_deadline_ms: int | None = None, wait_s: float | None = None
    ) -> tuple[PoolStatus, bool]:
        """Move the pool to another model, and back if that fails."""
        pool = self.registry.get(pool_id)
        limit = pool.config.drain.max_deadline_ms
        drain_ms = check_int(
            "drain_deadline_ms", drain_deadline_ms, low=0, high=limit, default=pool.config.drain.deadline_ms
        )
        check_wait(wait_s)
        model = self.host.config.resolve_model_ref(new_model_ref)
        async with pool.intent:
            check_running(self.host)
            check_present(pool)
            check_activity(pool, "reload")
            if pool.desired is Desired.STOPPED:
                raise conflict(pool, "a reload", pool.stopped_because, hint="preload the pool first")
            reload = PoolReload(pool, new_model_ref, model, drain_ms)
            await self._promise_reload(pool, reload)
        task = reload.activity.task
        if wait_s is None or task is None:
            return pool.status(), False
        outcome: ReloadOutcome | None = await wait_at_most(_outcome(pool, task), wait_s)
        if outcome is not None and outcome.error is not None:
            raise outcome.error
        return pool.status(), outcome is not None

    async def _promise_reload(self, pool: Pool, reload: PoolReload) -> None:
        """Store the reload, and begin it."""
        pool.activity = reload.activity
        pool.pending_reload = {"model_ref": reload.model_ref, "drain_ms": reload.drain_ms}
        try:
            await pool.commit()
            self._check_own(pool, reload.activity)
        except BaseException:
            if pool.activity is reload.activity:
                pool.activity = None
            if not pool.removed:
                pool.pending_reload = None
                pool.post()
            raise
        reload.begin()

    def _check_own(self, pool: Pool, activity: Activity) -> None:
        """Nothing stronger took the operation's place while the store was busy: a removal, or the daemon's end."""
        if pool.activity is not activity:
            check_present(pool)
            check_running(self.host)
            raise conflict(pool, f"a {activity.kind}", "something stronger has taken its place")


async def _outcome(pool: Pool, task: asyncio.Task[T]) -> T:
    """A background task's result; giving up the wait leaves the task alone.

    :raises PoolManagerError: if the task was given up for something stronger.
    """
    await asyncio.wait([task])
    if not task.cancelled():
        return task.result()
    check_present(pool)
    if pool.host.shutting_down:
        raise PoolManagerError(Code.SHUTTING_DOWN, "the daemon shuts down", hint="try again once it is back")
    raise conflict(pool, "waiting for the outcome", "the operation was cancelled")
