"""The thread that starts engines: without new privileges, and without root's capabilities.

``no_new_privs`` and the capability sets belong to a *thread* on Linux, and a child inherits those of the thread that
started it. So one thread gives them up for itself, and every engine comes from this thread. Compared with a chain
through ``setpriv`` this needs no second program, costs nothing per start, and a failing ``exec`` is still reported
with the system's own reason. User and groups are changed by :class:`subprocess.Popen` in the child.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import functools
import os
import pwd
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pool_managerd.runtime.cgroups import groups
from pool_managerd.runtime.identity import MARKER_VARIABLE

# linux/prctl.h and linux/capability.h
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_LINUX_CAPABILITY_VERSION_3 = 0x20080522


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _confine_thread() -> None:
    """Give up, for the calling thread, what no engine shall have.

    Root keeps its capabilities in the thread itself (it still has to change users), but with an empty bounding set
    and no inheritable ones nothing of them passes an ``exec``.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:  # pragma: no cover - every kernel since 3.5 has it
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "prctl(PR_SET_NO_NEW_PRIVS)")
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (_CapData * 2)()
    if libc.capget(ctypes.byref(header), data) == 0:
        for half in data:
            half.inheritable = 0
        libc.capset(ctypes.byref(header), data)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    for capability in range(last + 1):
        # EPERM without CAP_SETPCAP: a daemon that is not root has nothing to give up here.
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


@functools.cache
def _spawner() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn", initializer=_confine_thread)


def _user_arguments(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise LookupError(f"there is no user {user!r} on this host") from None
    if entry.pw_uid == os.geteuid():
        return {}
    if os.geteuid() != 0:
        raise PermissionError(errno.EPERM, "only a daemon that runs as root can start an engine as another user", user)
    groups = os.getgrouplist(user, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}


def _start(
    born: Future[int], argv: Sequence[str], env: dict[str, str], cwd: Path, output: int, user: str | None
) -> None:
    """Start a process, tell its pid, and then put it into its control group: for that the kernel takes 10 to 30 ms."""
    try:
        group = groups().make(env.get(MARKER_VARIABLE))
        try:
            pid = _popen(argv, env, cwd, output, user)
        except BaseException:
            if group is not None:
                group.remove()
            raise
    except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
        born.set_exception(error)
        return
    finally:
        os.close(output)
    born.set_result(pid)
    if group is not None:
        groups().place(group, pid)


def _popen(argv: Sequence[str], env: dict[str, str], cwd: Path, output: int, user: str | None) -> int:
    process: subprocess.Popen[bytes] = subprocess.Popen(
        argv,
        executable=argv[0],
        env=env,
        cwd=str(cwd),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        close_fds=True,
        start_new_session=True,
        **_user_arguments(user),
    )
    # Its end is noticed and reaped through its pidfd. Popen must not wait for the number as well: by the time it
    # does, the number may belong to another child.
    process.returncode = 0
    return process.pid


async def start(
    argv: Sequence[str], env: dict[str, str], cwd: Path, output: int, user: str | None
) -> tuple[int, asyncio.Future[None]]:
    """Start ``argv[0]`` in a session of its own, with standard output and error on ``output``.

    About 0.3 ms, on a busy machine much more: the loop goes on meanwhile. If this is cancelled, a process that is
    born all the same is ended at once, since nobody would know of it.

    :returns: its pid, and what is done once it is in its control group: until then it must not be reaped, so that the
        number is still its own.
    :raises OSError: with the path and the reason, if it cannot be executed (or its folder not be entered).
    :raises LookupError: if there is no such user.
    """
    born: Future[int] = Future()
    # The descriptor is of its own, because the caller closes the one that it gave as soon as it is cancelled.
    placed = _spawner().submit(_start, born, argv, env, cwd, os.dup(output), user)
    try:
        pid = await asyncio.shield(asyncio.wrap_future(born))
    except asyncio.CancelledError:
        placed.add_done_callback(lambda _: _end_unwanted(born))
        raise
    return pid, asyncio.wrap_future(placed)


def _end_unwanted(born: Future[int]) -> None:
    if born.cancelled() or born.exception() is not None:
        return
    pid = born.result()
    # Not reaped yet, so the number is still this child's.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
