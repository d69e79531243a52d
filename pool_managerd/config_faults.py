"""Pydantic's errors in plain words, each with what to write instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from pool_managerd.config import HIDDEN, DevicesConfig, LogConfig, PoolConfig, ServerConfig, keys_of
from pool_managerd.config_problems import nearest, show
from pool_managerd.config_values import MAX_MS, kind_of
from pool_managerd.core.errors import Code

#: Keys of a pool whose faults have codes of their own.
CODES_BY_KEY = {"devices": Code.INVALID_DEVICE_MASK, "tensor_split": Code.INVALID_SPLIT}

_EXPECTED = {
    "string_type": ("text", "put it in quotes"),
    "int_type": ("a whole number", "write it without quotes and without a fraction"),
    "int_from_float": ("a whole number", "write it without a fraction"),
    "float_type": ("a number", "write it without quotes"),
    "bool_type": ("true or false", "write true or false, without quotes"),
    "tuple_type": ("a list", "write it in [brackets]"),
    "dict_type": ("a table", "write it in {braces} or as a table of its own"),
    "model_type": ("a table", "write it in {braces} or as a table of its own"),
    "model_attributes_type": ("a table", "write it in {braces} or as a table of its own"),
}
_BOUNDS = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "greater_than": ("gt", "must be above {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "less_than": ("lt", "must be below {}"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong value in plain words."""

    value: Any
    message: str
    hint: str


def describe(error: ErrorDetails, model: type[BaseModel]) -> Fault:  # noqa: C901, PLR0911  # one case per kind of error
    """What one pydantic error of a table means. Values of ``env`` are left out: they may be secrets."""
    value, kind = error["input"], error["type"]
    context: Mapping[str, Any] = error.get("ctx", {})
    secret = error["loc"][:1] == ("env",)
    shown = HIDDEN if secret else show(value)
    hint = _default_hint(model, error["loc"])
    if error["loc"][:1] == ("tensor_split",):
        hint = "weights are positive finite numbers, one for each device of the mask"
    if kind == "missing":
        if error["loc"] == ("port_range", 1):
            return Fault(None, "must be two ports", "write the lowest and the highest: [20000, 29999]")
        return Fault(None, "is required, and missing", _required_hint(str(error["loc"][-1])))
    if kind == "config":
        message, hint = str(context["message"]), str(context["hint"])
        if secret or isinstance(value, dict):
            return Fault(None, message, hint)
        return Fault(value, f"{message}: {shown}", hint)
    if kind in _EXPECTED:
        expected, how = _EXPECTED[kind]
        return Fault(None if secret else value, f"must be {expected}, not {kind_of(value)}: {shown}", how)
    if kind in _BOUNDS:
        name, template = _BOUNDS[kind]
        bound = context[name]
        why = " (a week)" if bound == MAX_MS else ""
        return Fault(value, f"{template.format(bound)}{why}, and is {shown}", hint)
    if kind == "literal_error":
        near = nearest(value, _words(context["expected"])) if isinstance(value, str) else None
        return Fault(value, f"must be {context['expected']}, not {shown}", f'write "{near}"' if near else hint)
    if kind == "string_pattern_mismatch":
        return Fault(
            value,
            f"{shown} is no pool id",
            "use 1 to 63 of a-z, 0-9 and -, and begin with a letter or a digit",
        )
    if kind == "finite_number":
        return Fault(value, f"must be a finite number, and is {shown}", hint)
    if kind == "too_long":
        return Fault(value, f"must be two ports, and is {shown}", hint)
    return Fault(None if secret else value, f"{error['msg']}: {shown}", hint)


def unknown_key(key: str, table: type[BaseModel] | None, *, top: Sequence[str]) -> tuple[str, str]:
    """Message and hint for a key that its table does not have; ``table`` None is the top of the file."""
    known = list(keys_of(table).values()) if table is not None else list(top)
    near = nearest(key, known)
    if near:
        return f"unknown key; the nearest known key is {near}", f"write {near}"
    homes = [name for name, model in _tables().items() if key in keys_of(model).values() and model is not table]
    if homes:
        return f"unknown key here; {key} is a key of {' and of '.join(homes)}", f"move it to {homes[0]}"
    everywhere = {other for model in _tables().values() for other in keys_of(model).values()}
    near = nearest(key, everywhere)
    if near:
        home = next(name for name, model in _tables().items() if near in keys_of(model).values())
        return f"unknown key; the nearest known key is {near}, of {home}", f"write {near} under {home}, or remove it"
    return "unknown key", f"remove it; the keys here are {', '.join(known)}"


def _tables() -> dict[str, type[BaseModel]]:
    """All tables of the file by how they are written."""
    tables: dict[str, type[BaseModel]] = {
        "[server]": ServerConfig,
        "[devices]": DevicesConfig,
        "[log]": LogConfig,
        "[[pool]]": PoolConfig,
    }
    for name, field in PoolConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            tables[f"[pool.{name}]"] = field.annotation
    return tables


def _required_hint(key: str) -> str:
    examples = {"id": 'id = "chat"', "engine": 'engine = "llamacpp"'}
    return f"add it, for instance {examples[key]}" if key in examples else "add it"


def _default_hint(model: type[BaseModel], where: Sequence[str | int]) -> str:
    default: Any = None
    for part in where:
        field = next((f for name, f in model.model_fields.items() if (f.alias or name) == part), None)
        if field is None:
            break
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
            continue
        default = None if field.is_required() else field.get_default(call_default_factory=False)
    return "see `pool-managerd example-config`" if default is None else f"the default is {show(default)}"


def _words(expected: str) -> list[str]:
    return [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]
