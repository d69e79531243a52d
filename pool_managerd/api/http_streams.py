"""Answers without end: server-sent events and followed logs.

A stream ends when its source ends, when the client goes, or when the server stops. A client that stops
reading holds only its own stream: the server waits for it in ``send`` with a bounded buffer, and the
source (the event bus) neither waits nor grows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pool_managerd.api import correlation, problems
from pool_managerd.api.calls import close
from pool_managerd.api.json_values import dump
from pool_managerd.api.rendered import Rendered
from pool_managerd.core.events import Event

#: Seconds of silence after which an event stream carries a comment, so that proxies and clients know it lives.
HEARTBEAT_S = 15.0
HEARTBEAT = b": heartbeat\n\n"
#: Seconds that a client has to take the end of its stream.
END_TIMEOUT_S = 0.5


def _sse_frame(event: Event) -> bytes:
    """Render one event as a server-sent event."""
    head = f"id: {event.revision}\nevent: {event.kind}\ndata: ".encode("ascii")
    return head + dump(event.as_json()) + b"\n\n"


sse_frame: Rendered[bytes] = Rendered(_sse_frame)


async def sse_frames(stream: AsyncIterator[list[Event]]) -> AsyncIterator[bytes]:
    """Render a stream of events; what comes at a time is sent at a time."""
    try:
        async for events in stream:
            yield b"".join(map(sse_frame, events))
    finally:
        await close(stream)


class StreamResponse(Response):
    """A chunked answer fed by an async iterator of bytes.

    :param stopping: set when the server stops; the stream then ends at once, whole.
    :param heartbeat: sent after each :data:`HEARTBEAT_S` of silence; empty: nothing is.
    """

    def __init__(
        self,
        source: AsyncIterator[bytes],
        *,
        stopping: asyncio.Event,
        media_type: str,
        heartbeat: bytes = b"",
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"}, media_type=media_type)
        del self.headers["content-length"]
        self._source = source
        self._stopping = stopping
        self._heartbeat = heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until its end."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await close(self._source)
        else:
            await self._stream(receive, send, scope["path"])
        with suppress(TimeoutError):
            # A client that stopped reading never takes the end; the server then drops its connection.
            async with asyncio.timeout(END_TIMEOUT_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, receive: Receive, send: Send, path: str) -> None:
        over = [
            asyncio.ensure_future(self._stopping.wait()),
            asyncio.ensure_future(_gone(receive)),
        ]
        pump = asyncio.ensure_future(self._pump(send))
        try:
            await asyncio.wait([*over, pump], return_when=asyncio.FIRST_COMPLETED)
            if pump.done() and (fault := pump.exception()) is not None:
                # The head is out already: the fault can only be logged, and the stream ends.
                problems.as_error(fault, doing=f"streaming {path}", correlation_id=correlation.current())
        finally:
            for task in (*over, pump):
                task.cancel()
            await asyncio.gather(*over, pump, return_exceptions=True)
            with suppress(Exception):
                await close(self._source)

    async def _pump(self, send: Send) -> None:
        pending: asyncio.Future[bytes] | None = None
        try:
            while True:
                pending = pending or asyncio.ensure_future(anext(self._source))
                await asyncio.wait([pending], timeout=HEARTBEAT_S if self._heartbeat else None)
                if not pending.done():
                    chunk = self._heartbeat
                else:
                    try:
                        chunk = pending.result()
                    except StopAsyncIteration:
                        return
                    finally:
                        pending = None
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            if pending is not None:
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
