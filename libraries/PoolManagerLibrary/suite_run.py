"""A run of suites as a process of its own, in folders of its own, and what it left behind: for suites about suites."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path

from robot import result
from robot.api import ExecutionResult

from PoolManagerLibrary import leftovers
from PoolManagerLibrary.daemon_process import program, with_changes
from PoolManagerLibrary.errors import ExpectationFailed

#: Environment that would change what the run does.
FOREIGN_ENVIRONMENT = ("LLORCH_", "ROBOT_", "PABOT", "POOL_MANAGERD_", "BDD_", "PYTHON")
_DAEMON = """#!/bin/sh
[ "$1" = serve ] && echo "$$" >> {starts}
exec {program} "$@"
"""


class SuiteRun:
    """One run.

    :param folder: its own: ``project/`` where it runs, ``tmp/`` and ``home/`` for its temporary and its user's files.
    :param command: what is run.
    :param environment: more environment; None removes a variable.
    """

    def __init__(self, folder: Path, command: Sequence[str], environment: Mapping[str, str | None]) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.command = list(command)
        self.temporary = folder / "tmp"
        # Several runs may be at work in one folder.
        number = time.monotonic_ns()
        self.console_path = folder / f"console-{number}.txt"
        self._starts = folder / f"daemons-{number}.txt"
        self._daemon = folder / f"pool-managerd-{number}"
        for path in (self.project, self.temporary, folder / "home"):
            path.mkdir(parents=True, exist_ok=True)
        self._starts.write_text("", encoding="ascii")
        self._before = self._files()
        with self.console_path.open("wb") as console:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.project,
                env=self._environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _environment(self, more: Mapping[str, str | None]) -> dict[str, str]:
        # A daemon that the run starts leaves a line in a file.
        text = _DAEMON.format(starts=shlex.quote(str(self._starts)), program=shlex.join(program()))
        self._daemon.write_text(text, encoding="utf-8")
        self._daemon.chmod(0o755)
        keep = {"PYTHONPATH", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE"}
        env = {key: val for key, val in os.environ.items() if key in keep or not key.startswith(FOREIGN_ENVIRONMENT)}
        env |= {
            "TMPDIR": str(self.temporary),
            "HOME": str(self.folder / "home"),
            "BDD_POOL_MANAGERD": str(self._daemon),
        }
        return with_changes(env, more)

    # -- while it runs --------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """What Ctrl-C in a terminal does: SIGINT to the run and all that it has started in its own process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)

    def wait(self, timeout: float) -> int:
        """The exit code.

        :raises ExpectationFailed: if it has not ended after ``timeout`` seconds; it is killed then.
        """
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ExpectationFailed(f"The run should end within {timeout:g} s, it did not:\n{self.console}") from None

    def kill(self) -> None:
        """End it and all that it has started."""
        leftovers.kill_all(f"{self.folder}/")
        self.process.wait()

    # -- what came of it ------------------------------------------------------------------------------------------

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self.process.poll()

    @property
    def console(self) -> str:
        """What it has written to its standard output and error."""
        return self.console_path.read_text(encoding="utf-8", errors="replace")

    @property
    def daemons(self) -> int:
        """How often it has started a daemon."""
        return len(self._starts.read_text(encoding="ascii").split())

    @property
    def results(self) -> Path:
        """Where its results are: as it says itself, else ``results/``."""
        said = re.search(r"^Output: +(.+)/output\.xml$", self.console, re.MULTILINE)
        return Path(said[1]) if said else self.project / "results"

    def tests(self) -> list[result.TestCase]:
        """All tests, as its output.xml has them.

        :raises ExpectationFailed: if there is no output.xml.
        """
        path = self.results / "output.xml"
        if not path.is_file():
            raise ExpectationFailed(f"The run has written no {path}. It said:\n{self.console}")
        return list(ExecutionResult(str(path)).suite.all_tests)

    def left_behind(self) -> list[str]:
        """One sentence for each process or file that should not be there any more."""
        problems = [
            f"Process {pid} is left: {leftovers.command_of(pid)}" for pid in leftovers.processes_of(f"{self.folder}/")
        ]
        problems += [f"The file {path} is left." for path in sorted(self._files() - self._before)]
        return problems + [f"The temporary file {path} is left." for path in sorted(self.temporary.iterdir())]

    def _files(self) -> set[Path]:
        found = {path for path in self.project.rglob("*") if "results" not in path.relative_to(self.project).parts[:1]}
        return found | set((self.folder / "home").rglob("*"))

    def remove(self) -> None:
        """Delete all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def runner(name: str) -> list[str]:
    """How to run ``bdd-runner`` or ``robot`` with this very Python."""
    script = Path(sys.executable).with_name(name)
    if script.exists():
        return [str(script)]
    return [sys.executable, "-m", {"bdd-runner": "PoolManagerLibrary.runner"}.get(name, name)]


def html_text(path: Path) -> str:
    """All texts that a log.html or report.html shows, markup included. Robot Framework keeps the long ones packed."""
    text = path.read_text(encoding="utf-8")
    parts = [unescape(text)]
    for packed in re.findall(r'"([A-Za-z0-9+/]{16,}={0,2})"', text):
        with contextlib.suppress(binascii.Error, zlib.error, UnicodeDecodeError):
            parts.append(zlib.decompress(base64.b64decode(packed)).decode())
    return "\n".join(parts)
