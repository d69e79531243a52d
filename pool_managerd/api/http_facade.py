"""The HTTP facade: Starlette on uvicorn, in the loop of the daemon, over the one service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from pool_managerd.api import openapi
from pool_managerd.api.addresses import bind_sockets
from pool_managerd.api.auth import Auth
from pool_managerd.api.dashboard import pages
from pool_managerd.api.http_edge import Edge
from pool_managerd.api.http_errors import no_such_route
from pool_managerd.api.http_protocol import Timeouts, protocol_with
from pool_managerd.api.http_routes import Handlers
from pool_managerd.service_protocol import Service

#: Seconds that requests in flight have when the server stops; streams end at once.
GRACE_S = 1
#: Seconds that requests which outlast it have to say so.
LAST_WORDS_S = 0.5


def build_app(
    service: Service,
    *,
    auth: Auth,
    metrics: Callable[[], Awaitable[bytes]],
    max_request_bytes: int,
    stopping: asyncio.Event,
    body_timeout_s: float,
) -> Edge:
    """Put the facade together as one ASGI application."""
    handlers = Handlers(
        service,
        metrics=metrics,
        max_request_bytes=max_request_bytes,
        body_timeout_s=body_timeout_s,
        stopping=stopping,
    )
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
    timeouts: Timeouts | None = None,
) -> HttpServer:
    """Serve the facade.

    :param address: ``host:port`` to listen on, unless ``sock`` (of :func:`bind_sockets`) already does.
    :param metrics: renders all metrics in Prometheus' text format.
    :param timeouts: how long a client may take to send; :class:`Timeouts` has the usual ones.
    :raises OSError: naming the address, if it cannot be listened on.
    """
    listener = sock if sock is not None else bind_sockets(address)
    stopping = asyncio.Event()
    timeouts = timeouts or Timeouts()
    app = build_app(
        service,
        auth=auth,
        metrics=metrics,
        max_request_bytes=max_request_bytes,
        stopping=stopping,
        body_timeout_s=timeouts.body_s,
    )
    config = uvicorn.Config(
        app,
        http=protocol_with(timeouts),
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
        timeout_keep_alive=timeouts.idle_s,  # type: ignore[arg-type]  # a number of seconds for call_later
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
