"""The summary of a run, for scenarios about runs."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.suite_run import SuiteRun

_PART = re.compile(r'<span class="name">(?P<name>.*?)</span>.*?<table class="matrix">(?P<table>.*?)</table>', re.DOTALL)
_BEHAVIOUR = re.compile(r'<span class="id">(?P<id>.*?)</span>(?P<body>.*?)</tbody>', re.DOTALL)
_SCENARIO = re.compile(r'href="log\.html#[^"]+">(?P<name>.*?)</a>.*?data-verdict="(?P<verdict>[^"]+)"', re.DOTALL)


class SummaryKeywords(Keywords):
    """Keywords about ``summary.html`` and ``summary.md`` of a run that `Start Suite Run` started."""

    @keyword
    def get_summary_rows(self, run: SuiteRun) -> list[str]:
        """Returns the rows of a run's summary, each ``requirement | behaviour | scenario | verdict``.

        Example:
        | ${rows} = | Get Summary Rows | ${run} |
        """
        page = (run.results / "summary.html").read_text(encoding="utf-8")
        return [
            unescape(f"{part['name']} | {behaviour['id']} | {scenario['name']} | {scenario['verdict']}")
            for part in _PART.finditer(page)
            for behaviour in _BEHAVIOUR.finditer(part["table"])
            for scenario in _SCENARIO.finditer(behaviour["body"])
        ]

    @keyword
    def get_summary_counts(self, run: SuiteRun) -> dict[str, int]:
        """Returns what a run's Markdown summary counts: scenarios, passed, failed, skipped, not run.

        Example:
        | ${counts} = | Get Summary Counts | ${run} |
        """
        lines = (run.results / "summary.md").read_text(encoding="utf-8").splitlines()
        head = next((number for number, line in enumerate(lines) if line.startswith("| scenarios |")), None)
        if head is None:
            raise ExpectationFailed(f"The summary counts nothing: {lines[:10]}")
        names, values = (_cells(lines[head]), _cells(lines[head + 2]))
        return {name: int(value) for name, value in zip(names, values, strict=True) if value.isdigit()}


def _cells(line: str) -> list[Any]:
    return [cell.strip() for cell in line.strip("|").split("|")]
