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
from typing import Any

from robot.api import TestSuite
from robot.conf import RobotSettings  # type: ignore[import-untyped]  # Robot Framework types its API, not this part
from robot.errors import DataError, Information  # type: ignore[import-untyped]  # the same
from robot.run import RobotFramework  # type: ignore[import-untyped]  # the same

TIMES = "suite_times.json"


def selection(arguments: Sequence[str]) -> tuple[list[Path], dict[str, Any]]:
    """The paths and the choice of tests in robot's own arguments, as robot understands them.

    :raises DataError: if robot would refuse them.
    """
    try:
        options, paths = RobotFramework().parse_arguments(arguments)
    except Information as asked:  # --help or --version: pabot answers it
        raise DataError(str(asked)) from asked
    return [Path(path) for path in paths], dict(RobotSettings(options).suite_config)


def suite_files(paths: Sequence[Path], choice: Mapping[str, Any] | None = None) -> dict[str, Path]:
    """The suite files that robot would run, by their full names, of which the first word stands for any.

    :raises DataError: if nothing is left to be run.
    """
    whole = TestSuite.from_file_system(*(path.resolve() for path in paths))
    whole.configure(**choice or {})
    return dict(_files(whole, ("root",)))


def _files(suite: TestSuite, names: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    if suite.tests and suite.source is not None:
        yield ".".join(names), Path(suite.source)
    for child in suite.suites:
        yield from _files(child, (*names, child.name))


def read_times(files: Sequence[Path]) -> dict[Path, float]:
    """The seconds that each of these suite files took, as far as a ``suite_times.json`` above it says."""
    times: dict[Path, float] = {}
    for folder in {parent for file in files for parent in file.parents[:2]}:
        try:
            document = json.loads((folder / TIMES).read_text(encoding="utf-8"))
            times |= {folder / name: float(seconds) for name, seconds in dict(document).items()}
        except (OSError, ValueError, TypeError):
            continue  # absent, or no such file: nothing but the balance depends on it
    return times


def divide(seconds: Mapping[str, float], count: int) -> list[list[str]]:
    """The names in at most ``count`` shares: the longest first, each to the share that has the least so far."""
    shares: list[tuple[float, int, list[str]]] = [(0.0, number, []) for number in range(count)]
    for name in sorted(seconds, key=lambda one: (-seconds[one], one)):
        total, number, names = heapq.heappop(shares)
        names.append(name)
        heapq.heappush(shares, (total + seconds[name], number, names))
    return [names for _, _, names in sorted(shares, key=lambda share: share[1]) if names]


def balance(files: Mapping[str, Path], count: int, ordering: Path) -> bool:
    """Write the shares of these suites as pabot's ordering file.

    ``False`` where nothing says how long they take, or they are so few that there is nothing to be balanced.
    """
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
