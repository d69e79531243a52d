# ruff: noqa: ASYNC240 - a test may block its own loop, and other processes set no event
from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from pool_managerd.runtime.cgroups import ControlGroups, groups
from pool_managerd.runtime.descendants import process_table
from pool_managerd.runtime.logs import LogWatcher
from pool_managerd.runtime.process import EngineProcess, SpawnSpec, spawn

#: What waits for descriptors is tried on the daemon's own loop and on the standard one.
BOTH_LOOPS = {
    "test_logs.py",
    "test_log_rotation.py",
    "test_probe.py",
    "test_process.py",
    "test_stop.py",
    "test_cgroups.py",
}


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loops on which each asynchronous test runs."""
    factories = {"uvloop": uvloop.new_event_loop}
    return {**factories, "asyncio": asyncio.new_event_loop} if item.path.name in BOTH_LOOPS else factories


@pytest.fixture
def marker() -> Iterator[str]:
    """An environment marker of this test alone; what still bears it at the end is killed."""
    value = f"test-{uuid.uuid4().hex}:p:r0"
    yield value
    for entry in process_table():
        if entry.marker == value:
            with contextlib.suppress(ProcessLookupError):
                os.kill(entry.stat.pid, signal.SIGKILL)
    for other in (value, value + "2"):
        if (group := groups().of(other)) is not None:
            group.kill()
            while group.is_populated():
                time.sleep(0.001)
            group.remove()


@pytest.fixture
def no_groups(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where the daemon may not make control groups."""
    monkeypatch.setattr(ControlGroups, "find", classmethod(lambda cls: cls(None)))
    groups.cache_clear()
    yield
    monkeypatch.undo()
    groups.cache_clear()


Runner = Callable[..., Awaitable[EngineProcess]]


@pytest.fixture
async def run(tmp_path: Path, marker: str) -> AsyncIterator[Runner]:
    """Start `python -c CODE`; the engine's log is `engine.log` in the test's folder."""
    started: list[EngineProcess] = []

    async def start(code: str, *, env: dict[str, str] | None = None, user: str | None = None) -> EngineProcess:
        spec = SpawnSpec(
            argv=(sys.executable, "-I", "-S", "-c", code),
            env={"PATH": os.environ["PATH"], "POOL_MANAGERD_MARKER": marker, **(env or {})},
            cwd=tmp_path,
            log_path=tmp_path / "engine.log",
            user=user,
        )
        process = await spawn(spec)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill_group()
        if not process.exited.cancelled():
            await process.gone()


async def lines_of(path: Path, count: int) -> list[str]:
    """Wait until the file holds so many whole lines."""
    async with asyncio.timeout(10):
        while True:
            text = path.read_text() if path.exists() else ""
            if text.count("\n") >= count:
                return text.splitlines()
            await asyncio.sleep(0.005)


@pytest.fixture
def log_lines(tmp_path: Path) -> Callable[[int], object]:
    return lambda count: lines_of(tmp_path / "engine.log", count)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "engine-p-r0.log"


@pytest.fixture
async def watcher() -> AsyncIterator[LogWatcher]:
    made = LogWatcher()
    yield made
    await made.close()
