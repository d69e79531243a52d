# ruff: noqa: T201 - what it prints is its answer
"""A file system that never answers: whoever looks into it hangs in the kernel (state D), and SIGKILL does not end it.

Run as ``python -I -S hanging_filesystem.py FOLDER``, as root, where there is /dev/fuse. It mounts a FUSE file system on
the folder, prints ``mounted``, takes each request and answers none but the first. A process that waits for an answer
to a request that was taken waits without regard to signals: this is how one looks that hangs in a driver. When this
program ends, the kernel gives up the requests, and those who wait go on, and die.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

# linux/fuse.h
_IN_HEADER = struct.Struct("=IIQQIIIHH")
_OUT_HEADER = struct.Struct("=IiQ")
_FUSE_INIT = 26
#: major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran, max_pages, rest.
_INIT_OUT = struct.Struct("=IIIIHHIIHH8I")


def mount(folder: str) -> int:
    """Mount on the folder; returns the descriptor by which the kernel asks.

    :raises OSError: if this is not allowed here.
    """
    descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0"
    if libc.mount(b"hanging", os.fsencode(folder), b"fuse", 0, options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), folder)
    return descriptor


def main() -> None:
    """Serve until standard input ends."""
    descriptor = mount(sys.argv[1])
    request = os.read(descriptor, 1 << 17)
    _, operation, unique, *_ = _IN_HEADER.unpack_from(request)
    assert operation == _FUSE_INIT, operation
    body = _INIT_OUT.pack(7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, *[0] * 8)
    os.write(descriptor, _OUT_HEADER.pack(_OUT_HEADER.size + len(body), 0, unique) + body)
    print("mounted", flush=True)
    while True:
        os.read(descriptor, 1 << 17)
        print("asked", flush=True)


if __name__ == "__main__":
    main()
