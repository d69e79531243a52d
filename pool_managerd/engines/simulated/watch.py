"""Waiting for changes of a file by inotify, through libc: quick to import, and without any package."""

from __future__ import annotations

import ctypes
import os
import struct

_CLOSE_WRITE, _MOVED_TO, _DELETE = 0x8, 0x80, 0x200
_EVENT = struct.Struct("iIII")


class FileWatch:
    """Tells when files in a folder were written, replaced or removed.

    :raises OSError: if the kernel refuses the watch.
    """

    def __init__(self, folder: str) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.inotify_init1(os.O_CLOEXEC)
        if self.fd < 0 or libc.inotify_add_watch(self.fd, os.fsencode(folder), _CLOSE_WRITE | _MOVED_TO | _DELETE) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {folder}")

    def wait(self) -> set[str]:
        """Block until something changed, and name the files."""
        data = os.read(self.fd, 65536)
        names: set[str] = set()
        position = 0
        while position < len(data):
            _, _, _, length = _EVENT.unpack_from(data, position)
            position += _EVENT.size
            names.add(os.fsdecode(data[position : position + length].rstrip(b"\0")))
            position += length
        return names
