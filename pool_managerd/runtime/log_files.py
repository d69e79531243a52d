"""Engine logs as files: reading from a place in them, over rotations, and rotating by copying and truncating.

An engine keeps its log open, so the file it writes to has to stay the current one: rotation copies what is there to
``<log>.1`` (older ones move up to ``.2`` …) and then cuts the log off. What the engine writes between the last copy and
the cut is lost; that is one small read and write apart, since everything but the newest bytes was copied before.

An engine may write faster than its log can be copied. So that the disk is bounded all the same, no rotated file is
longer than :func:`archive_limit`, and what is beyond is dropped and counted.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: Bytes read at a time.
CHUNK_BYTES = 256 * 1024
#: What a rotation copies at least, whatever the limit of the log, and what its last step copies at most: the event loop
#: waits for that one.
SPARE_BYTES = 1 << 20
#: How much of rotated files a slow reader may keep open, in bytes: as long as it does, their room on the disk is taken.
BACKLOG_BYTES = 64 << 20
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(slots=True)
class _Segment:
    """A part of a log that is still to be read.

    :param end: ``None`` for the live file.
    :param cut: whether something is missing between its end and the next part.
    """

    descriptor: int
    position: int
    end: int | None
    cut: bool = False


def archive_limit(max_bytes: int) -> int:
    """The longest that a rotated file gets, for a log that is rotated at ``max_bytes``."""
    return max_bytes + max(max_bytes // 4, SPARE_BYTES)


def open_log(path: Path) -> int:
    """A descriptor for reading; the log is made if it is missing, and no link is followed.

    :raises OSError: if that cannot be done, or it is no regular file.
    """
    descriptor = os.open(path, _READ_FLAGS | os.O_CREAT, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return descriptor


class LogReader:
    """Reads a log from a place in it to its end, each byte once, over any number of rotations.

    :param offset: bytes to leave out; ``None`` begins at the end. Beyond the end means that the log was rotated
        since the offset was noted: all that is there now is newer.

    :ivar gaps: how many times something was left out that this reader had not read yet.
    """

    def __init__(self, path: Path, offset: int | None) -> None:
        descriptor = open_log(path)
        size = os.fstat(descriptor).st_size
        start = size if offset is None else offset if offset <= size else 0
        self.path = path
        self.gaps = 0
        self._segments = deque([_Segment(descriptor, start, None)])

    @classmethod
    def of_last_lines(cls, path: Path, lines: int) -> LogReader:
        """Begins so many lines before the end, which may lie in a rotated file."""
        reader = cls(path, 0)
        live = reader._segments[0]
        live.position, found = _last_lines(live.descriptor, os.fstat(live.descriptor).st_size, lines)
        for archive in archives(path):
            if found >= lines:
                break
            try:
                descriptor = os.open(archive, _READ_FLAGS)
            except OSError:
                break
            size = os.fstat(descriptor).st_size
            start, more = _last_lines(descriptor, size, lines - found)
            found += more
            reader._segments.appendleft(_Segment(descriptor, start, size))
        return reader

    def size(self) -> int:
        """Bytes in the live file now."""
        return os.fstat(self._segments[-1].descriptor).st_size

    def remaining(self) -> int:
        """Bytes from its place to the present end."""
        ends = [os.fstat(part.descriptor).st_size if part.end is None else part.end for part in self._segments]
        return sum(max(end - part.position, 0) for end, part in zip(ends, self._segments, strict=True))

    def inode(self) -> int:
        """Inode of the live file."""
        return os.fstat(self._segments[-1].descriptor).st_ino

    def read(self, limit: int = CHUNK_BYTES) -> bytes:
        """What comes next; empty if nothing is there now."""
        while True:
            segment = self._segments[0]
            if segment.end is None:
                if segment.position > os.fstat(segment.descriptor).st_size:
                    segment.position = 0  # cut off by somebody else
                data = os.pread(segment.descriptor, limit, segment.position)
            else:
                data = os.pread(segment.descriptor, min(limit, segment.end - segment.position), segment.position)
            segment.position += len(data)
            if data or len(self._segments) == 1:
                return data
            self._drop_first()

    def rotated(self, archive: Path, size: int, dropped: int = 0) -> None:
        """The live file was cut off; its first ``size`` bytes are in ``archive`` now.

        :param dropped: how many bytes after them are nowhere.
        """
        live = self._segments[-1]
        if live.position < size:
            with contextlib.suppress(OSError):
                self._segments.insert(
                    len(self._segments) - 1, _Segment(os.open(archive, _READ_FLAGS), live.position, size, dropped > 0)
                )
        elif live.position < size + dropped:
            self.gaps += 1
        live.position = 0
        while len(self._segments) > 2 and sum(part.end or 0 for part in self._segments) > BACKLOG_BYTES:
            self._segments[0].cut = True
            self._drop_first()

    def _drop_first(self) -> None:
        part = self._segments.popleft()
        self.gaps += part.cut
        os.close(part.descriptor)

    def replaced(self) -> None:
        """Another file lies at the path now: go on with it after the old one's end."""
        with contextlib.suppress(OSError):
            self._segments.append(_Segment(open_log(self.path), 0, None))
            old = self._segments[-2]
            old.end = os.fstat(old.descriptor).st_size

    def close(self) -> None:
        """Close the files."""
        while self._segments:
            os.close(self._segments.popleft().descriptor)


def _last_lines(descriptor: int, size: int, lines: int) -> tuple[int, int]:
    """Where the last ``lines`` lines of a file begin, and how many there are."""
    if lines <= 0 or size == 0:
        return size, 0
    found = 0
    position = size
    # The newline that ends the last line begins no other one.
    ignored = size - 1
    while position > 0:
        start = max(position - 65536, 0)
        data = os.pread(descriptor, position - start, start)
        index = data.rfind(b"\n")
        while index >= 0:
            if start + index != ignored:
                found += 1
                if found == lines:
                    return start + index + 1, lines
            index = data.rfind(b"\n", 0, index)
        position = start
    return 0, found + 1


def archives(path: Path) -> list[Path]:
    """The rotated files of a log, newest first."""
    numbered = []
    with contextlib.suppress(OSError):
        for file in path.parent.glob(f"{path.name}.*"):
            number = file.name[len(path.name) + 1 :]
            if number.isascii() and number.isdigit():
                numbered.append((int(number), file))
    return [file for _, file in sorted(numbered)]


def tail_lines(path: Path, count: int) -> list[str]:
    """The last ``count`` lines of a log, rotated files included; none if there is no log."""
    if not path.exists():
        return []
    reader = LogReader.of_last_lines(path, count)
    try:
        return b"".join(_chunks(reader)).decode(errors="replace").splitlines()[-count:] if count > 0 else []
    finally:
        reader.close()


def _chunks(reader: LogReader) -> Iterator[bytes]:
    while data := reader.read():
        yield data


class Rotation:
    """One rotation of a log: :meth:`copy` in a thread, then :meth:`finish` on the loop, where the readers are.

    :param keep: how many rotated files stay.
    :param max_bytes: at which length the log is rotated.
    """

    def __init__(self, path: Path, keep: int, max_bytes: int) -> None:
        self._path = path
        self._keep = keep
        self._limit = archive_limit(max_bytes)
        self._temporary = path.with_name(f".tmp-{path.name}")

    def copy(self) -> int:
        """Copy what is there, up to the limit; returns how many bytes.

        :raises OSError: for instance if the disk is full; nothing is left behind then.
        """
        source = os.open(self._path, _READ_FLAGS)
        try:
            with contextlib.suppress(FileNotFoundError):
                self._temporary.unlink()
            target = os.open(
                self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                return _copy(source, target, 0, self._limit)
            finally:
                os.close(target)
        except OSError:
            self._temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(source)

    def finish(self, copied: int, readers: Iterable[LogReader]) -> int:
        """Copy what came meanwhile, cut the log off, and tell its readers where their rest is.

        :returns: how many bytes were dropped, because they were more than is kept.
        :raises OSError: as :meth:`copy` does; the log is whole then.
        """
        source = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            target = os.open(self._temporary, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.lseek(target, copied, os.SEEK_SET)
                size = copied + _copy(source, target, copied, min(self._limit, copied + SPARE_BYTES))
            finally:
                os.close(target)
            dropped = max(0, os.fstat(source).st_size - size)
            os.ftruncate(source, 0)
        except OSError:
            self._temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(source)
        for reader in readers:
            reader.rotated(self._temporary, size, dropped)
        self._shift()
        return dropped

    def _shift(self) -> None:
        for file in reversed(archives(self._path)):
            number = int(file.suffix[1:])
            if number >= self._keep:
                file.unlink()
            else:
                file.rename(self._path.with_name(f"{self._path.name}.{number + 1}"))
        if self._keep > 0:
            self._temporary.rename(self._path.with_name(f"{self._path.name}.1"))
        else:
            self._temporary.unlink()


def _copy(source: int, target: int, start: int, end: int) -> int:
    """Copy from ``start`` to ``end``, or to the file's end if that comes first; returns how many bytes."""
    position = start
    while data := os.pread(source, min(CHUNK_BYTES, end - position), position):
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
        position += len(data)
    return position - start
