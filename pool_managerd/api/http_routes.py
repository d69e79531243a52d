"""What the HTTP facade does for each route: read, call the service, render."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response

from pool_managerd.api import checks
from pool_managerd.api.calls import run_to_end
from pool_managerd.api.http_errors import fault_response
from pool_managerd.api.http_request import Query, read_fields
from pool_managerd.api.http_streams import HEARTBEAT, StreamResponse, sse_frames
from pool_managerd.api.json_values import dump
from pool_managerd.api.openapi import JSON, Operation
from pool_managerd.core.errors import invalid_request, shown
from pool_managerd.observe.metrics import CONTENT_TYPE
from pool_managerd.service_protocol import Service

_DIGITS_OF_A_REVISION = 19


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was read: its path, query and body are known to be well-formed."""

    request: Request
    query: Query
    body: dict[str, Any]
    pool_id: str
    lease_id: str


Handler = Callable[[Call], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Handlers:
    """One method per operation of :data:`pool_managerd.api.openapi.OPERATIONS`, under the same name.

    :param metrics: renders all metrics in Prometheus' text format.
    :param max_request_bytes: the largest body.
    :param body_timeout_s: seconds that a caller has to send it.
    :param stopping: set when the server stops; ends the streams.
    """

    def __init__(
        self,
        service: Service,
        *,
        metrics: Callable[[], Awaitable[bytes]],
        max_request_bytes: int,
        body_timeout_s: float,
        stopping: asyncio.Event,
    ) -> None:
        self._service = service
        self._metrics = metrics
        self._limit = max_request_bytes
        self._body_timeout_s = body_timeout_s
        self._stopping = stopping

    def endpoint(self, operations: dict[str, Operation]) -> Endpoint:
        """Make the endpoint of a path out of its operations by method."""
        handlers: dict[str, tuple[Operation, Handler]] = {
            method: (operation, getattr(self, operation.handler)) for method, operation in operations.items()
        }

        async def answer(request: Request) -> Response:
            operation, handler = handlers["GET" if request.method == "HEAD" else request.method]
            try:
                return await handler(await self._read(request, operation))
            except Exception as fault:  # noqa: BLE001 - whatever it is, the caller gets a problem document
                return fault_response(fault, method=request.method, path=request.scope["path"])

        return answer

    async def _read(self, request: Request, operation: Operation) -> Call:
        # The pool comes first: a call that names an unknown pool is a 404, whatever else is wrong with it.
        ids = {name: unquote(value, errors="replace") for name, value in request.path_params.items()}
        of_lease = "lease_id" in ids
        pool_id = checks.pool_id(self._service, ids["pool_id"], of_lease=of_lease) if "pool_id" in ids else ""
        lease_id = checks.lease_id(ids["lease_id"]) if "lease_id" in ids else ""
        query = Query(request, *(param.name for param in operation.query))
        body: dict[str, Any] = {}
        if operation.method != "GET":
            body = await read_fields(request, self._limit, operation.body, timeout_s=self._body_timeout_s)
        return Call(request, query, body, pool_id, lease_id)

    async def health(self, _call: Call) -> Response:
        """GET /health."""
        return _json(self._service.health())

    async def ready(self, _call: Call) -> Response:
        """GET /ready."""
        summary = self._service.ready()
        return _json(summary, 200 if summary.ready else 503)

    async def list_pools(self, _call: Call) -> Response:
        """GET /v2/pools."""
        return _json(self._service.list_pools())

    async def get_pool(self, call: Call) -> Response:
        """GET /v2/pools/{pool_id}."""
        return _json(self._service.get_pool(call.pool_id))

    async def preload(self, call: Call) -> Response:
        """POST /v2/pools/{pool_id}/preload."""
        wait_s = call.query.wait_s()
        status, done = await run_to_end(self._service.preload(call.pool_id, wait_s=wait_s))
        return _json(status) if done else _accepted(status, call)

    async def drain(self, call: Call) -> Response:
        """POST /v2/pools/{pool_id}/drain."""
        wait_s = call.query.wait_s()
        status, result = await run_to_end(
            self._service.drain(call.pool_id, deadline_ms=call.body["deadline_ms"], wait_s=wait_s)
        )
        return _accepted(status, call) if wait_s is None or result is None else _json(result)

    async def cancel_drain(self, call: Call) -> Response:
        """DELETE /v2/pools/{pool_id}/drain."""
        return _json(await run_to_end(self._service.cancel_drain(call.pool_id)))

    async def reload(self, call: Call) -> Response:
        """POST /v2/pools/{pool_id}/reload."""
        wait_s = call.query.wait_s()
        status, done = await run_to_end(
            self._service.reload(
                call.pool_id,
                new_model_ref=call.body["new_model_ref"],
                drain_deadline_ms=call.body["drain_deadline_ms"],
                wait_s=wait_s,
            )
        )
        return _json(status) if done else _accepted(status, call)

    async def reset_circuit(self, call: Call) -> Response:
        """POST /v2/pools/{pool_id}/circuit/reset."""
        return _json(await run_to_end(self._service.reset_circuit(call.pool_id)))

    async def list_leases(self, call: Call) -> Response:
        """GET /v2/pools/{pool_id}/leases."""
        return _json({"leases": self._service.list_leases(call.pool_id)})

    async def acquire_lease(self, call: Call) -> Response:
        """POST /v2/pools/{pool_id}/leases."""
        lease = await run_to_end(
            self._service.acquire_lease(call.pool_id, holder=call.body["holder"], ttl_ms=call.body["ttl_ms"])
        )
        return _json(lease, 201, location=f"{_pool_path(call)}/leases/{quote(lease.lease_id)}")

    async def renew_lease(self, call: Call) -> Response:
        """PUT /v2/pools/{pool_id}/leases/{lease_id}."""
        return _json(
            await run_to_end(self._service.renew_lease(call.pool_id, call.lease_id, ttl_ms=call.body["ttl_ms"]))
        )

    async def release_lease(self, call: Call) -> Response:
        """DELETE /v2/pools/{pool_id}/leases/{lease_id}."""
        await run_to_end(self._service.release_lease(call.pool_id, call.lease_id))
        return Response(status_code=204)

    async def logs(self, call: Call) -> Response:
        """GET /v2/pools/{pool_id}/logs."""
        chunks = await self._service.logs(
            call.pool_id,
            replica=checks.replica_id(call.query.text("replica")),
            tail=checks.tail(call.query.integer("tail")),
            follow=call.query.flag("follow"),
        )
        return StreamResponse(chunks, stopping=self._stopping, media_type="text/plain")

    async def devices(self, _call: Call) -> Response:
        """GET /v2/devices."""
        return _json(await self._service.devices())

    async def events(self, call: Call) -> Response:
        """GET /v2/events."""
        since = checks.since(call.query.integer("since"))
        if last_seen := call.request.headers.get("last-event-id"):
            since = _last_event_id(last_seen)
        return StreamResponse(
            sse_frames(await self._service.watch(since)),
            stopping=self._stopping,
            media_type="text/event-stream",
            heartbeat=HEARTBEAT,
        )

    async def reload_config(self, call: Call) -> Response:
        """POST /v2/config/reload."""
        return _json(await run_to_end(self._service.reload_config(dry_run=call.query.flag("dry_run"))))

    async def metrics(self, _call: Call) -> Response:
        """GET /metrics."""
        return Response(await self._metrics(), headers={"content-type": CONTENT_TYPE})


def _json(value: Any, status: int = 200, *, location: str | None = None) -> Response:
    headers = None if location is None else {"location": location}
    return Response(dump(value), status_code=status, media_type=JSON, headers=headers)


def _accepted(status: Any, call: Call) -> Response:
    return _json(status, 202, location=_pool_path(call))


def _pool_path(call: Call) -> str:
    return f"/v2/pools/{call.pool_id}"


def _last_event_id(text: str) -> int | None:
    field = "Last-Event-ID"
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_OF_A_REVISION):
        raise invalid_request(field, f"{field} {shown(text)} is not a revision")
    return checks.since(int(text), field)
