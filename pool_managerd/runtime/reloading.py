"""Reloading: bring a pool to another model, one replica after the other, and back again if that fails.

No second copy of a model in GPU memory is assumed: the old engine is gone, and its memory verified to be free,
before the new one is spawned. With several replicas the others serve meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pool_managerd.core.drain import DrainVerdict
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.core.failures import Failure
from pool_managerd.core.phases import AT_REST, Phase
from pool_managerd.core.replica import DrainCause, Input, Signal, StartCause
from pool_managerd.observe.correlation import CORRELATION_ID
from pool_managerd.runtime import preflight
from pool_managerd.runtime.draining import wait_at_rest, wait_idle
from pool_managerd.runtime.pool import Activity, Pool
from pool_managerd.runtime.preflight import Target
from pool_managerd.runtime.replica import Replica


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """How a reload ended: ``error`` is ``None`` for success; ``changed`` is false if nothing had to be done."""

    error: PoolManagerError | None
    changed: bool = True


class PoolReload:
    """The reload of one pool.

    :param model_ref: the new model as the caller named it.
    :param model: the same as a path inside the allowed folders.
    :param drain_ms: how long leases on a replica may hold up its replacement.
    """

    def __init__(self, pool: Pool, model_ref: str, model: Path, drain_ms: int) -> None:
        self.pool = pool
        self.model_ref = model_ref
        self.model = model
        self.drain_ms = drain_ms
        self.old_ref = pool.model_ref
        self.old_model = pool.model
        self.began = pool.host.clock()
        self.correlation_id = CORRELATION_ID.get()
        self.activity = Activity("reload", f"a reload to {model_ref!r}", can_cancel=False)

    def begin(self) -> None:
        """Announce it and start it in the background. The task's result is a :class:`ReloadOutcome`."""
        self.pool.activity = self.activity
        self._publish("started", f"reload from {self.old_ref!r} to {self.model_ref!r}", {})
        self.activity.task = self.pool.host.start_task(self._run(), f"reload {self.pool.id}")

    def is_unchanged(self) -> bool:
        """Whether every running replica runs this very model already."""
        return self.model == self.old_model and all(
            one.state.phase is Phase.READY for one in self.pool.replicas.values()
        )

    async def check(self) -> None:
        """Judge the new model for every replica before anything is touched.

        :raises PoolManagerError: what is wrong with it.
        """
        for replica in self.pool.replicas.values():
            pids = frozenset() if replica.run is None else frozenset({replica.run.process.pid})
            target = Target(self.pool.config, replica.replica_id, self.model)
            await preflight.check(self.pool.host, target, reserve=False, replacing=pids)

    async def _run(self) -> ReloadOutcome:
        outcome = await self._outcome()
        pool = self.pool
        pool.activity = None
        pool.pending_reload = None
        error = outcome.error
        duration_ms = round((pool.host.clock() - self.began) * 1000)
        details: dict[str, Any] = {"duration_ms": duration_ms}
        if error is None:
            if outcome.changed:
                pool.model_override = None if self.model == pool.config.model else self.model_ref
                pool.override_of = pool.config.model_ref
            for replica in pool.replicas.values():
                replica.model = None
            pool.post()
            to = "done" if outcome.changed else "unchanged"
            reason = f"now on {self.model_ref!r}" if outcome.changed else "it runs that very model already"
            self._publish(to, reason, details)
        else:
            pool.post()
            details |= {"cause": error.details.get("cause"), "restored": error.details.get("restored")}
            self._publish("failed", error.message, details, code=str(error.code))
        pool.wake()
        return outcome

    async def _outcome(self) -> ReloadOutcome:
        if self.is_unchanged():
            return ReloadOutcome(None, changed=False)
        try:
            await self.check()
        except PoolManagerError as error:
            return ReloadOutcome(self._failed(error, restored=True))
        switched: list[Replica] = []
        for replica in list(self.pool.replicas.values()):
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
            verdict, reason = await wait_idle(self.pool, [replica], deadline)
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

    async def _start(self, replica: Replica, cause: StartCause) -> Failure | None:
        """Start and wait; ``None`` once Ready, else why not."""
        replica.start(
            Input(Signal.START, start=cause, reason=f"reload to {self.model_ref!r}"),
            trigger="reload",
            correlation_id=self.correlation_id,
        )
        while replica.state.phase is not Phase.READY:
            if replica.state.phase in AT_REST:
                return replica.state.failure
            await self.pool.changed()
        return None

    async def _restore(self, replicas: list[Replica]) -> tuple[bool, Failure | None]:
        """Bring replicas back to the old model, the failed one first."""
        worse: Failure | None = None
        for replica in reversed(replicas):
            if replica.model is None or replica.model == self.old_model:
                continue
            if replica.state.phase is Phase.READY:
                replica.signal(Input(Signal.DRAIN, drain=DrainCause.RELOAD, reason="back to the old model"))
                await wait_idle(self.pool, [replica], self.pool.host.clock() + self.drain_ms / 1000)
            await self._stop(replica, "the new model makes room for the old one")
            replica.model = None
            failure = await self._start(replica, StartCause.RESTORE)
            worse = worse or failure
        return worse is None, worse

    def _failed(
        self, cause: PoolManagerError | Failure, *, restored: bool, worse: Failure | None = None
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
