"""What lines of an engine's log mean: a failure by itself, or the reason of an end."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pool_managerd.core.errors import Code

#: Why a process ended, where its exit code and lines tell: wrong arguments, a port that was taken, or a library or
#: interpreter that the program needs and this host does not have.
ExitClass = Literal["bad_arguments", "port_in_use", "missing_library"]

#: What the dynamic linker and ``env`` end with if a library or an interpreter is missing.
_CANNOT_RUN = 127
_MISSING_LIBRARY = re.compile(
    r"^\S+: error while loading shared libraries: \S|^(?:\S*/)?env: .+: No such file or directory$"
)
#: Colours and other terminal sequences, which vLLM and TGI put even where nobody watches.
_ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class LogPattern:
    """A line of the engine's log that means a failure.

    :param regex: matched from the start of the line, anchored to the engine's own prefix, so that a prompt
        echoed somewhere in a line never matches.
    :param cause: ``cuda_error``, ``out_of_memory`` or ``cpu_spillover``.
    :param level: log level of the report: ``error`` or ``critical``.
    :param applies: looks at what the regex found, where a pattern alone can't tell.
    :param when: when such a line is a failure by itself: ``always``; ``loading``: only before the engine is Ready,
        when no prompt can be in its log; ``ready``: only after that, since a load may outlive it. A load that ends
        after a ``ready`` line has ended for it.
    """

    regex: re.Pattern[str]
    code: Code
    cause: str
    level: str = "error"
    applies: Callable[[re.Match[str]], bool] | None = None
    when: Literal["always", "loading", "ready"] = "always"

    def matches(self, line: str) -> bool:
        """Whether ``line`` is such a line."""
        found = self.regex.match(line)
        return found is not None and (self.applies is None or self.applies(found))

    def is_failure(self, *, loading: bool) -> bool:
        """Whether such a line is a failure by itself, though the process lives on."""
        return self.when in {"always", "loading" if loading else "ready"}

    def explains_end(self, *, was_ready: bool) -> bool:
        """Whether such a line of the present phase says why the process ended."""
        return self.when != "loading" or not was_ready


def plain(line: str) -> str:
    """A line without terminal sequences."""
    return _ESCAPE_SEQUENCE.sub("", line) if "\x1b" in line else line


def lacks_library(code: int, lines: Sequence[str]) -> bool:
    """Whether the program ended because a library or its interpreter is missing."""
    return code == _CANNOT_RUN and any(_MISSING_LIBRARY.match(line) for line in lines)
