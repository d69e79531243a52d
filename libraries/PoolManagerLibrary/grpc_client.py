"""The daemon's gRPC control plane as a caller sees it. Every call has a deadline."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc
from google.protobuf import json_format, message, message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor

from PoolManagerLibrary.outcome import Outcome, Protocol

SERVICE = "pool_managerd.v1.PoolManager"
DEFAULT_TIMEOUT = 10.0
MAX_MESSAGE = 64 << 20


def _service() -> ServiceDescriptor:
    # Imported at first use: the stubs cost time that a suite without gRPC need not spend.
    from pool_managerd.proto.pool_managerd.v1 import pool_manager_pb2  # noqa: PLC0415  # see above

    service: ServiceDescriptor = pool_manager_pb2.DESCRIPTOR.services_by_name["PoolManager"]
    return service


def _plain(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        return to_dict(value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes(value)
    return value


def to_dict(msg: message.Message) -> Any:
    """A message as the HTTP facade's JSON: the same names, integers as numbers, None for an absent field."""
    name = msg.DESCRIPTOR.full_name
    if name == "google.protobuf.Struct":
        return _whole_numbers(json_format.MessageToDict(msg))
    if name == "google.protobuf.Value":
        return _whole_numbers(json_format.MessageToDict(msg))
    result: dict[str, Any] = {}
    for field in msg.DESCRIPTOR.fields:
        value = getattr(msg, field.name)
        if field.is_repeated:
            result[field.name] = [_plain(item, field) for item in value]
        elif field.has_presence and not msg.HasField(field.name):
            result[field.name] = None
        else:
            result[field.name] = _plain(value, field)
    return result


def _whole_numbers(value: Any) -> Any:
    # A Struct knows doubles only.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return value


class GrpcClient:
    """Calls by method name over one channel, opened at first use.

    :param address: ``host:port``, asked when the channel is opened.
    """

    def __init__(self, address: Callable[[], str], token: Callable[[], str | None] = lambda: None) -> None:
        self._address = address
        self._token = token
        self._channel: grpc.Channel | None = None
        self._opened_for = ""

    @property
    def channel(self) -> grpc.Channel:
        """The channel to where the daemon is now."""
        address = self._address()
        if self._channel is None or self._opened_for != address:
            self.close()
            self._channel = grpc.insecure_channel(
                address,
                options=[
                    ("grpc.enable_http_proxy", 0),
                    ("grpc.max_receive_message_length", MAX_MESSAGE),
                    ("grpc.max_send_message_length", MAX_MESSAGE),
                    ("grpc.initial_reconnect_backoff_ms", 50),
                    ("grpc.max_reconnect_backoff_ms", 500),
                ],
            )
            self._opened_for = address
        return self._channel

    def close(self) -> None:
        """Give the channel back."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _metadata(self, metadata: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
        pairs = [(key.lower(), value) for key, value in (metadata or {}).items()]
        token = self._token()
        if token and not any(key == "authorization" for key, _ in pairs):
            pairs.append(("authorization", f"Bearer {token}"))
        return tuple(pairs)

    def _method(self, name: str) -> MethodDescriptor:
        methods = _service().methods_by_name
        if name not in methods:
            raise ValueError(f"The service {SERVICE} has no method {name}; it has {', '.join(sorted(methods))}.")
        return methods[name]

    def call(
        self,
        method: str,
        request: Mapping[str, Any] | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        metadata: Mapping[str, str] | None = None,
    ) -> Outcome:
        """A unary call. Fields of the request that are None are left out."""
        descriptor = self._method(method)
        request_class = message_factory.GetMessageClass(descriptor.input_type)
        response_class = message_factory.GetMessageClass(descriptor.output_type)
        fields = {key: value for key, value in (request or {}).items() if value is not None}
        invoke = self.channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        at, started = time.time(), time.monotonic()
        try:
            response, call = invoke.with_call(
                request_class(**fields), timeout=timeout, metadata=self._metadata(metadata)
            )
        except grpc.RpcError as error:
            return refusal(error, f"gRPC {method}", at=at, elapsed=time.monotonic() - started)
        headers = _headers(call)
        return Outcome(
            protocol=Protocol.GRPC,
            call=f"gRPC {method}",
            ok=True,
            status="OK",
            body=to_dict(response),
            headers=headers,
            at=at,
            elapsed=time.monotonic() - started,
        )

    def stream(
        self,
        method: str,
        request: Mapping[str, Any] | None = None,
        *,
        timeout: float,
        metadata: Mapping[str, str] | None = None,
    ) -> tuple[Iterator[Any], Callable[[], object]]:
        """A server-streaming call: its messages as dictionaries, and the function that ends it."""
        descriptor = self._method(method)
        request_class = message_factory.GetMessageClass(descriptor.input_type)
        response_class = message_factory.GetMessageClass(descriptor.output_type)
        fields = {key: value for key, value in (request or {}).items() if value is not None}
        call = self.channel.unary_stream(
            f"/{SERVICE}/{method}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )(request_class(**fields), timeout=timeout, metadata=self._metadata(metadata))
        return (to_dict(item) for item in call), call.cancel

    def health(self, service: str = "", *, timeout: float = DEFAULT_TIMEOUT) -> str:
        """The status name of ``grpc.health.v1`` Check, or the name of the gRPC error."""
        from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415  # see _service

        stub = health_pb2_grpc.HealthStub(self.channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
        except grpc.RpcError as error:
            return str(error.code().name)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    def watch_health(self, service: str, *, timeout: float) -> tuple[Iterator[str], Callable[[], object]]:
        """``grpc.health.v1`` Watch: the status names as they are pushed, and the function that ends it."""
        from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415  # see _service

        stub = health_pb2_grpc.HealthStub(self.channel)
        call = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
        name = health_pb2.HealthCheckResponse.ServingStatus.Name
        return (str(name(answer.status)) for answer in call), call.cancel

    def services(self, *, timeout: float = DEFAULT_TIMEOUT) -> list[str]:
        """The service names that server reflection lists."""
        from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # noqa: PLC0415  # see _service

        stub = reflection_pb2_grpc.ServerReflectionStub(self.channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = stub.ServerReflectionInfo(iter([request]), timeout=timeout)
        return sorted(service.name for answer in answers for service in answer.list_services_response.service)


def _headers(call: Any) -> dict[str, str]:
    pairs = [*(call.initial_metadata() or ()), *(call.trailing_metadata() or ())]
    return {key: value for key, value in pairs if isinstance(value, str)}


def refusal(error: Any, call: str, *, at: float, elapsed: float) -> Outcome:
    """The outcome of a failed call, with its rich error details."""
    problem: dict[str, Any] = {"code": None, "message": error.details(), "details": {}, "hint": None}
    problem["retry_after_ms"] = None
    _add_rich_details(error, problem)
    return Outcome(
        protocol=Protocol.GRPC,
        call=call,
        ok=False,
        status=error.code().name,
        text=str(error.details()),
        headers=_headers(error),
        problem=problem,
        at=at,
        elapsed=elapsed,
    )


def _add_rich_details(error: Any, problem: dict[str, Any]) -> None:
    from google.rpc import error_details_pb2  # noqa: PLC0415  # see _service
    from grpc_status import rpc_status  # noqa: PLC0415  # see _service

    status = rpc_status.from_call(error)
    if status is None:
        return
    problem["has_error_info"] = False
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            problem["code"] = info.reason
            problem["details"] = {key: _from_text(value) for key, value in info.metadata.items()}
            problem["has_error_info"] = True
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            problem["retry_after_ms"] = retry.retry_delay.ToMilliseconds()
        elif detail.Is(error_details_pb2.Help.DESCRIPTOR):
            answer = error_details_pb2.Help()
            detail.Unpack(answer)
            problem["hint"] = " ".join(link.description for link in answer.links) or None


def _from_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
