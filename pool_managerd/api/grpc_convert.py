"""Status values to protobuf messages, and messages to the JSON values that the HTTP facade shows.

A status dataclass and its message have the same name and the same fields; ``None`` is a field that is not set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.message import Message

from pool_managerd.api.json_values import field_names, to_json
from pool_managerd.core.events import Event
from pool_managerd.proto.pool_managerd.v1 import pool_manager_pb2 as pb


def to_message(value: Any) -> Any:
    """Turn a status dataclass or an event into its message."""
    if isinstance(value, Event):
        return pb.Event(**_arguments(value.as_json()))
    kind: Any = type(value)
    message = getattr(pb, kind.__name__)
    return message(**_arguments({name: getattr(value, name) for name in field_names(kind)}))


def _arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _argument(value) for name, value in values.items() if value is not None}


def _argument(value: Any) -> Any:
    if isinstance(value, str):
        # Half a surrogate pair, from a file name that is not UTF-8, has no place in a protobuf string.
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, (list, tuple)):
        return [_argument(item) for item in value]
    if isinstance(value, Mapping):
        return to_struct(value)
    return to_message(value) if is_dataclass(value) else value


def to_struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """Turn JSON-able details into a Struct. Its numbers are doubles, exact up to 2**53."""
    struct = struct_pb2.Struct()
    struct.update(_clean(to_json(values)))
    return struct


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _argument(value)
    if isinstance(value, dict):
        return {_argument(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value


def message_to_json(message: Message) -> dict[str, Any]:
    """Turn a message into the JSON object that the HTTP facade shows: every field present, ``None`` for no value."""
    return {field.name: _field_to_json(message, field) for field in message.DESCRIPTOR.fields}


def _field_to_json(message: Message, field: Any) -> Any:
    if field.has_presence and not message.HasField(field.name):
        # A message without `optional` is always there on the facade.
        return {} if field.message_type is not None and field.message_type.full_name.endswith(".Struct") else None
    value = getattr(message, field.name)
    if field.is_repeated:
        return [_item_to_json(item) for item in value]
    return _item_to_json(value)


def _item_to_json(value: Any) -> Any:
    if isinstance(value, struct_pb2.Struct):
        return {key: _value_to_json(item) for key, item in value.fields.items()}
    return message_to_json(value) if isinstance(value, Message) else value


def _value_to_json(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _item_to_json(value.struct_value)
    if kind == "list_value":
        return [_value_to_json(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return None if kind in (None, "null_value") else getattr(value, kind)
