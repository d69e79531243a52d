"""What is wrong with a config file: one value per fault, and the error that carries all of them."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pool_managerd.core.errors import Code, PoolManagerError


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One fault.

    :param file: the config file, or ``environment`` or ``command line`` where the value came from there.
    :param line: line in the file, from 1; None where there is none.
    :param key: like ``server.http`` or ``pool[chat].readiness.timeout_ms``.
    :param value: the wrong value; None where there is none or it may be a secret.
    :param message: what is wrong, with the value.
    :param hint: what to do about it.
    """

    file: str
    line: int | None
    key: str
    value: Any
    message: str
    hint: str
    code: Code = Code.INVALID_REQUEST

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f" {self.key}:" if self.key else ""
        return f"{place}:{key} {self.message}. {self.code}. Hint: {self.hint}"


class ConfigError(PoolManagerError):
    """A config that is refused, with all its faults in :attr:`problems`.

    Its code is that of its faults if they have the same one, else INVALID_REQUEST.
    """

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        codes = {problem.code for problem in problems}
        super().__init__(
            codes.pop() if len(codes) == 1 else Code.INVALID_REQUEST,
            "\n".join(str(problem) for problem in problems),
            hint=problems[0].hint if len(problems) == 1 else "Mend them all; the file in force stays as it is.",
            details={"problems": [asdict(problem) for problem in problems]},
        )
        self.problems = tuple(problems)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that this one was probably meant to be."""
    lowered = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def show(value: object) -> str:
    """A value in TOML's manner, cut where it is long."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, str):
        text = '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(show(item) for item in value[:20]) + ("" if len(value) <= 20 else ", …") + "]"
    elif isinstance(value, dict):
        text = "a table"
    elif isinstance(value, int) and abs(value) > 10**30:
        text = "a number of more than 30 digits"
    else:
        text = str(value)
    return text if len(text) <= 100 else text[:99] + "…"


def jsonable(value: object) -> Any:
    """A TOML value as JSON can hold it."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) <= 10**18 else show(value)
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    return show(value)
