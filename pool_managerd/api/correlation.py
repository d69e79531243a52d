"""The correlation id at the edge: taken from the caller, given back with every answer."""

from __future__ import annotations

from collections.abc import Iterable

from pool_managerd.observe.correlation import CORRELATION_ID, accept_correlation_id

#: The header's and the metadata key's name, in the lower case that gRPC demands.
HEADER = "x-correlation-id"


def begin(presented: str | None) -> str:
    """Take the caller's id, or make one, and set it for everything that the present task does."""
    correlation_id = accept_correlation_id(presented)
    CORRELATION_ID.set(correlation_id)
    return correlation_id


def current() -> str:
    """The present request's id; a new one outside of any request."""
    return CORRELATION_ID.get() or accept_correlation_id(None)


def first(pairs: Iterable[tuple[str, str | bytes]], name: str) -> str | None:
    """The only value of a metadata key, ``None`` if there is none or more than one."""
    values = [value for key, value in pairs if key.lower() == name]
    if len(values) != 1:
        return None
    value = values[0]
    return value if isinstance(value, str) else value.decode("latin-1")
