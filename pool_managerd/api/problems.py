"""Problem documents (RFC 9457): one shape for every refusal, on HTTP as on gRPC."""

from __future__ import annotations

import math
from typing import Any

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.observe.logs import get_logger

#: The media type of a problem document.
MEDIA_TYPE = "application/problem+json"

_log = get_logger()


def problem(error: PoolManagerError, correlation_id: str) -> dict[str, Any]:
    """The document of an error. ``detail`` and ``message`` are the same sentence."""
    info = error.info
    return {
        "type": f"urn:pool-managerd:problem:{str(error.code).lower().replace('_', '-')}",
        "title": info.title,
        "status": info.http_status,
        "detail": error.message,
        "code": str(error.code),
        "message": error.message,
        "retriable": info.retriable,
        "retry_after_ms": error.retry_after_ms,
        "hint": error.hint,
        "details": error.details,
        "correlation_id": correlation_id,
    }


def retry_after_seconds(error: PoolManagerError) -> int | None:
    """The value of a ``Retry-After`` header: whole seconds, rounded up."""
    return None if error.retry_after_ms is None else max(0, math.ceil(error.retry_after_ms / 1000))


def as_error(fault: BaseException, *, doing: str, correlation_id: str) -> PoolManagerError:
    """Give the error to answer with. What is no refusal of ours is logged with its trace and hidden from the caller.

    :param doing: what could not be done, as in ``POST /v2/pools/chat/drain``.
    """
    if isinstance(fault, PoolManagerError):
        if fault.code is Code.INTERNAL:
            _log.error("internal_error", doing=doing, correlation_id=correlation_id, exc_info=fault)
        return fault
    _log.error("internal_error", doing=doing, correlation_id=correlation_id, exc_info=fault)
    return PoolManagerError(
        Code.INTERNAL,
        f"{doing} could not be done because of a fault in the daemon",
        hint=f"look for correlation_id {correlation_id} in the daemon's log, and report what stands there",
    )
