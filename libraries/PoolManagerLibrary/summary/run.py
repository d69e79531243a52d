"""A run as values: its scenarios and how each ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

#: The last one is ours: Robot Framework calls failed what a run that was stopped did not come to.
PASS, FAIL, SKIP, NOT_RUN = "PASS", "FAIL", "SKIP", "NOT RUN"
#: What Robot Framework writes before the reason of a suite's setup.
_AROUND = ("Skipped in parent suite", "Several failures occurred")
WORDS = {PASS: "passed", FAIL: "failed", SKIP: "skipped", NOT_RUN: "not run"}


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """How one scenario ended.

    :param suite: the full name of its suite.
    :param seconds: how long it took.
    :param log_id: its anchor in ``log.html``.
    """

    name: str
    suite: str
    status: str
    message: str
    seconds: float
    tags: tuple[str, ...]
    log_id: str

    @property
    def word(self) -> str:
        """``passed``, ``failed``, ``skipped`` or ``not run``."""
        return WORDS[self.status]

    @property
    def reason(self) -> str:
        """Why it was skipped, in a line; Robot Framework's own words around it are left out."""
        lines = [line.strip() for line in self.message.splitlines() if line.strip()]
        return next((line for line in lines if not line.startswith(_AROUND)), "no reason was given")


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run.

    :param seconds: from the start of the first suite to the end of the last, where that is known.
    :param broken: why this is not all of it; empty where it is.
    :param generator: what wrote the output, as it says of itself.
    :param sources: the files and folders of the suites.
    """

    name: str
    scenarios: tuple[ScenarioResult, ...]
    started: datetime | None
    seconds: float
    generator: str = ""
    broken: str = ""
    sources: tuple[Path, ...] = field(default=())

    def count(self, status: str) -> int:
        """How many scenarios ended so."""
        return sum(one.status == status for one in self.scenarios)

    def with_status(self, status: str) -> list[ScenarioResult]:
        """The scenarios that ended so."""
        return [one for one in self.scenarios if one.status == status]

    def slowest(self, number: int) -> list[ScenarioResult]:
        """The scenarios that took longest, the slowest first."""
        return sorted(self.scenarios, key=lambda one: one.seconds, reverse=True)[:number]

    @property
    def verdict(self) -> str:
        """The run in a few words."""
        failed = self.count(FAIL)
        if self.broken:
            return "broken off" if not failed else f"broken off, {failed} failed"
        return f"{failed} of {len(self.scenarios)} failed" if failed else "passed"


def verdict_of(scenarios: Iterable[ScenarioResult]) -> str | None:
    """What scenarios say of the behaviour that they prove: a failure outweighs all, a skip says nothing."""
    seen = {one.status for one in scenarios}
    return next((status for status in (FAIL, PASS, SKIP, NOT_RUN) if status in seen), None)


def show_duration(seconds: float) -> str:
    """``0.42 s``, ``12.3 s``, ``3 min 5 s``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
