"""What must survive the daemon: documents by kind and key, and the stored events, in one SQLite file.

One writer thread takes what the loop hands it, in order, and writes as much as has gathered in one transaction. All
documents are held in memory too, so that reading never waits, and a database that was deleted, replaced or found
damaged under the running daemon is written anew, whole.

Two ways to write. :meth:`Store.commit` answers only after its transaction, and if that fails nothing of it remains:
for promises. :meth:`Store.post` never fails: what cannot be written now is kept, and written once that works again.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.runtime.database import Change, DamagedError, Database, Name, is_damage, is_disconnect, set_aside
from pool_managerd.runtime.store_operations import Append, Delete, Operation, Put, Write, encode

__all__ = ["Append", "Delete", "Operation", "Put", "Store"]

#: Seconds between two attempts while the database cannot be written.
RETRY_S = 0.25
#: Seconds after which a commit or a reader is given up whose transaction hangs (a blocked disk).
COMMIT_TIMEOUT_S = 5.0
_LATE = f"no answer within {COMMIT_TIMEOUT_S:g} s"
#: Revisions are reserved in blocks of this size, so that none is used twice after the daemon was killed.
REVISION_BLOCK = 10_000
_BATCH = 1_000

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(slots=True)
class _Call:
    """Something else to be done by the writer thread, after all that was handed to it before."""

    work: Callable[[], Any]
    answer: asyncio.Future[Any]


class Store:
    """The open store. Make it by :meth:`open`; all methods are for the event loop's thread.

    :ivar available: whether the last attempt to write succeeded.
    :ivar unavailable_because: why it did not, in words; empty while it is available.
    :ivar on_availability: called on the loop whenever that changes.
    :ivar first_revision: the first revision of an event that was never handed out before.
    :ivar set_aside: the new name of a damaged or foreign database that :meth:`open` found, else ``None``.
    """

    def __init__(self, path: Path, event_retention: int, on_availability: Callable[[bool], None] | None) -> None:
        self.path = path
        self.available = True
        self.unavailable_because = ""
        self.on_availability = on_availability
        self.first_revision = 1
        self.set_aside: Path | None = None
        self._retention = event_retention
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Write | _Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._mirror: dict[Name, str] = {}
        self._mirror_lock = threading.Lock()
        # The writer thread's own.
        self._database: Database | None = None
        self._inode: tuple[int, int] | None = None
        self._whole = True  # whether the open database holds all that the mirror holds, but for what is unwritten
        self._lost = False  # whether the open database was made anew and its events are gone
        self._unwritten: dict[Name, None] = {}
        self._unwritten_events: list[tuple[int, str]] = []
        self._newest = 0
        self._forgotten = 0
        self._ceiling = 0
        self._since_pruned = 0
        self._writable = True
        # Set by the loop, read by the writer: why nothing is to be written now.
        self._suspended: str | None = None

    @classmethod
    async def open(
        cls, path: Path, *, event_retention: int = 100_000, on_availability: Callable[[bool], None] | None = None
    ) -> Self:
        """Open the store at ``path``, or make it. One that is damaged or not ours is set aside with a warning.

        :param event_retention: how many of the newest events are kept.
        :raises PoolManagerError: STORE_UNAVAILABLE, naming the path, if it can neither be read nor made.
        """
        store = cls(path, event_retention, on_availability)
        store._thread.start()
        try:
            await store._call(store._load)
        except (OSError, sqlite3.Error) as error:
            store._queue.put(None)
            raise _unavailable(path, error) from error
        return store

    async def commit(self, operations: Iterable[Operation]) -> None:
        """Write all of these, after everything handed over before, or nothing.

        Cancelled before it is settled, its documents are not written, or put back; shield a commit that must not be.

        :raises PoolManagerError: STORE_UNAVAILABLE, naming the store; then nothing was written and nothing will be.
        """
        write = encode(operations)
        write.answer = answer = self._loop.create_future()
        self._queue.put(write)
        try:
            done, _ = await asyncio.wait([answer], timeout=COMMIT_TIMEOUT_S)
        except asyncio.CancelledError:
            if not write.abandon():
                _swallow(answer)
            raise
        if not done and write.abandon():
            raise _unavailable(self.path, TimeoutError(_LATE))
        await answer

    def post(self, operations: Iterable[Operation]) -> None:
        """Write these in their turn, however long that takes. Not lost while the daemon lives."""
        self._queue.put(encode(operations))

    def load(self, kind: str) -> dict[str, dict[str, Any]]:
        """All documents of a kind, by key. What was posted just now may not be among them yet."""
        with self._mirror_lock:
            found = {key: text for (of_kind, key), text in self._mirror.items() if of_kind == kind}
        return {key: json.loads(text) for key, text in found.items()}

    async def events_since(self, revision: int, limit: int) -> list[dict[str, Any]]:
        """Up to ``limit`` stored events above ``revision``, in order; with all that was posted before.

        :raises PoolManagerError: STORE_UNAVAILABLE while the database cannot be read.
        """
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                texts = await self._call(lambda: self._read_events(revision, limit))
        except TimeoutError as error:
            raise _unavailable(self.path, TimeoutError(_LATE), verb="read") from error
        except (OSError, sqlite3.Error) as error:
            raise _unavailable(self.path, error, verb="read") from error
        return [json.loads(text) for text in texts]

    async def forgotten_revision(self) -> int:
        """The highest revision that is stored no more, because of the retention or a lost database; 0 if all are."""
        return await self._call(lambda: self._forgotten)

    def poke(self) -> None:
        """Try now whether the database can be written, as something may have become of it."""
        self._queue.put(Write())

    def suspend(self, reason: str) -> None:
        """Write nothing, as if the disk refused it, until :meth:`resume`: the state directory is not ours to use."""
        self._suspended = reason
        self.poke()

    def resume(self) -> None:
        """Take back :meth:`suspend`: what has gathered is written, into a new database where the old one is gone."""
        self._suspended = None
        self.poke()

    async def flush(self) -> bool:
        """Wait until an attempt was made to write all that was posted before; whether nothing is left unwritten."""
        return await self._call(lambda: not (self._unwritten or self._unwritten_events))

    async def close(self) -> None:
        """Write what is left, once more, and close. Later posts are lost."""
        if not self._thread.is_alive():
            return
        await self._call(self._finish)
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, COMMIT_TIMEOUT_S)

    # From here on: the writer thread.

    def _run(self) -> None:
        while True:
            batch = self._take()
            writes: list[Write] = []
            for item in batch:
                if isinstance(item, Write):
                    writes.append(item)
                    continue
                self._flush(writes)
                writes = []
                if item is None:
                    if self._database is not None:
                        self._database.close()
                    return
                self._answer_call(item)
            self._flush(writes)

    def _take(self) -> list[Write | _Call | None]:
        """What has gathered; nothing at all if it is time for another attempt."""
        batch: list[Write | _Call | None] = []
        timeout = None
        if not self._writable:
            timeout = RETRY_S
        elif self._unwritten or self._unwritten_events:
            timeout = 0.0
        try:
            batch.append(self._queue.get(timeout=timeout))
            while len(batch) < _BATCH:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return batch

    def _flush(self, writes: Sequence[Write]) -> None:
        writes = [write for write in writes if not write.abandoned]
        if not writes and self._writable and not (self._unwritten or self._unwritten_events):
            return
        try:
            self._attempt(writes)
        except (OSError, sqlite3.Error, DamagedError) as error:
            self._keep_posts(writes, error)
            self._set_available(_reason(error))
        else:
            self._settle(writes)
            self._set_available("")

    def _attempt(self, writes: Sequence[Write]) -> None:
        try:
            self._transact(writes)
        except (sqlite3.Error, DamagedError) as error:
            if not is_damage(error):
                if is_disconnect(error):
                    self._disconnect()
                raise
            # Broken under the running daemon: everything in it is known here, so write a new one at once.
            self._disconnect()
            name = set_aside(self.path)
            _log.warning("state database %s is damaged (%s) and was set aside as %s", self.path, error, name)
            self._transact(writes)

    def _transact(self, writes: Sequence[Write]) -> None:
        if (suspended := self._suspended) is not None:
            raise OSError(errno.ENOENT, suspended, str(self.path))
        database = self._database
        if database is not None and database.moved():
            _log.warning("state database %s was moved or replaced; it is written anew", self.path)
            self._disconnect()
            database = None
        if database is None:
            database = self._database = Database.open(self.path, expected=self._inode)
            self._inode = database.inode
            self._whole, self._lost = False, database.fresh
        everything = not self._whole
        documents: dict[Name, str | None] = {name: self._mirror.get(name) for name in self._unwritten}
        if everything:
            documents |= self._mirror
        events = list(self._unwritten_events)
        for write in writes:
            documents |= write.documents
            events += write.events
        meta = self._revisions(events, lost=self._lost)
        self._since_pruned += len(events)
        prune = self._since_pruned > max(self._retention // 10, 1)
        change = Change(documents, events, meta)
        removed = database.write(change, everything=everything, keep_events=self._retention if prune else None)
        self._whole, self._lost = True, False
        if prune:
            self._since_pruned = 0
        self._forgotten = max(self._forgotten, meta.get("forgotten", 0), removed or 0)
        self._ceiling = meta.get("ceiling", self._ceiling)
        self._newest = max([self._newest, *(revision for revision, _ in events)])

    def _revisions(self, events: Sequence[tuple[int, str]], *, lost: bool) -> dict[str, int]:
        """The numbers to write: the next block of revisions in good time, and what a lost database took along."""
        newest = max([self._newest, *(revision for revision, _ in events)])
        ceiling = self._ceiling
        if newest > ceiling - REVISION_BLOCK // 2:
            ceiling = newest + REVISION_BLOCK
        # Written in any case: an attempt that writes nothing would not show whether writing works.
        meta = {"ceiling": ceiling}
        if lost:
            meta["forgotten"] = min([revision - 1 for revision, _ in events], default=self._newest)
        return meta

    def _settle(self, writes: Sequence[Write]) -> None:
        self._unwritten.clear()
        self._unwritten_events.clear()
        for write in writes:
            if write.answer is not None and not write.settle():
                # Given up meanwhile: put back what stood there before, at the next turn.
                self._unwritten |= dict.fromkeys(write.documents)
                continue
            self._remember(write)
            if write.answer is not None:
                self._reply(write.answer, None)

    def _keep_posts(self, writes: Sequence[Write], error: Exception) -> None:
        for write in writes:
            if write.answer is not None:
                if write.settle():
                    self._reply(write.answer, _unavailable(self.path, error))
                continue
            self._remember(write)
            self._unwritten |= dict.fromkeys(write.documents)
            self._unwritten_events += write.events
        surplus = len(self._unwritten_events) - self._retention
        if surplus > 0:
            self._forgotten = max(self._forgotten, self._unwritten_events[surplus - 1][0])
            del self._unwritten_events[:surplus]

    def _remember(self, write: Write) -> None:
        with self._mirror_lock:
            for name, text in write.documents.items():
                if text is None:
                    self._mirror.pop(name, None)
                else:
                    self._mirror[name] = text

    def _load(self) -> None:
        found: Database | None = None
        try:
            found = Database.open(self.path)
            self._mirror = found.documents()
            meta = found.meta()
            newest = found.newest_revision()
        except (DamagedError, sqlite3.Error) as error:
            if found is not None:
                found.close()
            if not is_damage(error):
                raise
            self.set_aside = set_aside(self.path)
            _log.warning("state database %s cannot be used (%s); set aside as %s", self.path, error, self.set_aside)
            found = Database.open(self.path)
            # The revisions handed out are not known any more. Milliseconds since 1970 are above all that were.
            self._mirror, meta, newest = {}, {"ceiling": int(time.time() * 1000)}, 0
            meta["forgotten"] = meta["ceiling"]
        self._database = found
        self._inode = found.inode
        self._newest = max(meta.get("ceiling", 0), newest)
        self._forgotten = meta.get("forgotten", 0)
        self.first_revision = self._newest + 1
        self._ceiling = self._newest + REVISION_BLOCK
        found.write(Change({}, [], {"ceiling": self._ceiling, "forgotten": self._forgotten}))

    def _read_events(self, revision: int, limit: int) -> list[str]:
        if self._database is None or not self._writable:
            raise OSError("it is being waited for")
        return self._database.events_since(revision, limit)

    def _finish(self) -> None:
        # No block is needed to the end that can be known.
        self._ceiling = self._newest
        if self._database is not None and self._writable:
            try:
                self._database.write(Change({}, [], {"ceiling": self._newest}))
            except sqlite3.Error as error:
                _log.warning("state database %s could not be closed in order: %s", self.path, error)

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _answer_call(self, call: _Call) -> None:
        try:
            result = call.work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets it
            self._reply(call.answer, error)
        else:
            self._reply(call.answer, result)

    def _set_available(self, problem: str) -> None:
        if self._writable == bool(problem):
            self._writable = not problem
            self._on_loop(self._publish_available, problem)

    def _reply(self, answer: asyncio.Future[Any], result: object) -> None:
        self._on_loop(_resolve, answer, result)

    def _on_loop(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            _log.debug("the loop ended before the store")

    # Back on the loop.

    def _publish_available(self, problem: str) -> None:
        self.available, self.unavailable_because = not problem, problem
        if self.on_availability is not None:
            self.on_availability(self.available)

    async def _call(self, work: Callable[[], _T]) -> _T:
        answer: asyncio.Future[_T] = self._loop.create_future()
        self._queue.put(_Call(work, answer))
        return await answer


def _resolve(answer: asyncio.Future[Any], result: object) -> None:
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def _swallow(answer: asyncio.Future[Any]) -> None:
    """Nobody waits for the answer any more; an error in it is no news."""
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())


def _reason(error: Exception) -> str:
    """Why a write failed, in the system's words."""
    return getattr(error, "strerror", None) or str(error)


def _unavailable(path: Path, error: Exception, *, verb: str = "written") -> PoolManagerError:
    reason = _reason(error)
    return PoolManagerError(
        Code.STORE_UNAVAILABLE,
        f"state database {path} cannot be {verb}: {reason}",
        hint="Check that its disk has room and that the file is the daemon's own; it is tried again by itself.",
        details={"path": str(path), "reason": reason},
    )
