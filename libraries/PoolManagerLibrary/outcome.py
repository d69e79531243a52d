"""What came of a call: the same view for HTTP, gRPC and the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from PoolManagerLibrary.units import show_seconds


class Protocol(StrEnum):
    """The way a caller talks to the daemon."""

    HTTP = "http"
    GRPC = "grpc"
    CLI = "cli"


@dataclass(slots=True)
class Outcome:
    """The answer to one call.

    :param status: HTTP status, gRPC status name or exit code.
    :param body: the decoded answer, or None.
    :param problem: for a refusal: code, message, hint, retriable, retry_after_ms, details, as far as the protocol
    has them.
    :param at: wall time when the call was sent, seconds since the epoch.
    :param elapsed: seconds until the whole answer was there.
    """

    protocol: Protocol
    call: str
    ok: bool
    status: int | str
    body: Any = None
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    problem: dict[str, Any] | None = None
    at: float = 0.0
    elapsed: float = 0.0
    examined: bool = False

    @property
    def code(self) -> str | None:
        """The stable error code of a refusal."""
        return None if self.problem is None else self.problem.get("code")

    def describe(self) -> str:
        """One line for a report."""
        took = f" after {show_seconds(self.elapsed)}" if self.elapsed else ""
        if self.ok:
            shown = self.text or json.dumps(self.body, default=str)
            return f"{self.call}: {self.status}{took}: {shown[:300]}"
        problem = self.problem or {}
        text = problem.get("message") or self.text[:300]
        hint = f" (hint: {problem['hint']})" if problem.get("hint") else ""
        return f"{self.call}: {self.status}{took}: {self.code or ''} {text}{hint}".rstrip()
