"""Reading a request strictly: query and body, every refusal an INVALID_REQUEST that names field or byte position."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from pool_managerd.api import checks
from pool_managerd.core.errors import Code, PoolManagerError, invalid_request, shown

#: The deepest nesting of a body. The bodies of this API are flat; this only keeps the parser's stack small.
MAX_DEPTH = 32
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_INT64_BITS = 63
#: Strings and brackets. A string without an end reaches to the end of the text: were it no match, the search would
#: begin anew at each quote in it, and a body of 1 MiB would take hours.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a body.

    :param kind: ``str`` or ``int``; nothing is converted, and ``null`` is as good as leaving the field out.
    :param required: whether the body must have it.
    :param minimum: the least value of a number, for the description; the service refuses what is below.
    """

    kind: type
    required: bool = False
    minimum: int | None = None


def too_large(limit: int, size: int | None = None) -> PoolManagerError:
    """The refusal of a body above ``max_request_bytes``."""
    said = f"of {size} bytes " if size is not None else ""
    return PoolManagerError(
        Code.REQUEST_TOO_LARGE,
        f"the request body {said}is larger than the {limit} bytes that are allowed",
        hint="server.max_request_bytes sets the limit",
        details={"max_request_bytes": limit},
    )


class Query:
    """The query parameters of a request: known names only, each at most once."""

    def __init__(self, request: Request, *known: str) -> None:
        self._values: dict[str, str] = {}
        query = request.scope["query_string"].decode("latin-1")
        for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=None):
            if name not in known:
                listed = "one of " + ", ".join(known) if known else "none"
                raise invalid_request(
                    name[:100], f"unknown query parameter {shown(name)}", hint=f"this route takes {listed}"
                )
            if name in self._values:
                raise invalid_request(name, f"query parameter {name} is given more than once")
            self._values[name] = value

    def text(self, name: str) -> str | None:
        """The parameter as it is."""
        return checks.text(name, self._values.get(name))

    def integer(self, name: str) -> int | None:
        """The parameter as a whole number of any sign."""
        value = self._values.get(name)
        if value is None:
            return None
        if _INTEGER.fullmatch(value) is None:
            raise invalid_request(name, f"{name} {shown(value)} is not a whole number")
        return int(value)

    def wait_s(self) -> float | None:
        """The parameter ``wait`` in seconds."""
        value = self._values.get("wait")
        if value is None:
            return None
        if _NUMBER.fullmatch(value) is None:
            raise invalid_request("wait", f"wait {shown(value)} is not a number of seconds")
        return checks.wait_s(float(value))

    def flag(self, name: str) -> bool:
        """The parameter as ``true`` or ``false``; absent is false."""
        value = self._values.get(name, "false")
        if value not in ("true", "false"):
            raise invalid_request(name, f"{name} {shown(value)} is neither true nor false")
        return value == "true"


async def read_body(request: Request, limit: int, timeout_s: float) -> bytes:
    """Read the body, giving up as soon as it is larger than ``limit`` bytes or takes longer than ``timeout_s``."""
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large(limit)
    except TimeoutError:
        raise invalid_request(
            "body", f"the body did not arrive within {timeout_s:g} s", hint="send it with the request"
        ) from None
    except ClientDisconnect:
        raise invalid_request("body", "the caller hung up before the body was complete") from None
    return bytes(body)


async def read_fields(request: Request, limit: int, fields: Mapping[str, Field], *, timeout_s: float) -> dict[str, Any]:
    """Read a JSON object that has no other than the given fields. No body at all is an empty object."""
    body = await read_body(request, limit, timeout_s)
    values: dict[str, Any] = {}
    if body:
        _check_content_type(request)
        values = _parse(body)
    for name in values:
        if name not in fields:
            listed = ", ".join(fields) or "no fields"
            raise invalid_request(name[:100], f"unknown field {shown(name)}", hint=f"the body takes {listed}")
    return {name: _checked(name, values.get(name), field) for name, field in fields.items()}


def _checked(name: str, value: Any, field: Field) -> Any:
    if value is None:
        if field.required:
            raise invalid_request(name, f"{name} is missing")
        return None
    # bool is a subclass of int, hence the exact type.
    if type(value) is not field.kind:
        wanted = "a string" if field.kind is str else "a whole number"
        raise invalid_request(name, f"{name} is {_kind_name(value)}, not {wanted}")
    if isinstance(value, int) and value.bit_length() > _INT64_BITS:
        raise invalid_request(name, f"{name} is out of range: it does not fit into 64 bits")
    return checks.text(name, value) if isinstance(value, str) else value


def _kind_name(value: Any) -> str:
    names = {bool: "true or false", str: "a string", int: "a whole number", float: "a fraction", list: "a list"}
    return "null" if value is None else names.get(type(value), "an object")


def _check_content_type(request: Request) -> None:
    sent = request.headers.get("content-type")
    media_type, _, parameters = (sent or "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() != "application/json" or charset not in ("", "utf-8"):
        said = shown(sent) if sent else "missing"
        raise invalid_request(
            "Content-Type", f"the content type is {said}", hint="send JSON with 'Content-Type: application/json'"
        )


def _parse(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        _malformed(error.start, "this byte is not UTF-8")
    _check_depth(text)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_integer)
    except json.JSONDecodeError as error:
        _malformed(len(text[: error.pos].encode("utf-8")), error.msg)
    if not isinstance(value, dict):
        raise invalid_request("body", f"the body is {_kind_name(value)}, not a JSON object")
    return value


def _malformed(position: int, reason: str) -> NoReturn:
    raise PoolManagerError(
        Code.INVALID_REQUEST,
        f"the body is not JSON: {reason} at byte {position}",
        details={"field": "body", "byte": position},
    ) from None


def _check_depth(text: str) -> None:
    # json.loads recurses; this looks at brackets outside of strings before it gets the chance.
    depth = 0
    for match in _BRACKETS.finditer(text):
        bracket = match.group()
        if bracket in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                position = len(text[: match.start()].encode("utf-8"))
                _malformed(position, f"nested deeper than {MAX_DEPTH} levels")
        elif bracket in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise invalid_request(name[:100], f"field {shown(name)} is given more than once")
        result[name] = value
    return result


def _no_constant(name: str) -> NoReturn:
    raise invalid_request("body", f"the body is not JSON: {name} is no JSON value")


def _integer(digits: str) -> int:
    if len(digits) > 4000:
        raise invalid_request("body", f"the body holds a number of {len(digits)} digits")
    return int(digits)
