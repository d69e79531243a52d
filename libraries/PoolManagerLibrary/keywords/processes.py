"""Processes as the operating system shows them."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary import leftovers
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.units import seconds, show_seconds
from PoolManagerLibrary.waiting import wait_until


class ProcessKeywords(Keywords):
    """Keywords about processes."""

    @keyword
    def get_process(
        self,
        pid: int,
        fact: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> Any:
        """Returns a fact about a process.

        Facts: ``exe``, ``cmdline`` (list), ``cwd``, ``environ`` (dict), ``session``, ``group``, ``parent``, ``status``,
        ``start_ticks``, ``open_files`` (what its descriptors lead to), ``rss``, ``user``, ``children``.

        Example:
        | ${arguments} = | Get Process | ${pid} | cmdline |
        """
        process = psutil.Process(pid)
        facts: dict[str, Any] = {
            "exe": lambda: str(Path(f"/proc/{pid}/exe").readlink()),
            "cmdline": lambda: _words(f"/proc/{pid}/cmdline"),
            "cwd": process.cwd,
            "environ": lambda: dict(word.partition("=")[::2] for word in _words(f"/proc/{pid}/environ")),
            "session": lambda: os.getsid(pid),
            "group": lambda: os.getpgid(pid),
            "parent": process.ppid,
            "status": process.status,
            "start_ticks": lambda: int(
                Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
            ),
            "open_files": lambda: [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()],
            "rss": lambda: process.memory_info().rss,
            "user": process.username,
            "children": lambda: [child.pid for child in process.children(recursive=True)],
        }
        if fact not in facts:
            raise UsageError(f"'{fact}' is no fact about a process; there are {', '.join(facts)}.")
        return check(facts[fact](), assertion_operator, assertion_expected, f"{fact} of process {pid}")

    @keyword
    def process_should_be_gone(
        self, pid: int, within: timedelta = timedelta(seconds=1), zombie_allowed: bool = False
    ) -> None:
        """Checks that a process is not in the process table.

        Example:
        | Process Should Be Gone | ${pid} | within=1 s |
        """

        def look() -> str | None:
            with contextlib.suppress(psutil.NoSuchProcess):
                status = psutil.Process(pid).status()
                return None if zombie_allowed and status == psutil.STATUS_ZOMBIE else str(status)
            return None

        wait_until(
            look,
            lambda seen: seen is None,
            timeout=seconds(within),
            expected=f"process {pid} to be gone",
            show=lambda seen: f"{seen}: {leftovers.command_of(pid)}",
        )

    @keyword
    def process_should_live(self, pid: int) -> None:
        """Checks that a process is in the process table and no zombie.

        Example:
        | Process Should Live | ${pid} |
        """
        try:
            status = psutil.Process(pid).status()
        except psutil.NoSuchProcess:
            raise ExpectationFailed(f"Process {pid} should be alive, it is gone.") from None
        if status == psutil.STATUS_ZOMBIE:
            raise ExpectationFailed(f"Process {pid} should be alive, it is a zombie.")

    @keyword
    def processes_should_have_ended_in_time(self, pid: int, within: timedelta) -> None:
        """Checks that a process is gone within a time from the last act on.

        Example:
        | Kill Engine |
        | Processes Should Have Ended In Time | ${pid} | 1 s |
        """
        limit = seconds(within) - (time.time() - self.scenario.act_at)
        self.process_should_be_gone(pid, timedelta(seconds=max(0.0, limit)))
        took = time.time() - self.scenario.act_at
        if took > seconds(within) + 0.1:
            raise ExpectationFailed(f"Process {pid} was gone only after {show_seconds(took)}.")

    @keyword
    def get_cpu_time_of_daemon(self, during: timedelta) -> float:
        """Returns the seconds of CPU time that all threads of the daemon use in the time from now on.

        Example:
        | ${used} = | Get CPU Time Of Daemon | during=3 s |
        | Should Be True | ${used} < 0.03 |
        """
        process = self.daemon.process
        if process is None:
            raise UsageError("The daemon runs elsewhere, its CPU time cannot be read.")
        before = _cpu_time(process.pid)
        time.sleep(seconds(during))
        return _cpu_time(process.pid) - before

    @keyword
    def get_daemon_memory(self) -> int:
        """Returns the daemon's resident memory in bytes.

        Example:
        | ${before} = | Get Daemon Memory |
        """
        return int(psutil.Process(self.daemon.pid).memory_info().rss)

    @keyword
    def sleep_quietly(self, duration: timedelta) -> None:
        """Lets time pass where time itself is the behaviour, such as a lease's end. Never to wait for something.

        Example:
        | Sleep Quietly | 300 ms |
        """
        time.sleep(seconds(duration))


def _words(path: str) -> list[str]:
    data = Path(path).read_bytes()
    return [word.decode("utf-8", errors="surrogateescape") for word in data.removesuffix(b"\0").split(b"\0")]


def _cpu_time(pid: int) -> float:
    """Seconds that all threads of a process have run: the kernel counts nanoseconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total / 1e9
