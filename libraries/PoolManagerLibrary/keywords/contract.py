"""The outside contract: which fields a document has, under which names, and what their values look like."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from google.protobuf.descriptor import Descriptor
from robot.api.deco import keyword

from PoolManagerLibrary.codes import (
    BREAKER_FIELDS,
    EVENT_FIELDS,
    EVENT_KINDS,
    LAST_ERROR_FIELDS,
    POOL_FIELDS,
    REPLICA_FIELDS,
)
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, dig, says
from PoolManagerLibrary.outcome import Protocol
from PoolManagerLibrary.units import epoch, seconds, show_seconds

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_LOOKS_LIKE_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
_TIME_KEYS = frozenset({"at", "since", "open_until"})
_INTEGER_KEYS = frozenset(
    {
        "revision",
        "pid",
        "index",
        "slots_total",
        "slots_free",
        "active_leases",
        "restart_count",
        "failures",
        "driver_failures",
        "leases_forced",
        "exit_code",
        "missed_from",
        "missed_to",
        "ready_replicas",
        "min_ready",
        "xid",
    }
)
#: Looks at both protocols for so long, because an event may come between two looks.
_PATIENCE_S = 0.45


class ContractKeywords(Keywords):
    """Keywords about the form of answers and events."""

    @keyword
    def status_should_have_exactly_its_fields(self, status: Mapping[str, Any]) -> None:
        """Checks a status document against the API's list of fields: none missing, none more, at any depth.

        Example:
        | ${status} = | Get Pool | the pool | gRPC |
        | Status Should Have Exactly Its Fields | ${status} |
        """
        _exactly(status, POOL_FIELDS, "PoolStatus")
        _exactly(status["vram"], ["required_bytes", "used_bytes"], "vram")
        if not status["replicas"]:
            raise ExpectationFailed("The status should list its replicas, it lists none.")
        for replica in status["replicas"]:
            _exactly(replica, REPLICA_FIELDS, "replicas[]")
        for part in (status, *status["replicas"]):
            _exactly(part["breaker"], BREAKER_FIELDS, "breaker")
            if part["last_error"] is not None:
                _exactly(part["last_error"], LAST_ERROR_FIELDS, "last_error")

    @keyword
    def event_should_have_exactly_its_fields(self, event: Mapping[str, Any]) -> None:
        """Checks an event document against the API's list of fields and kinds.

        Example:
        | ${events} = | Get Events | the pool |
        | Event Should Have Exactly Its Fields | ${events}[0] |
        """
        _exactly(event, EVENT_FIELDS, "Event")
        if event["kind"] not in EVENT_KINDS:
            raise ExpectationFailed(f"'{event['kind']}' is no kind of event that the API knows.")
        if not isinstance(event["details"], dict):
            raise ExpectationFailed(f"details of an event should be an object: {event}")

    @keyword
    def values_should_be_plain(self, document: Any) -> int:
        """Checks that each time in a document is RFC 3339 in UTC with milliseconds, and each whole number a number.

        Returns how many times and numbers it found. Both may be null.

        Example:
        | ${body} = | Answer Body |
        | Values Should Be Plain | ${body} |
        """
        found = 0
        for path, key, value in _members(document, ""):
            if isinstance(value, str) and _LOOKS_LIKE_TIME.match(value) and not _TIME.fullmatch(value):
                raise ExpectationFailed(f"{path} should be an RFC 3339 time in UTC with milliseconds, it is {value!r}.")
            if key in _TIME_KEYS or key.endswith("_at"):
                found += value is not None
                if value is not None and not (isinstance(value, str) and _TIME.fullmatch(value)):
                    raise ExpectationFailed(
                        f"{path} should be an RFC 3339 time in UTC with milliseconds, it is {value!r}."
                    )
            elif key in _INTEGER_KEYS or key.endswith(("_ms", "_bytes", "_count")):
                found += value is not None
                if value is not None and type(value) is not int:
                    raise ExpectationFailed(f"{path} should be a whole number in JSON, it is {value!r}.")
        return found

    @keyword
    def field_names_should_be_those_of(self, message: str, document: Mapping[str, Any]) -> None:
        """Checks that a JSON document has exactly the field names of a message of the proto file, at every depth.

        Example:
        | ${body} = | Answer Body |
        | Field Names Should Be Those Of | PoolStatus | ${body} |
        """
        from pool_managerd.proto.pool_managerd.v1 import pool_manager_pb2  # noqa: PLC0415  # costs 100 ms

        messages = pool_manager_pb2.DESCRIPTOR.message_types_by_name
        if message not in messages:
            raise UsageError(f"The proto file has no message {message}; it has {', '.join(sorted(messages))}.")
        _same_names(document, messages[message], message)

    @keyword
    def both_protocols_should_show(
        self, field: str, value: str, name: str = "the pool", within: timedelta = timedelta(milliseconds=500)
    ) -> None:
        """Checks that one look over HTTP and one over gRPC, both soon after *the event*, show a field's new value.

        All other fields must be equal on both, too. The event is the one that the last wait found.

        Example:
        | Wait For Event | the pool | kind=lease |
        | Both Protocols Should Show | active_leases | 1 |
        """
        event = self.scenario.memory.get("event")
        if event is None:
            raise UsageError("No event has been waited for yet.")
        pool_id = self.scenario.pool_id(name)
        asked = time.time()
        over_http, over_grpc = self.status(pool_id), self.status(pool_id, Protocol.GRPC)
        limit = seconds(within)
        if asked - event.at > limit:
            raise ExpectationFailed(
                f"This look came {show_seconds(asked - event.at)} after the event and proves nothing about "
                f"{show_seconds(limit)}: {event.describe()}"
            )
        for protocol, status in (("HTTP", over_http), ("gRPC", over_grpc)):
            if dig(status, field) != says(value):
                raise ExpectationFailed(
                    f"{show_seconds(asked - event.at)} after its event {protocol} should show {field} {value}, "
                    f"it shows {dig(status, field)!r}.\n{self.explain(pool_id)}"
                )
        self.protocols_should_agree(name)

    @keyword
    def protocols_should_agree(self, name: str = "the pool") -> None:
        """Checks that HTTP and gRPC show equal values of every field of a pool's status at one revision.

        Example:
        | Protocols Should Agree |
        """
        pool_id = self.scenario.pool_id(name)
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            before = self.status(pool_id)
            over_grpc = self.status(pool_id, Protocol.GRPC)
            after = self.status(pool_id)
            if before == after or time.monotonic() > deadline:
                break
        differing = [key for key in before if before[key] != over_grpc.get(key) and key != "revision"]
        if differing or set(before) != set(over_grpc):
            shown = "; ".join(f"{key}: HTTP {before[key]!r}, gRPC {over_grpc.get(key)!r}" for key in differing)
            raise ExpectationFailed(f"HTTP and gRPC should show equal values: {shown or set(before) ^ set(over_grpc)}")

    @keyword
    def times_should_rise(self, *times: str) -> None:
        """Checks that RFC 3339 times follow each other.

        Example:
        | Times Should Rise | ${error}[at] | ${status}[next_restart_at] |
        """
        stamps = [epoch(one) for one in times]
        if sorted(stamps) != stamps:
            raise ExpectationFailed(f"These times should rise: {', '.join(times)}")


def _exactly(document: Any, fields: list[str], what: str) -> None:
    if not isinstance(document, Mapping):
        raise ExpectationFailed(f"{what} should be an object, it is {document!r}.")
    missing, more = set(fields) - set(document), set(document) - set(fields)
    if missing or more:
        raise ExpectationFailed(
            f"{what} should have exactly the fields of the API: missing {sorted(missing)}, more {sorted(more)}."
        )


def _members(value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            where = f"{path}.{key}" if path else str(key)
            yield where, str(key), item
            yield from _members(item, where)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _members(item, f"{path}.{number}")


def _same_names(value: Any, message: Descriptor, where: str) -> None:
    if message.full_name.startswith("google.protobuf."):
        return
    _exactly(value, [field.name for field in message.fields], where)
    for field in message.fields:
        inner = value[field.name]
        if field.message_type is None or inner is None:
            continue
        for item in inner if field.is_repeated else [inner]:
            _same_names(item, field.message_type, f"{where}.{field.name}")
