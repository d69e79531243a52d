"""The state directory: who may use it, and the pid, handoff and log files that others read.

Every file appears whole or not at all (temporary file and rename) and is for the daemon's user only. Nothing is
synced to the disk: the files survive the daemon's death, and after a power cut no engine of theirs runs any more.
No symbolic link is followed: folders are opened with O_NOFOLLOW and files are made and renamed relative to them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import pwd
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pool_managerd.core.errors import Code, PoolManagerError

_log = logging.getLogger(__name__)

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
TEMPORARY = ".tmp-"
_MAX_HANDOFF_BYTES = 1 << 20
#: Files of the daemon's own that it keeps for as long as it runs. Who removes one empties the state directory.
STATE_FILES = frozenset({"daemon.lock", "state.id", "state.db"})


@dataclass(frozen=True, slots=True)
class Handoff:
    """A handoff file found in the state directory. ``document`` is ``None`` if it cannot be read or parsed."""

    path: Path
    document: dict[str, Any] | None


class StateDir:
    """The folder that holds everything the daemon leaves behind.

    :param path: made, with access for the daemon's user only, by :meth:`prepare`, and by nothing else: a write into a
        directory that was removed fails. The folders in it are made again by the next write.

    Every method that writes raises PoolManagerError STORE_UNAVAILABLE, naming path and reason, where it cannot.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    # Where things are.

    @property
    def database(self) -> Path:
        """The state database."""
        return self.path / "state.db"

    def pid_file(self, pool_id: str, replica_id: str | None = None) -> Path:
        """``<pool>-<replica>.pid``, or ``<pool>.pid``."""
        return self.path / (f"{pool_id}-{replica_id}.pid" if replica_id else f"{pool_id}.pid")

    def log_file(self, pool_id: str, replica_id: str) -> Path:
        """``engine-<pool>-<replica>.log``."""
        return self.path / f"engine-{pool_id}-{replica_id}.log"

    def handoff_file(self, pool_id: str, replica_id: str) -> Path:
        """``engines/<pool>-<replica>.json``."""
        return self.path / "engines" / f"{pool_id}-{replica_id}.json"

    # The folder itself.

    def prepare(self) -> None:
        """Make the folder and those in it, or check that nobody else can write to them.

        Write access for others is taken away from a folder of our own; somebody else's folder is refused.
        """
        with _reported(self.path):
            self.path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _secure(descriptor, self.path)
                if not os.access(self.path, os.W_OK | os.X_OK):
                    raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))
            finally:
                os.close(descriptor)
        for name in ("engines", "work"):
            with self._folder(name):
                pass

    def is_there(self) -> bool:
        """Whether the path leads to a folder at all."""
        return self.path.is_dir()

    def is_whole(self, state_id: str) -> bool:
        """Whether the folder is the one that was locked, and still has the id that its engines are marked with."""
        return self._has_our_lock() and self._state_id() == state_id

    def make_whole(self, state_id: str) -> None:
        """Take a folder that is there again, or was emptied, in use: with the lock and the id from before.

        :raises PoolManagerError: CONFLICT if another daemon uses it by now, STORE_UNAVAILABLE if it cannot be used.
        """
        self.prepare()
        if not self._has_our_lock():
            held = self._lock
            self.lock()
            os.close(held)
        if self._state_id() != state_id:
            self._write("", "state.id", f"{state_id}\n".encode())

    def _has_our_lock(self) -> bool:
        try:
            found = (self.path / "daemon.lock").lstat()
        except OSError:
            return False
        mine = os.fstat(self._lock)
        return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)

    def lock(self) -> None:
        """Make sure that only one daemon uses this folder. The lock goes with the process, however it ends.

        :raises PoolManagerError: CONFLICT, naming the pid of the daemon that has it.
        """
        path = self.path / "daemon.lock"
        with _reported(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, _FILE_MODE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise PoolManagerError(
                    Code.CONFLICT,
                    f"another daemon (pid {holder or 'unknown'}) uses the state directory {self.path}",
                    hint="Stop that daemon, or set server.state_dir to another folder.",
                    details={"path": str(self.path), "pid": int(holder) if holder.isdigit() else None},
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._lock = descriptor

    def unlock(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def state_id(self) -> str:
        """The id of this state directory, made when it is first asked for. It outlives a damaged database."""
        found = self._state_id()
        if found.isalnum():
            return found
        made = secrets.token_hex(8)
        self._write("", "state.id", f"{made}\n".encode())
        return made

    def _state_id(self) -> str:
        return self._read(self.path / "state.id", 64).decode("ascii", "replace").strip()

    def work_path(self, pool_id: str, replica_id: str) -> Path:
        """Where the engine's own working directory is, or will be."""
        return self.path / "work" / f"{pool_id}-{replica_id}"

    def work_dir(self, pool_id: str, replica_id: str, *, user: str | None = None) -> Path:
        """The engine's own working directory, with access for it only; made if missing."""
        name = f"{pool_id}-{replica_id}"
        path = self.path / "work" / name
        with _reported(path), self._folder("work") as parent:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, _FOLDER_MODE, dir_fd=parent)
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                os.fchmod(descriptor, _FOLDER_MODE)
                if os.geteuid() == 0:
                    try:
                        entry = pwd.getpwnam(user) if user else pwd.getpwuid(0)
                    except KeyError:
                        raise _unavailable(path, f"there is no user {user!r} on this host") from None
                    os.fchown(descriptor, entry.pw_uid, entry.pw_gid)
            finally:
                os.close(descriptor)
        return path

    # What is written for others.

    def write_pid(self, pool_id: str, replica_id: str, pid: int, *, first: bool) -> None:
        """Write ``<pool>-<replica>.pid`` and, for the first replica, ``<pool>.pid``."""
        data = b"%d\n" % pid
        self._write("", self.pid_file(pool_id, replica_id).name, data)
        if first:
            self._write("", self.pid_file(pool_id).name, data)

    def remove_pid(self, pool_id: str, replica_id: str, *, first: bool) -> None:
        """Remove what :meth:`write_pid` wrote."""
        self._remove(self.pid_file(pool_id, replica_id))
        if first:
            self._remove(self.pid_file(pool_id))

    def write_handoff(self, pool_id: str, replica_id: str, document: Mapping[str, Any]) -> None:
        """Write the handoff file: indented UTF-8 JSON that ends with a newline."""
        data = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        # Arguments that are no UTF-8 were read with surrogates; JSON has no bytes, so they are shown as U+FFFD.
        encoded = data.encode("utf-8", "surrogateescape").decode("utf-8", "replace").encode()
        self._write("engines", self.handoff_file(pool_id, replica_id).name, encoded)

    def remove_handoff(self, pool_id: str, replica_id: str) -> None:
        """Remove the handoff file, if there is one."""
        self._remove(self.handoff_file(pool_id, replica_id))

    def write_daemon(self, document: Mapping[str, Any]) -> None:
        """Write ``daemon.json``: where the daemon serves, for tools that started it on port 0."""
        self._write("", "daemon.json", (json.dumps(document, indent=2) + "\n").encode())

    def remove_daemon(self) -> None:
        """Remove ``daemon.json``: the daemon ends."""
        self._remove(self.path / "daemon.json")

    def link_log(self, pool_id: str, first_replica_id: str) -> None:
        """Let ``engine-<pool>.log`` lead to the first replica's log."""
        target = self.log_file(pool_id, first_replica_id).name
        name = f"engine-{pool_id}.log"
        with _reported(self.path / name), self._folder("") as folder:
            with contextlib.suppress(OSError):
                if os.readlink(name, dir_fd=folder) == target:
                    return
            temporary = _temporary_name()
            os.symlink(target, temporary, dir_fd=folder)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)

    def handoffs(self) -> list[Handoff]:
        """All handoff files, in the order of their names."""
        folder = self.path / "engines"
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return [Handoff(path, self._load(path)) for path in sorted(folder.glob("*.json"))]
        return []

    def read_handoff(self, pool_id: str, replica_id: str) -> dict[str, Any] | None:
        """One handoff document; ``None`` if it is missing or unreadable."""
        return self._load(self.handoff_file(pool_id, replica_id))

    def remove_stale(self, keep: Collection[tuple[str, str]], *, first: Mapping[str, str]) -> list[Path]:
        """Remove the pid and handoff files of every replica that does not run; returns what was removed.

        :param keep: the pool and replica ids whose engines run.
        :param first: the first replica's id of each pool; ``<pool>.pid`` stays only if that one runs.
        """
        wanted = {self.pid_file(*key) for key in keep} | {self.handoff_file(*key) for key in keep}
        wanted |= {self.pid_file(pool_id) for pool_id, replica_id in first.items() if (pool_id, replica_id) in keep}
        removed = []
        found = [*self.path.glob("*.pid"), *(self.path / "engines").glob("*.json")]
        found += [*self.path.glob(f"{TEMPORARY}*"), *(self.path / "engines").glob(f"{TEMPORARY}*")]
        for path in sorted(found):
            if path in wanted:
                continue
            try:
                self._remove(path)
            except PoolManagerError as error:
                # In nobody's way: no reason not to start.
                _log.warning("a stale file stays where it is: %s", error.message)
            else:
                removed.append(path)
        return removed

    def forget_replica(self, pool_id: str, replica_id: str, *, first: bool) -> None:
        """Remove everything but the log of a replica that is no longer configured."""
        self.remove_handoff(pool_id, replica_id)
        self.remove_pid(pool_id, replica_id, first=first)
        shutil.rmtree(self.path / "work" / f"{pool_id}-{replica_id}", ignore_errors=True)
        if first:
            self._remove(self.path / f"engine-{pool_id}.log")

    # Plumbing.

    @contextmanager
    def _folder(self, name: str) -> Iterator[int]:
        """A descriptor of the state directory, or of one of its folders, which is made if it is missing."""
        path = self.path / name if name else self.path
        with _reported(path):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if name:
                parent = descriptor
                try:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, _FOLDER_MODE, dir_fd=parent)
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    descriptor = os.open(name, flags, dir_fd=parent)
                finally:
                    os.close(parent)
        try:
            if name:
                with _reported(path):
                    _secure(descriptor, path)
            yield descriptor
        finally:
            os.close(descriptor)

    def _write(self, folder_name: str, name: str, data: bytes) -> None:
        path = self.path / folder_name / name
        with self._folder(folder_name) as folder, _reported(path):
            temporary = _temporary_name()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, _FILE_MODE, dir_fd=folder)
            try:
                try:
                    view = memoryview(data)
                    while view:
                        view = view[os.write(descriptor, view) :]
                finally:
                    os.close(descriptor)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise

    def _remove(self, path: Path) -> None:
        with _reported(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()

    def _read(self, path: Path, limit: int) -> bytes:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return b""
        try:
            with contextlib.suppress(OSError):
                return os.read(descriptor, limit)
            return b""
        finally:
            os.close(descriptor)

    def _load(self, path: Path) -> dict[str, Any] | None:
        try:
            document = json.loads(self._read(path, _MAX_HANDOFF_BYTES))
        except ValueError:
            return None
        return document if isinstance(document, dict) else None


def _temporary_name() -> str:
    return f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(6)}"


def _secure(descriptor: int, path: Path) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        owner = found.st_uid
        raise _unavailable(path, f"it belongs to another user (uid {owner}), who could replace what is in it")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))


def _unavailable(path: Path, reason: str) -> PoolManagerError:
    return PoolManagerError(
        Code.STORE_UNAVAILABLE,
        f"{path} cannot be used: {reason}",
        hint="Make server.state_dir a folder that the daemon's user owns and can write to, with room on its disk.",
        details={"path": str(path), "reason": reason},
    )


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unavailable(path, error.strerror or str(error)) from error
