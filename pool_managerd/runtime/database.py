"""The SQLite file behind the store: opening it safely, telling damage from a shortage, writing one transaction.

Everything here blocks and belongs to the store's writer thread. The journal is a WAL with ``synchronous = NORMAL``:
what was committed survives the daemon's death, the newest commits do not survive a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

#: ``PRAGMA application_id``: "PMGD". A database with another one is not ours.
APPLICATION_ID = 0x504D4744
#: ``PRAGMA user_version``: rises with each change of the tables.
SCHEMA_VERSION = 1
#: Seconds to wait for another program that holds the database locked.
BUSY_S = 1.0

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (kind TEXT, key TEXT, document TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE events (revision INTEGER PRIMARY KEY, event TEXT NOT NULL);
"""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
#: After these the connection may be of no use any more; it is made anew at the next attempt.
_DISCONNECT = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_ERROR})

#: Kind and key of a document.
Name = tuple[str, str]


class DamagedError(Exception):
    """The file is no database, a broken one, or another program's."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one transaction writes. A document that is ``None`` is deleted."""

    documents: Mapping[Name, str | None]
    events: Iterable[tuple[int, str]]
    meta: Mapping[str, int]


class Database:
    """An open database.

    :ivar fresh: whether it was made by :meth:`open` just now.
    :ivar inode: device and inode of its file.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, inode: tuple[int, int], *, fresh: bool) -> None:
        self.path = path
        self.fresh = fresh
        self._connection = connection
        self.inode = inode
        # Where the file system cannot share memory there is none, whatever was asked for.
        self._has_journal = connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        self._journal: tuple[int, int] | None = None

    @classmethod
    def open(cls, path: Path, *, expected: tuple[int, int] | None = None) -> Database:
        """Open the database, or make it.

        :param expected: :attr:`inode` of the file that was open before. If another one lies there now, the journal
            beside it is not its own and is removed.
        :raises DamagedError: if it has to be set aside (:func:`set_aside`).
        :raises OSError, sqlite3.Error: if it cannot be used now.
        """
        if path.is_symlink():
            raise DamagedError("it is a symbolic link")
        # No connection of ours is open now: closing this descriptor would take away its locks.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            if stat.S_IMODE(found.st_mode) != 0o600:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        inode = (found.st_dev, found.st_ino)
        if expected not in (None, inode):
            for suffix in ("-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            fresh = _prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            if is_damage(error):
                raise DamagedError(str(error)) from error
            raise
        except DamagedError:
            connection.close()
            raise
        return cls(path, connection, inode, fresh=fresh)

    def moved(self) -> bool:
        """Whether the file at the path, or its journal, is not the open one any more: deleted, renamed or replaced.

        What is written into a removed journal is lost with the process.
        """
        return _inode(str(self.path)) != self.inode or self._journal not in (None, _inode(f"{self.path}-wal"))

    def close(self) -> None:
        """Close the connection; what is in the journal goes into the database if it can."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def documents(self) -> dict[Name, str]:
        """All documents, as JSON text.

        :raises DamagedError: if one of them is not JSON.
        """
        found: dict[Name, str] = {}
        for kind, key, text in self._connection.execute("SELECT kind, key, document FROM documents"):
            try:
                json.loads(text)
            except (TypeError, ValueError) as error:
                raise DamagedError(f"document {kind}/{key} is not JSON") from error
            found[kind, key] = text
        return found

    def meta(self) -> dict[str, int]:
        """The store's own numbers."""
        return dict(self._connection.execute("SELECT name, value FROM meta"))

    def newest_revision(self) -> int:
        """The highest revision of a stored event; 0 if there is none."""
        return int(self._connection.execute("SELECT coalesce(max(revision), 0) FROM events").fetchone()[0])

    def events_since(self, revision: int, limit: int) -> list[str]:
        """Stored events above ``revision``, in order, as JSON text."""
        rows = self._connection.execute(
            "SELECT event FROM events WHERE revision > ? ORDER BY revision LIMIT ?", (revision, limit)
        )
        return [row[0] for row in rows]

    def write(self, change: Change, *, everything: bool = False, keep_events: int | None = None) -> int | None:
        """Write it all in one transaction, or nothing.

        :param everything: ``change.documents`` are all there are; others are removed.
        :param keep_events: remove all but so many of the newest events.
        :returns: the highest revision that was removed, if any was.
        """
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            if everything:
                connection.execute("DELETE FROM documents")
            kept = [(*name, text) for name, text in change.documents.items() if text is not None]
            connection.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", kept)
            gone = [name for name, text in change.documents.items() if text is None]
            connection.executemany("DELETE FROM documents WHERE kind = ? AND key = ?", gone)
            connection.executemany("INSERT OR REPLACE INTO events VALUES (?, ?)", change.events)
            removed = None if keep_events is None else self._prune(keep_events)
            meta = dict(change.meta) if removed is None else {**change.meta, "forgotten": removed}
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
            connection.execute("COMMIT")
            if self._has_journal:
                # Every transaction has one: none there means that it was removed meanwhile.
                self._journal = self._journal or _inode(f"{self.path}-wal") or _NOWHERE
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise
        return removed

    def _prune(self, keep: int) -> int | None:
        row = self._connection.execute(
            "SELECT revision FROM events ORDER BY revision DESC LIMIT 1 OFFSET ?", (keep,)
        ).fetchone()
        if row is None:
            return None
        self._connection.execute("DELETE FROM events WHERE revision <= ?", row)
        return int(row[0])


_NOWHERE = (0, 0)


def _inode(path: str) -> tuple[int, int] | None:
    """Which file lies at the path; ``None`` for none."""
    try:
        found = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - for each commit; Path costs more
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _prepare(connection: sqlite3.Connection) -> bool:
    """Check whose database it is, and make the tables in an empty one; whether it was empty."""
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    fresh = tables == 0 and application in (0, APPLICATION_ID)
    if not fresh and application != APPLICATION_ID:
        raise DamagedError("it is another program's database")
    if not fresh and version != SCHEMA_VERSION:
        raise DamagedError(f"it has version {version} where this daemon knows version {SCHEMA_VERSION}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    if fresh:
        pragmas = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {pragmas} COMMIT;")
    return fresh


def is_damage(error: Exception) -> bool:
    """Whether the file itself is broken, rather than out of reach or out of room."""
    if isinstance(error, DamagedError):
        return True
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def is_disconnect(error: Exception) -> bool:
    """Whether the connection should be made anew before the next attempt."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISCONNECT


def set_aside(path: Path) -> Path:
    """Rename the database and its journal, so that a new one can be made; returns the new name."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while target.exists() or target.is_symlink():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    path.rename(target)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{target}{suffix}")
    return target
