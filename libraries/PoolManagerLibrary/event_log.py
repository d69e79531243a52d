"""Every event of a daemon, followed in the background from the first revision on."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from PoolManagerLibrary.units import epoch, show_time

RECONNECT_PAUSE = 0.02
#: Event times are rounded to the millisecond.
ROUNDING_S = 0.001


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """One event. ``at`` and ``received`` are seconds since the epoch: the daemon's own time, and ours."""

    revision: int
    at: float
    kind: str
    pool_id: str | None
    replica_id: str | None
    from_: str | None
    to: str | None
    code: str | None
    reason: str | None
    details: dict[str, Any]
    document: dict[str, Any]
    received: float
    frame_id: str | None = None
    frame_event: str | None = None

    @classmethod
    def parse(cls, document: dict[str, Any], frame_id: str | None = None, frame_event: str | None = None) -> SeenEvent:
        """Read the wire form."""
        return cls(
            revision=document["revision"],
            at=epoch(document["at"]),
            kind=document["kind"],
            pool_id=document.get("pool_id"),
            replica_id=document.get("replica_id"),
            from_=document.get("from"),
            to=document.get("to"),
            code=document.get("code"),
            reason=document.get("reason"),
            details=document.get("details") or {},
            document=document,
            received=time.time(),
            frame_id=frame_id,
            frame_event=frame_event,
        )

    def describe(self) -> str:
        """One line for a report."""
        where = "/".join(part for part in (self.pool_id, self.replica_id) if part)
        change = f"{self.from_} → {self.to}" if self.from_ and self.to else f"→ {self.to}" if self.to else ""
        parts = [f"#{self.revision}", show_time(self.at), self.kind, where, change, self.code or "", self.reason or ""]
        return " ".join(part for part in parts if part)


def sse_frames(lines: Iterator[bytes]) -> Iterator[tuple[str | None, str | None, str]]:
    """The frames of a server-sent event stream: id, event, data."""
    frame_id: str | None = None
    frame_event: str | None = None
    data: list[str] = []
    for raw in lines:
        line = raw.decode().rstrip("\r\n")
        if not line:
            if data:
                yield frame_id, frame_event, "\n".join(data)
            frame_event, data = None, []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "id":
            frame_id = value
        elif name == "event":
            frame_event = value


class EventStream:
    """One connection to ``GET /v2/events``, read by the thread that iterates it; closed from any thread."""

    def __init__(self, address: str, *, since: int | None, token: str | None = None) -> None:
        host, _, port = address.rpartition(":")
        self._connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=5)
        headers = {"Accept": "text/event-stream"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        path = "/v2/events" if since is None else f"/v2/events?since={since}"
        self._connection.request("GET", path, headers=headers)
        self._socket = self._connection.sock
        self._response = self._connection.getresponse()
        self.status = self._response.status
        if self._socket is not None:
            self._socket.settimeout(None)

    def __iter__(self) -> Iterator[SeenEvent]:
        """Events until the stream ends or is closed."""
        try:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
                for frame_id, frame_event, data in sse_frames(iter(self._response.readline, b"")):
                    yield SeenEvent.parse(json.loads(data), frame_id, frame_event)
        finally:
            # By the thread that reads: from another one it would wait for this one's read.
            self._response.close()
            self._connection.close()

    def close(self) -> None:
        """End the stream; safe to call twice."""
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.close()


class EventLog:
    """All events of one daemon in order, over its restarts, in a list that can be waited on.

    :param address: asked before each connection; None while no daemon runs.
    """

    def __init__(self, address: Callable[[], str | None], token: Callable[[], str | None] = lambda: None) -> None:
        self._address = address
        self._token = token
        self._condition = threading.Condition()
        self._events: list[SeenEvent] = []
        self._by_pool: dict[str | None, list[SeenEvent]] = {}
        self._stream: EventStream | None = None
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._connected = threading.Event()
        self._thread: threading.Thread | None = None
        self.since = 0

    def start(self) -> None:
        """Begin to follow, or look again now because a daemon has been started."""
        self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="event-log", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End following for good."""
        self._stopped.set()
        self._wake.set()
        if self._stream is not None:
            self._stream.close()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def events(self) -> list[SeenEvent]:
        """All events so far."""
        with self._condition:
            return list(self._events)

    def of_pool(self, pool_id: str) -> list[SeenEvent]:
        """All events of a pool so far."""
        with self._condition:
            return list(self._by_pool.get(pool_id, ()))

    def __len__(self) -> int:
        """How many events have arrived."""
        return len(self._events)

    def events_from(self, number: int) -> list[SeenEvent]:
        """The events so far, without the first ``number`` of them."""
        with self._condition:
            return self._events[number:]

    @property
    def revision(self) -> int:
        """The newest revision that has arrived."""
        with self._condition:
            return self._events[-1].revision if self._events else self.since

    def pause(self, known: int, timeout: float) -> None:
        """Wait until there are more than ``known`` events, at most ``timeout`` seconds."""
        with self._condition:
            if len(self._events) <= known:
                self._condition.wait(timeout)

    def wait_revision(self, revision: int, timeout: float = 2.0) -> bool:
        """Wait until everything up to ``revision`` has arrived."""
        with self._condition:
            return self._condition.wait_for(
                lambda: bool(self._events) and self._events[-1].revision >= revision, timeout
            )

    def wait_for(self, accept: Callable[[SeenEvent], object], after: int, timeout: float) -> bool:
        """Wait for an event that is accepted, among those that come after the first ``after``."""
        with self._condition:
            return self._condition.wait_for(lambda: any(accept(event) for event in self._events[after:]), timeout)

    def wait_connected(self, timeout: float = 2.0) -> bool:
        """Wait until the stream is open."""
        return self._connected.wait(timeout)

    def _follow(self) -> None:
        while not self._stopped.is_set():
            address = self._address()
            if address is None:
                self._wake.wait(0.2)
                self._wake.clear()
                continue
            try:
                self._stream = EventStream(address, since=self.revision, token=self._token())
            except (OSError, http.client.HTTPException):
                self._stopped.wait(RECONNECT_PAUSE)
                continue
            if self._stream.status != http.client.OK:
                self._stream.close()
                self._stopped.wait(0.2)
                continue
            self._connected.set()
            if self._stopped.is_set():
                self._stream.close()
            for event in self._stream:
                self._keep(event)
            self._connected.clear()
            self._stopped.wait(RECONNECT_PAUSE)

    def _keep(self, event: SeenEvent) -> None:
        with self._condition:
            self._events.append(event)
            self._by_pool.setdefault(event.pool_id, []).append(event)
            self._condition.notify_all()
