"""The disk that the state directory lies on: a small one, full, and with room again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from pathlib import Path

from robot.api import SkipExecution
from robot.api.deco import keyword

from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.units import parse_size

_PIECE = bytes(4096)
#: How often a full disk is filled again, in seconds: what the daemon removes makes room.
REFILL_S = 0.001


class DiskKeywords(Keywords):
    """Keywords about a disk of its own for the state directory."""

    @keyword
    def put_state_on_small_disk(self, size: str = "8 MiB") -> None:
        """Mounts a small disk of its own for the state directory of the scenario's daemon, which must not run yet.

        Skips the test, with the reason, where this run may not mount anything.

        Example:
        | Prepare Daemon |
        | Put State On Small Disk | 8 MiB |
        """
        daemon = self.own_daemon()
        if daemon.is_running:
            raise UsageError("The daemon runs already: say this before it is started.")
        folder = daemon.state_dir
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = f"size={parse_size(size)},mode=700"
        command = ["mount", "-t", "tmpfs", "-o", options, "pool-managerd-test", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
            problem = done.stderr.strip() if done.returncode else ""
        except FileNotFoundError:
            problem = "there is no mount program"
        if problem:
            self.world.skip_reason = f"Needs the right to mount a small disk: {problem}"
            raise SkipExecution(self.world.skip_reason)
        disk = _Disk(folder)
        self.scenario.memory["disk"] = disk
        self.scenario.cleanups.append(("the small disk", disk.unmount))

    @keyword
    def fill_disk(self) -> None:
        """Takes all room on the disk of `Put State On Small Disk`, and goes on taking what becomes free.

        Example:
        | Fill Disk |
        """
        self._disk().fill()
        self.scenario.act("the disk is full")

    @keyword
    def free_disk(self) -> None:
        """Gives back what `Fill Disk` took.

        Example:
        | Free Disk |
        """
        self.scenario.act("the disk has room again")
        self._disk().free()

    def _disk(self) -> _Disk:
        disk: _Disk | None = self.scenario.memory.get("disk")
        if disk is None:
            raise UsageError("Put State On Small Disk first.")
        return disk


class _Disk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def fill(self) -> None:
        descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        _take_all(descriptor)
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(descriptor,), name="full disk", daemon=True)
        self._thread.start()

    def _run(self, descriptor: int) -> None:
        while not self._stop.is_set():
            _take_all(descriptor)
            time.sleep(REFILL_S)
        os.close(descriptor)

    def free(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._ballast.unlink()

    def unmount(self) -> None:
        self.free()
        # Lazily: the daemon, and its engines' logs, are still there.
        command = ["umount", "--lazy", str(self.folder)]
        subprocess.run(command, check=True, timeout=10)


def _take_all(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, _PIECE)
