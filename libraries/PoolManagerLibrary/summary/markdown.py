"""The summary for a pull request: short, in GitHub's Markdown, as ``$GITHUB_STEP_SUMMARY`` takes it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from PoolManagerLibrary.summary.run import FAIL, NOT_RUN, PASS, SKIP, Run, ScenarioResult, show_duration

#: A page of failures is read, a book is not; and GitHub takes 1 MiB per step.
MAX_FAILURES = 25
MAX_MESSAGE_LINES = 15
MAX_LINE = 400
SLOWEST = 5
SKIP_REASONS = 10


def render(run: Run, facts: list[tuple[str, str]]) -> str:
    """The whole text."""
    return "\n".join([*_head(run), *_failures(run), *_skips(run), *_slowest(run), *_facts(facts)]) + "\n"


def _head(run: Run) -> Iterator[str]:
    symbol = "❌" if run.count(FAIL) or run.broken else "✅"
    yield f"## {symbol} {_inline(run.name)}: {run.verdict}"
    yield ""
    if run.broken:
        yield f"**{_inline(run.broken)}**"
        yield ""
    yield "| scenarios | passed | failed | skipped | not run | duration |"
    yield "|---:|---:|---:|---:|---:|---:|"
    counts = " | ".join(str(run.count(status)) for status in (PASS, FAIL, SKIP, NOT_RUN))
    yield f"| {len(run.scenarios)} | {counts} | {show_duration(run.seconds)} |"


def _failures(run: Run) -> Iterator[str]:
    failed = run.with_status(FAIL)
    if not failed:
        return
    yield ""
    yield "### Failures"
    for one in failed[:MAX_FAILURES]:
        yield ""
        yield f"**{_inline(one.name)}** ({_inline(one.suite)}), {show_duration(one.seconds)}{_ids(one)}"
        yield ""
        yield from _block(one.message)
    if len(failed) > MAX_FAILURES:
        yield ""
        yield f"… and {len(failed) - MAX_FAILURES} more: see summary.html."


def _skips(run: Run) -> Iterator[str]:
    reasons: dict[str, int] = {}
    for one in run.with_status(SKIP):
        reasons[one.reason] = reasons.get(one.reason, 0) + 1
    if not reasons:
        return
    yield ""
    yield "### Skipped"
    yield ""
    for reason, number in sorted(reasons.items(), key=lambda item: -item[1])[:SKIP_REASONS]:
        yield f"- {_inline(reason)} ({number})"


def _slowest(run: Run) -> Iterator[str]:
    if not run.scenarios:
        return
    yield ""
    yield "### Slowest"
    yield ""
    yield "| scenario | suite | duration |"
    yield "|---|---|---:|"
    for one in run.slowest(SLOWEST):
        yield f"| {_inline(one.name)} | {_inline(one.suite)} | {show_duration(one.seconds)} |"


def _facts(facts: list[tuple[str, str]]) -> Iterator[str]:
    yield ""
    yield "<sub>" + " · ".join(f"{_inline(name)}: {_inline(value)}" for name, value in facts) + "</sub>"


def _ids(one: ScenarioResult) -> str:
    ids = [tag for tag in one.tags if re.fullmatch(r"B-[A-Z]+-\d+", tag)]
    return f", {', '.join(ids)}" if ids else ""


def _inline(text: str) -> str:
    """Text in a line or a cell: nothing in it is markup."""
    one_line = " ".join(text.split())[:MAX_LINE]
    escaped = re.sub(r"([\\`*_{}\[\]|~#])", r"\\\1", one_line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")


def _block(text: str) -> Iterator[str]:
    """Text as it is, in a fence that it cannot close."""
    lines = text.splitlines() or ["(no message)"]
    shown = [line[:MAX_LINE] for line in lines[:MAX_MESSAGE_LINES]]
    if len(lines) > MAX_MESSAGE_LINES:
        shown.append(f"… {len(lines) - MAX_MESSAGE_LINES} more lines")
    longest = max((len(run) for run in re.findall(r"`+", "\n".join(shown))), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}text"
    yield from shown
    yield fence
