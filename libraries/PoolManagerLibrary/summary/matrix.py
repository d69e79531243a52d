"""Which requirement is served by which behaviour, which scenarios prove that one, and what they say of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from PoolManagerLibrary.summary.catalogue import Behaviour, Catalogue
from PoolManagerLibrary.summary.markup import log_link, prose, verdict
from PoolManagerLibrary.summary.run import FAIL, NOT_RUN, PASS, SKIP, Run, ScenarioResult, show_duration, verdict_of

#: Where behaviours stand that serve no requirement of their own.
NO_REQUIREMENT = ("Other behaviours", "What serves no single requirement.")


#: A behaviour's verdicts, the weightiest first, in words.
_VERDICTS = {FAIL: "failed", PASS: "proven", SKIP: "skipped", NOT_RUN: "not run"}


@dataclass(frozen=True, slots=True)
class Row:
    """A behaviour, and the scenarios of this run that prove it."""

    behaviour: Behaviour
    scenarios: tuple[ScenarioResult, ...]

    @property
    def verdict(self) -> str | None:
        """What they say of it; None: none was run."""
        return verdict_of(self.scenarios)


def rows(run: Run, catalogue: Catalogue) -> list[Row]:
    """One row per behaviour of the catalogue."""
    by_tag: dict[str, list[ScenarioResult]] = {}
    for one in run.scenarios:
        for tag in one.tags:
            by_tag.setdefault(tag, []).append(one)
    return [Row(behaviour, tuple(by_tag.get(behaviour.id, ()))) for behaviour in catalogue.behaviours]


def render(rows: Sequence[Row], catalogue: Catalogue) -> Iterator[str]:
    """The sections of the page: an overview, a part per requirement, and what was not run."""
    ran = [row for row in rows if row.scenarios]
    if not ran:
        return
    names = [*catalogue.requirements]
    known = {name for name, _ in names}
    named = {name for row in ran for name in row.behaviour.requirements} - known
    names += [(name, "") for name in sorted(named)]
    parts = [(name, text, [row for row in ran if name in row.behaviour.requirements]) for name, text in names]
    parts.append((*NO_REQUIREMENT, [row for row in ran if not row.behaviour.requirements]))
    parts = [part for part in parts if part[2]]
    yield '<section aria-labelledby="requirements"><h2 id="requirements">Requirements and behaviours</h2>'
    for name, text, members in parts:
        yield from _part(name, text, members)
    yield from _not_run([row for row in rows if not row.scenarios])
    yield "</section>"


def _part(name: str, text: str, rows: Sequence[Row]) -> Iterator[str]:
    seen = [row.verdict for row in rows]
    overall = next(status for status in _VERDICTS if status in seen)
    counts = ", ".join(f"{number} {word}" for status, word in _VERDICTS.items() if (number := seen.count(status)))
    yield f'<details class="card requirement"{" open" if overall == FAIL else ""}><summary>'
    yield f'<span class="name">{escape(name)}</span> {verdict(overall)} <span class="quiet">{counts}</span>'
    yield f'<span class="sentence">{prose(text)}</span></summary>'
    yield '<table class="matrix"><thead><tr><th scope="col">Behaviour</th><th scope="col">Scenario</th>'
    yield '<th scope="col">Verdict</th><th scope="col">Duration</th></tr></thead>'
    for row in sorted(rows, key=lambda one: one.verdict != FAIL):
        yield from _row(row)
    yield "</table></details>"


def _row(row: Row) -> Iterator[str]:
    behaviour = row.behaviour
    yield "<tbody>"
    for index, one in enumerate(row.scenarios):
        yield "<tr>"
        if index == 0:
            level = "" if behaviour.level == "must" else f' <span class="quiet">({escape(behaviour.level)})</span>'
            yield (
                f'<th scope="rowgroup" rowspan="{len(row.scenarios)}"><span class="id">{escape(behaviour.id)}</span>'
                f"{level} {prose(behaviour.sentence)}</th>"
            )
        yield f'<td>{log_link(one)}<div class="quiet">{escape(one.suite)}</div></td>'
        yield f"<td>{verdict(one.status)}</td><td>{show_duration(one.seconds)}</td></tr>"
    yield "</tbody>"


def _not_run(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        return
    yield f'<details class="card"><summary>{len(rows)} behaviours had no scenario in this run</summary><ul class="ids">'
    for row in rows:
        sentence = escape(row.behaviour.sentence, quote=True)
        yield f'<li title="{sentence}">{escape(row.behaviour.id)}</li>'
    yield "</ul></details>"
