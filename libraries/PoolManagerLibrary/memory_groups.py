"""Control groups with a limit of host memory, in either version of the kernel's control groups."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from robot.api import SkipExecution

_MOUNTS = Path("/sys/fs/cgroup")


def memory_group(name: str, limit: int) -> Path:
    """A new group below the root that may have ``limit`` bytes, swap included. It is removed with ``rmdir``.

    :raises SkipExecution: where none can be made (no root, no memory controller).
    """
    for parent, knobs in (
        (_MOUNTS / "memory", ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")),
        (_MOUNTS, ("memory.max", "memory.swap.max")),
    ):
        group = parent / f"pool-managerd-bdd-{os.getpid()}-{name}"
        try:
            group.mkdir()
        except OSError:
            continue
        memory, swap = (group / knob for knob in knobs)
        if memory.exists():
            memory.write_text(str(limit), encoding="ascii")
            with contextlib.suppress(OSError):  # kernels that do not account for swap have no such file
                swap.write_text("0" if swap.name == "memory.swap.max" else str(limit), encoding="ascii")
            return group
        group.rmdir()
    raise SkipExecution("Needs a control group with a limit of memory: root, and the kernel's memory controller.")
