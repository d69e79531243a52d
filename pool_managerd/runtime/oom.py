"""Was it the OOM killer? Best effort, from what the kernel logs and counts; read only when a process ended.

Where the daemon may read the kernel's log (root, usually), it names the pid of each victim, both of the host's and of
a control group's OOM killer. Elsewhere the ``oom_kill`` counter of the daemon's own control group serves
(``memory.events``, or ``memory.oom_control`` of the first version): it names nobody, so a rise that was seen within the
last seconds is put down to the next process that ends by SIGKILL. Callers leave out ends that they brought about
themselves. An engine with a control group of its own, in which the kernel counts, needs none of this: see
:class:`~pool_managerd.runtime.process.EngineProcess`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import time
from pathlib import Path

from pool_managerd.runtime.exit_status import ExitStatus

# mm/oom_kill.c: "Out of memory: Killed process 4711 (name) …", "Memory cgroup out of memory: Killed process 4711 …"
_VICTIM = re.compile(rb"[Oo]ut of memory.*: Killed process (\d+) \(")


#: A rise of the counter that is older, in seconds, is of a process that nobody waits for.
RISE_S = 5.0


class OomWatch:
    """What the OOM killer did since this was made."""

    def __init__(self) -> None:
        self._victims: set[int] = set()
        self._log = -1
        self._counters: list[Path] = []
        try:
            self._log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._log, 0, os.SEEK_END)
            self._read_log()
        except OSError:
            self._forget_log()
            self._counters = _counter_files()
        self._seen = self._count()
        self._rises: list[float] = []

    def look(self) -> None:
        """Note what was counted up to now, so that it is not put down to a process that ends much later."""
        count, now = self._count(), time.monotonic()
        self._rises = [at for at in self._rises if now - at < RISE_S] + [now] * (count - self._seen)
        self._seen = count

    def killed(self, pid: int, signal: str | None) -> bool:
        """Whether this process, which ended just now, was a victim."""
        if self._log >= 0:
            self._read_log()
        if self._log >= 0:
            victim = pid in self._victims
            self._victims.discard(pid)
            return victim
        self.look()
        if signal == "SIGKILL" and self._rises:
            self._rises.pop(0)
            return True
        return False

    def _read_log(self) -> None:
        if self._log < 0:
            return
        while True:
            try:
                record = os.read(self._log, 8192)
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue  # records were overwritten before they were read; the next read goes on after the gap
            except OSError:
                self._forget_log()
                return
            if match := _VICTIM.search(record):
                self._victims.add(int(match[1]))

    def _forget_log(self) -> None:
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def _count(self) -> int:
        total = 0
        for file in self._counters:
            with contextlib.suppress(OSError, ValueError):
                for line in file.read_text(encoding="ascii").splitlines():
                    name, _, value = line.partition(" ")
                    total += int(value) if name == "oom_kill" else 0
        return total


def _counter_files() -> list[Path]:
    """The counters of the daemon's own control group; engines are started in it."""
    files = []
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            name = path.lstrip("/")
            if not controllers:
                files += [Path("/sys/fs/cgroup", name), Path("/sys/fs/cgroup/unified", name)]
            elif "memory" in controllers.split(","):
                files.append(Path("/sys/fs/cgroup/memory", name))
    candidates = [folder / file for folder in files for file in ("memory.events", "memory.oom_control")]
    return [file for file in candidates if file.is_file()]


@functools.cache
def _watch() -> OomWatch:
    return OomWatch()


def mark() -> None:
    """Call before an engine is started; see :meth:`OomWatch.look`."""
    _watch().look()


def attribute(status: ExitStatus, pid: int) -> ExitStatus:
    """The status, with ``oom`` set if the OOM killer ended the process."""
    if status.code is not None:
        return status
    return dataclasses.replace(status, oom=True) if _watch().killed(pid, status.signal) else status
