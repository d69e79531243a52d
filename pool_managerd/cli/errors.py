"""What ends a command with another exit code than 0, and what is then said on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NO_DAEMON = 3
    INTERRUPTED = 130


class CommandError(Exception):
    """Ends a command; :meth:`lines` is what the user reads."""

    exit_code = Exit.REFUSED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def lines(self) -> list[str]:
        """The text for stderr."""
        return [self.message, *([f"hint: {self.hint}"] if self.hint else [])]


class WrongUsageError(CommandError):
    """The command line or an environment variable is wrong."""

    exit_code = Exit.USAGE


class NoDaemonError(CommandError):
    """Nothing answers at the address, or not as a daemon would."""

    exit_code = Exit.NO_DAEMON

    def __init__(self, address: str, cause: Exception) -> None:
        reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        super().__init__(
            f"no daemon answers at {address}: {reason}",
            hint="start one with `pool-managerd serve --config FILE`, or name its HTTP address with --address",
        )


class RefusedError(CommandError):
    """The daemon said no.

    :param code: the stable error code.
    :param details: the problem's details.
    """

    def __init__(
        self, code: str, message: str, *, hint: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.details = dict(details or {})

    def lines(self) -> list[str]:
        """Code and message, what the details add, the hint."""
        lines = [f"{self.code}: {self.message}"]
        if cause := self.details.get("cause"):
            lines.append(f"cause: {cause}")
        if isinstance(restored := self.details.get("restored"), bool):
            lines.append("restored: " + ("yes, the old model serves" if restored else "no, the pool is not ready"))
        if isinstance(tail := self.details.get("log_tail"), list) and tail:
            lines += ["last lines of the engine's log:", *(f"  {line}" for line in tail[-10:])]
        return [*lines, *([f"hint: {self.hint}"] if self.hint else [])]
