"""Writes log lines to a file descriptor from a thread of its own, so that a reader who stops never stops the daemon."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import threading
import time

#: How many lines may wait to be written; beyond that lines are dropped and counted.
MAX_WAITING = 10_000
#: How many lines are written at once at most.
_BATCH = 500

_totals = {"dropped": 0}


def dropped_lines() -> int:
    """How many lines this process has lost because nobody read its log."""
    return _totals["dropped"]


class LogWriter:
    """A bounded queue of lines and the thread that writes them in order.

    :param fd: the file descriptor to write to; it stays open.
    """

    def __init__(self, fd: int, *, max_waiting: int = MAX_WAITING) -> None:
        self._fd = fd
        self._queue: queue.Queue[bytes | None] = queue.Queue(max_waiting)
        self._lost = 0
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, line: str) -> None:
        """Queue one line, without its line end. Never blocks; a line that finds no room is counted as lost."""
        data = (line + "\n").encode("utf-8", "backslashreplace")
        if self._closed:
            self._write(data)
            return
        try:
            self._queue.put_nowait(data)
        except queue.Full:
            with self._lock:
                self._lost += 1
                _totals["dropped"] += 1

    def take_lost(self) -> int:
        """Return how many lines were lost since the last call."""
        with self._lock:
            lost, self._lost = self._lost, 0
        return lost

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until all that was queued is written. ``False``: it is not, after ``timeout_s`` seconds."""
        deadline = time.monotonic() + timeout_s
        while self._queue.unfinished_tasks:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits and end the thread, within ``timeout_s`` seconds. Later lines are written directly."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout_s)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            while len(batch) < _BATCH:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            ended = None in batch
            self._write(b"".join(line for line in batch if line is not None))
            for _ in batch:
                self._queue.task_done()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        # The reader may be gone (EPIPE), or the disk full: the daemon goes on without its log.
        with contextlib.suppress(OSError):
            while view:
                view = view[os.write(self._fd, view) :]
