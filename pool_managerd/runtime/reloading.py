"""Reloading: bring a pool to another model, one replica after the other, and back again if that fails.

No second copy of a model in GPU memory is assumed: the old engine is gone, and its memory verified to be free,
before the new one is spawned. With several replicas the others serve meanwhile.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pool_managerd.core.drain import DrainVerdict
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.core.failures import Failure
from pool_managerd.core.phases import AT_REST, COMING_UP, Phase
from pool_managerd.core.replica_state import DrainCause, Input, Signal, StartCause
from pool_managerd.observe.correlation import CORRELATION_ID
from pool_managerd.runtime import preflight
from pool_managerd.runtime.draining import wait_at_rest, wait_idle
from pool_managerd.runtime.gpu_processes import gpu_pids_of
from pool_managerd.runtime.pool import Activity, Pool
from pool_managerd.runtime.preflight import Target
from pool_managerd.runtime.replica import Replica

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """How a reload ended: ``error`` is ``None`` for success; ``changed`` is false if nothing had to be done."""

    error: PoolManagerError | None
    changed: bool = True


def _stopped_meanwhile(replica: Replica) -> PoolManagerError:
    return PoolManagerError(
        Code.POOL_UNREADY, f"pool {replica.pool_id} replica {replica.replica_id} was stopped before it was ready"
    )


class PoolReload:
    """The reload of one pool.

    :param model_ref: the new model as the caller named it.
    :param model: the same as a path inside the allowed folders.
    :param drain_ms: how long leases on a replica may hold up its replacement.
    :param fault: what is known to be wrong with the new model: what an earlier daemon did of the reload is taken back.
    """

    def __init__(
        self, pool: Pool, model_ref: str, model: Path, drain_ms: int, fault: PoolManagerError | None = None
    ) -> None:
        self.pool = pool
        self.model_ref = model_ref
        self.model = model
        self.drain_ms = drain_ms
        self.fault = fault
        self.old_ref = pool.model_ref
        self.old_model = pool.model
        self.config_ref = pool.config.model_ref
        self.began = pool.host.clock()
        self.correlation_id = CORRELATION_ID.get()
        self.activity = Activity("reload", f"a reload to {model_ref!r}", can_cancel=False)

    def begin(self, *, resumed: bool = False) -> None:
        """Announce it and start it in the background. The task's result is a :class:`ReloadOutcome`.

        :param resumed: the last daemon began it: what is coming up is let come up first.
        """
        self.pool.activity = self.activity
        self._publish("started", f"reload from {self.old_ref!r} to {self.model_ref!r}", {})
        self.activity.task = self.pool.host.start_task(self._run(resumed=resumed), f"reload {self.pool.id}")

    def is_unchanged(self) -> bool:
        """Whether every running replica runs this very model already."""
        return self.model == self.old_model and all(self._runs_it(one) for one in self.pool.replicas.values())

    def _runs_it(self, replica: Replica) -> bool:
        """Whether a replica is Ready on the new model already."""
        return replica.state.phase is Phase.READY and replica.run is not None and replica.run.spec.model == self.model

    async def check(self) -> None:
        """Judge the new model for every replica before anything is touched.

        :raises PoolManagerError: what is wrong with it.
        """
        if self.fault is not None:
            raise self.fault
        snapshot = self.pool.host.inventory.snapshot
        for replica in list(self.pool.replicas.values()):
            pids = frozenset() if replica.run is None else frozenset(gpu_pids_of(self.pool.host, replica.run, snapshot))
            target = Target(self.pool.config, replica.replica_id, self.model)
            await preflight.check(self.pool.host, target, reserve=False, replacing=pids)

    async def _run(self, *, resumed: bool) -> ReloadOutcome:
        try:
            on_its_way = COMING_UP | {Phase.STOPPING}
            while resumed and any(one.state.phase in on_its_way for one in self.pool.replicas.values()):
                await self.pool.changed()
            return await self._to_its_end()
        finally:
            if self.pool.activity is self.activity:
                self.pool.activity = None
                self.pool.wake()

    async def _to_its_end(self) -> ReloadOutcome:
        pool = self.pool
        try:
            outcome = await self._outcome()
        except Exception as fault:  # noqa: BLE001 - whatever it is, the caller gets an answer and the pool goes on
            _log.exception("the reload of pool %s failed", pool.id, extra={"pool_id": pool.id})
            outcome = ReloadOutcome(self._failed(PoolManagerError(Code.INTERNAL, repr(fault)), restored=False))
        pool.pending_reload = None
        error = outcome.error
        duration_ms = round((pool.host.clock() - self.began) * 1000)
        details: dict[str, Any] = {"duration_ms": duration_ms}
        if error is None:
            if pool.config.model_ref != self.config_ref or self.model == pool.config.model:
                # The config's model was changed meanwhile, and wins; or it is that very model.
                pool.drop_override()
            elif outcome.changed:
                pool.override_model(self.model_ref, self.model)
            await self._store()
            to = "done" if outcome.changed else "unchanged"
            reason = f"now on {self.model_ref!r}" if outcome.changed else "it runs that very model already"
            self._publish(to, reason, details)
        else:
            await self._store()
            details |= {"cause": error.details.get("cause"), "restored": error.details.get("restored")}
            self._publish("failed", error.message, details, code=str(error.code))
        return outcome

    async def _store(self) -> None:
        """Store how it ended before anybody is told; where that can't be done, later."""
        for replica in self.pool.replicas.values():
            replica.model = None
            replica.persist()
        try:
            await self.pool.commit()
        except PoolManagerError:
            self.pool.post()

    async def _outcome(self) -> ReloadOutcome:
        if self.is_unchanged():
            return ReloadOutcome(None, changed=False)
        try:
            await self.check()
        except PoolManagerError as error:
            # Nothing was touched; but for what an earlier daemon had begun of it.
            restored, worse = await self._restore(list(self.pool.replicas.values()))
            return ReloadOutcome(self._failed(error, restored=restored, worse=worse))
        switched: list[Replica] = []
        for replica in list(self.pool.replicas.values()):
            if self._runs_it(replica):
                replica.model = self.model
                switched.append(replica)
                continue
            cause = await self._switch(replica)
            if cause is not None:
                restored, worse = await self._restore([*switched, replica])
                return ReloadOutcome(self._failed(cause, restored=restored, worse=worse))
            switched.append(replica)
        return ReloadOutcome(None)

    async def _switch(self, replica: Replica) -> PoolManagerError | Failure | None:
        """Replace one replica; ``None`` for success. A drain that times out leaves the old engine serving."""
        replica.trigger = "reload"
        replica.correlation_id = self.correlation_id
        if replica.state.phase is Phase.READY:
            replica.signal(Input(Signal.DRAIN, drain=DrainCause.RELOAD, reason=f"reload to {self.model_ref!r}"))
        if replica.state.phase is Phase.DRAINING:
            deadline = self.pool.host.clock() + self.drain_ms / 1000
            verdict, reason = await wait_idle(self.pool, [replica], lambda: deadline)
            if verdict is DrainVerdict.DEADLINE and replica.state.phase is Phase.DRAINING:
                replica.signal(Input(Signal.UNDRAIN, reason="the reload's drain ran past its deadline"))
                return PoolManagerError(
                    Code.DRAIN_TIMEOUT,
                    f"pool {self.pool.id}: reload given up after {self.drain_ms} ms: {reason}",
                    hint="wait for the leases to end, or allow a longer drain_deadline_ms",
                    details={"drain_deadline_ms": self.drain_ms, "replica_id": replica.replica_id},
                )
        await self._stop(replica, "the old engine makes room for the new model")
        replica.model = self.model
        return await self._start(replica, StartCause.RELOAD)

    async def _stop(self, replica: Replica, reason: str) -> None:
        replica.signal(Input(Signal.STOP, reason=reason))
        await wait_at_rest(self.pool, [replica])
        if replica.state.phase is not Phase.STOPPED:
            # It failed while it was being stopped, or waits for a restart of the old model.
            replica.signal(Input(Signal.STOP, reason=reason))

    async def _start(self, replica: Replica, cause: StartCause) -> PoolManagerError | Failure | None:
        """Start and wait; ``None`` once Ready, else why not."""
        replica.start(
            Input(Signal.START, start=cause, reason=f"reload to {self.model_ref!r}"),
            trigger="reload",
            correlation_id=self.correlation_id,
        )
        while replica.state.phase is not Phase.READY:
            if replica.state.phase in AT_REST:
                return replica.state.failure or _stopped_meanwhile(replica)
            await self.pool.changed()
        return None

    async def _restore(self, replicas: list[Replica]) -> tuple[bool, PoolManagerError | Failure | None]:
        """Bring replicas back to the old model, the failed one first."""
        worse: PoolManagerError | Failure | None = None
        for replica in reversed(replicas):
            if replica.model is None or (replica.model == self.old_model and replica.state.phase not in AT_REST):
                continue
            if replica.state.phase is Phase.READY:
                replica.signal(Input(Signal.DRAIN, drain=DrainCause.RELOAD, reason="back to the old model"))
                deadline = self.pool.host.clock() + self.drain_ms / 1000
                await wait_idle(self.pool, [replica], partial(float, deadline))
            await self._stop(replica, "the new model makes room for the old one")
            replica.model = None
            failure = await self._start(replica, StartCause.RESTORE)
            worse = worse or failure
        return worse is None, worse

    def _failed(
        self, cause: PoolManagerError | Failure, *, restored: bool, worse: PoolManagerError | Failure | None = None
    ) -> PoolManagerError:
        """The answer to the caller: what went wrong with the new model, and whether the old one is back."""
        details: dict[str, Any] = {**cause.details, "cause": str(cause.code), "restored": restored}
        details["model"] = self.model_ref
        if isinstance(cause, PoolManagerError) and cause.code is Code.DRAIN_TIMEOUT:
            details["cause"] = str(Code.DRAIN_TIMEOUT)
            return PoolManagerError(cause.code, cause.message, hint=cause.hint, details=details)
        message = f"pool {self.pool.id}: reload to {self.model_ref!r} failed: {cause.code}: {cause.message}"
        if worse is not None:
            details |= {"restore_cause": str(worse.code), "restore_message": worse.message}
            message += f"; the old model could not be brought back either: {worse.code}: {worse.message}"
            hint = "the pool is not Ready and restarts the old model with backoff"
        else:
            hint = "the old model is in service; " + (cause.hint or "look at the cause in details")
        return PoolManagerError(Code.RELOAD_FAILED, message, hint=hint, details=details)

    def _publish(self, to: str, reason: str, details: dict[str, Any], *, code: str | None = None) -> None:
        self.pool.host.bus.publish(
            EventKind.RELOAD,
            pool_id=self.pool.id,
            to=to,
            code=code,
            reason=reason,
            details={"model": self.model_ref, "old_model": self.old_ref, **details},
            correlation_id=self.correlation_id,
        )
