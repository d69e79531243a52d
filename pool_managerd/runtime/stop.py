"""Stop an engine and all that it started, step by step, and say what could not be stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from pool_managerd.runtime.cgroups import groups
from pool_managerd.runtime.descendants import find_descendants
from pool_managerd.runtime.identity import ProcessIdentity, ProcStat, read_stat
from pool_managerd.runtime.process import EngineProcess

#: Seconds to wait for a killed process to go. One that takes longer hangs in the kernel (state D) as a rule.
KILL_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class StopReport:
    """How a stop went.

    :param forced: the engine itself had to be ended by SIGKILL.
    :param survivors: pids that live on although they were killed.
    :param took_s: seconds from the first step to the last.
    :param leftovers: descendants that had to be ended after the engine itself was gone.
    """

    forced: bool
    survivors: tuple[int, ...]
    took_s: float
    leftovers: int = 0


async def stop_ladder(
    process: EngineProcess,
    *,
    grace_s: float,
    shutdown: Callable[[], Awaitable[object]] | None = None,
    sweep: bool = True,
    kill_wait_s: float = KILL_WAIT_S,
) -> StopReport:
    """End an engine: its own shutdown or SIGTERM, the grace time, SIGKILL to group, session and descendants.

    Where it has a control group of its own, that is killed as a whole in the end; empty it proves that nothing is left.

    :param grace_s: seconds from the first step until SIGKILL; 0 kills at once.
    :param shutdown: the engine kind's own way to end it; if it fails, or none is given, SIGTERM is sent.
    :param sweep: also look for descendants that left group and session, by control group, parentage and marker.
    :param kill_wait_s: seconds to wait after SIGKILL before a process is reported as a survivor.
    """
    began = time.monotonic()
    forced = False
    known: dict[int, ProcStat] = {}
    if process.running:
        if sweep:
            # While the engine lives its children can still be told by their parent.
            known = await find_descendants(process.identity, process.marker)
        forced = not await _ended_in_grace(process, grace_s, shutdown)
        if forced:
            process.kill_group(signal.SIGKILL)
            await _wait(process, kill_wait_s)
    leftovers, survivors = await _end_all(
        process.identity, process.marker, known if sweep else None, kill_wait_s=kill_wait_s
    )
    if process.running:
        survivors = (process.pid, *survivors)
    return StopReport(
        forced=forced, survivors=tuple(sorted(survivors)), took_s=time.monotonic() - began, leftovers=leftovers
    )


async def end_leftovers(process: EngineProcess, *, kill_wait_s: float = KILL_WAIT_S) -> StopReport:
    """End what an engine that is gone left behind."""
    began = time.monotonic()
    leftovers, survivors = await _end_all(process.identity, process.marker, {}, kill_wait_s=kill_wait_s)
    return StopReport(False, survivors, time.monotonic() - began, leftovers)


async def reap_leftovers(
    marker: str, identity: ProcessIdentity | None = None, *, kill_wait_s: float = KILL_WAIT_S
) -> tuple[int, ...]:
    """End every process with this marker (and every descendant of that identity); returns the survivors' pids."""
    _, survivors = await _end_all(identity, marker, {}, kill_wait_s=kill_wait_s)
    return survivors


async def _ended_in_grace(
    process: EngineProcess, grace_s: float, shutdown: Callable[[], Awaitable[object]] | None
) -> bool:
    if grace_s <= 0:
        return False
    deadline = time.monotonic() + grace_s
    asked = False
    if shutdown is not None:
        # Whatever goes wrong with the engine's own way, there is a next step.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(grace_s):
                await shutdown()
                asked = True
    if not asked:
        with contextlib.suppress(PermissionError):
            process.send(signal.SIGTERM)
    return await _wait(process, deadline - time.monotonic())


async def _wait(process: EngineProcess, seconds: float) -> bool:
    await asyncio.wait([process.exited], timeout=max(seconds, 0))
    return not process.running


async def _end_all(
    identity: ProcessIdentity | None,
    marker: str | None,
    known: dict[int, ProcStat] | None,
    *,
    kill_wait_s: float,
) -> tuple[int, tuple[int, ...]]:
    """Kill descendants until none is found; returns how many there were and the pids that would not go.

    ``known`` are some found earlier; ``None`` leaves out the search by marker.
    """
    deadline = time.monotonic() + kill_wait_s
    if known is None:
        marker = None
    group = groups().of(marker, None if identity is None else identity.pid)
    seen = dict(known or {})
    count = 0
    while True:
        seen |= await find_descendants(identity, marker)
        if group is not None:
            seen |= group.stats()
        alive = [stat for stat in seen.values() if _lives(stat)]
        if identity is not None:
            alive = [stat for stat in alive if stat.pid != identity.pid]
        if not alive:
            if group is not None:
                group.remove()
            return count, ()
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return count, tuple(sorted(stat.pid for stat in alive))
        count += len(alive)
        if group is not None:
            group.kill()
        await _kill(alive, remaining)


def _lives(stat: ProcStat) -> bool:
    now = read_stat(stat.pid)
    return now is not None and not now.ended and now.start_ticks == stat.start_ticks


async def _kill(found: Iterable[ProcStat], seconds: float) -> None:
    """SIGKILL to each of these very processes, and wait until they are gone or the time is up."""
    loop = asyncio.get_running_loop()
    waiting: dict[int, asyncio.Future[None]] = {}
    try:
        for stat in found:
            try:
                pidfd = os.pidfd_open(stat.pid)
            except OSError:
                continue
            waiting[pidfd] = gone = loop.create_future()
            if not _lives(stat):
                gone.set_result(None)
                continue
            # A process of another user, which we may not signal, is reported as a survivor by the caller.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            loop.add_reader(pidfd, _done, loop, pidfd, gone)
        if waiting:
            await asyncio.wait(waiting.values(), timeout=seconds)
    finally:
        for pidfd in waiting:
            loop.remove_reader(pidfd)
            os.close(pidfd)


def _done(loop: asyncio.AbstractEventLoop, pidfd: int, gone: asyncio.Future[None]) -> None:
    loop.remove_reader(pidfd)
    if not gone.done():
        gone.set_result(None)
