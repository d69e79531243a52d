"""How calls end: one that changes something by itself, whoever still listens; a stream when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
_running: set[asyncio.Task[Any]] = set()


async def run_to_end(call: Coroutine[Any, Any, _T]) -> _T:
    """Await ``call`` in a task of its own, which goes on when the present one is cancelled."""
    task = asyncio.create_task(call)
    _running.add(task)
    task.add_done_callback(_finished)
    return await asyncio.shield(task)


def _finished(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled():
        # Whoever still waits is given the exception; for one who left, it is marked as seen.
        task.exception()


async def until(source: AsyncIterator[_T], stopping: asyncio.Event) -> AsyncGenerator[_T, None]:
    """Give what ``source`` gives until it ends or ``stopping`` is set, and close it."""
    stop = asyncio.ensure_future(stopping.wait())
    pending: asyncio.Future[_T] | None = None
    try:
        while True:
            pending = asyncio.ensure_future(anext(source))
            await asyncio.wait((pending, stop), return_when=asyncio.FIRST_COMPLETED)
            if not pending.done():
                return
            try:
                item = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield item
    finally:
        waiting: list[asyncio.Future[Any]] = [stop] if pending is None else [stop, pending]
        for future in waiting:
            future.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await close(source)


async def close(source: AsyncIterator[Any]) -> None:
    """Close an async generator; other iterators have nothing to close."""
    if (aclose := getattr(source, "aclose", None)) is not None:
        await aclose()
