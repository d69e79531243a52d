"""Start an engine, or adopt a running one, and notice its end at once.

Everything goes through a pidfd: it names this very process even if its number is used again, it becomes readable
when the process ends (so the event loop wakes within a tenth of a millisecond), and signals through it hit nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import signal
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.runtime import oom, spawner
from pool_managerd.runtime.cgroups import groups
from pool_managerd.runtime.exit_status import ExitStatus, StrangersEnd, reap
from pool_managerd.runtime.identity import (
    MARKER_VARIABLE,
    SPEC_VARIABLE,
    ProcessIdentity,
    boot_id,
    environ_value,
    read_environ,
    read_stat,
    same_process,
)

__all__ = ["EngineProcess", "ExitStatus", "ProcessIdentity", "SpawnSpec", "adopt", "spawn"]

#: Seconds until a child that ended is asked for its status again, where a debugger holds it.
_REAP_WAIT_S = 0.032
#: Reasons of the system that only an operator can put right.
_UNUSABLE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.EISDIR, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True)
class SpawnSpec:
    """All that decides what a process will be.

    :param argv: passed byte for byte; ``argv[0]`` is the binary's absolute path.
    :param env: the complete environment; nothing is inherited from the daemon.
    :param cwd: an existing folder.
    :param log_path: where standard output and error are appended; made with access for the daemon's user only.
    :param user: run as this user (only a daemon that is root can); ``None`` is the daemon's own.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log_path: Path
    user: str | None = None

    def digest(self) -> str:
        """SHA-256, in hexadecimal digits, over everything but the log's place."""
        env = {name: value for name, value in self.env.items() if name != SPEC_VARIABLE}
        document = [self.argv, env, str(self.cwd), self.user]
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))  # ASCII, so lone surrogates are no trouble
        return hashlib.sha256(text.encode()).hexdigest()


class EngineProcess:
    """A running engine. Made by :func:`spawn` and :func:`adopt`, inside a running event loop.

    :ivar exited: done as soon as the process has ended (and, if it is our child, is reaped).
    :ivar explained: done once more is known than ``exited`` said: a stranger's parent was slow to reap it.
    :ivar is_child: false for an adopted engine.
    :param placed: done once it is in its control group; until then it is not reaped.
    :ivar marker: the value of :data:`~pool_managerd.runtime.identity.MARKER_VARIABLE` in its environment.
    :ivar log_offset: size in bytes of its log just before it was started; ``None`` if adopted.
    """

    def __init__(
        self,
        identity: ProcessIdentity,
        pidfd: int,
        *,
        is_child: bool,
        marker: str | None,
        log_offset: int | None,
        placed: asyncio.Future[None] | None = None,
    ) -> None:
        self.identity = identity
        self.is_child = is_child
        self.marker = marker
        self.log_offset = log_offset
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[ExitStatus] = self._loop.create_future()
        self.explained: asyncio.Future[ExitStatus] = self._loop.create_future()
        self._pidfd = pidfd
        self._placed = placed
        self._group = groups().of(marker, identity.pid)
        self._oom_before = None if self._group is None else self._group.oom_kills()
        self._oom_rise: float | None = None
        self._reaping: StrangersEnd | None = None
        self._loop.add_reader(pidfd, self._on_end)

    @property
    def pid(self) -> int:
        """Its process number, which is also that of its group and session."""
        return self.identity.pid

    @property
    def running(self) -> bool:
        """Whether its end has not been noticed yet."""
        return not self.exited.done()

    def note_oom_kills(self) -> int | None:
        """Look at what the OOM killer took of it up to now: a helper that it outlived explains no end much later.

        Called after each good probe. Returns the count; ``None`` where the kernel does not count for it.
        """
        if self._group is None or self._oom_before is None or (kills := self._group.oom_kills()) is None:
            return None
        if kills > self._oom_before:
            self._oom_rise = self._loop.time()
        self._oom_before = kills
        return kills

    def send(self, signal_number: int) -> bool:
        """Send a signal to this process and no other; false if it has ended already.

        :raises PermissionError: if it runs as a user whom the daemon may not signal.
        """
        if self._pidfd < 0:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, signal_number)
        except ProcessLookupError:
            return False
        return True

    def kill_group(self, signal_number: int = signal.SIGKILL) -> bool:
        """Send a signal to its process group; false if the process itself has ended.

        Once it has ended, the group's number may be in use again; what it left behind is for
        :func:`pool_managerd.runtime.stop.end_leftovers`, which looks at each process.
        """
        if not self.running or not self.send(0):
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal_number)
        self.send(signal_number)
        return True

    async def gone(self) -> ExitStatus:
        """Wait until it has ended. Cancelling the wait changes nothing."""
        return await asyncio.shield(self.exited)

    def detach(self) -> None:
        """Stop watching, and leave the process alone (``on_shutdown = "leave"``). ``exited`` is cancelled."""
        self._close()
        self.exited.cancel()

    def _close(self) -> None:
        if self._reaping is not None:
            self._reaping.close()
            self._reaping = None
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _on_end(self) -> None:
        if self._pidfd < 0:
            return
        self._loop.remove_reader(self._pidfd)
        if self._placed is not None and not self._placed.done():
            # It is just being put into its control group, by its number: that stays its own until it is reaped.
            self._placed.add_done_callback(lambda _: self._on_end())
            return
        if self.is_child:
            try:
                status = reap(self._pidfd, self.pid)
            except ChildProcessError:
                self.is_child = False
            else:
                if status is None:
                    # A debugger holds it: the pidfd stays readable, so it cannot say when.
                    self._loop.call_later(_REAP_WAIT_S, self._on_end)
                    return
                self._close()
                self._set_exited(status)
                return
        self._reaping = StrangersEnd(self._pidfd, self._on_status)

    def _on_status(self, status: ExitStatus, *, final: bool) -> None:
        """What the kernel tells of a stranger's end: at once, and again when its parent has reaped it."""
        if final:
            self._close()
        if not self.exited.done():
            self._set_exited(status)
        elif status.known and not self.exited.cancelled() and not self.explained.done():
            self.explained.set_result(self._attributed(status))

    def _set_exited(self, status: ExitStatus) -> None:
        if not self.exited.done():
            self.exited.set_result(self._attributed(status))

    def _attributed(self, status: ExitStatus) -> ExitStatus:
        """The status, with what the OOM killer had to do with it."""
        if status.code != 0 and self.note_oom_kills() is not None:
            # Of whichever process of the engine: one that lost a worker ends by itself.
            rise = self._oom_rise
            return replace(status, oom=rise is not None and self._loop.time() - rise < oom.RISE_S)
        return oom.attribute(status, self.pid)


async def spawn(spec: SpawnSpec) -> EngineProcess:
    """Start an engine: own session and group, no inherited descriptor, no new privileges, no capabilities.

    :raises PoolManagerError: ENGINE_NOT_FOUND if the binary is not there or may not be run, SPAWN_FAILED for
        everything else; message and ``details`` hold the path and the system's reason.
    """
    digest = spec.digest()
    env = {**spec.env, SPEC_VARIABLE: digest}
    log, log_offset = _open_log(spec.log_path)
    oom.mark()
    try:
        pid, placed = await spawner.start(spec.argv, env, spec.cwd, log, spec.user)
    except OSError as error:
        raise _spawn_error(spec, error) from error
    except (LookupError, ValueError) as error:
        raise PoolManagerError(
            Code.SPAWN_FAILED,
            f"{spec.argv[0]} could not be started: {error}",
            hint="Correct `user`, `args` or `env` of the pool.",
            details={"path": spec.argv[0], "reason": str(error)},
        ) from error
    finally:
        os.close(log)
    # Not reaped before pidfd_open, so that the number is still this child's.
    pidfd = os.pidfd_open(pid)
    found = read_stat(pid)
    assert found is not None, "an unreaped child has an entry in /proc"  # noqa: S101 - the kernel promises it
    identity = ProcessIdentity(pid=pid, start_ticks=found.start_ticks, boot_id=boot_id(), spec_digest=digest)
    marker = spec.env.get(MARKER_VARIABLE)
    return EngineProcess(identity, pidfd, is_child=True, marker=marker, log_offset=log_offset, placed=placed)


def adopt(identity: ProcessIdentity) -> EngineProcess | None:
    """Take over an engine that an earlier daemon started; ``None`` if that very process does not run any more.

    Boot id, pid, start ticks and spawn digest are read after the pidfd was opened, so they belong to what it names.
    """
    if identity.boot_id != boot_id() or identity.pid <= 0:
        return None
    try:
        pidfd = os.pidfd_open(identity.pid)
    except OSError:
        return None
    if not same_process(identity):
        os.close(pidfd)
        return None
    marker = environ_value(read_environ(identity.pid), MARKER_VARIABLE)
    found = read_stat(identity.pid)
    is_child = found is not None and found.ppid == os.getpid()
    return EngineProcess(identity, pidfd, is_child=is_child, marker=marker, log_offset=None)


def _open_log(path: Path) -> tuple[int, int]:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise _log_error(path, error.strerror or str(error)) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _log_error(path, "it is not a regular file")
        os.set_blocking(descriptor, True)
        if stat.S_IMODE(found.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    except OSError as error:
        os.close(descriptor)
        raise _log_error(path, error.strerror or str(error)) from error
    except PoolManagerError:
        os.close(descriptor)
        raise
    return descriptor, found.st_size


def _log_error(path: Path, reason: str) -> PoolManagerError:
    return PoolManagerError(
        Code.SPAWN_FAILED,
        f"the engine's log {path} cannot be opened: {reason}",
        hint="Make the state directory writable for the daemon's user, and remove what stands in the log's place.",
        details={"path": str(path), "reason": reason},
    )


def _spawn_error(spec: SpawnSpec, error: OSError) -> PoolManagerError:
    binary = spec.argv[0]
    reason = error.strerror or str(error)
    number = error.errno or 0
    details = {"path": binary, "reason": reason, "errno": errno.errorcode.get(number, str(number))}
    if error.filename == str(spec.cwd) and binary != str(spec.cwd):
        # Popen names the folder if the child failed before it came to exec.
        return PoolManagerError(
            Code.SPAWN_FAILED,
            f"{binary} could not be started in {spec.cwd} as {spec.user or 'the daemon user'}: {reason}",
            hint="Check the state directory and the pool's `user`.",
            details={**details, "cwd": str(spec.cwd)},
        )
    if number == errno.ENOENT and os.path.exists(binary):  # noqa: PTH110 - no Path needed
        reason = f"{reason} (the file is there, but the interpreter in its first line is not)"
    if number in _UNUSABLE:
        return PoolManagerError(
            Code.ENGINE_NOT_FOUND,
            f"engine binary {binary} cannot be run: {reason}",
            hint="Set `binary` to an existing, executable file, then preload the pool.",
            details=details,
        )
    hint = "It is neither a program for this machine nor a script with #!." if number == errno.ENOEXEC else None
    return PoolManagerError(
        Code.SPAWN_FAILED, f"engine binary {binary} failed to start: {reason}", hint=hint, details=details
    )
