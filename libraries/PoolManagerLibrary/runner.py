"""``bdd-runner``: robot with the right defaults for these suites.

Everything that robot takes is passed through. What is added, unless it is given: results in ``results/``, a JUnit
file, links from the
tags to the specification, progress on the console. ``--parallel N`` runs the suites in N processes by pabot.
``LLORCH_BDD_FEATURE_PATH`` names a suite file or folder; a path on the command line goes before it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from PoolManagerLibrary.failed_folder import clear_failed

#: What :mod:`PoolManagerLibrary.summary` writes.
SUMMARY = ("summary.html", "summary.md", "summary.css")
FEATURE_PATH = "LLORCH_BDD_FEATURE_PATH"
#: Robot's own exit code for test data that is missing or wrong.
BAD_DATA = 252
DEFAULT_SUITES = "robot"
#: tag pattern, anchor in the requirements' page, title; %1 is what the first * stands for.
TAG_LINKS = (("OC-POOL-*", "oc-pool-%1", "Requirement"), ("B-*", "b-%1", "Behaviour"))
#: Robot's options that take no value; every other one takes the next word, if it is not written with "=".
FLAGS = frozenset(
    [
        "--rpa",
        "--dryrun",
        "--exitonfailure",
        "--exitonerror",
        "--skipteardownonexit",
        "--runemptysuite",
        "--quiet",
        "--help",
        "--version",
        "--dotted",
        "-X",
        "-.",
        "-h",
        "-?",
        "--legacyoutput",
        "--timestampoutputs",
        "-T",
        "--nostatusrc",
        "--norpa",
    ]
)
HELP = f"""bdd-runner [--parallel N] [robot options] [suites]

Runs the suites of pool-managerd with robot. Suites: the paths given, else {FEATURE_PATH}, else ./{DEFAULT_SUITES}.
Results go to results/ (summary.html, summary.md, log.html, report.html, output.xml, xunit.xml), or to results/run-PID/
while another run is at work in results/. The exit code is robot's: the number of failed tests (at most 250), 252 for
suites that are not there.

  --parallel N              run in N processes (pabot)
  --variable URL:http://…   drive a daemon that runs already (also GRPC:host:port, TOKEN:…)

All other options are robot's, see robot --help.
"""


@dataclass(slots=True)
class Plan:
    """What is to be run."""

    options: list[str] = field(default_factory=list)
    suites: list[str] = field(default_factory=list)
    parallel: int = 1
    help: bool = False


class RunnerError(Exception):
    """A sentence for the user, and the exit code that goes with it."""

    def __init__(self, message: str, code: int = BAD_DATA) -> None:
        super().__init__(message)
        self.code = code


def parse(arguments: Sequence[str]) -> Plan:
    """Tell our own options, robot's options and the suites apart.

    :raises RunnerError: for a ``--parallel`` that is no number.
    """
    plan = Plan()
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "--parallel" or word.startswith("--parallel="):
            value = word.partition("=")[2] or (words.pop(0) if words else "")
            if not value.isdigit() or int(value) < 1:
                raise RunnerError(f"--parallel needs a number of processes, not '{value}'.")
            plan.parallel = int(value)
        elif word in {"--help", "-h", "-?"}:
            plan.help = True
        elif word.startswith("-") and word != "-":
            plan.options.append(word)
            if "=" not in word and word not in FLAGS and words:
                plan.options.append(words.pop(0))
        else:
            plan.suites = [word, *words]
            words = []
    return plan


def has_option(options: Sequence[str], *names: str) -> bool:
    """Whether one of robot's options is among those given, as ``--name value``, ``--name=value`` or ``-n value``."""
    return any(option.partition("=")[0].lower() in names for option in options if option.startswith("-"))


def choose_suites(plan: Plan, environment: Mapping[str, str], folder: Path) -> list[str]:
    """The suites to run: of the command line, else of the environment, else ``robot/``.

    :raises RunnerError: in a plain sentence that names the path, if it is not there or has no test.
    """
    wanted = environment.get(FEATURE_PATH, "").strip()
    if plan.suites:
        return plan.suites
    if wanted:
        path = Path(wanted) if Path(wanted).is_absolute() else folder / wanted
        if not path.exists():
            raise RunnerError(f"{FEATURE_PATH} names {wanted}, which does not exist.")
        if not has_tests(path):
            raise RunnerError(f"{FEATURE_PATH} names {wanted}, which holds no test.")
        return [str(path)]
    default = folder / DEFAULT_SUITES
    if not default.is_dir():
        raise RunnerError(f"There is no folder {default} here: name the suites, or set {FEATURE_PATH}.")
    return [DEFAULT_SUITES]


def has_tests(path: Path) -> bool:
    """Whether a suite file or folder holds at least one test."""
    from robot.api import TestSuite  # noqa: PLC0415  # a wrong path is refused before this is needed
    from robot.errors import DataError  # type: ignore[import-untyped]  # noqa: PLC0415  # as units.py; see above

    try:
        return bool(TestSuite.from_file_system(path, allow_empty_suite=True).test_count)
    except DataError:
        return False


def claim_results(folder: Path) -> tuple[Path, IO[bytes]]:
    """``results/``, or a folder of this run's own in it while another run holds it; and the file that holds it."""
    results = folder / "results"
    results.mkdir(exist_ok=True)
    claim = (results / ".run").open("wb")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        results = results / f"run-{os.getpid()}"
        sys.stderr.write(f"bdd-runner: another run is at work in results/, this one writes to {results}\n")
    return results, claim


def default_options(plan: Plan, folder: Path, results: Path | None = None) -> list[str]:
    """What is added to the options given.

    :param results: the folder for the results where no option names one; default: ``results/``.
    """
    options = []
    given = plan.options
    output = results or folder / "results"
    if not has_option(given, "--outputdir", "-d"):
        options += ["--outputdir", str(output)]
    else:
        output = folder / _value(given, "--outputdir", "-d")
    options += ["--variable", f"REPORT_DIR:{output}"]
    if not has_option(given, "--xunit", "-x"):
        options += ["--xunit", "xunit.xml"]
    if not has_option(given, "--loglevel", "-l"):
        options += ["--loglevel", "DEBUG:INFO"]
    if not has_option(given, "--name", "-n"):
        options += ["--name", "pool-managerd"]
    # The report of a failure stands in the teardown, which Robot Framework folds where it passes.
    options += ["--expandkeywords", "name:PoolManagerLibrary.Finish Scenario"]
    page = os.path.relpath(folder / "docs" / "requirements.md", output)
    for pattern, anchor, title in TAG_LINKS:
        options += ["--tagstatlink", f"{pattern}:{page}#{anchor}:{title}"]
    if plan.parallel == 1 and not has_option(given, "--console", "--dotted", "--quiet", "-."):
        options += ["--console", "quiet", "--listener", "PoolManagerLibrary.progress.ProgressListener"]
    return options


def _value(options: Sequence[str], *names: str) -> str:
    for index, option in enumerate(options):
        name, _, value = option.partition("=")
        if name.lower() in names:
            return value or options[index + 1]
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and exit as robot does."""
    code = run(list(sys.argv[1:] if arguments is None else arguments), os.environ, Path.cwd())
    if arguments is None:
        sys.exit(code)
    return code


def run(arguments: list[str], environment: Mapping[str, str], folder: Path) -> int:
    """Run the suites; the exit code."""
    try:
        plan = parse(arguments)
        if plan.help:
            sys.stdout.write(HELP)
            return 251
        suites = choose_suites(plan, environment, folder)
    except RunnerError as error:
        sys.stderr.write(f"bdd-runner: {error}\n")
        return error.code
    if has_option(plan.options, "--outputdir", "-d"):
        return _run(plan, suites, folder, folder / _value(plan.options, "--outputdir", "-d"))
    try:
        results, claim = claim_results(folder)
    except OSError as error:
        sys.stderr.write(f"bdd-runner: the results cannot be written: {error}\n")
        return BAD_DATA
    with claim:
        return _run(plan, suites, folder, results)


def _run(plan: Plan, suites: list[str], folder: Path, results: Path) -> int:
    options = [*default_options(plan, folder, results), *plan.options]
    clear_last_run(results)
    began = time.time()
    try:
        if plan.parallel > 1:
            return _pabot(plan.parallel, options, suites, results)
        return _robot(options, suites)
    finally:
        summarise(plan, results, folder, began)


def clear_last_run(results: Path) -> None:
    """Remove what only the last report speaks of, so that nobody takes it for this run's."""
    clear_failed(results)
    for name in SUMMARY:
        # What is in the way is told when the new ones are written.
        with contextlib.suppress(OSError):
            (results / name).unlink()


def summarise(plan: Plan, results: Path, folder: Path, began: float) -> None:
    """Write summary.html and summary.md. What goes wrong here is said, and changes nothing of the run's verdict.

    :param began: when the run began, in seconds since the epoch: what was written before is no result of it.
    """
    output = _value(plan.options, "--output", "-o") or "output.xml"
    if output.upper() == "NONE":
        return
    from PoolManagerLibrary.summary import NothingToRead, write_summary  # noqa: PLC0415  # needed after the run only

    try:
        page = write_summary(results, folder, output=output, began=began)
    except NothingToRead:
        return  # robot has said why it ran nothing
    except (OSError, ValueError) as error:
        sys.stderr.write(f"bdd-runner: the summary could not be made: {error}\n")
        return
    sys.stdout.write(f"Summary: {page}\n")
    sys.stdout.flush()


def _robot(options: list[str], suites: list[str]) -> int:
    from robot import run_cli  # type: ignore[attr-defined]  # noqa: PLC0415  # a wrong path is refused before this is needed

    return int(run_cli([*options, *suites], exit=False))


def _pabot(processes: int, options: list[str], suites: list[str], results: Path) -> int:
    command = [sys.executable, "-m", "PoolManagerLibrary.parallel"]
    # One robot process per share of the suites, so that each starts one daemon only; nothing is shared, so no pabotlib.
    command += ["--command", sys.executable, "-m", "robot", "--end-command"]
    command += ["--processes", str(processes), "--no-pabotlib", "--pabotconsole", "quiet"]
    ordering = results / ".shares"
    command += _shares([*options, *suites], processes, ordering)
    # pabot keeps what its robots print to itself. Any process can open our pipe by its path.
    reading, writing = os.pipe()
    pipe = f"/proc/{os.getpid()}/fd/{writing}"
    command += ["--listener", f"PoolManagerLibrary.progress.SharedProgressListener:{pipe}", *options, *suites]
    console = threading.Thread(target=_copy, args=(reading,), name="progress")
    console.start()
    # pabot remembers here in which order it ran the suites; we have no use for that.
    order = Path(".pabotsuitenames")
    ours = not order.exists()
    process = subprocess.Popen(command)
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # pabot has got the same Ctrl-C; it ends its runs in order.
            continue
        os.close(writing)
        console.join()
        if ours:
            order.unlink(missing_ok=True)
        ordering.unlink(missing_ok=True)
        return code


def _shares(arguments: list[str], processes: int, ordering: Path) -> list[str]:
    """How pabot shall divide the suites: its options."""
    from robot.errors import DataError  # noqa: PLC0415  # for a parallel run only

    from PoolManagerLibrary.shares import balance, selection, suite_files  # noqa: PLC0415  # for a parallel run only

    try:
        paths, choice = selection(arguments)
        # pabot forgets which tests were chosen by name when it makes shares; then each suite is a share.
        if choice["include_tests"]:
            return []
        balanced = balance(suite_files(paths, choice), processes, ordering)
    except DataError:
        return ["--chunk"]  # robot itself will say what is wrong
    return ["--ordering", str(ordering)] if balanced else ["--chunk"]


def _copy(descriptor: int) -> None:
    """Print what comes through a pipe until nobody can write to it any more."""
    with os.fdopen(descriptor, encoding="utf-8") as lines:
        for line in lines:
            sys.stdout.write(line)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
