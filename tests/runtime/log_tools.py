"""What tests of engine logs share: lines written, lines handed over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from pool_managerd.runtime.logs import LogWatcher


class Lines:
    """What a watch handed over."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    def __call__(self, line: str) -> None:
        self.seen.append(line)
        self._queue.put_nowait(line)

    async def until(self, line: str) -> list[str]:
        async with asyncio.timeout(5):
            while await self._queue.get() != line:
                pass
        return self.seen


def write(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


async def rotated(watcher: LogWatcher, log: Path) -> None:
    """Wait until no rotation is under way: what an engine writes just before the cut may be lost."""
    if (rotation := watcher._files[log].rotation) is not None:
        await rotation


async def collect(source: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in source])
