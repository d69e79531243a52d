"""Runs of suites inside a scenario: for scenarios about the runner, the report and what a run leaves behind."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from datetime import timedelta
from fnmatch import fnmatchcase
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from assertionengine import AssertionOperator
from robot import result
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.suite_run import SuiteRun, html_text, runner
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until
from PoolManagerLibrary.world import World

RUN_LIMIT = timedelta(seconds=120)


class SuiteRunKeywords(Keywords):
    """Keywords about runs of suites. *The run* is the last one started; it outlives the test that started it."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._folder: Path | None = None
        self._runs: list[SuiteRun] = []

    @keyword
    def prepare_run_folder(self, *suites: str) -> str:
        """Makes a new folder for the next runs, and returns the path in which they run.

        Each of ``suites`` becomes a suite file with one passing test that has the file's path as its name.

        Example:
        | Prepare Run Folder | robot/one.robot | robot/more/two.robot |
        """
        self.world.need_local("processes of its own")
        self._folder = self.world.root / f"run{self.world.next_id()}"
        project = self._folder / "project"
        project.mkdir(parents=True)
        for suite in suites:
            self.write_suite(suite, f"*** Test Cases ***\n{suite}\n    No Operation\n")
        return str(project)

    @keyword
    def write_suite(self, path: str, text: str) -> str:
        """Writes a file into the folder of the next runs, and returns its path.

        Example:
        | Write Suite | robot/one.robot | ${text} |
        """
        file = self._prepared() / "project" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return str(file)

    @keyword
    def start_suite_run(
        self, *arguments: str, program: str = "bdd-runner", environment: dict[str, Any] | None = None
    ) -> SuiteRun:
        """Starts ``bdd-runner`` or another program of Robot Framework on suites, and waits for nothing.

        Temporary files, home and results are the run's own.

        Example:
        | ${run} = | Start Suite Run | robot/one.robot |
        """
        given = {key: None if value is None else str(value) for key, value in (environment or {}).items()}
        run = SuiteRun(self._prepared(), [*runner(program), *arguments], given)
        self._runs.append(run)
        self.scenario.cleanups.append((f"the run {run.folder.name}", lambda: run.kill() if run.code is None else None))
        return run

    @keyword
    def run_suites(
        self,
        *arguments: str,
        program: str = "bdd-runner",
        environment: dict[str, Any] | None = None,
        timeout: timedelta = RUN_LIMIT,
    ) -> SuiteRun:
        """Runs suites to their end, see `Start Suite Run`. How it ended is not judged.

        Example:
        | Run Suites | robot/one.robot |
        | Suite Run Should End With | 0 |
        """
        run = self.start_suite_run(*arguments, program=program, environment=environment)
        run.wait(seconds(timeout))
        return run

    @keyword
    def interrupt_suite_run(self, run: SuiteRun | None = None) -> None:
        """Does to a run what Ctrl-C in its terminal does.

        Example:
        | Interrupt Suite Run |
        """
        self._run(run).interrupt()

    @keyword
    def wait_for_suite_run(self, timeout: timedelta = RUN_LIMIT, run: SuiteRun | None = None) -> SuiteRun:
        """Waits for the end of a run and returns it, without judging how it ended.

        Example:
        | ${run} = | Wait For Suite Run | 60 s |
        """
        self._run(run).wait(seconds(timeout))
        return self._run(run)

    @keyword
    def suite_run_should_end_with(self, code: int, run: SuiteRun | None = None, timeout: timedelta = RUN_LIMIT) -> None:
        """Waits for the end of a run and checks its exit code.

        Example:
        | Suite Run Should End With | 252 |
        """
        seen = self._run(run).wait(seconds(timeout))
        if seen != code:
            raise ExpectationFailed(
                f"The run should end with exit code {code}, it ended with {seen}:\n{self._run(run).console}"
            )

    @keyword
    def get_suite_run_tests(self, status: str | None = None, run: SuiteRun | None = None) -> list[result.TestCase]:
        """Returns the tests of a run as its output.xml has them (``name``, ``status``, ``message`` …).

        Example:
        | ${tests} = | Get Suite Run Tests | SKIP |
        """
        return [test for test in self._run(run).tests() if status in {None, test.status}]

    @keyword
    def get_suite_run_results(self, run: SuiteRun | None = None) -> str:
        """Returns the folder that a run wrote its results to.

        Example:
        | ${folder} = | Get Suite Run Results |
        """
        return str(self._run(run).results)

    @keyword
    def get_suite_run_page(self, name: str, run: SuiteRun | None = None) -> str:
        """Returns all texts that log.html or report.html of a run show.

        Example:
        | ${text} = | Get Suite Run Page | log.html |
        """
        return html_text(self._run(run).results / name)

    @keyword
    def suite_run_should_have_run(self, *names: str, run: SuiteRun | None = None) -> None:
        """Checks that a run had exactly these tests, in any order, and that they passed.

        Example:
        | Suite Run Should Have Run | robot/one.robot |
        """
        seen = sorted((test.name, test.status) for test in self._run(run).tests())
        if seen != sorted((name, "PASS") for name in names):
            raise ExpectationFailed(f"The run should have run and passed {', '.join(names)}; it ran {seen}.")

    @keyword
    def get_suite_run_output(
        self,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        run: SuiteRun | None = None,
    ) -> str:
        """Returns what a run wrote to its console.

        Example:
        | Get Suite Run Output | contains | 1 failed |
        """
        text = self._run(run).console
        check(text, assertion_operator, assertion_expected, "The console")
        return text

    @keyword
    def get_suite_run_daemons(
        self,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        run: SuiteRun | None = None,
    ) -> int:
        """Returns how many daemons a run has started.

        Example:
        | Get Suite Run Daemons | == | 0 |
        """
        count = self._run(run).daemons
        check(count, assertion_operator, assertion_expected, "Daemons that the run has started")
        return count

    @keyword
    def suite_run_should_leave_nothing(
        self, run: SuiteRun | None = None, within: timedelta = timedelta(seconds=10)
    ) -> None:
        """Checks that no process of a run is left, and no file outside ``results/``, its temporary folder included.

        ``within`` is for the helper that cleans up after a run that was killed.

        Example:
        | Suite Run Should Leave Nothing |
        """
        wait_until(
            self._run(run).left_behind,
            lambda left: not left,
            timeout=seconds(within),
            expected="nothing to be left of the run",
            show="\n".join,
        )

    # -- its report -----------------------------------------------------------------------------------------------

    @keyword
    def failures_should_be_as_documented(self, run: SuiteRun | None = None) -> int:
        """Checks that every test that has a documentation failed with it as its message, and every other one passed.

        In the documentation ``*`` stands for any text. Returns how many tests failed.

        Example:
        | Failures Should Be As Documented |
        """
        problems = []
        tests = self._run(run).tests()
        for test in tests:
            if not test.doc:
                if not test.passed:
                    problems.append(f"'{test.name}' should pass, it says: {test.message}")
            elif not test.failed or not _fits(test.message, test.doc):
                problems.append(f"'{test.name}' should fail with\n{test.doc}\nit is {test.status}:\n{test.message}")
        if problems:
            raise ExpectationFailed("\n\n".join(problems))
        return sum(test.failed for test in tests)

    @keyword
    def get_failure_report(self, test: str, run: SuiteRun | None = None) -> str:
        """Returns the report that log.html shows for a failed test, as HTML.

        Example:
        | ${html} = | Get Failure Report | A state that does not come |
        """
        found = next((one for one in self._run(run).tests() if one.name == test), None)
        if found is None or not found.has_teardown:
            raise ExpectationFailed(f"The run had no test '{test}' with a report.")
        html = [str(message.message) for message in _messages(found.teardown) if message.html]
        shown = html_text(self._run(run).results / "log.html")
        report = next((text for text in html if text.startswith("<h3>")), None)
        if report is None:
            raise ExpectationFailed(f"The test '{test}' has no report.")
        if report not in shown:
            raise ExpectationFailed(f"log.html does not show the report of '{test}'.")
        return report

    @keyword
    def report_section(self, report: str, title: str) -> str:
        """Returns the text of a section of a failure's report, by how its title begins.

        Example:
        | ${lines} = | Report Section | ${html} | Last lines of engine- |
        """
        sections = re.findall(r"<summary>(.*?)</summary><pre.*?>(.*?)</pre>", report, re.DOTALL)
        for heading, text in sections:
            if unescape(heading).startswith(title):
                return unescape(text)
        raise ExpectationFailed(
            f"The report has no section '{title}'; it has {', '.join(heading for heading, _ in sections)}."
        )

    @keyword
    def report_timeline(self, report: str) -> list[str]:
        """Returns the phases that the picture in a failure's report shows, from left to right, with their tooltips.

        Example:
        | ${bars} = | Report Timeline | ${html} |
        """
        found = re.search(r"<svg.*?</svg>", report, re.DOTALL)
        if found is None:
            raise ExpectationFailed("The report has no picture of the phases.")
        svg = ET.fromstring(found[0])  # noqa: S314  # made by our own run
        space = "{http://www.w3.org/2000/svg}"
        bars = sorted(svg.iter(f"{space}rect"), key=lambda bar: float(bar.get("x", "0")))
        return [bar.findtext(f"{space}title", "") for bar in bars]

    @keyword
    def report_links(self, report: str, run: SuiteRun | None = None) -> dict[str, str]:
        """Follows the links of a failure's report from log.html, and returns the texts behind them by their names.

        Example:
        | ${files} = | Report Links | ${html} |
        """
        base = self._run(run).results
        texts = {}
        for link, name in re.findall(r'<a href="(.*?)">(.*?)</a>', report):
            path = base / unquote(unescape(link))
            if not path.is_file():
                raise ExpectationFailed(f"The link {link} leads nowhere: there is no {path}.")
            texts[unescape(name)] = path.read_text(encoding="utf-8", errors="replace")
        return texts

    @keyword
    def get_junit_counts(self, run: SuiteRun | None = None) -> dict[str, int]:
        """Returns the numbers of tests, failures, errors and skipped tests in a run's JUnit file, and of its cases.

        Example:
        | ${counts} = | Get JUnit Counts |
        | Should Be Equal | ${counts}[failures] | ${2} |
        """
        root = ET.parse(self._run(run).results / "xunit.xml").getroot()  # noqa: S314  # made by our own run
        if root.tag not in {"testsuite", "testsuites"}:
            raise ExpectationFailed(f"xunit.xml should be a JUnit file, its root is {root.tag}.")
        counts = {name: int(root.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
        kinds = Counter(child.tag for case in root.iter("testcase") for child in case)
        cases = len(list(root.iter("testcase")))
        if (counts["tests"], counts["failures"]) != (cases, kinds["failure"]):
            raise ExpectationFailed(f"xunit.xml says {counts}, and has {cases} cases with {dict(kinds)}.")
        return counts

    def _prepared(self) -> Path:
        if self._folder is None:
            self.prepare_run_folder()
        assert self._folder is not None  # noqa: S101  # just made
        return self._folder

    def _run(self, run: SuiteRun | None) -> SuiteRun:
        if run is not None:
            return run
        if not self._runs:
            raise UsageError("No suites have been run yet in this scenario: begin with 'Run Suites'.")
        return self._runs[-1]


def _messages(item: Any) -> list[Any]:
    found = list(getattr(item, "messages", ()))
    for child in getattr(item, "body", ()):
        found += _messages(child)
    return found


def _fits(message: str, pattern: str) -> bool:
    def plain(text: str) -> str:
        return " ".join(text.split())

    return fnmatchcase(plain(message), plain(pattern).replace("[", "[[]"))
