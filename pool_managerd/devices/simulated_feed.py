"""Notices at once what changes in the simulated GPUs' folder: files by inotify, ended holders by pidfd."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable

from asyncinotify import Inotify, Mask

from pool_managerd.devices.simulated_folder import SimulatedFolder, boottime
from pool_managerd.devices.simulated_reader import FolderReader

_MASK = Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE | Mask.CLOSE_WRITE
#: Where the host has no inotify instance left, the folder is looked at this often instead.
_FALLBACK_MS = 100


class FolderFeed:
    """One thread that sleeps in poll() until something happens.

    :param on_change: called in that thread when GPUs, driver or allocations may have changed.
    :param on_xids: called in that thread when the XID feed has grown.
    """

    def __init__(
        self,
        folder: SimulatedFolder,
        reader: FolderReader,
        on_change: Callable[[], None],
        on_xids: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._reader = reader
        self._on_change = on_change
        self._on_xids = on_xids
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._pidfds: dict[tuple[int, int], int] = {}
        self._expiry: float | None = None
        self._inotify = self._open_inotify()
        self._thread = threading.Thread(target=self._run, name="simulated-gpus", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and give back its descriptors."""
        os.eventfd_write(self._wake, 1)
        self._thread.join()

    def _open_inotify(self) -> Inotify | None:
        for path in (self._folder.gpus_path, self._folder.allocations_path):
            with contextlib.suppress(OSError):
                os.makedirs(path, exist_ok=True)  # noqa: PTH103 - the folder's paths are strings, see there
        inotify: Inotify | None = None
        try:
            inotify = Inotify(sync_timeout=0)
            inotify.add_watch(self._folder.path, _MASK | Mask.MODIFY)
            inotify.add_watch(self._folder.gpus_path, _MASK)
            inotify.add_watch(self._folder.allocations_path, _MASK)
        except OSError:
            if inotify is not None:
                inotify.close()
            return None
        self._poll.register(inotify.fd, select.POLLIN)
        return inotify

    def _run(self) -> None:
        try:
            self._follow_holders()
            while True:
                ready = {fd for fd, _ in self._poll.poll(self._timeout_ms())}
                if self._wake in ready:
                    return
                changed, xids = self._drain(ready)
                if self._close_ended(ready) or changed or (self._expiry is not None and boottime() >= self._expiry):
                    self._follow_holders()
                    self._on_change()
                if xids:
                    self._on_xids()
        finally:
            for fd in self._pidfds.values():
                os.close(fd)
            if self._inotify is not None:
                self._inotify.close()
            os.close(self._wake)

    def _timeout_ms(self) -> int | None:
        limits = [_FALLBACK_MS] if self._inotify is None else []
        if self._expiry is not None:
            limits.append(max(1, int((self._expiry - boottime()) * 1000) + 1))
        return min(limits, default=None)

    def _drain(self, ready: set[int]) -> tuple[bool, bool]:
        """What happened: (something but the XID feed changed, the XID feed grew)."""
        if self._inotify is None:
            return True, True
        changed = xids = False
        if self._inotify.fd in ready:
            while (event := self._inotify.sync_get()) is not None:
                name = "" if event.name is None else event.name.name
                if event.mask & Mask.Q_OVERFLOW:
                    changed = xids = True
                elif name == "xids.jsonl":
                    xids = True
                elif name.endswith(".json") and not name.startswith("."):
                    changed = True
        return changed, xids

    def _close_ended(self, ready: set[int]) -> bool:
        ended = [holder for holder, fd in self._pidfds.items() if fd in ready]
        for holder in ended:
            self._forget(holder)
        return bool(ended)

    def _follow_holders(self) -> None:
        state = self._reader.load()
        self._expiry = state.next_expiry
        for holder in self._pidfds.keys() - state.living:
            self._forget(holder)
        for holder in state.living - self._pidfds.keys():
            try:
                fd = os.pidfd_open(holder[0])
            except ProcessLookupError:  # it has just ended: look again at once
                self._expiry = boottime()
            except OSError:  # no descriptor left: look again soon
                self._expiry = boottime() + _FALLBACK_MS / 1000
            else:
                self._pidfds[holder] = fd
                self._poll.register(fd, select.POLLIN)

    def _forget(self, holder: tuple[int, int]) -> None:
        fd = self._pidfds.pop(holder)
        self._poll.unregister(fd)
        os.close(fd)
