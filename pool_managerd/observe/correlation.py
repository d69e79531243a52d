"""The id that ties a request to every log line and event that it causes."""

from __future__ import annotations

import uuid
from contextvars import ContextVar

#: The longest id that is taken from a caller, in characters.
MAX_LENGTH = 128

#: The id of the request that the present task works for; ``None`` for what the daemon does of its own accord.
CORRELATION_ID: ContextVar[str | None] = ContextVar("correlation_id", default=None)


def new_correlation_id() -> str:
    """Return a fresh id: a random UUID in its usual text form."""
    return str(uuid.uuid4())


def accept_correlation_id(text: str | None) -> str:
    """Return the caller's id unchanged if it is 1 to 128 printable ASCII characters, else a new one."""
    if text and len(text) <= MAX_LENGTH and text.isascii() and text.isprintable() and not text.isspace():
        return text
    return new_correlation_id()
