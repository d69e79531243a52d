"""HTTP/1.1 on the wire: uvicorn's protocol, with bounds on what a client may send and how long it may take."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pool_managerd.api import problems
from pool_managerd.api.http_edge import LINGER_S
from pool_managerd.api.json_values import dump
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.observe.correlation import new_correlation_id

#: The largest request line with its headers.
MAX_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that a client may take to send. A request is a few hundred bytes, and its caller has it whole.

    :param head_s: from the connection, or from a request's first byte, until its line and headers are complete.
    :param body_s: from there until the body is complete.
    :param idle_s: from an answer until the next request begins.
    """

    head_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 30.0


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol: answers what is no HTTP with a problem document, and waits for nobody for ever."""

    timeouts: ClassVar[Timeouts] = Timeouts()

    #: Bytes of a request's line and headers so far; None: no such head is being read.
    _head_bytes: int | None = None
    _is_refused = False
    #: What ends the connection if the client is slow.
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._set_deadline(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Refuse a head that grows without end: uvicorn keeps all of it."""
        if self._is_refused:
            return
        was_idle = self.timeout_keep_alive_task is not None
        super().data_received(data)
        if was_idle and self.timeout_keep_alive_task is None and self._deadline is None:
            # What came begins no request, as an empty line does; uvicorn's own timer ran out of the way for it.
            self._expect_head()
        if self._head_bytes is None or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            message = f"the request's line and headers are larger than the {MAX_HEAD_BYTES} bytes that are allowed"
            self._refuse(PoolManagerError(Code.REQUEST_TOO_LARGE, message, details={"max_head_bytes": MAX_HEAD_BYTES}))

    def on_message_begin(self) -> None:
        """Begin to count, in bytes and seconds."""
        super().on_message_begin()
        self._head_bytes = 0
        if self._deadline is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is whole: now the body has its time."""
        self._head_bytes = None
        # A handler that reads the body gives up first, and says so with the caller's own correlation id.
        self._set_deadline(self.loop.call_later(self.timeouts.body_s + LINGER_S, self._on_slow_body))
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._set_deadline(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that could not be parsed, and close."""
        self._answer(
            PoolManagerError(Code.INVALID_REQUEST, f"this is no HTTP/1.1 request: {msg}", details={"field": "request"})
        )
        self.transport.close()

    def _expect_head(self) -> None:
        self._set_deadline(self.loop.call_later(self.timeouts.head_s, self._on_slow_head))

    def _set_deadline(self, timer: asyncio.TimerHandle | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = timer

    def _on_slow_head(self) -> None:
        """Tell a client that has begun a request; one that never said anything is just left."""
        self._deadline = None
        if self._head_bytes is None or self.transport.is_closing():
            self.transport.close()
            return
        message = f"the request's line and headers did not arrive within {self.timeouts.head_s:g} s"
        hint = "send a request at once"
        self._refuse(PoolManagerError(Code.INVALID_REQUEST, message, hint=hint, details={"field": "request"}))

    def _on_slow_body(self) -> None:
        """Its answer, if it takes a body, was sent before; what else the client meant to send is of no use."""
        self._deadline = None
        self.transport.close()

    def _refuse(self, error: PoolManagerError) -> None:
        """Answer, take nothing more, and close."""
        self._is_refused = True
        self._set_deadline(None)
        self._answer(error)
        # A connection that is closed on unread data is reset, and the answer lost.
        self.loop.call_later(LINGER_S, self.transport.close)

    def _answer(self, error: PoolManagerError) -> None:
        correlation_id = new_correlation_id()
        body = dump(problems.problem(error, correlation_id))
        status = HTTPStatus(error.info.http_status)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            f"content-type: {problems.MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\n"
            f"x-correlation-id: {correlation_id}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)


def protocol_with(timeouts: Timeouts) -> type[Protocol]:
    """The protocol class for these times: uvicorn makes its instances."""
    return type("TimedProtocol", (Protocol,), {"timeouts": timeouts})
