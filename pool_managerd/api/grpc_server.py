"""The gRPC control plane: server, health, reflection, and what holds for every call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from pool_managerd.api import correlation, problems
from pool_managerd.api.addresses import address_error, bind_sockets, format_address, parse_address
from pool_managerd.api.auth import Auth
from pool_managerd.api.calls import until
from pool_managerd.api.grpc_errors import abort
from pool_managerd.api.grpc_health import HealthServicer
from pool_managerd.api.grpc_servicer import CHANGING, Context, PoolManagerServicer
from pool_managerd.core.errors import invalid_request
from pool_managerd.proto.pool_managerd.v1 import pool_manager_pb2 as pb
from pool_managerd.proto.pool_managerd.v1 import pool_manager_pb2_grpc as pb_grpc
from pool_managerd.service_protocol import Service

_OPEN = "/grpc.health.v1.Health/"
#: Seconds that calls in flight have when the server stops; streams end at once.
GRACE_S = 2.0
_OPTIONS: tuple[tuple[str, Any], ...] = (
    # A second daemon on the same port must fail, not share it.
    ("grpc.so_reuseport", 0),
    # A watcher whose host vanished is found out within a minute.
    ("grpc.keepalive_time_ms", 40_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Clients may ping an idle connection every 5 s.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


@dataclass(slots=True)
class GrpcServer:
    """A running control plane. ``port`` is the one it really listens on."""

    port: int
    health: HealthServicer
    _server: grpc.aio.Server
    _stopping: asyncio.Event
    _following: asyncio.Task[None]

    async def stop(self, grace: float = GRACE_S) -> None:
        """Take no more calls, end the streams, give calls in flight ``grace`` seconds, and return."""
        self._stopping.set()
        self.health.notify()
        await self._server.stop(grace)
        self._following.cancel()
        with suppress(asyncio.CancelledError):
            await self._following


async def start_grpc(service: Service, *, address: str, auth: Auth, max_message_bytes: int) -> GrpcServer:
    """Serve the control plane on ``host:port``.

    :param max_message_bytes: the largest request; a larger one is RESOURCE_EXHAUSTED.
    :raises OSError: naming the address, if it cannot be listened on.
    """
    stopping = asyncio.Event()
    server = grpc.aio.server(
        interceptors=(_EveryCall(auth),),
        options=(*_OPTIONS, ("grpc.max_receive_message_length", max_message_bytes)),
    )
    health = HealthServicer(service, stopping)
    pb_grpc.add_PoolManagerServicer_to_server(PoolManagerServicer(service, stopping), server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    names = (
        pb.DESCRIPTOR.services_by_name["PoolManager"].full_name,
        health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
        reflection.SERVICE_NAME,
    )
    reflection.enable_server_reflection(names, server)
    port = _listen(server, address)
    await server.start()
    pools = until(await service.watch(), stopping)
    following = asyncio.create_task(health.follow(pools), name="grpc-health")
    return GrpcServer(port, health, server, stopping, following)


def _listen(server: grpc.aio.Server, address: str) -> int:
    host, port = parse_address(address)
    if port != 0:
        # gRPC does not say why it could not bind; a plain socket does.
        bind_sockets(address).close()
    try:
        bound = server.add_insecure_port(format_address(host, port))
    except RuntimeError as error:
        raise address_error(address, None) from error
    if bound == 0:
        raise address_error(address, None)
    return int(bound)


class _Undecodable:
    """Stands for a request whose bytes are no message of its type."""


class _EveryCall(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Correlation id, token and errors, the same for every method of every service."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap the handler of a call."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None  # type: ignore[return-value]  # no such method: gRPC answers UNIMPLEMENTED itself
        method = handler_call_details.method
        make, behaviour = _kind(handler)
        wrap = self._stream if handler.response_streaming else self._unary
        wrapped: grpc.RpcMethodHandler[Any, Any] = make(
            wrap(method, behaviour),
            request_deserializer=_lenient(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )
        return wrapped

    def _unary(self, method: str, behaviour: Any) -> Any:
        async def call(request: Any, context: Context) -> Any:
            correlation_id = await _begin(context)
            try:
                self._admit(method, request, context)
                return await behaviour(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as fault:  # noqa: BLE001 - whatever it is, the caller gets a status of ours
                await _refuse(context, fault, method, correlation_id)

        return call

    def _stream(self, method: str, behaviour: Any) -> Any:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            correlation_id = await _begin(context)
            try:
                self._admit(method, request, context)
                async with aclosing(behaviour(request, context)) as answers:
                    async for answer in answers:
                        yield answer
            except grpc.aio.AbortError:
                raise
            except Exception as fault:  # noqa: BLE001 - whatever it is, the caller gets a status of ours
                await _refuse(context, fault, method, correlation_id)

        return call

    def _admit(self, method: str, request: Any, context: Context) -> None:
        if not method.startswith(_OPEN):
            authorization = correlation.first(_metadata(context), "authorization")
            self._auth.authorize(authorization, changes=method in CHANGING)
        if isinstance(request, _Undecodable):
            raise invalid_request("request", f"the request is no message of {method}")


def _kind(handler: Any) -> tuple[Any, Any]:
    kinds = {
        (False, False): (grpc.unary_unary_rpc_method_handler, handler.unary_unary),
        (False, True): (grpc.unary_stream_rpc_method_handler, handler.unary_stream),
        (True, False): (grpc.stream_unary_rpc_method_handler, handler.stream_unary),
        (True, True): (grpc.stream_stream_rpc_method_handler, handler.stream_stream),
    }
    return kinds[handler.request_streaming, handler.response_streaming]


def _lenient(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _Undecodable()

    return read


def _metadata(context: Context) -> list[tuple[str, str | bytes]]:
    return list(context.invocation_metadata() or ())


async def _begin(context: Context) -> str:
    correlation_id = correlation.begin(correlation.first(_metadata(context), correlation.HEADER))
    context.set_trailing_metadata(((correlation.HEADER, correlation_id),))
    await context.send_initial_metadata(((correlation.HEADER, correlation_id),))
    return correlation_id


async def _refuse(context: Context, fault: Exception, method: str, correlation_id: str) -> None:
    error = problems.as_error(fault, doing=method, correlation_id=correlation_id)
    await abort(context, error, correlation_id)
