"""From rows of a table to a TOML config file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from robot.errors import DataError  # type: ignore[import-untyped]  # Robot Framework types its API, not this part
from robot.utils import timestr_to_secs  # type: ignore[import-untyped]  # Robot Framework types its API, not this part

from PoolManagerLibrary.errors import UsageError

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def coerce(key: str, value: Any) -> Any:  # noqa: PLR0911  # one return per kind of value
    """What a table's cell means as a value of the config key ``key``.

    Texts that are numbers, ``true``/``false``, or a list or table in JSON notation are what they look like; a key
    that ends in
    ``_ms`` takes a duration such as ``2 s``; anything else is a text. A text in double quotes is always a text.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if key.endswith("_ms") and not re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
        try:
            return round(float(timestr_to_secs(text)) * 1000)
        except (ValueError, DataError):
            return text
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if re.fullmatch(r"[+-]?\d+\.\d+([eE][+-]?\d+)?", text):
        return float(text)
    if text[:1] in {"[", "{", '"'}:
        try:
            return json.loads(text)
        except ValueError:
            return value
    return value


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``{"readiness.timeout_ms": "2 s"}`` as ``{"readiness": {"timeout_ms": 2000}}``."""
    result: dict[str, Any] = {}
    for dotted, value in flat.items():
        *parents, key = dotted.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UsageError(f"'{dotted}' lies below '{parent}', which is a value already.")
        if isinstance(value, Mapping) and isinstance(place.get(key), dict):
            place[key].update(nest(value))
        else:
            place[key] = nest(value) if isinstance(value, Mapping) else coerce(key, value)
    return result


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``, table by table. ``None`` removes a key."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merge(result[key], value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    # JSON's notation is TOML's, but for this one character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_value(value: Any) -> str:
    """One value in TOML notation."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan" if math.isnan(value) else repr(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(key))} = {toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return _text(str(value))


def _table(name: str, table: Mapping[str, Any], *, array: bool) -> list[str]:
    lines = [f"[[{name}]]" if array else f"[{name}]"]
    lines += [f"{_key(key)} = {toml_value(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            # What a program's environment is called may hold anything, so it stays an inline table.
            lines += [f"{_key(key)} = {toml_value(value)}"] if key == "env" else []
    for key, value in table.items():
        if isinstance(value, Mapping) and key != "env":
            lines += _table(f"{name}.{_key(key)}", value, array=False)
    return lines


def to_toml(tables: Mapping[str, Mapping[str, Any]], pools: Sequence[Mapping[str, Any]]) -> str:
    """A whole config file: the named tables, then one ``[[pool]]`` per pool."""
    lines: list[str] = []
    for name, table in tables.items():
        if table:
            lines += [*_table(name, table, array=False), ""]
    for pool in pools:
        lines += [*_table("pool", pool, array=True), ""]
    return "\n".join(lines)


def parse_rows(rows: Sequence[str]) -> list[dict[str, str]]:
    """A table in ``|`` notation: the first row names the columns; an empty cell or ``-`` leaves the key out."""
    if not rows:
        raise UsageError("A table needs a row with the names of its columns, for instance: id | slots | load_ms")
    names = [cell.strip() for cell in rows[0].strip().strip("|").split("|")]
    result = []
    for row in rows[1:]:
        cells = [cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split("|")]
        if len(cells) != len(names):
            raise UsageError(f"The row '{row}' has {len(cells)} cells, the columns are {', '.join(names)}.")
        result.append({name: cell for name, cell in zip(names, cells, strict=True) if cell not in {"", "-"}})
    return result
