"""Status values to JSON: every field present, times and numbers as they are, no copy more than needed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import orjson

from pool_managerd.core.events import Event


@cache
def field_names(kind: Any) -> tuple[str, ...]:
    """The names of a dataclass' fields, in order."""
    return tuple(field.name for field in fields(kind))


def to_json(value: Any) -> Any:  # noqa: PLR0911 - one line per kind of value
    """Turn a status dataclass, an event or a container of them into JSON values.

    A number that JSON has no word for (NaN, infinity) becomes ``None``, and what is no JSON value becomes text.
    """
    # The order is that of frequency: GET /v2/pools walks a few thousand of these.
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str or kind is int:
        return value
    if isinstance(value, Event):
        return to_json(value.as_json())
    if is_dataclass(kind):
        return {name: to_json(getattr(value, name)) for name in field_names(kind)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted((to_json(item) for item in value), key=str)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return int(value)
    return str(value)


def dump(value: Any) -> bytes:
    """Render a status dataclass, an event or a container of them as compact JSON in UTF-8."""
    if isinstance(value, Event):
        value = value.as_json()
    try:
        return orjson.dumps(value, default=to_json, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # Text that is no Unicode (an argument or file name in bytes), or an integer beyond 64 bits.
        return json.dumps(to_json(value), separators=(",", ":")).encode("ascii")
