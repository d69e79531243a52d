"""What the control plane does for each call: check, call the service, render. The mirror of ``http_routes``."""

# ruff: noqa: N802, ARG002 - the methods' names and parameters are those of the generated base class

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar

import grpc

from pool_managerd.api import checks
from pool_managerd.api.calls import run_to_end, until
from pool_managerd.api.grpc_convert import to_message
from pool_managerd.api.rendered import Rendered
from pool_managerd.core.errors import Code, PoolManagerError, invalid_request
from pool_managerd.proto.pool_managerd.v1 import pool_manager_pb2 as pb
from pool_managerd.proto.pool_managerd.v1 import pool_manager_pb2_grpc as pb_grpc
from pool_managerd.service_protocol import Service

Context = grpc.aio.ServicerContext[Any, Any]
_Message = TypeVar("_Message")

#: The calls that a token that only reads may not make.
CHANGING = frozenset(
    f"/pool_managerd.v1.PoolManager/{name}"
    for name in (
        "Preload",
        "Drain",
        "CancelDrain",
        "Reload",
        "ResetCircuit",
        "AcquireLease",
        "RenewLease",
        "ReleaseLease",
        "ReloadConfig",
    )
)


def _given(request: Any, field: str) -> Any:
    """The value of an ``optional`` field, ``None`` if it is not set."""
    return getattr(request, field) if request.HasField(field) else None


class PoolManagerServicer(pb_grpc.PoolManagerServicer):
    """The service ``pool_managerd.v1.PoolManager``. The names of the methods are the proto file's.

    Errors leave as exceptions; the interceptor of ``grpc_server`` renders them.
    """

    def __init__(self, service: Service, stopping: asyncio.Event) -> None:
        self._service = service
        self._stopping = stopping

    def _pool(self, request: Any, *, of_lease: bool = False) -> str:
        return checks.pool_id(self._service, request.pool_id, of_lease=of_lease)

    async def GetHealth(self, request: pb.GetHealthRequest, context: Context) -> pb.Health:
        """Like GET /health."""
        return pb.Health(**self._service.health())

    async def GetReady(self, request: pb.GetReadyRequest, context: Context) -> pb.ReadySummary:
        """Like GET /ready."""
        return _as(pb.ReadySummary, self._service.ready())

    async def ListPools(self, request: pb.ListPoolsRequest, context: Context) -> pb.PoolList:
        """Like GET /v2/pools."""
        return _as(pb.PoolList, self._service.list_pools())

    async def GetPool(self, request: pb.GetPoolRequest, context: Context) -> pb.PoolStatus:
        """Like GET /v2/pools/{pool_id}."""
        return _as(pb.PoolStatus, self._service.get_pool(self._pool(request)))

    async def Preload(self, request: pb.PreloadRequest, context: Context) -> pb.PreloadResponse:
        """Like POST /v2/pools/{pool_id}/preload."""
        pool_id = self._pool(request)
        wait_s = checks.wait_s(_given(request, "wait"))
        status, done = await run_to_end(self._service.preload(pool_id, wait_s=wait_s))
        return pb.PreloadResponse(pool=to_message(status), done=done)

    async def Drain(self, request: pb.DrainRequest, context: Context) -> pb.DrainResponse:
        """Like POST /v2/pools/{pool_id}/drain."""
        pool_id = self._pool(request)
        wait_s = checks.wait_s(_given(request, "wait"))
        status, result = await run_to_end(
            self._service.drain(pool_id, deadline_ms=_given(request, "deadline_ms"), wait_s=wait_s)
        )
        return pb.DrainResponse(pool=to_message(status), result=None if result is None else to_message(result))

    async def CancelDrain(self, request: pb.CancelDrainRequest, context: Context) -> pb.PoolStatus:
        """Like DELETE /v2/pools/{pool_id}/drain."""
        return _as(pb.PoolStatus, await run_to_end(self._service.cancel_drain(self._pool(request))))

    async def Reload(self, request: pb.ReloadRequest, context: Context) -> pb.ReloadResponse:
        """Like POST /v2/pools/{pool_id}/reload."""
        pool_id = self._pool(request)
        if not request.new_model_ref:
            raise invalid_request("new_model_ref", "new_model_ref is missing")
        checks.text("new_model_ref", request.new_model_ref)
        wait_s = checks.wait_s(_given(request, "wait"))
        status, done = await run_to_end(
            self._service.reload(
                pool_id,
                new_model_ref=request.new_model_ref,
                drain_deadline_ms=_given(request, "drain_deadline_ms"),
                wait_s=wait_s,
            )
        )
        return pb.ReloadResponse(pool=to_message(status), done=done)

    async def ResetCircuit(self, request: pb.ResetCircuitRequest, context: Context) -> pb.PoolStatus:
        """Like POST /v2/pools/{pool_id}/circuit/reset."""
        return _as(pb.PoolStatus, await run_to_end(self._service.reset_circuit(self._pool(request))))

    async def AcquireLease(self, request: pb.AcquireLeaseRequest, context: Context) -> pb.LeaseStatus:
        """Like POST /v2/pools/{pool_id}/leases."""
        pool_id = self._pool(request)
        holder = checks.text("holder", _given(request, "holder"))
        lease = self._service.acquire_lease(pool_id, holder=holder, ttl_ms=_given(request, "ttl_ms"))
        return _as(pb.LeaseStatus, await run_to_end(lease))

    async def ListLeases(self, request: pb.ListLeasesRequest, context: Context) -> pb.LeaseList:
        """Like GET /v2/pools/{pool_id}/leases."""
        return pb.LeaseList(leases=map(to_message, self._service.list_leases(self._pool(request))))

    async def RenewLease(self, request: pb.RenewLeaseRequest, context: Context) -> pb.LeaseStatus:
        """Like PUT /v2/pools/{pool_id}/leases/{lease_id}."""
        pool_id, lease_id = self._pool(request, of_lease=True), checks.lease_id(request.lease_id)
        renewed = self._service.renew_lease(pool_id, lease_id, ttl_ms=_given(request, "ttl_ms"))
        return _as(pb.LeaseStatus, await run_to_end(renewed))

    async def ReleaseLease(self, request: pb.ReleaseLeaseRequest, context: Context) -> pb.ReleaseLeaseResponse:
        """Like DELETE /v2/pools/{pool_id}/leases/{lease_id}."""
        pool_id, lease_id = self._pool(request, of_lease=True), checks.lease_id(request.lease_id)
        await run_to_end(self._service.release_lease(pool_id, lease_id))
        return pb.ReleaseLeaseResponse()

    async def GetLogs(self, request: pb.GetLogsRequest, context: Context) -> AsyncIterator[pb.LogChunk]:
        """Like GET /v2/pools/{pool_id}/logs."""
        chunks = await self._service.logs(
            self._pool(request),
            replica=checks.replica_id(_given(request, "replica")),
            tail=checks.tail(_given(request, "tail")),
            follow=request.follow,
        )
        async with aclosing(until(chunks, self._stopping)) as whole:
            async for chunk in whole:
                yield pb.LogChunk(data=chunk)

    async def ListDevices(self, request: pb.ListDevicesRequest, context: Context) -> pb.DeviceList:
        """Like GET /v2/devices."""
        return _as(pb.DeviceList, await self._service.devices())

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.Event]:
        """Like GET /v2/events."""
        events = await self._service.watch(checks.since(_given(request, "since")))
        async with aclosing(until(events, self._stopping)) as whole:
            async for news in whole:
                for event in news:
                    yield _event_message(event)
        if self._stopping.is_set():
            raise PoolManagerError(
                Code.SHUTTING_DOWN, "the daemon is shutting down", hint="watch again from the last revision seen"
            )

    async def ReloadConfig(self, request: pb.ReloadConfigRequest, context: Context) -> pb.ConfigChanges:
        """Like POST /v2/config/reload."""
        return _as(pb.ConfigChanges, await run_to_end(self._service.reload_config(dry_run=request.dry_run)))


def _as(kind: type[_Message], value: Any) -> _Message:
    message = to_message(value)
    assert isinstance(message, kind)  # noqa: S101 - a status value and its message have the same name
    return message


_event_message: Rendered[pb.Event] = Rendered(lambda event: _as(pb.Event, event))
