"""What all replicas of a daemon share: clock, events, store, devices, ports, turns to load."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from pool_managerd.config import Config
from pool_managerd.core.events import Event
from pool_managerd.devices.inventory import Inventory
from pool_managerd.devices.memory import Reservations
from pool_managerd.observe.bus import EventBus
from pool_managerd.runtime.files import StateDir
from pool_managerd.runtime.learned import LearnedNeeds
from pool_managerd.runtime.logs import LogWatcher
from pool_managerd.runtime.mask_uses import MaskUses
from pool_managerd.runtime.sockets import PortAllocator
from pool_managerd.runtime.store import Store
from pool_managerd.runtime.turns import LoadTurns


@dataclass(slots=True)
class Host:
    """The daemon's shared parts.

    :param state_id: names this state directory in the environment marker of every engine.
    :param clock: wall time in seconds since the epoch.
    :param monotonic: seconds that no change of the wall time touches; the event loop's clock.
    :param quarantined: UUIDs of devices on which nothing is started until a re-test has passed.
    :param lost: UUIDs of devices that an XID called lost. NVML may take a while to say so, too; they are back once it
        has said that they are well *again*; a fresh daemon believes NVML from the start.
    :param shutting_down: once true, nothing is started any more.
    :param look_again: set when a replica that waits for memory or a device may find it, or begins to wait.
    """

    config: Config
    state_id: str
    clock: Callable[[], float]
    bus: EventBus
    store: Store
    state_dir: StateDir
    inventory: Inventory
    reservations: Reservations
    ports: PortAllocator
    logs: LogWatcher
    turns: LoadTurns
    learned: LearnedNeeds
    monotonic: Callable[[], float] = time.monotonic
    quarantined: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    shutting_down: bool = False
    look_again: asyncio.Event = field(default_factory=asyncio.Event)
    mask_uses: MaskUses = field(default_factory=MaskUses)
    _forgotten: int = 0
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def start_task(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run ``work`` beside everything else. A fault in it ends up in the log, never in silence."""
        # In a context of its own: what it causes later is not the doing of the request that began it.
        task = asyncio.get_running_loop().create_task(work, name=name, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def cancel_tasks(self) -> None:
        """Give up everything that still runs in the background; the daemon ends."""
        for task in tuple(self._tasks):
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{task.get_name()} failed", "exception": fault, "task": task}
            )

    async def history(self, since: int, limit: int) -> list[Event]:
        """Stored events above ``since``, in order."""
        documents = await self.store.events_since(since, limit)
        self._forgotten = await self.store.forgotten_revision()
        return [Event.from_json(document) for document in documents]

    def oldest_revision(self) -> int:
        """The oldest revision that is still stored, as of the last look by :meth:`history`."""
        return self._forgotten + 1

    def marker(self, pool_id: str, replica_id: str) -> str:
        """The value of ``POOL_MANAGERD_MARKER`` by which all processes of a replica are found."""
        return f"{self.state_id}:{pool_id}:{replica_id}"
