"""Reading what a run has left, whole or broken off."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

from robot.api import ExecutionResult, ResultVisitor
from robot.errors import DataError  # type: ignore[import-untyped]  # Robot Framework's errors have no types

from PoolManagerLibrary.summary.run import FAIL, NOT_RUN, PASS, SKIP, Run, ScenarioResult

#: Where pabot keeps what each of its processes writes, until it has put them together.
PARTS = "pabot_results"
#: A file's time may be this much before the clock's, in seconds.
CLOCK_STEP = 0.1
#: What Robot Framework says of a test that it did not begin, after a signal or --exitonfailure, and pabot of one
#: whose process left no output.
_NOT_BEGUN = (
    "Test execution stopped",
    "Failure occurred and exit-on-failure",
    "Error occurred and exit-on-error",
    "User interrupted Pabot execution",
)
#: What it says of the one that was under way.
_INTERRUPTED = "Execution terminated by signal"
#: What is said of one that an output breaks off in.
_UNDER_WAY = "The run was stopped while this scenario was under way."
#: What stands behind the suites, in the element robot.
_LAST_ELEMENTS = ("statistics", "errors")
_STOPPED = "The run was stopped before its end."


class NothingToRead(ValueError):  # noqa: N818  # reads as what happened
    """The run has left no output."""


def read_run(results: Path, *, output: str = "output.xml", began: float = 0.0) -> Run:
    """The run whose results lie in a folder; the parameters are those of ``write_summary``.

    :raises NothingToRead: if it has left no output.
    :raises ValueError: if the output is no result of Robot Framework.
    """
    whole = results / output
    outputs = _newer([whole], began)
    broken = ""
    if not outputs:
        outputs = _newer(sorted(results.glob(f"{PARTS}/**/{whole.name}")), began)
        broken = f"{_STOPPED} Its processes' results were not put together."
    if not outputs:
        raise NothingToRead(f"there is no {output} of this run in {results}")
    try:
        return _read(outputs, broken)
    except ValueError:
        # One of them breaks off in the middle, or it is something else.
        texts = [completed(path) for path in outputs]
        if not any(texts):
            raise
    return _read([text or path for path, text in zip(outputs, texts, strict=True)], broken or _STOPPED)


def _newer(paths: Sequence[Path], began: float) -> list[Path]:
    return [path for path in paths if path.is_file() and path.stat().st_mtime >= began - CLOCK_STEP]


def _read(sources: Sequence[Any], broken: str) -> Run:
    try:
        result = ExecutionResult(*sources, include_keywords=False)
    except DataError as error:
        raise ValueError(str(error)) from error
    collected = _Collector()
    result.suite.visit(collected)
    suite = result.suite
    if not broken and any(one.status == NOT_RUN or _INTERRUPTED in one.message for one in collected.scenarios):
        broken = _STOPPED
    return Run(
        name=suite.name,
        scenarios=tuple(collected.scenarios),
        started=suite.start_time or min(collected.starts, default=None),
        seconds=suite.elapsed_time.total_seconds(),
        generator=str(result.generator or ""),
        broken=broken,
        sources=tuple(collected.sources),
    )


class _Collector(ResultVisitor):  # type: ignore[misc]  # Robot Framework exports it without its type
    def __init__(self) -> None:
        self.scenarios: list[ScenarioResult] = []
        self.sources: list[Path] = []
        self.starts: list[Any] = []

    def start_suite(self, suite: Any) -> None:
        if suite.source:
            self.sources.append(Path(suite.source))

    def visit_test(self, test: Any) -> None:
        if test.start_time:
            self.starts.append(test.start_time)
        self.scenarios.append(
            ScenarioResult(
                name=test.name,
                suite=test.parent.full_name if test.parent else "",
                status=_status(test),
                message=test.message or (_UNDER_WAY if _status(test) == FAIL else ""),
                seconds=test.elapsed_time.total_seconds(),
                tags=tuple(test.tags),
                log_id=test.id,
            )
        )


def _status(test: Any) -> str:
    if test.message.startswith(_NOT_BEGUN):
        return NOT_RUN
    return test.status if test.status in {PASS, SKIP} else FAIL


def completed(path: Path) -> io.BytesIO | None:
    """An output that ends in the middle, as it is up to its last whole element; None for one that is whole.

    :raises ValueError: if not even one element of it is whole.
    """
    data = path.read_bytes()
    open_elements: list[str] = []
    whole_until = 0
    still_open: tuple[str, ...] = ()
    over = False
    parser = expat.ParserCreate()

    def start(name: str, _attributes: dict[str, str]) -> None:
        nonlocal over
        # A run that is forced to stop writes its last elements, and leaves those open that it was in.
        over = over or (name in _LAST_ELEMENTS and open_elements != ["robot"])
        open_elements.append(name)

    def end(_name: str) -> None:
        nonlocal whole_until, still_open
        open_elements.pop()
        if over:
            return
        # The parser stands at the beginning of an end tag, and behind an element that is empty.
        here = parser.CurrentByteIndex
        whole_until = data.index(b">", here) + 1 if data.startswith(b"</", here) else here
        still_open = tuple(open_elements)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        if not whole_until:
            raise ValueError(f"{path} cannot be read: {error}") from error
        closing = "".join(f"</{name}>" for name in reversed(still_open))
        return io.BytesIO(data[:whole_until] + closing.encode())
    return None
