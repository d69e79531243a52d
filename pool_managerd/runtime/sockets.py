"""Ports: which are free, and whose listening socket it is."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.runtime.listeners import listeners


@dataclass(frozen=True, slots=True)
class PortHolder:
    """Who listens on a port. ``pids`` is empty where the daemon may not look into the holder's descriptors."""

    host: str
    port: int
    pids: tuple[int, ...]

    @property
    def pid(self) -> int | None:
        """The first of them."""
        return self.pids[0] if self.pids else None

    def __str__(self) -> str:
        who = ", ".join(map(str, self.pids))
        return f"{self.host}:{self.port} held by {f'pid {who}' if who else 'a process that is not visible'}"


def _listeners(host: str, port: int) -> set[int]:
    """The inodes of all sockets that listen where a connection to host and port would arrive."""
    return {listener.inode for listener in listeners(port) if listener.serves(host)}


def _socket_inodes(pid: int, wanted: set[int]) -> set[int]:
    found: set[int] = set()
    try:
        names = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - only the names are needed
    except OSError:
        return found
    for name in names:
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/{pid}/fd/{name}")  # noqa: PTH115 - Path costs more than the call
            if target.startswith("socket:[") and (inode := int(target[8:-1])) in wanted:
                found.add(inode)
                if len(found) == len(wanted):
                    break
    return found


def owned_by(port: int, pids: Iterable[int], *, host: str = "127.0.0.1") -> bool:
    """Whether someone listens on the port, and every socket that would take a connection is held by these processes.

    Under 1 ms for a process with few descriptors, so it runs in the loop.
    """
    missing = _listeners(host, port)
    if not missing:
        return False
    for pid in pids:
        missing -= _socket_inodes(pid, missing)
        if not missing:
            return True
    return False


def listener_pids(host: str, port: int) -> set[int]:
    """The pids of all processes that hold a socket listening there, as far as the daemon may look. For a thread."""
    wanted = _listeners(host, port)
    if not wanted:
        return set()
    return {pid for pid in _all_pids() if _socket_inodes(pid, wanted)}


def port_holder(host: str, port: int) -> PortHolder | None:
    """Who keeps the port from being bound; ``None`` if it is free. Looks at every process: for a thread."""
    if port_is_free(host, port):
        return None
    return PortHolder(host, port, tuple(sorted(listener_pids(host, port))))


def _all_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - only the names are needed


def port_is_free(host: str, port: int) -> bool:
    """Whether an engine could listen there now. Connections of former listeners that only time out do not count.

    :raises OSError: if ``host`` is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


class PortAllocator:
    """Hands out ports of a range, each once, and only such as can be bound at that moment.

    It begins somewhere in the range and goes round, so that a port is not used again right away and two daemons with
    the same range seldom try the same one.

    :param port_range: first and last port, both included.
    """

    def __init__(self, port_range: tuple[int, int]) -> None:
        self._taken: set[int] = set()
        self.set_range(port_range)

    def set_range(self, port_range: tuple[int, int]) -> None:
        """Hand out ports of this range from now on; those already handed out stay so."""
        self._first, self._last = port_range
        self._next = random.randint(self._first, self._last)  # noqa: S311 - no secret

    def allocate(self, host: str = "127.0.0.1") -> int:
        """A free port.

        :raises PoolManagerError: SPAWN_FAILED if there is none, or ``host`` is not an address of this machine.
        """
        for _ in range(self._first, self._last + 1):
            port = self._next
            self._next = port + 1 if port < self._last else self._first
            if port in self._taken:
                continue
            try:
                free = port_is_free(host, port)
            except OSError as error:
                raise PoolManagerError(
                    Code.SPAWN_FAILED,
                    f"host {host!r} cannot be listened on: {error.strerror or error}",
                    hint="Set the pool's `host` to an address of this machine.",
                    details={"field": "host", "value": host},
                ) from error
            if free:
                self._taken.add(port)
                return port
        raise PoolManagerError(
            Code.SPAWN_FAILED,
            f"no free port on {host} in port_range [{self._first}, {self._last}]",
            hint="Widen server.port_range.",
            details={"field": "server.port_range", "value": f"{self._first}-{self._last}"},
        )

    def mark(self, port: int) -> None:
        """Remember a port that is in use already, such as an adopted engine's."""
        self._taken.add(port)

    def release(self, port: int) -> None:
        """Give a port back. One that was never handed out is ignored."""
        self._taken.discard(port)
