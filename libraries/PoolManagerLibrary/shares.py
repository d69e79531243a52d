"""Shares of the suites for a parallel run: about equally long, by what each suite took in an earlier run.

``suite_times.json`` beside the suites' folders (written by ``scripts/suite_times.py``) says how many seconds each suite
file took. It only balances: a suite that it does not name counts as one of the middle, and without it pabot makes equal
numbers of suites into a share.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from robot.api import TestSuite
from robot.errors import DataError  # type: ignore[import-untyped]  # as units.py

TIMES = "suite_times.json"


def suite_files(
    paths: Sequence[Path], *, suites: Sequence[str] = (), include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> dict[str, Path]:
    """The suite files that robot would run, by their full names; what is chosen is said as robot's options say it.

    :raises DataError: if nothing is left to be run.
    """
    whole = TestSuite.from_file_system(*(path.resolve() for path in paths))
    whole.configure(include_suites=suites or None, include_tags=include or None, exclude_tags=exclude or None)
    return {suite.full_name: Path(suite.source) for suite in _leaves(whole) if suite.source is not None}


def _leaves(suite: TestSuite) -> Iterator[TestSuite]:
    if suite.tests:
        yield suite
    for child in suite.suites:
        yield from _leaves(child)


def read_times(files: Sequence[Path]) -> dict[Path, float]:
    """The seconds that each of these suite files took, as far as a ``suite_times.json`` above it says."""
    times: dict[Path, float] = {}
    for folder in {parent for file in files for parent in file.parents[:2]}:
        try:
            document = json.loads((folder / TIMES).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        times |= {folder / name: float(seconds) for name, seconds in document.items()}
    return times


def divide(seconds: Mapping[str, float], count: int) -> list[list[str]]:
    """The names in at most ``count`` shares: the longest first, each to the share that has the least so far."""
    shares: list[tuple[float, int, list[str]]] = [(0.0, number, []) for number in range(count)]
    for name in sorted(seconds, key=lambda one: (-seconds[one], one)):
        total, number, names = heapq.heappop(shares)
        names.append(name)
        heapq.heappush(shares, (total + seconds[name], number, names))
    return [names for _, _, names in sorted(shares, key=lambda share: share[1]) if names]


def write_ordering(files: Mapping[str, Path], count: int, ordering: Path) -> bool:
    """Write the shares of these suites as pabot's ordering file; ``False`` where nothing says how long they take."""
    times = read_times(list(files.values()))
    known = [times[source] for source in files.values() if source in times]
    if len(files) <= count or not known:
        return False
    usual = median(known)
    shares = divide({name: times.get(source, usual) for name, source in files.items()}, count)
    lines = [line for names in shares for line in ("{", *(f"--suite {name}" for name in names), "}")]
    ordering.parent.mkdir(parents=True, exist_ok=True)
    ordering.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return True


def balance(
    paths: Sequence[Path],
    count: int,
    ordering: Path,
    *,
    suites: Sequence[str] = (),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> bool:
    """Balance a run; ``False`` where it cannot be, and pabot divides the suites or says what is wrong with them."""
    try:
        files = suite_files(paths, suites=suites, include=include, exclude=exclude)
    except DataError:
        return False
    return write_ordering(files, count, ordering)
