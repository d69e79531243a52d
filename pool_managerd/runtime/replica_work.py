"""What one replica does in the background: one piece of work at a time, and each comes to an end that is noticed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from pool_managerd.runtime.failures import internal
from pool_managerd.runtime.replica_stop import STOP_RETRY_S

if TYPE_CHECKING:
    from pool_managerd.runtime.replica import Replica

_log = logging.getLogger(__name__)


class ReplicaWork:
    """The task that a replica is busy with; new work takes the place of the old."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self._work: asyncio.Task[Any] | None = None
        self._spawning: asyncio.Task[Any] | None = None

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Begin a piece of work; what was under way is given up."""
        self.cancel()
        self._work = self.replica.host.start_task(self._to_its_end(work), f"{name} {self.replica.name}")

    def begin_spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """What makes a process is never cancelled: a stop waits until the process is there, and then ends it."""
        self.cancel()
        self._spawning = self.replica.host.start_task(self._to_its_end(work), f"spawn {self.replica.name}")

    async def _to_its_end(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Whatever goes wrong, the replica hears of it: no phase is for ever because its work died."""
        replica = self.replica
        while True:
            try:
                await work()
            except Exception as error:
                if work != replica.stopping.stop:
                    replica.starting.give_back_unused()
                    replica.fail(internal(replica.pool_id, replica.replica_id, error))
                    raise
                # A stop has only one way to end.
                _log.exception("stopping %s", replica.name, extra=replica.log_fields)
                await asyncio.sleep(STOP_RETRY_S)
            else:
                return

    def cancel(self) -> None:
        """Give up what is under way."""
        work, self._work = self._work, None
        if work is not None and work is not asyncio.current_task():
            work.cancel()

    async def spawned(self) -> None:
        """Wait until a process that is being made is there, or could not be made."""
        if self._spawning is not None:
            await asyncio.wait([self._spawning])

    def close(self) -> None:
        """Stop all work, and even a spawn under way."""
        self.cancel()
        if self._spawning is not None:
            self._spawning.cancel()
