"""Find what an engine started, wherever it went: its group, its session, its children, and by environment marker."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

from pool_managerd.runtime.cgroups import groups
from pool_managerd.runtime.identity import (
    MARKER_VARIABLE,
    ProcessIdentity,
    ProcStat,
    environ_value,
    read_environ,
    read_stat,
)


@dataclass(frozen=True, slots=True)
class FoundProcess:
    """A living process and the marker in its environment, if it has one."""

    stat: ProcStat
    marker: str | None


def process_table() -> list[FoundProcess]:
    """All living processes but this one. About 40 µs each, so it belongs into a thread: see :func:`fresh_table`."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - only the names are needed
        if not name.isdigit():
            continue
        stat = read_stat(int(name))
        # Kernel threads have the parent 2 and no environment.
        if stat is None or stat.ended or stat.ppid == 2 or stat.pid == os.getpid():
            continue
        found.append(FoundProcess(stat, environ_value(read_environ(stat.pid), MARKER_VARIABLE)))
    return found


class _Scanner:
    """Reads the process table in a thread; callers that wait at the same time share one reading."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[list[FoundProcess]] | None = None

    async def scan(self) -> list[FoundProcess]:
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._run())
        return await asyncio.shield(self._next)

    async def _run(self) -> list[FoundProcess]:
        async with self._lock:
            self._next = None  # who asks from here on needs a later reading
            return await asyncio.to_thread(process_table)


_SCANNERS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Scanner] = weakref.WeakKeyDictionary()


async def fresh_table() -> list[FoundProcess]:
    """The process table, read after this call began."""
    loop = asyncio.get_running_loop()
    scanner = _SCANNERS.get(loop)
    if scanner is None:
        scanner = _SCANNERS[loop] = _Scanner()
    return await scanner.scan()


def select_descendants(
    table: Iterable[FoundProcess], identity: ProcessIdentity | None, marker: str | None
) -> dict[int, ProcStat]:
    """Those of the table that descend from the engine, without the engine itself, by pid."""
    entries = {entry.stat.pid: entry for entry in table}
    chosen: dict[int, ProcStat] = {}
    if marker:
        chosen = {pid: entry.stat for pid, entry in entries.items() if entry.marker == marker}
    if identity is not None:
        chosen |= _by_kinship(entries, identity)
        chosen.pop(identity.pid, None)
    return chosen


def _by_kinship(entries: dict[int, FoundProcess], identity: ProcessIdentity) -> dict[int, ProcStat]:
    leader = entries.get(identity.pid)
    if leader is not None and leader.stat.start_ticks != identity.start_ticks:
        # The kernel frees a number only once no group and no session bears it: nothing of the engine's is left there.
        return {}
    later = [entry.stat for entry in entries.values() if entry.stat.start_ticks >= identity.start_ticks]
    chosen = {stat.pid: stat for stat in later if identity.pid in (stat.pgrp, stat.session)}
    family = {identity.pid, *chosen}
    grown = True
    while grown:
        children = [stat for stat in later if stat.ppid in family and stat.pid not in family]
        chosen |= {stat.pid: stat for stat in children}
        family |= {stat.pid for stat in children}
        grown = bool(children)
    return chosen


def descendants(identity: ProcessIdentity | None, marker: str | None) -> set[int]:
    """The pids of all living descendants of an engine, also if it has ended. Blocks for some milliseconds."""
    return set(select_descendants(process_table(), identity, marker))


async def find_descendants(identity: ProcessIdentity | None, marker: str | None) -> dict[int, ProcStat]:
    """Like :func:`descendants`, without blocking the loop, and with what ``/proc`` says about each."""
    return select_descendants(await fresh_table(), identity, marker)


async def marked_processes(prefix: str) -> dict[str, set[int]]:
    """All processes whose marker begins with ``prefix`` (for instance a daemon's state id), by marker.

    Those of a replica's control group count, whatever their environment says.
    """
    found: dict[str, set[int]] = {}
    for entry in await fresh_table():
        if entry.marker is not None and entry.marker.startswith(prefix):
            found.setdefault(entry.marker, set()).add(entry.stat.pid)
    for marker, pids in (await asyncio.to_thread(groups().members, prefix)).items():
        found.setdefault(marker, set()).update(pids)
    return found
