"""The stable error codes, and the one error type that crosses the service boundary.

Every code has one row in :data:`CODES`: its HTTP status, its gRPC status name, whether a caller may
retry, and a short title. Both protocols render errors from this table and from nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class Code(StrEnum):
    """A stable error code. Clients may build on these words; messages may change, codes do not."""

    INVALID_REQUEST = "INVALID_REQUEST"
    INVALID_DEVICE_MASK = "INVALID_DEVICE_MASK"
    INVALID_SPLIT = "INVALID_SPLIT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    POOL_NOT_FOUND = "POOL_NOT_FOUND"
    LEASE_NOT_FOUND = "LEASE_NOT_FOUND"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    ENGINE_NOT_FOUND = "ENGINE_NOT_FOUND"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    POOL_UNREADY = "POOL_UNREADY"
    POOL_DRAINING = "POOL_DRAINING"
    CONFLICT = "CONFLICT"
    CIRCUIT_OPEN = "CIRCUIT_OPEN"
    NO_FREE_SLOT = "NO_FREE_SLOT"
    INSUFFICIENT_VRAM = "INSUFFICIENT_VRAM"
    INSUFFICIENT_RAM = "INSUFFICIENT_RAM"
    GPU_UNAVAILABLE = "GPU_UNAVAILABLE"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    GPU_REQUIRED = "GPU_REQUIRED"
    READINESS_TIMEOUT = "READINESS_TIMEOUT"
    DRAIN_TIMEOUT = "DRAIN_TIMEOUT"
    SPAWN_FAILED = "SPAWN_FAILED"
    ENGINE_EXITED = "ENGINE_EXITED"
    HEALTH_CHECK_FAILED = "HEALTH_CHECK_FAILED"
    DRIVER_ERROR = "DRIVER_ERROR"
    CUDA_ERROR = "CUDA_ERROR"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    RELOAD_FAILED = "RELOAD_FAILED"
    CPU_SPILLOVER = "CPU_SPILLOVER"
    CROSS_MASK_SPILLOVER = "CROSS_MASK_SPILLOVER"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class CodeInfo:
    """How one code is rendered."""

    http_status: int
    grpc_status: str
    retriable: bool
    title: str


CODES: Mapping[Code, CodeInfo] = MappingProxyType(
    {
        Code.INVALID_REQUEST: CodeInfo(400, "INVALID_ARGUMENT", False, "Invalid request"),
        Code.INVALID_DEVICE_MASK: CodeInfo(400, "INVALID_ARGUMENT", False, "Invalid device mask"),
        Code.INVALID_SPLIT: CodeInfo(400, "INVALID_ARGUMENT", False, "Invalid tensor split"),
        Code.UNAUTHENTICATED: CodeInfo(401, "UNAUTHENTICATED", False, "Token missing or wrong"),
        Code.FORBIDDEN: CodeInfo(403, "PERMISSION_DENIED", False, "Not allowed with this token"),
        Code.POOL_NOT_FOUND: CodeInfo(404, "NOT_FOUND", False, "No such pool"),
        Code.LEASE_NOT_FOUND: CodeInfo(404, "NOT_FOUND", False, "No such lease"),
        Code.MODEL_NOT_FOUND: CodeInfo(404, "NOT_FOUND", False, "Model file not usable"),
        Code.ENGINE_NOT_FOUND: CodeInfo(404, "NOT_FOUND", False, "Engine binary not usable"),
        Code.NOT_FOUND: CodeInfo(404, "NOT_FOUND", False, "No such route"),
        Code.METHOD_NOT_ALLOWED: CodeInfo(405, "UNIMPLEMENTED", False, "Method not allowed"),
        Code.REQUEST_TOO_LARGE: CodeInfo(413, "RESOURCE_EXHAUSTED", False, "Request too large"),
        Code.POOL_UNREADY: CodeInfo(409, "FAILED_PRECONDITION", True, "Pool is not ready"),
        Code.POOL_DRAINING: CodeInfo(409, "FAILED_PRECONDITION", False, "Pool is draining"),
        Code.CONFLICT: CodeInfo(409, "FAILED_PRECONDITION", True, "Another operation is under way"),
        Code.CIRCUIT_OPEN: CodeInfo(409, "FAILED_PRECONDITION", True, "Circuit is open"),
        Code.NO_FREE_SLOT: CodeInfo(429, "RESOURCE_EXHAUSTED", True, "No free slot"),
        Code.INSUFFICIENT_VRAM: CodeInfo(503, "UNAVAILABLE", True, "Not enough GPU memory"),
        Code.INSUFFICIENT_RAM: CodeInfo(503, "UNAVAILABLE", True, "Not enough host memory"),
        Code.GPU_UNAVAILABLE: CodeInfo(503, "UNAVAILABLE", True, "GPU not available"),
        Code.STORE_UNAVAILABLE: CodeInfo(503, "UNAVAILABLE", True, "State store not available"),
        Code.SHUTTING_DOWN: CodeInfo(503, "UNAVAILABLE", True, "Daemon is shutting down"),
        Code.GPU_REQUIRED: CodeInfo(503, "UNAVAILABLE", False, "A GPU is required"),
        Code.READINESS_TIMEOUT: CodeInfo(504, "DEADLINE_EXCEEDED", True, "Engine not ready in time"),
        Code.DRAIN_TIMEOUT: CodeInfo(504, "DEADLINE_EXCEEDED", True, "Drain ran past its deadline"),
        Code.SPAWN_FAILED: CodeInfo(502, "ABORTED", True, "Engine could not be started"),
        Code.ENGINE_EXITED: CodeInfo(502, "ABORTED", True, "Engine exited"),
        Code.HEALTH_CHECK_FAILED: CodeInfo(502, "ABORTED", True, "Engine failed its health checks"),
        Code.DRIVER_ERROR: CodeInfo(502, "ABORTED", True, "GPU driver error"),
        Code.CUDA_ERROR: CodeInfo(502, "ABORTED", True, "CUDA error"),
        Code.OUT_OF_MEMORY: CodeInfo(502, "ABORTED", True, "Out of memory"),
        Code.RELOAD_FAILED: CodeInfo(502, "ABORTED", True, "Reload failed"),
        Code.CPU_SPILLOVER: CodeInfo(502, "ABORTED", False, "Engine is not wholly on its GPUs"),
        Code.CROSS_MASK_SPILLOVER: CodeInfo(502, "ABORTED", False, "Engine used a foreign GPU"),
        Code.INTERNAL: CodeInfo(500, "INTERNAL", False, "Internal error"),
    }
)

#: So many characters of a caller's text are quoted in a message.
SHOWN = 200


class PoolManagerError(Exception):
    """A refusal or failure with a stable code, for people and for programs.

    :param code: one of :class:`Code`.
    :param message: what happened, with the offending name and value.
    :param hint: what the reader can do about it.
    :param details: JSON-able facts, for instance ``{"field": "ttl_ms"}``.
    :param retry_after_ms: milliseconds after which a retry makes sense, where known.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})
        self.retry_after_ms = retry_after_ms

    @property
    def info(self) -> CodeInfo:
        """The row of :data:`CODES` for this error's code."""
        return CODES[self.code]

    @property
    def retriable(self) -> bool:
        """Whether the same call may succeed later without a change by the caller."""
        return self.info.retriable


def invalid_request(field: str, message: str, *, value: Any = None, hint: str | None = None) -> PoolManagerError:
    """An INVALID_REQUEST that names its field in ``details.field`` (and its value, if one is given)."""
    details: dict[str, Any] = {"field": field}
    if value is not None:
        details["value"] = value if isinstance(value, (str, int, float, bool)) else str(value)
    return PoolManagerError(Code.INVALID_REQUEST, message, hint=hint, details=details)


def shown(text: str) -> str:
    """Quote a caller's text for a message: bounded, and with control characters escaped."""
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "…")


def pool_not_found(pool_id: str, *, more: str = "") -> PoolManagerError:
    """POOL_NOT_FOUND for an id that was asked for; ``more`` is added to the hint."""
    return PoolManagerError(
        Code.POOL_NOT_FOUND,
        f"there is no pool {shown(pool_id)}",
        hint=f"GET /v2/pools lists the pools of this host{more}",
        details={"pool_id": pool_id[:SHOWN]},
    )
