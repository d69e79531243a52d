"""The HTTP facade: Starlette on uvicorn, in the loop of the daemon, over the one service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pool_managerd.api import openapi, problems
from pool_managerd.api.addresses import bind_sockets
from pool_managerd.api.auth import Auth
from pool_managerd.api.dashboard import pages
from pool_managerd.api.http_edge import LINGER_S, Edge
from pool_managerd.api.http_errors import no_such_route
from pool_managerd.api.http_routes import Handlers
from pool_managerd.api.json_values import dump
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.observe.correlation import new_correlation_id
from pool_managerd.service_protocol import Service

#: Seconds that requests in flight have when the server stops; streams end at once.
GRACE_S = 1
#: Seconds that requests which outlast it have to say so.
LAST_WORDS_S = 0.5
#: The largest request line with its headers.
MAX_HEAD_BYTES = 64 * 1024
#: Seconds that an idle connection is kept.
KEEP_ALIVE_S = 30


def build_app(
    service: Service,
    *,
    auth: Auth,
    metrics: Callable[[], Awaitable[bytes]],
    max_request_bytes: int,
    stopping: asyncio.Event,
) -> Edge:
    """Put the facade together as one ASGI application."""
    handlers = Handlers(service, metrics=metrics, max_request_bytes=max_request_bytes, stopping=stopping)
    by_path: dict[str, dict[str, openapi.Operation]] = {}
    for operation in openapi.OPERATIONS:
        for path in (operation.path, *operation.aliases):
            by_path.setdefault(path, {})[operation.method] = operation
    routes: list[BaseRoute] = [
        Route(path, handlers.endpoint(operations), methods=list(operations)) for path, operations in by_path.items()
    ]
    routes.extend(pages.routes(lambda: json.dumps(openapi.document(service.version), indent=1).encode("ascii")))
    app = Starlette(routes=routes, exception_handlers={HTTPException: no_such_route})
    app.router.redirect_slashes = False
    return Edge(app, auth=auth, max_request_bytes=max_request_bytes)


@dataclass(slots=True)
class HttpServer:
    """A running facade. ``port`` is the one it really listens on."""

    port: int
    _server: _Server
    _task: asyncio.Task[None]
    _stopping: asyncio.Event

    async def stop(self) -> None:
        """Take no more connections, end the streams, give requests in flight :data:`GRACE_S`, and return."""
        self._stopping.set()
        self._server.stop()
        await self._task


async def start_http(
    service: Service,
    *,
    address: str,
    auth: Auth,
    metrics: Callable[[], Awaitable[bytes]],
    max_request_bytes: int,
    sock: socket.socket | None = None,
) -> HttpServer:
    """Serve the facade.

    :param address: ``host:port`` to listen on, unless ``sock`` (of :func:`bind_sockets`) already does.
    :param metrics: renders all metrics in Prometheus' text format.
    :raises OSError: naming the address, if it cannot be listened on.
    """
    listener = sock if sock is not None else bind_sockets(address)
    stopping = asyncio.Event()
    app = build_app(service, auth=auth, metrics=metrics, max_request_bytes=max_request_bytes, stopping=stopping)
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        # What goes wrong is logged by this package, with its correlation id.
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)
    port: int = listener.getsockname()[1]
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http-facade")
    started = asyncio.create_task(server.has_started.wait())
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        started.cancel()
        task.result()
    return HttpServer(port, server, task, stopping)


class _Server(uvicorn.Server):
    """uvicorn's server as a guest in our loop: no signal handlers, and no tick ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = asyncio.Event()
        self._stop = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say when it is done."""
        await super().startup(sockets=sockets)
        self.has_started.set()

    async def main_loop(self) -> None:
        """Wait for the end instead of looking for it."""
        await self._stop.wait()

    def stop(self) -> None:
        """Begin the shutdown."""
        self.should_exit = True
        self._stop.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, and drop the connections of clients that stopped reading."""
        await super().shutdown(sockets=sockets)
        if tasks := list(self.server_state.tasks):
            # They were cancelled, and tell their callers so.
            await asyncio.wait(tasks, timeout=LAST_WORDS_S)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class _Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, answering what is no HTTP with a problem document, too."""

    #: Bytes of a request's line and headers so far; None: no such head is being read.
    _head_bytes: int | None = None
    _is_refused = False

    def data_received(self, data: bytes) -> None:
        """Refuse a head that grows without end: uvicorn keeps all of it."""
        if self._is_refused:
            return
        super().data_received(data)
        if self._head_bytes is None or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._is_refused = True
            message = f"the request's line and headers are larger than the {MAX_HEAD_BYTES} bytes that are allowed"
            self._answer(PoolManagerError(Code.REQUEST_TOO_LARGE, message, details={"max_head_bytes": MAX_HEAD_BYTES}))
            # A connection that is closed on unread data is reset, and the answer lost.
            self.loop.call_later(LINGER_S, self.transport.close)

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_bytes = None
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that could not be parsed, and close."""
        self._answer(
            PoolManagerError(Code.INVALID_REQUEST, f"this is no HTTP/1.1 request: {msg}", details={"field": "request"})
        )
        self.transport.close()

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
