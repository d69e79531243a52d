"""Waiting for changes of one file, by looking: quick to import, and without any package.

Not by inotify: the kernel needs some 10 ms to take down the watch of a process that was killed, and so long nobody
is told of its end. The stand-in is there to be killed, and how soon that is noticed is measured.
"""

from __future__ import annotations

import os
import time

#: Between two looks, in seconds: 0.2 % of a core for each stand-in.
LOOK_S = 0.01


class FileWatch:
    """Tells when a file was written, replaced or removed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._seen = self._look()

    def wait(self) -> None:
        """Block until the file is another one, or has another content, than at the last look."""
        while (now := self._look()) == self._seen:
            time.sleep(LOOK_S)
        self._seen = now

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116  # a hundred times a second
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
