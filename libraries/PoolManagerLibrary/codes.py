"""The table of error codes as clients know it: the harness has its own copy, so that a wrong code in the daemon shows.

Source: the published error table of the API. The daemon's own table is deliberately not imported.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CodeRow:
    """How one code is rendered: HTTP status, gRPC status name, and whether a retry may help (None: not fixed)."""

    http: int
    grpc: str
    retriable: bool | None


def _rows(http: int, grpc: str, retriable: bool | None, *codes: str) -> dict[str, CodeRow]:
    return {code: CodeRow(http, grpc, retriable) for code in codes}


CODES: dict[str, CodeRow] = {
    **_rows(400, "INVALID_ARGUMENT", False, "INVALID_REQUEST", "INVALID_DEVICE_MASK", "INVALID_SPLIT"),
    **_rows(401, "UNAUTHENTICATED", False, "UNAUTHENTICATED"),
    **_rows(403, "PERMISSION_DENIED", False, "FORBIDDEN"),
    **_rows(
        404, "NOT_FOUND", False, "POOL_NOT_FOUND", "LEASE_NOT_FOUND", "MODEL_NOT_FOUND", "ENGINE_NOT_FOUND", "NOT_FOUND"
    ),
    **_rows(405, "UNIMPLEMENTED", False, "METHOD_NOT_ALLOWED"),
    **_rows(413, "RESOURCE_EXHAUSTED", False, "REQUEST_TOO_LARGE"),
    **_rows(409, "FAILED_PRECONDITION", True, "POOL_UNREADY", "CONFLICT", "CIRCUIT_OPEN"),
    **_rows(409, "FAILED_PRECONDITION", False, "POOL_DRAINING"),
    **_rows(429, "RESOURCE_EXHAUSTED", True, "NO_FREE_SLOT"),
    **_rows(
        503,
        "UNAVAILABLE",
        True,
        "INSUFFICIENT_VRAM",
        "INSUFFICIENT_RAM",
        "GPU_UNAVAILABLE",
        "STORE_UNAVAILABLE",
        "SHUTTING_DOWN",
    ),
    **_rows(503, "UNAVAILABLE", False, "GPU_REQUIRED"),
    **_rows(504, "DEADLINE_EXCEEDED", True, "READINESS_TIMEOUT", "DRAIN_TIMEOUT"),
    **_rows(
        502,
        "ABORTED",
        True,
        "SPAWN_FAILED",
        "ENGINE_EXITED",
        "HEALTH_CHECK_FAILED",
        "DRIVER_ERROR",
        "CUDA_ERROR",
        "OUT_OF_MEMORY",
        "RELOAD_FAILED",
    ),
    **_rows(502, "ABORTED", False, "CPU_SPILLOVER", "CROSS_MASK_SPILLOVER"),
    **_rows(500, "INTERNAL", False, "INTERNAL"),
}

#: Every member that an HTTP problem document has, whatever the error.
PROBLEM_FIELDS = (
    "type",
    "title",
    "status",
    "detail",
    "code",
    "message",
    "retriable",
    "retry_after_ms",
    "hint",
    "details",
    "correlation_id",
)

POOL_FIELDS = [
    "pool_id",
    "engine",
    "engine_version",
    "model",
    "desired",
    "phase",
    "live",
    "ready",
    "draining",
    "device_mask",
    "slots_total",
    "slots_free",
    "active_leases",
    "restart_count",
    "last_error",
    "breaker",
    "next_restart_at",
    "vram",
    "replicas",
    "revision",
]
REPLICA_FIELDS = [
    "replica_id",
    "phase",
    "live",
    "ready",
    "pid",
    "url",
    "devices",
    "split",
    "since",
    "adopted",
    "restart_count",
    "last_error",
    "breaker",
    "next_restart_at",
]
BREAKER_FIELDS = ["kind", "state", "failures", "driver_failures", "open_until"]
LAST_ERROR_FIELDS = ["code", "message", "hint", "retriable", "at", "details"]
EVENT_FIELDS = [
    "revision",
    "at",
    "kind",
    "pool_id",
    "replica_id",
    "device",
    "from",
    "to",
    "code",
    "reason",
    "details",
    "correlation_id",
]
EVENT_KINDS = [
    "phase",
    "pool_ready",
    "pool_unready",
    "preload",
    "drain",
    "reload",
    "lease",
    "restart_scheduled",
    "breaker",
    "storm",
    "device",
    "xid",
    "config",
    "adopted",
    "daemon",
    "gap",
]
