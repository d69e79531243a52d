"""Turns to load: at most so many replicas load at the same time, the others wait in order."""

from __future__ import annotations

import asyncio
from collections import OrderedDict


class LoadTurns:
    """A first-come, first-served limit that may be changed while it is in use.

    :param limit: how many may hold a turn at a time (``server.max_parallel_loads``).
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: set[str] = set()
        self._waiting: OrderedDict[str, asyncio.Future[None]] = OrderedDict()

    def set_limit(self, limit: int) -> None:
        """Change the limit; turns that are held stay held."""
        self._limit = limit
        self._hand_out()

    def is_free(self) -> bool:
        """Whether a turn could be had at once."""
        return len(self._held) < self._limit and not self._waiting

    async def acquire(self, name: str) -> None:
        """Wait for a turn. ``name`` holds at most one; asking again while holding it returns at once."""
        if name in self._held:
            return
        if self.is_free():
            self._held.add(name)
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting[name] = future
        try:
            await future
        except asyncio.CancelledError:
            if self._waiting.pop(name, None) is None:
                self.release(name)
            raise

    def release(self, name: str) -> None:
        """Give the turn back; nothing happens if ``name`` holds none."""
        self._held.discard(name)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and len(self._held) < self._limit:
            name, future = self._waiting.popitem(last=False)
            if not future.done():
                self._held.add(name)
                future.set_result(None)
