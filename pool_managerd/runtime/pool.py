"""A pool: its replicas, its leases, what its operator wants, and the operation that is under way on it."""

from __future__ import annotations

import asyncio
import contextvars
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pool_managerd.config import PoolConfig
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.core.leases import NOT_RENEWED, Lease, LeaseBook, LeaseEnd
from pool_managerd.core.phases import AT_REST, COMING_UP, Desired, Phase
from pool_managerd.core.replica_state import DrainCause, Input, ReplicaState, Signal, StartCause, Step
from pool_managerd.core.restart import is_open
from pool_managerd.core.status import PoolStatus
from pool_managerd.core.times import rfc3339
from pool_managerd.runtime import views
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.replica import Replica
from pool_managerd.runtime.store import Delete, Operation, Put


@dataclass(slots=True, eq=False)
class Activity:
    """An operation that is under way: a drain or a reload.

    :param can_cancel: while a drain still waits; false once it stops engines.
    :param owner: the drain or reload itself.
    """

    kind: str
    description: str
    task: asyncio.Task[Any] | None = None
    can_cancel: bool = True
    owner: object = None


class Pool:
    """One engine kind with one model, in one or more replicas.

    :ivar model_override: the model of the last successful reload; ``None`` if the config's own is in force.
    :ivar override_path: the same as a path: it stays in force, whatever becomes of the folders that models may lie in.
    :ivar drained: whether its operator stopped it; a pool that was never preloaded is stopped, too, but not drained.
    :ivar intent: held while a change of what its operator wants is judged and stored, so that nobody builds on one that
        may still be taken back.
    :ivar outdated: replicas that still have to be replaced because the config gives them another spawn spec.
    :ivar follower: what brings the replicas to a changed config.
    :ivar retired_restarts: restarts of replicas that the config no longer has; keeps the pool's count monotone.
    """

    def __init__(self, host: Host, config: PoolConfig, desired: Desired) -> None:
        self.host = host
        self.config = config
        self.desired = desired
        self.model_override: str | None = None
        self.override_path: Path | None = None
        self.drained = False
        self.outdated: set[str] = set()
        self.follower: asyncio.Task[Any] | None = None
        self.override_of: str | None = None
        self.pending_drain: dict[str, Any] | None = None
        self.pending_reload: dict[str, Any] | None = None
        self.retired_restarts = 0
        self.leases = LeaseBook(config.id)
        self.replicas: dict[str, Replica] = {}
        self.activity: Activity | None = None
        self.intent = asyncio.Lock()
        self.draining = False
        self.removed = False
        self._announced_ready = False
        self._changed = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None
        for replica_id in config.replica_ids:
            self.add_replica(replica_id)

    @property
    def id(self) -> str:
        """The pool's id."""
        return self.config.id

    @property
    def stopped_because(self) -> str:
        """Why a pool that is desired to be stopped is, in words."""
        return "its operator stopped the pool" if self.drained else "the pool was never preloaded"

    @property
    def ready(self) -> bool:
        """Whether at least ``min_ready`` replicas are Ready."""
        return sum(one.state.phase is Phase.READY for one in self.replicas.values()) >= self.config.min_ready

    @property
    def model_ref(self) -> str | None:
        """The model reference in force: the last successful reload's, else the config's."""
        return self.model_override if self.model_override is not None else self.config.model_ref

    @property
    def model(self) -> Path | None:
        """The model file in force."""
        return self.config.model if self.model_override is None else self.override_path

    def override_model(self, model_ref: str, path: Path) -> None:
        """A reload succeeded: its model is in force until the config's changes."""
        self.model_override, self.override_path = model_ref, path
        self.override_of = self.config.model_ref

    def drop_override(self) -> None:
        """The config's model is in force again."""
        self.model_override = self.override_path = self.override_of = None

    @property
    def is_following(self) -> bool:
        """Whether replicas are still being brought to a changed config."""
        return self.follower is not None and not self.follower.done()

    def model_of(self, replica_id: str) -> Path | None:
        """The model of one replica: during a reload it may differ from the pool's."""
        replica = self.replicas.get(replica_id)
        return self.model if replica is None or replica.model is None else replica.model

    def add_replica(self, replica_id: str, state: ReplicaState | None = None) -> Replica:
        """Add a replica, in phase ``stopped`` unless its state is known from before."""
        fresh = state or ReplicaState(since=self.host.clock())
        replica = self.replicas[replica_id] = Replica(self.host, self, replica_id, fresh)
        return replica

    def status(self) -> PoolStatus:
        """The pool as the API shows it."""
        return views.pool_status(self, self.host.bus.revision)

    # -- changes ---------------------------------------------------------------------------------------------------

    def on_change(self, replica: Replica, before: ReplicaState, taken: Step) -> None:
        """A replica changed: announce gained and lost readiness, end leases, wake whoever waits."""
        after = taken.state
        if after.phase in AT_REST | {Phase.STOPPING}:
            # Also those of an adopted engine that never passed its check.
            failure = after.failure if after.failure is not before.failure else None
            reason = "the replica was stopped" if failure is None else f"{failure.code}: {failure.message}"
            if carried := self.leases.on_replica(replica.replica_id):
                self.end_leases(carried, LeaseEnd.FORCED, reason)
        self.announce_readiness(taken.reason, replica)
        if after.waits_for is not None or before.phase is Phase.STOPPING:
            self.host.look_again.set()
        if after.phase is Phase.DRAINING and after.drain is DrainCause.DRIVER:
            self.host.start_task(self._driver_drain(replica), f"driver drain {replica.name}")
        self.wake()

    def announce_readiness(self, reason: str, replica: Replica | None = None) -> None:
        """Tell of gained or lost readiness, if it is so.

        :param replica: whose change it was; ``None`` where the config changed.
        """
        ready = self.ready
        if ready is self._announced_ready:
            return
        self._announced_ready = ready
        failure = None if replica is None else replica.state.failure
        up = sum(one.state.phase is Phase.READY for one in self.replicas.values())
        self.host.bus.publish(
            EventKind.POOL_READY if ready else EventKind.POOL_UNREADY,
            pool_id=self.id,
            from_="unready" if ready else "ready",
            to="ready" if ready else "unready",
            code=None if ready or failure is None else str(failure.code),
            reason=reason if failure is None or ready else failure.message,
            details={
                "ready_replicas": up,
                "min_ready": self.config.min_ready,
                "replica_id": None if replica is None else replica.replica_id,
            },
            correlation_id=None if replica is None else replica.correlation_id,
        )

    def wake(self) -> None:
        """Let everybody who waits for something of this pool look again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        """Wait for the next change of a replica or lease."""
        await self._changed.wait()

    # -- starting --------------------------------------------------------------------------------------------------

    def start_all(self, *, trigger: str, correlation_id: str | None = None) -> None:
        """Start every replica that is at rest, the waiting ones at once, and those that are just ending after that."""
        for replica in self.replicas.values():
            if replica.state.phase in AT_REST | {Phase.STOPPING, Phase.DRAINING}:
                given = Input(Signal.START, start=StartCause.OPERATOR, reason=f"start by {trigger}")
                replica.start(given, trigger=trigger, correlation_id=correlation_id)

    def all_circuits_open(self) -> bool:
        """Whether no start can help, because too many replicas wait for their circuits."""
        now = self.host.clock()
        startable = [
            one
            for one in self.replicas.values()
            if one.state.phase is Phase.READY or not is_open(one.state.history, now)
        ]
        return len(startable) < self.config.min_ready

    async def settled(self) -> None:
        """Wait until the pool is Ready.

        :raises PoolManagerError: why not, as soon as no replica is on its way any more.
        """
        while not self.ready:
            if self.removed:
                raise PoolManagerError(Code.POOL_NOT_FOUND, f"pool {self.id!r} was removed from the config")
            if self.desired is Desired.STOPPED:
                raise PoolManagerError(
                    Code.CONFLICT, f"pool {self.id} is being stopped", hint="preload it again once it is stopped"
                )
            busy = COMING_UP | {Phase.STOPPING, Phase.DRAINING}
            if not any(one.state.phase in busy for one in self.replicas.values()) and self.activity is None:
                raise self.why_unready()
            await self.changed()

    def why_unready(self) -> PoolManagerError:
        """The newest failure of a replica, as an error."""
        failed = [one for one in self.replicas.values() if one.state.failure is not None]
        newest = max(failed, key=lambda one: one.state.failed_at or 0.0, default=None)
        if newest is None or newest.state.failure is None:
            return PoolManagerError(
                Code.POOL_UNREADY, f"pool {self.id} is {self.status().phase}", hint="preload the pool"
            )
        return views.as_error(newest.state.failure, retry_after_ms=self.retry_after_ms())

    def retry_after_ms(self) -> int | None:
        """Milliseconds until the next start of a replica; ``None`` if none is due."""
        due = [one.state.next_restart_at for one in self.replicas.values() if one.state.next_restart_at is not None]
        return None if not due else max(1, round((min(due) - self.host.clock()) * 1000))

    # -- leases ----------------------------------------------------------------------------------------------------

    def free_slots_by_replica(self) -> dict[str, int]:
        """The slots of each Ready replica."""
        return {
            one.replica_id: one.run.slots
            for one in self.replicas.values()
            if one.run is not None and one.state.phase is Phase.READY
        }

    def lease_count(self, replica_id: str) -> int:
        """How many leases a replica has."""
        return len(self.leases.on_replica(replica_id))

    def end_leases(self, leases: list[Lease], how: LeaseEnd, reason: str) -> None:
        """End leases, announce each, and let the store know."""
        operations: list[Operation] = []
        for lease in leases:
            if self.leases.end(lease.lease_id, how, reason) is None:
                continue
            operations.append(Delete("lease", lease.lease_id))
            self.publish_lease(lease, str(how), reason)
        if operations:
            self.host.store.post(operations)
        self.arm_expiry()
        self.wake()

    def publish_lease(self, lease: Lease, action: str, reason: str) -> None:
        """One lease event."""
        self.host.bus.publish(
            EventKind.LEASE,
            pool_id=self.id,
            replica_id=lease.replica_id,
            reason=reason,
            details={
                "action": action,
                "lease_id": lease.lease_id,
                "holder": lease.holder,
                "ttl_ms": lease.ttl_ms,
                "expires_at": rfc3339(lease.expires_at),
                "active_leases": len(self.leases),
                "slots_free": max(0, sum(self.free_slots_by_replica().values()) - len(self.leases)),
            },
        )

    def arm_expiry(self) -> None:
        """Wake when the next lease runs out."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        at = self.leases.next_expiry()
        if at is not None:
            delay = max(0.0, at - self.host.monotonic())
            self._expiry = asyncio.get_running_loop().call_later(delay, self._expire, context=contextvars.Context())

    def _expire(self) -> None:
        self._expiry = None
        self.end_leases(self.leases.due(self.host.monotonic()), LeaseEnd.EXPIRED, NOT_RENEWED)
        self.arm_expiry()

    # -- a driver error's drain ------------------------------------------------------------------------------------

    async def _driver_drain(self, replica: Replica) -> None:
        """Let the leases in flight end until the drain deadline, then stop the engine."""
        deadline = self.host.clock() + self.config.drain.deadline_ms / 1000
        while replica.state.phase is Phase.DRAINING and self.leases.on_replica(replica.replica_id):
            left = deadline - self.host.clock()
            if left <= 0:
                break
            await self.wait_change(left)
        if replica.state.phase is Phase.DRAINING and replica.state.drain is DrainCause.DRIVER:
            replica.signal(Input(Signal.STOP, drain=DrainCause.DRIVER, reason="the driver error's drain is over"))

    async def wait_change(self, timeout_s: float) -> None:
        """Wait for the next change, at most so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.changed()
        except TimeoutError:
            return

    # -- the store -------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """What the store keeps of the pool itself."""
        return {
            "desired": str(self.desired),
            "drained": self.drained,
            "model_override": self.model_override,
            "override_path": None if self.override_path is None else str(self.override_path),
            "override_of": self.override_of,
            "drain": self.pending_drain,
            "reload": self.pending_reload,
            "retired_restarts": self.retired_restarts,
        }

    def stop_what_was_started(self) -> None:
        """The pool stays stopped after all: what a config reload started, which took it for running, is stopped."""
        for replica in self.replicas.values():
            if replica.state.phase in COMING_UP | {Phase.READY}:
                replica.signal(Input(Signal.STOP, reason=self.stopped_because))

    async def commit(self) -> None:
        """Store the pool's own state before a promise is given.

        :raises PoolManagerError: STORE_UNAVAILABLE.
        """
        await self.host.store.commit([Put("pool", self.id, self.document())])

    def post(self) -> None:
        """Store the pool's own state in its time."""
        self.host.store.post([Put("pool", self.id, self.document())])

    def close(self) -> None:
        """Stop all timers and work; processes are left alone."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self.follower is not None:
            self.follower.cancel()
        for replica in self.replicas.values():
            replica.close()
