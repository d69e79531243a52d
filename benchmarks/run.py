"""Measure what the daemon promises about time, beside a floor measured in the same run.

    python benchmarks/run.py                    all of it, about two minutes
    python benchmarks/run.py --only killed      one of ready, killed, crowd, idle, starts, watchers
    python benchmarks/run.py --check            exit code 1 if a bar is not met
    python benchmarks/run.py --json FILE        the figures for a machine

Run it with the Python that pool-managerd is installed in. Figures depend on the host; the ratio to the floor less so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

import crowd
import idle
import killed
import ready
import starts
import watchers
from harness import Figure

BENCHMARKS = {"ready": ready, "killed": killed, "crowd": crowd, "idle": idle, "starts": starts, "watchers": watchers}
HEAD = f"{'':60} {'median':>9} {'p95':>9} {'max':>9}       n  {'/ floor':>8}  bar"


def main() -> int:
    """Measure, print, judge."""
    arguments = _arguments()
    cores = len(os.sched_getaffinity(0))
    print(
        f"Python {platform.python_version()}, Linux {platform.release()}, {cores} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(HEAD, flush=True)
    figures: list[Figure] = []
    for name in arguments.only or BENCHMARKS:
        for figure in BENCHMARKS[name].measure(arguments.rounds):
            print(line(figure), flush=True)
            figures.append(figure)
    if arguments.json:
        arguments.json.write_text(json.dumps([_document(figure) for figure in figures], indent=2) + "\n")
    missed = [figure for figure in figures if figure.met is False]
    for figure in missed:
        seen = figure.value(figure.judged)
        print(f"BAR NOT MET: {figure.name.strip()}: {figure.judged} {seen:.1f} {figure.unit} > {figure.limit:g}")
    return 1 if missed and arguments.check else 0


def line(figure: Figure) -> str:
    """One row of the table."""
    median, p95, most = (f"{figure.value(which):9.2f}" for which in ("median", "p95", "max"))
    ratio = f"{figure.ratio:8.1f}" if figure.ratio is not None else f"{'':8}"
    bar = "" if figure.limit is None else f"{figure.judged} ≤ {figure.limit:g}: {'met' if figure.met else 'NOT MET'}"
    return f"{figure.name:60} {median} {p95} {most} {figure.unit:4} {len(figure.values):4} {ratio}  {bar}".rstrip()


def _document(figure: Figure) -> dict[str, object]:
    return {
        "name": figure.name.strip(),
        "unit": figure.unit,
        "n": len(figure.values),
        **{which: round(figure.value(which), 3) for which in ("min", "median", "p95", "p99", "max")},
        "floor": figure.baseline and round(figure.baseline, 3),
        "floor_is": figure.baseline_name or None,
        "ratio": figure.ratio and round(figure.ratio, 2),
        "limit": figure.limit,
        "limit_is_for": figure.judged if figure.limit is not None else None,
        "met": figure.met,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), help="one of them; may be given again")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="how often each is measured (30)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is not met")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
