"""Listeners that show a run's progress on the console."""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import Any

from robot import result, running


def collect_seldom() -> None:
    """Look for garbage a tenth as often, and not in what is there already.

    What a run makes, such as tests and results, it keeps to its end: a tenth of its time went into looking through it.
    """
    gc.freeze()
    gc.set_threshold(7000)


class SharedProgressListener:
    """One line per test for a run in several processes, on the one console that they share.

    :param path: where the lines go: the pipe that ``bdd-runner --parallel`` reads, as a path.
    """

    ROBOT_LISTENER_API_VERSION = 3

    def __init__(self, path: str) -> None:
        collect_seldom()
        self.stream = Path(path).open("w", encoding="utf-8")  # noqa: SIM115  # closed with the run

    def end_test(self, data: running.TestCase, result: result.TestCase) -> None:
        """Say how the test ended, in one write, so that lines of two processes never mix."""
        del data
        suite = result.parent.name if result.parent else ""
        text = f"{result.status:4} {result.elapsed_time.total_seconds():6.2f} s  {suite}: {result.name}\n"
        if result.status == "FAIL":
            text += "    " + result.message.strip().replace("\n", "\n    ") + "\n"
        self.stream.write(text)
        self.stream.flush()

    def close(self) -> None:
        """The process has run all of its suites."""
        self.stream.close()


class ProgressListener:
    """One line per test on the console, with its number, and the message of each failure."""

    ROBOT_LISTENER_API_VERSION = 3

    def __init__(self) -> None:
        collect_seldom()
        self.total = 0
        self.done = 0
        self.failed = 0
        self.began = time.monotonic()
        self.stream = sys.__stdout__

    def _say(self, text: str) -> None:
        if self.stream is not None:
            self.stream.write(text + "\n")
            self.stream.flush()

    def start_suite(self, data: running.TestSuite, result: result.TestSuite) -> None:
        """Count the tests, and head each file with its name."""
        del result
        if data.parent is None:
            self.total = data.test_count
            self._say(f"{self.total} tests")
        if data.tests:
            self._say(f"\n{data.full_name}")

    def end_test(self, data: running.TestCase, result: result.TestCase) -> None:
        """Say how the test ended."""
        del data
        self.done += 1
        seconds = result.elapsed_time.total_seconds()
        self._say(
            f"[{self.done:>{len(str(self.total))}}/{self.total}] {result.status:4} {seconds:6.2f} s  {result.name}"
        )
        if result.status == "FAIL":
            self.failed += 1
            self._say("    " + result.message.strip().replace("\n", "\n    "))
        elif result.status == "SKIP":
            # The reason of a suite's setup stands below Robot Framework's own words.
            self._say(f"    {' '.join(result.message.split())}")

    def output_file(self, path: Any) -> None:
        """Say where a result file is."""
        self._say(f"Output:  {path}")

    def log_file(self, path: Any) -> None:
        """Say where a result file is."""
        self._say(f"Log:     {path}")

    def report_file(self, path: Any) -> None:
        """Say where a result file is."""
        self._say(f"Report:  {path}")

    def xunit_file(self, path: Any) -> None:
        """Say where a result file is."""
        self._say(f"XUnit:   {path}")

    def close(self) -> None:
        """Sum up."""
        seconds = time.monotonic() - self.began
        self._say(f"{self.done} of {self.total} tests run in {seconds:.1f} s, {self.failed} failed")
