"""Which process is it: what ``/proc`` says about a pid, and the identity that survives pid reuse.

A pid alone proves nothing, because the kernel uses numbers again. Boot id, pid and start time together name one
process of one boot; the spawn digest in its environment says that it was started for exactly this purpose.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

#: Environment variable that names daemon state, pool and replica; every descendant of an engine inherits it.
MARKER_VARIABLE = "POOL_MANAGERD_MARKER"
#: Environment variable that holds the digest of what the engine was started with.
SPEC_VARIABLE = "POOL_MANAGERD_SPEC"

_STATE, _PPID, _PGRP, _SESSION, _THREADS, _START_TICKS = (
    0,
    1,
    2,
    3,
    17,
    19,
)  # positions after the command's closing parenthesis

#: Most environments fit into one read.
_READ_BYTES = 16384
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, for good.

    :param start_ticks: field 22 of ``/proc/<pid>/stat``: clock ticks from boot to its start, as they stand there.
    :param boot_id: the kernel's ``/proc/sys/kernel/random/boot_id``.
    :param spec_digest: :meth:`pool_managerd.runtime.process.SpawnSpec.digest` of what it was started with.
    """

    pid: int
    start_ticks: int
    boot_id: str
    spec_digest: str


@dataclass(frozen=True, slots=True)
class ProcStat:
    """The part of ``/proc/<pid>/stat`` that says whose process it is. ``state`` Z is a zombie, D uninterruptible."""

    pid: int
    state: str
    ppid: int
    pgrp: int
    session: int
    start_ticks: int
    threads: int = 1

    @property
    def ended(self) -> bool:
        """Whether it runs no more and only waits to be reaped.

        One that was killed while one of its threads hangs in the kernel looks like a zombie, and holds all it had.
        """
        return self.state in "ZX" and self.threads <= 1


@functools.cache
def boot_id() -> str:
    """The id of this boot of the kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _read(path: str) -> bytes:
    """A file of ``/proc``; empty if it is not there or not ours to read. By far the most of it is the kernel's work."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        text = part = os.read(descriptor, _READ_BYTES)
        while len(part) == _READ_BYTES:
            part = os.read(descriptor, _READ_BYTES)
            text += part
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return text


def read_stat(pid: int) -> ProcStat | None:
    """What ``/proc/<pid>/stat`` says now; ``None`` if there is no such process."""
    data = _read(f"/proc/{pid}/stat")
    # The command's name may hold blanks and parentheses itself, so the last closing one counts.
    fields = data[data.rfind(b")") + 2 :].split(None, _START_TICKS + 1)
    if len(fields) <= _START_TICKS:
        return None
    return ProcStat(
        pid=pid,
        state=fields[_STATE].decode("ascii"),
        ppid=int(fields[_PPID]),
        pgrp=int(fields[_PGRP]),
        session=int(fields[_SESSION]),
        start_ticks=int(fields[_START_TICKS]),
        threads=int(fields[_THREADS]),
    )


def read_resident_bytes(pid: int) -> int:
    """The resident memory of a process, in bytes; 0 if there is no such process."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE_BYTES if len(fields) > 1 else 0


def read_environ(pid: int) -> bytes:
    """The environment the process was started with, NUL-separated; empty if it is gone or not ours to read.

    A program that overwrites its own title (``setproctitle``) may have overwritten this too; for Python engines
    the variable ``SPT_NOENV`` prevents that. If only the first of its threads has ended, another one knows it.
    """
    return _read(f"/proc/{pid}/environ") or next(
        (found for tid in _other_threads(pid) if (found := _read(f"/proc/{pid}/task/{tid}/environ"))), b""
    )


def _other_threads(pid: int) -> list[str]:
    try:
        return [tid for tid in os.listdir(f"/proc/{pid}/task") if tid != str(pid)]  # noqa: PTH208 - the names alone
    except OSError:
        return []


def environ_value(environ: bytes, name: str) -> str | None:
    """The value of one variable of :func:`read_environ`'s answer."""
    prefix = name.encode() + b"="
    start = 0 if environ.startswith(prefix) else environ.find(b"\0" + prefix) + 1
    if start == 0 and not environ.startswith(prefix):
        return None
    end = environ.find(b"\0", start)
    value = environ[start + len(prefix) : end if end >= 0 else None]
    return value.decode(errors="surrogateescape")


def same_process(identity: ProcessIdentity) -> bool:
    """Whether boot id, pid, start ticks and spawn digest all agree with a living process of this moment."""
    if identity.boot_id != boot_id():
        return False
    stat = read_stat(identity.pid)
    if stat is None or stat.ended or stat.start_ticks != identity.start_ticks:
        return False
    return environ_value(read_environ(identity.pid), SPEC_VARIABLE) == identity.spec_digest
