"""Finding, and at the very end killing, every process that a run has started, however it was detached.

A process belongs to a run when the run's own temporary folder stands in its environment or command line, or its
standard output goes there: the daemon has it in all three, engines and their children at least in the last (their log
lies in there).
Run as a program (``python -I -S leftovers.py FOLDER``) it waits for its standard input to close, which happens when
the run
ends for whatever reason, SIGKILL included; then it kills what is left and removes the folder. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time


def _read(path: str) -> bytes:
    # Of every process of the host, several times in each test: the quickest way there is.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    parts = []
    try:
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return b"".join(parts)


def _output_of(pid: str) -> bytes:
    try:
        return os.readlink(f"/proc/{pid}/fd/1".encode())  # noqa: PTH115  # see _read; bytes, for a path may be any
    except OSError:
        return b""


def processes_of(*marks: str, but: tuple[int, ...] = ()) -> list[int]:
    """The living processes that have one of the texts in their environment, command line or standard output's path.

    Zombies do not live.
    """
    needles = [mark.encode() for mark in marks]
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208  # see _read
        if not entry.isdigit() or int(entry) in but or int(entry) == os.getpid():
            continue
        blob = b"\0".join((_read(f"/proc/{entry}/environ"), _read(f"/proc/{entry}/cmdline"), _output_of(entry)))
        if any(needle in blob for needle in needles):
            state = _read(f"/proc/{entry}/stat").rpartition(b")")[2].split()[:1]
            if state not in ([], [b"Z"], [b"X"]):
                found.append(int(entry))
    return sorted(found)


def command_of(pid: int) -> str:
    """The command line of a process for a message."""
    return _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def kill_all(*marks: str, but: tuple[int, ...] = (), rounds: int = 50) -> list[int]:
    """SIGKILL every process of a run until none is left; returns all that were found."""
    killed: set[int] = set()
    for _ in range(rounds):
        found = processes_of(*marks, but=but)
        if not found:
            break
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed.update(found)
        time.sleep(0.02)
    return sorted(killed)


def unmount_all(folder: str) -> None:
    """Unmount what a run had mounted below its folder; lazily, since what still uses it is about to go."""
    for line in _read("/proc/self/mounts").decode(errors="replace").splitlines():
        mounted = line.split()[1]
        if mounted.startswith(f"{folder}/"):
            with contextlib.suppress(OSError):
                os.spawnlp(os.P_WAIT, "umount", "umount", "--lazy", mounted)  # noqa: S606  # nothing for a shell in it


def main() -> None:
    """Wait for the end of the run, then clean up after it."""
    folder = sys.argv[1]
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    kill_all(folder)
    unmount_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
