"""The HTTP facade's routes as data: what is routed is what /openapi.json says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from pool_managerd.api import checks, problems
from pool_managerd.api.http_request import Field
from pool_managerd.core import status
from pool_managerd.core.errors import Code
from pool_managerd.core.events import EventKind
from pool_managerd.core.phases import Desired, Phase

JSON = "application/json"
_REF = "#/components/schemas/"

_STATUS_TYPES: tuple[type, ...] = (
    status.ReadySummary,
    status.PoolList,
    status.PoolStatus,
    status.LeaseStatus,
    status.DrainResult,
    status.DeviceList,
    status.ConfigChanges,
)

#: What the types of the status values do not say.
_WORDS: Mapping[tuple[str, str], list[str]] = {
    ("PoolStatus", "phase"): [str(phase) for phase in Phase],
    ("PoolStatus", "desired"): [str(desired) for desired in Desired],
    ("ReplicaStatus", "phase"): [str(phase) for phase in Phase],
    ("PoolReadiness", "phase"): [str(phase) for phase in Phase],
    ("PoolReadiness", "desired"): [str(desired) for desired in Desired],
    ("BreakerStatus", "kind"): ["general", "driver"],
    ("BreakerStatus", "state"): ["closed", "open", "half_open"],
    ("LastError", "code"): [str(code) for code in Code],
    ("DrainResult", "outcome"): ["drained", "forced"],
    ("DeviceStatus", "health"): ["ok", "quarantined", "lost"],
    ("DeviceStatus", "residency"): ["process", "device"],
    ("DeviceList", "source"): ["nvml", "simulated"],
    ("ReadySummary", "store"): ["ok", "unavailable"],
}
_TIMES = frozenset({"at", "since", "expires_at", "next_restart_at", "open_until", "taken_at"})
#: RFC 3339 in UTC with milliseconds.
_TIME = {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}


@dataclass(frozen=True, slots=True)
class Param:
    """One query parameter."""

    name: str
    schema: Mapping[str, Any]
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route.

    :param handler: the method of ``http_routes.Handlers`` that answers it.
    :param answers: per status the schema's name, or a media type for an answer that is no JSON.
    :param aliases: further paths that answer the same.
    """

    method: str
    path: str
    handler: str
    summary: str
    answers: Mapping[int, str]
    query: tuple[Param, ...] = ()
    body: Mapping[str, Field] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    tag: str = "pools"


_WAIT = Param(
    "wait",
    {"type": "number", "minimum": 0, "maximum": checks.MAX_WAIT_S},
    "Seconds to wait for the end; when they are over the answer is 202.",
)
_SINCE = Param(
    "since",
    {"type": "integer", "minimum": 0, "maximum": checks.MAX_INTEGER},
    "The last revision that was seen. The header Last-Event-ID says the same, and goes before.",
)
_LOG_QUERY = (
    Param("replica", {"type": "string", "pattern": f"^{checks.REPLICA_ID_PATTERN}$"}, "Default: the first."),
    Param("tail", {"type": "integer", "minimum": 0, "maximum": checks.MAX_TAIL}, "The last lines only."),
    Param("follow", {"type": "boolean"}, "Go on with what is written from now on."),
)
_POOL = "/v2/pools/{pool_id}"
_LEASE = _POOL + "/leases/{lease_id}"
_SSE = "text/event-stream"
_TEXT = "text/plain"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET",
        "/health",
        "health",
        "Answers whenever the daemon serves.",
        {200: "Health"},
        aliases=("/livez",),
        tag="daemon",
    ),
    Operation(
        "GET",
        "/ready",
        "ready",
        "Whether every pool that is desired to run is ready.",
        {200: "ReadySummary", 503: "ReadySummary"},
        aliases=("/readyz",),
        tag="daemon",
    ),
    Operation("GET", "/v2/pools", "list_pools", "All pools, sorted by id.", {200: "PoolList"}),
    Operation(
        "GET", _POOL, "get_pool", "One pool.", {200: "PoolStatus"}, aliases=(f"{_POOL}/status", f"{_POOL}/health")
    ),
    Operation(
        "POST",
        f"{_POOL}/preload",
        "preload",
        "Set desired = running; with wait, answer when the pool is ready or its load failed.",
        {200: "PoolStatus", 202: "PoolStatus"},
        query=(_WAIT,),
    ),
    Operation(
        "POST",
        f"{_POOL}/drain",
        "drain",
        "Set desired = stopped, durably; deadline_ms 0 stops at once.",
        {200: "DrainResult", 202: "PoolStatus"},
        query=(_WAIT,),
        body={"deadline_ms": Field(int, minimum=0)},
    ),
    Operation("DELETE", f"{_POOL}/drain", "cancel_drain", "Cancel a drain that still waits.", {200: "PoolStatus"}),
    Operation(
        "POST",
        f"{_POOL}/reload",
        "reload",
        "Move the pool to another model, with a way back.",
        {200: "PoolStatus", 202: "PoolStatus"},
        query=(_WAIT,),
        body={"new_model_ref": Field(str, required=True), "drain_deadline_ms": Field(int, minimum=0)},
    ),
    Operation(
        "POST", f"{_POOL}/circuit/reset", "reset_circuit", "Close the breakers and try at once.", {200: "PoolStatus"}
    ),
    Operation("GET", f"{_POOL}/leases", "list_leases", "The active leases.", {200: "LeaseList"}, tag="leases"),
    Operation(
        "POST",
        f"{_POOL}/leases",
        "acquire_lease",
        "Take a lease: one slot of a ready replica.",
        {201: "LeaseStatus"},
        body={"holder": Field(str), "ttl_ms": Field(int, minimum=1)},
        tag="leases",
    ),
    Operation(
        "PUT",
        _LEASE,
        "renew_lease",
        "Move the lease's expiry to a full TTL from now.",
        {200: "LeaseStatus"},
        body={"ttl_ms": Field(int, minimum=1)},
        tag="leases",
    ),
    Operation("DELETE", _LEASE, "release_lease", "Give the lease back; again is fine.", {204: ""}, tag="leases"),
    Operation("GET", f"{_POOL}/logs", "logs", "The engine's log.", {200: _TEXT}, query=_LOG_QUERY),
    Operation(
        "GET", "/v2/devices", "devices", "The GPUs and who holds their memory.", {200: "DeviceList"}, tag="daemon"
    ),
    Operation(
        "GET",
        "/v2/events",
        "events",
        "Everything that happens, in order, as server-sent events: id is the revision, event the kind, data an Event. "
        "STORE_UNAVAILABLE while older events that are asked for cannot be read.",
        {200: _SSE},
        query=(_SINCE,),
        tag="daemon",
    ),
    Operation(
        "POST",
        "/v2/config/reload",
        "reload_config",
        "Read the config file again and apply what changed.",
        {200: "ConfigChanges"},
        query=(Param("dry_run", {"type": "boolean"}, "Only say what would change."),),
        tag="daemon",
    ),
    Operation("GET", "/metrics", "metrics", "Metrics in Prometheus' text format.", {200: _TEXT}, tag="daemon"),
)


def guarded(path: str) -> bool:
    """Whether a path needs the token, where one is set."""
    return path in ("/metrics", "/v2") or path.startswith("/v2/")


def document(version: str) -> dict[str, Any]:
    """The OpenAPI document of the facade."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        for index, path in enumerate((operation.path, *operation.aliases)):
            suffix = "" if index == 0 else "_" + path.rsplit("/", 1)[-1]
            paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, path, suffix)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pool-managerd",
            "version": version,
            "description": "Pools of LLM engines on one GPU host. The gRPC control plane has the same calls.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation, path: str, suffix: str) -> dict[str, Any]:
    responses = {str(code): _answer(code, answer) for code, answer in operation.answers.items()}
    responses["default"] = {
        "description": "The refusal or failure.",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}},
    }
    result: dict[str, Any] = {
        "operationId": operation.handler + suffix,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(path), *map(_query_parameter, operation.query)],
        "responses": responses,
    }
    if operation.body:
        result["requestBody"] = {
            "required": any(field.required for field in operation.body.values()),
            "content": {JSON: {"schema": _body_schema(operation.body)}},
        }
    if guarded(path):
        # Without a configured token every caller has full use, hence the empty alternative.
        result["security"] = [{"token": []}, {}]
    return result


def _answer(code: int, answer: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "description": {200: "Done.", 201: "Granted.", 202: "Accepted; it goes on.", 204: "Released."}.get(code, "No."),
        "headers": {"X-Correlation-Id": {"schema": {"type": "string", "maxLength": 128}}},
    }
    if code in (201, 202):
        result["headers"]["Location"] = {"schema": {"type": "string"}}
    if "/" in answer:
        result["content"] = {answer: {"schema": {"type": "string"}}}
    elif answer:
        result["content"] = {JSON: {"schema": {"$ref": _REF + answer}}}
    return result


def _path_parameters(path: str) -> list[dict[str, Any]]:
    patterns = {"pool_id": checks.POOL_ID_PATTERN, "lease_id": checks.LEASE_ID_PATTERN}
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{pattern}$"}}
        for name, pattern in patterns.items()
        if f"{{{name}}}" in path
    ]


def _query_parameter(param: Param) -> dict[str, Any]:
    return {"name": param.name, "in": "query", "schema": dict(param.schema), "description": param.description}


def _body_schema(fields: Mapping[str, Field]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _field_schema(field) for name, field in fields.items()},
        "required": [name for name, field in fields.items() if field.required],
        "additionalProperties": False,
    }


def _field_schema(field: Field) -> dict[str, Any]:
    kind = {str: "string", int: "integer"}[field.kind]
    schema: dict[str, Any] = {"type": kind if field.required else [kind, "null"]}
    if field.minimum is not None:
        schema["minimum"] = field.minimum
    return schema


def schemas() -> dict[str, Any]:
    """The schemas of all answers: exactly the fields of the status values, each present, ``null`` for no value."""
    found: dict[str, Any] = {}
    for kind in _STATUS_TYPES:
        schema = TypeAdapter(kind).json_schema(mode="serialization", ref_template=_REF + "{model}")
        found |= schema.pop("$defs", {})
        found[kind.__name__] = schema
    for name, schema in found.items():
        _make_exact(name, schema)
    strings = {"type": "string"}
    found["Health"] = _exact({"status": {"const": "ok"}, "version": {"type": "string", "minLength": 1}})
    found["LeaseList"] = _exact({"leases": {"type": "array", "items": {"$ref": f"{_REF}LeaseStatus"}}})
    found["Event"] = _exact(
        {
            "revision": {"type": "integer"},
            "at": _TIME,
            "kind": {"type": "string", "enum": [str(kind) for kind in EventKind]},
            **{name: {"type": ["string", "null"]} for name in ("pool_id", "replica_id", "device", "from", "to")},
            **{name: {"type": ["string", "null"]} for name in ("code", "reason")},
            "details": {"type": "object"},
            "correlation_id": {"type": ["string", "null"]},
        }
    )
    found["Problem"] = _exact(
        {
            "type": {"type": "string", "format": "uri"},
            "title": strings,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": strings,
            "code": {"type": "string", "enum": [str(code) for code in Code]},
            "message": strings,
            "retriable": {"type": "boolean"},
            "retry_after_ms": {"type": ["integer", "null"], "minimum": 0},
            "hint": {"type": ["string", "null"]},
            "details": {"type": "object"},
            "correlation_id": {"type": "string", "minLength": 1, "maxLength": 128},
        }
    )
    return dict(sorted(found.items()))


def _exact(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _make_exact(name: str, schema: dict[str, Any]) -> None:
    properties: dict[str, Any] = schema["properties"]
    for key, value in properties.items():
        value.pop("title", None)
        value.pop("default", None)
        if (words := _WORDS.get((name, key))) is not None:
            value["enum"] = words
        if key in _TIMES:
            nullable = "anyOf" in value
            value.clear()
            value.update({"anyOf": [_TIME, {"type": "null"}]} if nullable else _TIME)
    schema["required"] = list(properties)
    schema["additionalProperties"] = False
