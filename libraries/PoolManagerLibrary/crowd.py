"""Many watchers of one event stream, read by one thread: what each was given, and in what order."""

from __future__ import annotations

import re
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field

from PoolManagerLibrary.units import epoch

#: The part of a frame that is looked at; the daemon's JSON begins so.
_FRAME = re.compile(rb'^data: \{"revision":(\d+),"at":"([^"]+)","kind":"(\w+)"', re.MULTILINE)


@dataclass
class CrowdWatcher:
    """One connection.

    :ivar revisions: of all events that came, in the order in which they came.
    :ivar gaps: how many frames of kind gap came.
    :ivar latest_s: the longest time from an event to its arrival, in seconds.
    """

    connection: socket.socket
    revisions: list[int] = field(default_factory=list)
    gaps: int = 0
    latest_s: float = 0.0
    _rest: bytes = b""

    def read(self) -> bool:
        """Take what has come; False once the stream has ended."""
        data = self.connection.recv(1 << 20)
        now = time.time()
        text, end = self._rest + data, 0
        for frame in _FRAME.finditer(text):
            self.revisions.append(int(frame[1]))
            self.gaps += frame[3] == b"gap"
            self.latest_s = max(self.latest_s, now - epoch(frame[2].decode()))
            end = frame.end()
        self._rest = text[end:]
        return bool(data)


class Crowd:
    """So many watchers after a revision, until they are told to stop.

    :param address: the daemon's, as ``host:port``.
    """

    def __init__(self, address: str, count: int, since: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._over = threading.Event()
        host, _, port = address.rpartition(":")
        self.watchers: list[CrowdWatcher] = []
        for _ in range(count):
            connection = socket.create_connection((host.strip("[]"), int(port)), timeout=5)
            connection.sendall(f"GET /v2/events?since={since} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            self.watchers.append(CrowdWatcher(connection))
            self._selector.register(connection, selectors.EVENT_READ, self.watchers[-1])
        self._thread = threading.Thread(target=self._read, name="crowd", daemon=True)
        self._thread.start()

    def have_seen(self, revision: int) -> bool:
        """Whether each has been given the event of that revision."""
        return all(watcher.revisions and watcher.revisions[-1] >= revision for watcher in self.watchers)

    def _read(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(0.1):
                if not key.data.read():
                    self._selector.unregister(key.fileobj)

    def stop(self) -> None:
        """End all; once more: nothing happens."""
        self._over.set()
        self._thread.join(5)
        for watcher in self.watchers:
            watcher.connection.close()
