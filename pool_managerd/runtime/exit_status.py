"""How a process ended: ``waitid`` for our children, ``PIDFD_GET_INFO`` for engines adopted from an earlier daemon."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import select
import signal
import struct
from dataclasses import dataclass
from typing import Protocol

# linux/pidfd.h (exit information since Linux 6.15):
#   struct pidfd_info { __u64 mask; __u64 cgroupid; __u32 pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid,
#                       fsuid, fsgid; __s32 exit_code; }  - 64 bytes, PIDFD_INFO_SIZE_VER0
#   #define PIDFD_GET_INFO _IOWR(0xFF, 11, struct pidfd_info)
_PIDFD_INFO = struct.Struct("=QQ11Ii")
_PIDFD_GET_INFO = (3 << 30) | (_PIDFD_INFO.size << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT = 1 << 3
#: Seconds that a stranger's parent has for reaping it, before its end is announced without a cause: less than the
#: 100 ms in which an engine's end has to be announced.
REAP_WAIT_S = 0.06


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


def reap(pidfd: int, pid: int) -> ExitStatus | None:
    """Reap our own child; ``None`` if it cannot be reaped yet.

    :raises ChildProcessError: if it is not our child, or was reaped by somebody else.
    """
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # Before Linux 5.4, or under a filter that does not know it. Until it is reaped the number is the child's own.
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
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


class OnStatus(Protocol):
    """Told how a stranger ended."""

    def __call__(self, status: ExitStatus, *, final: bool) -> None:
        """``final``: there will be no other word."""


class StrangersEnd:
    """Finds out how a process ended that is not our child. The kernel tells once its parent has reaped it.

    Where that takes longer than :data:`REAP_WAIT_S` the answer is :data:`UNKNOWN_EXIT` first, and the true one once it
    can be known: a pidfd hangs up when its process is reaped (Linux 6.9).

    :param pidfd: of the process, which has ended; it has to stay open until the final word or :meth:`close`.
    :param on_status: called on the loop, once or twice, never before this has been made.
    """

    def __init__(self, pidfd: int, on_status: OnStatus) -> None:
        self._pidfd = pidfd
        self._on_status = on_status
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(REAP_WAIT_S, self._on_timeout)
        self._reaped: select.epoll | None = select.epoll()
        self._reaped.register(pidfd, 0)  # no event but the hang-up, which is always told
        self._loop.add_reader(self._reaped.fileno(), self._look)
        self._loop.call_soon(self._look)

    def close(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reaped is not None:
            self._loop.remove_reader(self._reaped.fileno())
            self._reaped.close()
            self._reaped = None

    def _look(self) -> None:
        if self._reaped is None:
            return
        status = stranger_exit(self._pidfd)
        if status is None and self._reaped.poll(0):
            status = UNKNOWN_EXIT  # reaped, and the kernel does not tell
        if status is not None:
            self.close()
            self._on_status(status, final=True)

    def _on_timeout(self) -> None:
        self._timer = None
        self._on_status(UNKNOWN_EXIT, final=False)
