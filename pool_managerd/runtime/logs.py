"""Follow engine logs: each new line to whoever watches for faults, each byte to whoever reads along, and rotation.

One inotify instance serves all logs. Everything runs on the event loop but for the copying of a rotation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asyncinotify import Inotify, Mask, Watch

from pool_managerd.runtime.log_files import CHUNK_BYTES, LogReader, Rotation, archives, tail_lines

__all__ = ["LogTail", "LogWatcher", "archives", "tail_lines"]

#: A line is looked at up to this many bytes; the rest of a longer one is left out.
MAX_LINE_BYTES = 64 * 1024
#: Seconds between two looks at the logs where the kernel has no inotify instance left for the daemon.
POLL_S = 0.2
#: Seconds between two notes that an engine writes more than can be kept.
DROP_NOTE_S = 10.0
#: Seconds until a rotation that failed (a full disk) is tried again.
ROTATION_RETRY_S = 30.0

_log = logging.getLogger(__name__)


def _whose(path: Path) -> dict[str, Any]:
    """The pool and replica of a log by its name, ``engine-<pool>-<replica>.log``, for what is logged about it."""
    pool_id, _, replica_id = path.name.removeprefix("engine-").removesuffix(".log").rpartition("-")
    return {"pool_id": pool_id, "replica_id": replica_id}


class LogTail:
    """The lines of one run of an engine, given to a callback as they come.

    :param offset: where the run's lines begin; see :class:`~pool_managerd.runtime.log_files.LogReader`.
    """

    def __init__(self, path: Path, offset: int | None, on_line: Callable[[str], None]) -> None:
        self.reader = LogReader(path, offset)
        self._on_line = on_line
        self._partial = b""
        self._skipping = False
        self._closed = False
        self._gaps = 0

    def close(self) -> None:
        """Hand over nothing more, not even the lines that were read already."""
        self._closed = True
        self.reader.close()

    def read(self) -> bool:
        """Hand over the lines that are there, as far as one chunk goes; whether there may be more."""
        data = b"" if self._closed else self.reader.read()
        if not data:
            return False
        if self.reader.gaps != self._gaps:
            # What comes now continues no line that is known.
            self._gaps, self._partial, self._skipping = self.reader.gaps, b"", True
        *lines, rest = (self._partial + data).split(b"\n")
        for line in lines:
            if self._closed:
                return False
            if self._skipping:
                self._skipping = False
                continue
            self._hand_over(line)
        if len(rest) > MAX_LINE_BYTES:
            if not self._skipping:
                self._hand_over(rest)
            self._skipping = True
        # The rest of a line that is too long is no line of its own.
        self._partial = b"" if self._skipping else rest
        return True

    def _hand_over(self, line: bytes) -> None:
        try:
            self._on_line(line[:MAX_LINE_BYTES].decode(errors="replace").rstrip("\r"))
        except Exception:  # noqa: BLE001 - one line must not keep the others from being judged
            _log.exception("a line of %s could not be judged", self.reader.path, extra=_whose(self.reader.path))


def _open_reader(path: Path, tail: int | None, *, follow: bool) -> LogReader | None:
    if not follow and not path.exists():
        return None
    try:
        return LogReader(path, 0) if tail is None else LogReader.of_last_lines(path, tail)
    except OSError as error:
        _log.warning("log %s cannot be read: %s", path, error, extra=_whose(path))
        return None


@dataclass(slots=True, eq=False)
class _LogFile:
    """A log that somebody follows: at most one tail, any number of readers."""

    path: Path
    watch: Watch | None = None
    tail: LogTail | None = None
    readers: dict[LogReader, asyncio.Event] = field(default_factory=dict)
    rotation: asyncio.Task[None] | None = None
    scheduled: bool = False
    rotate_again_at: float = 0.0
    dropped: int = 0
    dropped_untold: int = 0
    tell_at: float = 0.0

    def all_readers(self) -> list[LogReader]:
        return [*([self.tail.reader] if self.tail else []), *self.readers]


class LogWatcher:
    """All engine logs of the daemon.

    :param max_bytes: a watched log that grows beyond this is rotated.
    :param keep: how many rotated files of each log are kept.
    """

    def __init__(self, max_bytes: int = 64 << 20, keep: int = 3) -> None:
        self._max_bytes = max_bytes
        self._keep = keep
        self._files: dict[Path, _LogFile] = {}
        self._by_descriptor: dict[int, _LogFile] = {}
        self._inotify: Inotify | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def configure(self, max_bytes: int, keep: int) -> None:
        """Change the limits; they count from each log's next line on."""
        self._max_bytes = max_bytes
        self._keep = keep

    def watch(self, path: Path, offset: int | None, on_line: Callable[[str], None]) -> None:
        """Hand each line of the log from ``offset`` on to ``on_line``, and rotate the log when it is too long.

        Replaces an earlier watch of the same log. Lines come on the loop, also those that are there already.

        :param offset: bytes from the log's beginning that belong to earlier runs; ``None`` for all that is there.
        :raises OSError: if the log cannot be opened.
        """
        self.unwatch(path)
        tail = LogTail(path, offset, on_line)
        self._entry(path, tail.reader).tail = tail
        self._schedule(self._files[path])

    def unwatch(self, path: Path) -> None:
        """Hand over no more lines of this log."""
        entry = self._files.get(path)
        if entry is not None and entry.tail is not None:
            entry.tail.close()
            entry.tail = None
            self._drop_unused(entry)

    async def read(self, path: Path, *, tail: int | None = None, follow: bool = False) -> AsyncIterator[bytes]:
        """The log's bytes.

        :param tail: begin with the last so many lines, from rotated files too; ``None``: the current file.
        :param follow: go on with what is written, over rotations, each byte once, until :meth:`close`.
        """
        reader = _open_reader(path, tail, follow=follow)
        if reader is None:
            return
        entry = self._entry(path, reader)
        news = entry.readers[reader] = asyncio.Event()
        # Without follow it ends where it ended when it was asked for, however much is written meanwhile.
        left = None if follow else reader.remaining()
        try:
            while True:
                news.clear()
                data = reader.read() if left is None else reader.read(min(left, CHUNK_BYTES))
                if data:
                    left = None if left is None else left - len(data)
                    yield data
                elif follow and not self._closed:
                    await news.wait()
                else:
                    return
        finally:
            del entry.readers[reader]
            reader.close()
            self._drop_unused(entry)

    async def close(self) -> None:
        """End every watch and every reading along."""
        self._closed = True
        tasks = [entry.rotation for entry in self._files.values() if entry.rotation is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        for entry in list(self._files.values()):
            for news in entry.readers.values():
                news.set()
            self.unwatch(entry.path)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _entry(self, path: Path, reader: LogReader) -> _LogFile:
        """The log's entry, watching the file that lies there now."""
        if self._task is None and not self._closed:
            self._start()
        entry = self._files.setdefault(path, _LogFile(path))
        if self._inotify is not None:
            before = entry.watch
            entry.watch = self._inotify.add_watch(path, Mask.MODIFY)
            self._by_descriptor[entry.watch.wd] = entry
            if before is not None and before.wd != entry.watch.wd:
                # Somebody deleted the log; who reads along goes on with the new one.
                self._by_descriptor.pop(before.wd, None)
                self._remove_watch(before)
                for follower in entry.readers:
                    if follower.inode() != reader.inode():
                        follower.replaced()
        return entry

    def _drop_unused(self, entry: _LogFile) -> None:
        if entry.tail is None and not entry.readers and entry.rotation is None:
            self._files.pop(entry.path, None)
            if entry.watch is not None:
                self._by_descriptor.pop(entry.watch.wd, None)
                self._remove_watch(entry.watch)

    def _remove_watch(self, watch: Watch) -> None:
        if self._inotify is not None:
            try:
                self._inotify.rm_watch(watch)
            except OSError:
                _log.debug("the log was deleted, and its watch with it")

    def _start(self) -> None:
        try:
            self._inotify = Inotify()
        except OSError as error:
            _log.warning("no inotify instance (%s): engine logs are looked at every %g s", error, POLL_S)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="engine logs")

    async def _run(self) -> None:
        while True:
            if self._inotify is None:
                await asyncio.sleep(POLL_S)
                touched = list(self._files.values())
            else:
                event = await self._inotify.get()
                if Mask.Q_OVERFLOW in event.mask:
                    touched = list(self._files.values())
                else:
                    entry = self._by_descriptor.get(event.watch.wd) if event.watch is not None else None
                    touched = [entry] if entry is not None and Mask.MODIFY in event.mask else []
            for entry in touched:
                self._schedule(entry)
                for news in entry.readers.values():
                    news.set()

    def _schedule(self, entry: _LogFile) -> None:
        if not entry.scheduled:
            entry.scheduled = True
            asyncio.get_running_loop().call_soon(self._read_tail, entry)

    def _read_tail(self, entry: _LogFile) -> None:
        entry.scheduled = False
        if entry.tail is None:
            return
        if entry.tail.read():
            # One chunk at a time, so that a chatty engine holds up nothing else.
            self._schedule(entry)
        if entry.tail is not None and entry.rotation is None and entry.tail.reader.size() > self._max_bytes:
            loop = asyncio.get_running_loop()
            if loop.time() >= entry.rotate_again_at:
                entry.rotation = loop.create_task(self._rotate(entry), name=f"rotate {entry.path.name}")

    def _note_dropped(self, entry: _LogFile, dropped: int) -> None:
        """Say how much of a log is lost because it grows faster than it can be copied; not at every rotation."""
        entry.dropped += dropped
        entry.dropped_untold += dropped
        now = asyncio.get_running_loop().time()
        if entry.dropped_untold and now >= entry.tell_at:
            entry.tell_at = now + DROP_NOTE_S
            untold, entry.dropped_untold = entry.dropped_untold, 0
            _log.warning(
                "engine log %s grows faster than it can be copied: %d bytes were dropped, %d so far",
                entry.path,
                untold,
                entry.dropped,
            )

    async def _rotate(self, entry: _LogFile) -> None:
        rotation = Rotation(entry.path, self._keep, self._max_bytes)
        try:
            copied = await asyncio.to_thread(rotation.copy)
            self._note_dropped(entry, rotation.finish(copied, entry.all_readers()))
        except OSError as error:
            entry.rotate_again_at = asyncio.get_running_loop().time() + ROTATION_RETRY_S
            _log.warning("engine log %s could not be rotated: %s", entry.path, error, extra=_whose(entry.path))
        finally:
            entry.rotation = None
            self._schedule(entry)
            self._drop_unused(entry)
