"""Pieces of markup that several parts of the page need."""

from __future__ import annotations

import re
from html import escape
from urllib.parse import quote

from PoolManagerLibrary.summary.run import FAIL, NOT_RUN, PASS, SKIP, WORDS, ScenarioResult

_MARKS = {PASS: "✓", FAIL: "✗", SKIP: "○", NOT_RUN: "·", None: "·"}
_BAR = 120


def verdict(status: str | None) -> str:
    """A verdict as a mark and a word; None: it was not run."""
    word = WORDS[status] if status else "not run"
    return f'<span class="verdict" data-verdict="{word}"><span aria-hidden="true">{_MARKS[status]}</span> {word}</span>'


def prose(text: str) -> str:
    """A sentence of the catalogue, in which `code` stands between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def log_link(one: ScenarioResult) -> str:
    """A scenario's name, leading to its place in log.html."""
    return f'<a href="log.html#{quote(one.log_id)}">{escape(one.name)}</a>'


def duration_bar(seconds: float, longest: float) -> str:
    """A bar as long as the duration is, against the longest. Attributes of SVG are no style in the markup."""
    width = max(1.0, _BAR * seconds / longest) if longest else 1.0
    return (
        f'<svg class="bar" width="{_BAR}" height="6" viewBox="0 0 {_BAR} 6" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="6" rx="3"/></svg>'
    )
