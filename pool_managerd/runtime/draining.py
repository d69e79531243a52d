"""Draining: refuse new work, wait for what is in flight, stop the engines, say how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from pool_managerd.core.drain import DrainVerdict, judge_drain
from pool_managerd.core.events import EventKind
from pool_managerd.core.leases import LeaseEnd
from pool_managerd.core.phases import AT_REST, Desired, Phase
from pool_managerd.core.replica_state import DrainCause, Input, Signal
from pool_managerd.core.status import DrainResult
from pool_managerd.observe.correlation import CORRELATION_ID
from pool_managerd.runtime.loading import busy_slots
from pool_managerd.runtime.pool import Activity, Pool
from pool_managerd.runtime.replica import Replica

#: Engines can't say by themselves that a slot became idle, so a waiting drain asks this often, in seconds.
BUSY_POLL_S = 0.1
#: How long an engine may take to answer how many slots are busy, in seconds.
BUSY_TIMEOUT_S = 1.0


def may_have_work(replica: Replica) -> bool:
    """Whether its engine serves, or did so before the daemon was restarted and is only being checked anew."""
    phase, run = replica.state.phase, replica.run
    return phase in {Phase.READY, Phase.DRAINING} or (phase is Phase.LOADING and run is not None and run.was_ready)


async def busy_of(replicas: Iterable[Replica], timeout_s: float) -> int | None:
    """The busy slots of all these replicas; ``None`` if no engine says."""
    runs = [one.run for one in replicas if one.run is not None and may_have_work(one)]
    counts = await asyncio.gather(*(busy_slots(run, timeout_s) for run in runs))
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


async def wait_idle(pool: Pool, replicas: list[Replica], deadline: Callable[[], float]) -> tuple[DrainVerdict, str]:
    """Wait until these replicas carry no lease and no busy slot, or the deadline (wall-clock seconds) has passed."""
    while True:
        active = sum(len(pool.leases.on_replica(one.replica_id)) for one in replicas)
        # Only if no lease is left does it matter what the engine does besides.
        left = deadline() - pool.host.clock()
        busy = await busy_of(replicas, min(BUSY_TIMEOUT_S, max(BUSY_POLL_S, left))) if active == 0 else 0
        active = sum(len(pool.leases.on_replica(one.replica_id)) for one in replicas)
        now = pool.host.clock()
        decision = judge_drain(active_leases=active, busy_slots=busy, now=now, deadline=deadline())
        if decision.verdict is not DrainVerdict.WAIT:
            return decision.verdict, decision.reason
        left = max(0.0, deadline() - now)
        if active:
            await pool.wait_change(left)
        else:
            await asyncio.sleep(min(BUSY_POLL_S, left))


async def wait_at_rest(pool: Pool, replicas: list[Replica]) -> None:
    """Wait until none of these replicas has a process."""
    while any(one.state.phase not in AT_REST for one in replicas):
        await pool.changed()


class PoolDrain:
    """The drain of a whole pool, for its operator, its removal, or the daemon's end.

    :param deadline: wall-clock seconds since the epoch.
    :param trigger: ``operator``, ``config`` or ``shutdown``; stands in the events.
    """

    def __init__(self, pool: Pool, deadline: float, trigger: str, began: float | None = None) -> None:
        self.pool = pool
        self.deadline = deadline
        self.trigger = trigger
        self.began = pool.host.clock() if began is None else began
        self.correlation_id = CORRELATION_ID.get()
        self.activity = Activity("drain", f"a drain by {trigger}", owner=self)
        self.is_stopping = False

    def begin(self) -> None:
        """Refuse new leases from this moment on, and start waiting in the background."""
        pool = self.pool
        pool.draining = True
        pool.activity = self.activity
        active = len(pool.leases)
        deadline_ms = max(0, round((self.deadline - self.began) * 1000))
        self._publish(
            "started",
            f"drain by {self.trigger} with {active} active leases",
            {"deadline_ms": deadline_ms, "active_leases": active},
        )
        for replica in pool.replicas.values():
            replica.trigger = self.trigger
            replica.correlation_id = self.correlation_id
            if may_have_work(replica):
                replica.signal(Input(Signal.DRAIN, drain=DrainCause.OPERATOR, reason=f"drain by {self.trigger}"))
            elif self.trigger == "shutdown" and replica.state.phase in AT_REST | {Phase.STOPPING}:
                # What it waits for is still there for the next daemon.
                replica.timers.pause()
            else:
                replica.signal(Input(Signal.STOP, reason=f"stopped by {self.trigger}"))
        self.activity.task = pool.host.start_task(self._run(), f"drain {pool.id}")

    def cancel(self) -> None:
        """Take the drain back while it still waits."""
        pool = self.pool
        task = self.activity.task
        pool.activity = None
        pool.draining = False
        pool.pending_drain = None
        if task is not None:
            task.cancel()
        for replica in pool.replicas.values():
            replica.signal(Input(Signal.UNDRAIN, reason="the drain was cancelled"))
        self._publish("cancelled", "the drain was cancelled", {"waited_ms": self._waited_ms()})
        pool.wake()

    def hurry(self) -> None:
        """Wait no longer than until now."""
        self.deadline = min(self.deadline, self.pool.host.clock())
        self.pool.wake()

    async def _run(self) -> DrainResult:
        try:
            return await self._drain()
        except Exception:
            # Whatever it was: what was promised is that nothing runs.
            for replica in self.pool.replicas.values():
                replica.signal(Input(Signal.STOP, reason="the drain failed"))
            raise
        finally:
            if self.pool.activity is self.activity:
                self.pool.draining, self.pool.activity = False, None
                self.pool.wake()

    async def _drain(self) -> DrainResult:
        pool = self.pool
        replicas = list(pool.replicas.values())
        nothing_ran = all(one.state.phase in AT_REST for one in replicas)
        verdict, reason = await wait_idle(pool, replicas, lambda: self.deadline)
        self.is_stopping = True
        self.activity.can_cancel = False
        forced = verdict is DrainVerdict.DEADLINE
        cut_off = pool.leases.active()
        if cut_off:
            pool.end_leases(cut_off, LeaseEnd.FORCED, "the drain's deadline passed")
        for replica in replicas:
            if replica.state.phase not in AT_REST:
                replica.signal(Input(Signal.STOP, reason=f"drain over: {reason}"))
        await wait_at_rest(pool, replicas)
        forced = forced and not nothing_ran
        result = DrainResult(
            outcome="forced" if forced else "drained",
            waited_ms=self._waited_ms(),
            leases_forced=len(cut_off),
            note="nothing was running" if nothing_ran else None,
        )
        pool.draining = False
        pool.pending_drain = None
        pool.activity = None
        if pool.desired is Desired.STOPPED and not pool.removed:
            pool.post()
        self._publish(
            result.outcome,
            result.note or reason,
            {"waited_ms": result.waited_ms, "leases_forced": result.leases_forced},
        )
        pool.wake()
        return result

    def _waited_ms(self) -> int:
        return max(0, round((self.pool.host.clock() - self.began) * 1000))

    def _publish(self, to: str, reason: str, details: dict[str, object]) -> None:
        self.pool.host.bus.publish(
            EventKind.DRAIN,
            pool_id=self.pool.id,
            to=to,
            reason=reason,
            details={"trigger": self.trigger, **details},
            correlation_id=self.correlation_id,
        )
