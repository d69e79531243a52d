"""What one replica waits for by the clock: its next start, a port that is taken, having been Ready for long enough."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import TYPE_CHECKING

from pool_managerd.core.failures import FailureClass
from pool_managerd.core.phases import Phase
from pool_managerd.core.replica_state import Input, Signal
from pool_managerd.runtime import announce
from pool_managerd.runtime.sockets import port_is_free

if TYPE_CHECKING:
    from pool_managerd.runtime.replica import Replica

#: How often a configured port that is taken is looked at again, in seconds (SPEC, "Whose 200 was it?").
PORT_RECHECK_S = 0.5


class ReplicaTimers:
    """The timers of a replica: one for backoff and breaker, one for what is forgotten after a stable time."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self._timer: asyncio.TimerHandle | None = None
        self._stable_timer: asyncio.TimerHandle | None = None

    def on_phase(self, old: Phase) -> None:
        """Stop what belongs to the phase that was left, and begin what belongs to the one that was entered."""
        phase = self.replica.state.phase
        if old in {Phase.BACKOFF, Phase.CIRCUIT_OPEN, Phase.FAILED}:
            self.pause()
        if phase is Phase.READY and self._stable_timer is None:
            self.arm_stable()
        elif phase not in {Phase.READY, Phase.DRAINING} and self._stable_timer is not None:
            self._stable_timer.cancel()
            self._stable_timer = None

    def arm(self) -> None:
        """Wake when the time of the next restart has come, or sooner if a port that it waits for is free."""
        replica = self.replica
        at = replica.state.next_restart_at
        if at is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        delay = max(0.0, at - replica.host.clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer, context=contextvars.Context())
        if replica.state.waits_for is FailureClass.PORT:
            replica.host.start_task(self._recheck_port(), f"port {replica.name}")

    def resume(self) -> None:
        """Go on waiting for a time that was set before the daemon was restarted."""
        self.arm()

    def _on_timer(self) -> None:
        replica = self.replica
        self._timer = None
        replica.trigger = "restart"
        replica.correlation_id = None
        replica.signal(Input(Signal.TIMER))

    def pause(self) -> None:
        """Start nothing any more; what it waits for stays stored for the next daemon."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _recheck_port(self) -> None:
        replica = self.replica
        since = replica.state.since
        while True:
            await asyncio.sleep(PORT_RECHECK_S)
            if (
                replica.state.waits_for is not FailureClass.PORT
                or replica.state.since != since
                or replica.host.shutting_down
            ):
                return
            config = replica.owner.config
            free = True
            with contextlib.suppress(OSError):
                free = await asyncio.to_thread(port_is_free, config.host, config.port)
            if free and replica.state.since == since:
                replica.signal(Input(Signal.RECHECK, reason=f"port {config.port} is free"))
                return

    def arm_stable(self) -> None:
        """Wake when the replica has been Ready for long enough that something may be forgotten."""
        replica = self.replica
        if self._stable_timer is not None:
            self._stable_timer.cancel()
            self._stable_timer = None
        wait_s = announce.next_stable(replica.state, replica.policy, replica.host.clock())
        if wait_s is not None:
            self._stable_timer = asyncio.get_running_loop().call_later(
                wait_s + 0.001, self._on_stable, context=contextvars.Context()
            )

    def _on_stable(self) -> None:
        self._stable_timer = None
        self.replica.signal(Input(Signal.STABLE))
        if self.replica.state.phase is Phase.READY:
            self.arm_stable()

    def close(self) -> None:
        """Wake nobody any more."""
        for timer in (self._timer, self._stable_timer):
            if timer is not None:
                timer.cancel()
