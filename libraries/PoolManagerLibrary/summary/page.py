"""The summary as a page: no script, no style in the markup, no data: address, so that Jenkins' own content policy
(``sandbox allow-same-origin; default-src 'none'; img-src 'self'; style-src 'self'``) renders all of it."""  # noqa: D205, D209  # one sentence

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from PoolManagerLibrary.failed_folder import FAILED, failed_folder, kept_files
from PoolManagerLibrary.summary import matrix
from PoolManagerLibrary.summary.catalogue import Catalogue
from PoolManagerLibrary.summary.markup import duration_bar, log_link, verdict
from PoolManagerLibrary.summary.run import FAIL, NOT_RUN, PASS, SKIP, Run, ScenarioResult, show_duration

SLOWEST = 15
MAX_MESSAGE_LINES = 60


def render(run: Run, catalogue: Catalogue, facts: list[tuple[str, str]], results: Path) -> str:
    """The whole page.

    :param results: where it will lie, beside log.html and the folders of failed scenarios.
    """
    rows = matrix.rows(run, catalogue)
    body = [
        *_header(run, results),
        "<main>",
        *_sums(run, rows),
        *_failures(run, results),
        *matrix.render(rows, catalogue),
        *_skips(run),
        *_slowest(run),
        *_suites(run),
        *_environment(facts),
        "</main>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(run.name)}: {escape(run.verdict)}</title>\n"
        '<link rel="stylesheet" href="summary.css">\n</head>\n<body>\n' + "\n".join(body) + "\n</body>\n</html>\n"
    )


def _header(run: Run, results: Path) -> Iterator[str]:
    tone = "bad" if run.count(FAIL) or run.broken else "good"
    when = run.started.strftime("%Y-%m-%d %H:%M:%S") if run.started else "unknown"
    there = [name for name in ("log.html", "report.html", "output.xml", "xunit.xml") if (results / name).exists()]
    links = " ".join(f'<a href="{name}">{name}</a>' for name in there)
    yield f'<header data-tone="{tone}">'
    yield f"<h1>{escape(run.name)}: {escape(run.verdict)}</h1>"
    yield f"<p>Started {when}, took {show_duration(run.seconds)}</p>"
    yield f'<nav aria-label="Files">{links}</nav>'
    yield "</header>"
    if run.broken:
        text = f"{run.broken} What is shown here is what there was until then."
        yield f'<p class="banner" role="alert">{escape(text)}</p>'


def _sums(run: Run, rows: Sequence[matrix.Row]) -> Iterator[str]:
    ran = [row for row in rows if row.scenarios]
    proven = sum(row.verdict == PASS for row in ran)
    counts = [
        ("Scenarios", str(len(run.scenarios)), ""),
        ("Passed", str(run.count(PASS)), ""),
        ("Failed", str(run.count(FAIL)), "bad" if run.count(FAIL) else ""),
        ("Skipped", str(run.count(SKIP)), ""),
    ]
    if run.count(NOT_RUN):
        counts.append(("Not run", str(run.count(NOT_RUN)), "bad"))
    if rows:
        counts.append(("Behaviours proven", f"{proven} of {len(ran)}", ""))
    counts.append(("Duration", show_duration(run.seconds), ""))
    yield '<section aria-label="Overview"><dl class="sums">'
    for name, value, tone in counts:
        yield f"<div><dt>{name}</dt><dd{f' data-tone={tone}' if tone else ''}>{value}</dd></div>"
    yield "</dl></section>"


def _failures(run: Run, results: Path) -> Iterator[str]:
    failed = run.with_status(FAIL)
    if not failed:
        return
    yield '<section aria-labelledby="failures"><h2 id="failures">Failures</h2>'
    for one in failed:
        lines = one.message.splitlines()
        shown = "\n".join(lines[:MAX_MESSAGE_LINES]) or "(no message)"
        if len(lines) > MAX_MESSAGE_LINES:
            shown += f"\n… {len(lines) - MAX_MESSAGE_LINES} more lines: see log.html"
        yield f'<article class="card failure"><h3>{log_link(one)}</h3>'
        about = " · ".join(filter(None, [one.suite, show_duration(one.seconds), ", ".join(one.tags)]))
        yield f'<p class="quiet">{escape(about)}</p>'
        yield f'<pre tabindex="0" aria-label="Message">{escape(shown)}</pre>'
        yield from _kept(one, results)
        yield "</article>"
    yield "</section>"


def _kept(one: ScenarioResult, results: Path) -> Iterator[str]:
    """What the scenario left beside the report: the pictures shown, the files as links."""
    folder = results / FAILED / failed_folder(one.suite, one.name)
    names = kept_files(folder)
    base = f"{FAILED}/{quote(folder.name)}"
    for name in names:
        if name.endswith(".svg"):
            text = escape(f"Phases of {name.removeprefix('timeline-').removesuffix('.svg')} over time", quote=True)
            yield f'<div class="scroll" tabindex="0"><img src="{base}/{quote(name)}" alt="{text}"></div>'
    if names:
        links = ", ".join(f'<a href="{base}/{quote(name)}">{escape(name)}</a>' for name in names)
        yield f"<p>Kept: {links}</p>"


def _skips(run: Run) -> Iterator[str]:
    reasons: dict[str, list[ScenarioResult]] = {}
    for one in run.with_status(SKIP):
        reasons.setdefault(one.reason, []).append(one)
    if not reasons:
        return
    yield '<section aria-labelledby="skipped"><h2 id="skipped">Skipped, and why</h2>'
    for reason, scenarios in sorted(reasons.items(), key=lambda item: -len(item[1])):
        yield f'<details class="card"><summary>{len(scenarios)}: {escape(reason)}</summary><ul>'
        for one in scenarios:
            yield f'<li>{log_link(one)} <span class="quiet">{escape(one.suite)}</span></li>'
        yield "</ul></details>"
    yield "</section>"


def _slowest(run: Run) -> Iterator[str]:
    slowest = run.slowest(SLOWEST)
    if not slowest:
        return
    longest = slowest[0].seconds
    yield '<section aria-labelledby="slowest"><h2 id="slowest">Slowest scenarios</h2><table class="card ranks">'
    yield '<thead><tr><th scope="col">Scenario</th><th scope="col">Verdict</th>'
    yield '<th scope="col">Duration</th></tr></thead><tbody>'
    for one in slowest:
        yield (
            f'<tr><td>{log_link(one)}<div class="quiet">{escape(one.suite)}</div></td><td>{verdict(one.status)}</td>'
            f"<td>{show_duration(one.seconds)}{duration_bar(one.seconds, longest)}</td></tr>"
        )
    yield "</tbody></table></section>"


def _suites(run: Run) -> Iterator[str]:
    suites: dict[str, list[ScenarioResult]] = {}
    for one in run.scenarios:
        suites.setdefault(one.suite, []).append(one)
    if len(suites) < 2:
        return
    sums = {name: sum(one.seconds for one in scenarios) for name, scenarios in suites.items()}
    longest = max(sums.values())
    yield '<section aria-labelledby="suites"><h2 id="suites">Suites</h2>'
    yield f'<details class="card"><summary>{len(suites)} suites, the slowest first</summary><table class="ranks">'
    yield (
        '<thead><tr><th scope="col">Suite</th><th scope="col">Scenarios</th><th scope="col">Failed</th>'
        '<th scope="col">Duration</th></tr></thead><tbody>'
    )
    for name in sorted(suites, key=lambda suite: -sums[suite]):
        failed = sum(one.status == FAIL for one in suites[name])
        yield (
            f'<tr><td>{escape(name)}</td><td data-label="Scenarios">{len(suites[name])}</td>'
            f'<td data-label="Failed">{failed}</td>'
            f"<td>{show_duration(sums[name])}{duration_bar(sums[name], longest)}</td></tr>"
        )
    yield "</tbody></table></details></section>"


def _environment(facts: list[tuple[str, str]]) -> Iterator[str]:
    yield '<section aria-labelledby="environment"><h2 id="environment">Environment</h2><dl class="card facts">'
    for name, value in facts:
        yield f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
    yield "</dl></section>"
