"""Errors as gRPC statuses with rich details."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from pool_managerd.api.correlation import HEADER
from pool_managerd.api.json_values import to_json
from pool_managerd.core.errors import Code, PoolManagerError

#: The domain of every ErrorInfo.
DOMAIN = "pool-managerd"
DETAILS_KEY = "grpc-status-details-bin"
# gRPC refuses more than 8 KiB of metadata by default. The message travels twice (percent-encoded and in the
# status), the rest once in base64, so these bounds in characters stay below that for plain text.
_MESSAGE = 700
_VALUE = 600
_ALL_VALUES = 2_400
_ELLIPSIS = "…"


def error_metadata(details: Mapping[str, Any]) -> dict[str, str]:
    """The details as ErrorInfo metadata: texts as they are, everything else as JSON; long values are cut."""
    result: dict[str, str] = {}
    room = _ALL_VALUES
    for key, value in details.items():
        plain = to_json(value)
        text = _fit(plain if isinstance(plain, str) else json.dumps(plain, separators=(",", ":")), _VALUE)
        room -= len(text.encode("utf-8")) + len(key)
        if room < 0:
            break
        result[key] = text
    return result


def rich_status(error: PoolManagerError) -> status_pb2.Status:
    """The google.rpc.Status of an error."""
    number = code_pb2.Code.Value(error.info.grpc_status)
    message = _fit(error.message, _MESSAGE)
    parts: list[Any] = [
        error_details_pb2.ErrorInfo(reason=str(error.code), domain=DOMAIN, metadata=error_metadata(error.details))
    ]
    if error.retry_after_ms is not None:
        delay = Duration()
        delay.FromMilliseconds(max(0, error.retry_after_ms))
        parts.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.code is Code.INVALID_REQUEST and isinstance(field := error.details.get("field"), str):
        violation = error_details_pb2.BadRequest.FieldViolation(field=_fit(field, 100), description=_fit(message, 200))
        parts.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.hint:
        link = error_details_pb2.Help.Link(description=_fit(error.hint, _VALUE))
        parts.append(error_details_pb2.Help(links=[link]))
    status = status_pb2.Status(code=number, message=message)
    for part in parts:
        packed = AnyMessage()
        packed.Pack(part)
        status.details.append(packed)
    return status


def status_code(error: PoolManagerError) -> grpc.StatusCode:
    """The gRPC status of an error."""
    return grpc.StatusCode[error.info.grpc_status]


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: PoolManagerError, correlation_id: str) -> None:
    """End the call with the error. Never returns."""
    status = rich_status(error)
    await context.abort(
        status_code(error),
        status.message,
        ((HEADER, correlation_id), (DETAILS_KEY, status.SerializeToString())),
    )


def _fit(text: str, limit: int) -> str:
    clean = text.encode("utf-8", "replace").decode("utf-8")
    if len(clean.encode("utf-8")) <= limit:
        return clean
    return clean.encode("utf-8")[: limit - 3].decode("utf-8", "ignore") + _ELLIPSIS
