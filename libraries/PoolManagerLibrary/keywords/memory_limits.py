"""The memory limit that a daemon runs under: a cgroup of the scenario's own."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from robot.api import SkipExecution
from robot.api.deco import keyword

from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.units import parse_size

_ROOT = Path("/sys/fs/cgroup")
#: Where the memory controller's groups are and what the limit is called: cgroup version 2, then 1.
_VERSIONS = ((_ROOT, "memory.max"), (_ROOT / "memory", "memory.limit_in_bytes"))


class MemoryLimitKeywords(Keywords):
    """Keywords about memory limits."""

    @keyword
    def limit_daemon_memory(self, limit: str) -> str:
        """Puts the scenario's own daemon into a cgroup with a memory limit, or changes that limit. Returns its folder.

        The test is skipped where this user may not make cgroups.

        Example:
        | Limit Daemon Memory | 512 MiB |
        """
        daemon = self.own_daemon()
        pid = self.daemon.pid
        group: Path | None = self.scenario.memory.get("cgroup")
        if group is None:
            group, name = _make(f"pool-managerd-bdd-{os.getpid()}-{pid}")
            self.scenario.memory["cgroup"] = group
            self.scenario.memory["limit"] = name
            # Registered first, so that it is done last: after the daemon and its engines have ended.
            self.scenario.cleanups.insert(0, ("the cgroup", lambda: _remove(group, daemon.end)))
            (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
        self.scenario.act(f"a memory limit of {limit}")
        (group / self.scenario.memory["limit"]).write_text(str(parse_size(limit)), encoding="ascii")
        return str(group)


def _make(name: str) -> tuple[Path, str]:
    problems = []
    for root, limit in _VERSIONS:
        group = root / name
        try:
            group.mkdir()
            if (group / limit).exists():
                return group, limit
            group.rmdir()
            problems.append(f"{root} has no memory controller")
        except OSError as error:
            problems.append(f"{group}: {error.strerror}")
    raise SkipExecution(f"Needs a cgroup of its own with a memory limit, which cannot be had here: {problems}.")


def _remove(group: Path, end_daemon: object) -> None:
    if callable(end_daemon):
        end_daemon()
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        for pid in (group / "cgroup.procs").read_text(encoding="ascii").split():
            with contextlib.suppress(OSError):
                (group.parent / "cgroup.procs").write_text(pid, encoding="ascii")
        time.sleep(0.01)
