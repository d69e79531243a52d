"""How a process ended: ``waitid`` for our children, ``PIDFD_GET_INFO`` for engines adopted from an earlier daemon."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
from dataclasses import dataclass

# linux/pidfd.h (exit information since Linux 6.15):
#   struct pidfd_info { __u64 mask; __u64 cgroupid; __u32 pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid,
#                       fsuid, fsgid; __s32 exit_code; }  - 64 bytes, PIDFD_INFO_SIZE_VER0
#   #define PIDFD_GET_INFO _IOWR(0xFF, 11, struct pidfd_info)
_PIDFD_INFO = struct.Struct("=QQ11Ii")
_PIDFD_GET_INFO = (3 << 30) | (_PIDFD_INFO.size << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT = 1 << 3


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended.

    :param code: the exit code, if it ended by itself.
    :param signal: the signal's name (``SIGSEGV``), if one ended it.
    :param known: false where the kernel does not tell the status of a process that is not our child.
    :param oom: whether the kernel's or the cgroup's OOM killer ended it, as far as that can be found out.
    """

    code: int | None
    signal: str | None
    known: bool
    oom: bool = False


UNKNOWN_EXIT = ExitStatus(code=None, signal=None, known=False)


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; real-time signals are named from ``SIGRTMIN``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else f"signal {number}"


def _from_wait_status(status: int) -> ExitStatus:
    if os.WIFSIGNALED(status):
        return ExitStatus(code=None, signal=signal_name(os.WTERMSIG(status)), known=True)
    return ExitStatus(code=os.WEXITSTATUS(status), signal=None, known=True)


def reap(pidfd: int) -> ExitStatus | None:
    """Reap our own child; ``None`` if it cannot be reaped yet.

    :raises ChildProcessError: if it is not our child, or was reaped by somebody else.
    """
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return ExitStatus(code=result.si_status, signal=None, known=True)
    return ExitStatus(code=None, signal=signal_name(result.si_status), known=True)


def stranger_exit(pidfd: int) -> ExitStatus | None:
    """The exit status of a process that is not our child, by its pidfd, which was opened while it lived.

    ``None`` if its parent has not reaped it yet (the kernel tells only then).
    :data:`UNKNOWN_EXIT` where the kernel cannot tell at all (before Linux 6.15).
    """
    buffer = bytearray(_PIDFD_INFO.pack(_PIDFD_INFO_EXIT, *([0] * 13)))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer)
    except OSError as error:
        # ESRCH before Linux 6.15 for every process that is gone; there and later also for one being reaped just now.
        return None if error.errno == errno.ESRCH else UNKNOWN_EXIT
    fields = _PIDFD_INFO.unpack(buffer)
    return _from_wait_status(fields[-1]) if fields[0] & _PIDFD_INFO_EXIT else None
