"""The engines as the kernel shows them: who runs, for which replica, and on which port."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pool_managerd.runtime.identity import MARKER_VARIABLE, environ_value, read_environ, read_stat


@dataclass(frozen=True, slots=True)
class Engine:
    """A living process that carries the mark of one daemon's replica: the engine itself, or what it started."""

    pid: int
    ppid: int
    start_ticks: int
    pool_id: str
    replica_id: str
    state: str

    @property
    def replica(self) -> tuple[str, str]:
        """Pool and replica."""
        return self.pool_id, self.replica_id

    def describe(self) -> str:
        """For a report."""
        return f"pid {self.pid} (state {self.state}) of {self.pool_id}/{self.replica_id}"


def engines(state_id: str) -> list[Engine]:
    """All living processes that carry the mark of a state directory; zombies do not live."""
    found = []
    for pid in _pids():
        marker = environ_value(read_environ(pid), MARKER_VARIABLE)
        if marker is None or not marker.startswith(f"{state_id}:"):
            continue
        stat = read_stat(pid)
        if stat is None or stat.ended:
            continue
        _, pool_id, replica_id = marker.split(":", 2)
        found.append(Engine(pid, stat.ppid, stat.start_ticks, pool_id, replica_id, stat.state))
    return found


def zombies_of(parent: int) -> list[int]:
    """The children of a process that have ended and were not reaped."""
    found = []
    for pid in _pids():
        stat = read_stat(pid)
        if stat is not None and stat.ppid == parent and stat.state == "Z":
            found.append(pid)
    return found


def alive(pid: int) -> bool:
    """Whether a process runs."""
    stat = read_stat(pid)
    return stat is not None and not stat.ended


def descriptors(pid: int) -> int:
    """How many files, sockets and other descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - only their number is needed


def listening(pids: Iterable[int]) -> dict[int, set[int]]:
    """TCP ports that processes listen on, by pid."""
    inodes = _listening_inodes()
    ports: dict[int, set[int]] = {}
    for pid in pids:
        for inode in _sockets(pid):
            if inode in inodes:
                ports.setdefault(pid, set()).add(inodes[inode])
    return ports


def _listening_inodes() -> dict[str, int]:
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    return found


def _sockets(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - only the names are needed
    except OSError:
        return
    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")  # noqa: PTH115 - as above
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[8:-1]


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - as above
