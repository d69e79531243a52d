"""grpc.health.v1: one service name per pool, beside the empty one for the daemon itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pool_managerd.api import correlation, problems
from pool_managerd.core.events import Event, EventKind
from pool_managerd.service_protocol import Service

_Status = health_pb2.HealthCheckResponse
#: After any of these a pool's readiness, or the set of pools, may be another.
_NEWS = frozenset({EventKind.POOL_READY, EventKind.POOL_UNREADY, EventKind.CONFIG, EventKind.GAP, EventKind.DAEMON})


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the base class is shipped without types
    """Answers from the service itself; watchers are woken by its events.

    :param stopping: set when the server stops: everything is then NOT_SERVING, and the watches end.
    """

    def __init__(self, service: Service, stopping: asyncio.Event) -> None:
        self._service = service
        self._stopping = stopping
        self._watchers: set[asyncio.Event] = set()

    def notify(self) -> None:
        """Have every watcher look again. Call it on the loop's thread when a pool's readiness changed."""
        for news in self._watchers:
            news.set()

    async def follow(self, stream: AsyncIterator[list[Event]]) -> None:
        """Wake the watchers by an event stream, until it ends."""
        try:
            async for events in stream:
                if any(event.kind in _NEWS for event in events):
                    self.notify()
        except Exception as fault:  # noqa: BLE001 - Check goes on working without the stream
            problems.as_error(fault, doing="following events for gRPC health", correlation_id=correlation.current())

    def status(self, name: str) -> int | None:
        """The serving status of a pool, or of the daemon for the empty name; ``None`` for what is not there."""
        ready = True if name == "" else self._service.pool_ready(name)
        if ready is None:
            return None
        return int(_Status.SERVING if ready and not self._stopping.is_set() else _Status.NOT_SERVING)

    async def Check(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802 - gRPC's name
        """Answer the status of one name; NOT_FOUND for one that is no pool."""
        status = self.status(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no pool {request.service!r}")
        return _Status(status=status)

    async def List(self, _request: Any, _context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802 - gRPC's name
        """Answer the status of all names."""
        names = ["", *(pool.pool_id for pool in self._service.list_pools().pools)]
        return health_pb2.HealthListResponse(statuses={name: _Status(status=self.status(name)) for name in names})

    async def Watch(  # noqa: N802 - gRPC's name
        self, request: Any, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        """Send the status now and at each change; a name that is no pool (yet) is SERVICE_UNKNOWN."""
        news = asyncio.Event()
        self._watchers.add(news)
        last: int | None = None
        try:
            while True:
                news.clear()
                status = self.status(request.service)
                present = int(_Status.SERVICE_UNKNOWN) if status is None else status
                if present != last:
                    last = present
                    yield _Status(status=present)
                if self._stopping.is_set():
                    return
                if not news.is_set():
                    await news.wait()
        finally:
            self._watchers.discard(news)
