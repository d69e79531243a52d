"""Notices at once when the state directory is taken away under the running daemon, and makes it whole when it is back.

The daemon does not make the directory again by itself: whoever removed or moved it may have meant it, and a new one at
the same place might be anybody's. Until it is there again nothing is granted; engines go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from asyncinotify import Event, Inotify, Mask

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.runtime.files import STATE_FILES, StateDir
from pool_managerd.runtime.host import Host

_log = logging.getLogger(__name__)

#: Seconds until files that were removed are written anew: whoever empties the directory is let finish first.
SETTLE_S = 0.1
#: Seconds until a directory is tried again that is back and cannot be used yet.
RETRY_S = 1.0
#: Seconds until an inotify instance is asked for again where there was none left.
NO_INOTIFY_S = 60.0

# MASK_ADD: two paths may share a folder, and each adds what it wants to be told of it.
_GONE = Mask.MOVE_SELF | Mask.DELETE_SELF | Mask.ONLYDIR | Mask.MASK_ADD
_CHANGED = Mask.CREATE | Mask.MOVED_TO | Mask.DELETE | Mask.MOVED_FROM
_REMOVED = Mask.DELETE | Mask.MOVED_FROM


class StateWatch:
    """Follows the state directory and the folders above it.

    :param write_anew: called when the directory is whole again: writes the files that others read.
    """

    def __init__(self, host: Host, write_anew: Callable[[], None]) -> None:
        self.host = host
        self.state_dir: StateDir = host.state_dir
        self._write_anew = write_anew
        self._gone = False
        self._retry = False

    async def run(self) -> None:
        """Follow it, for ever."""
        while True:
            try:
                inotify = Inotify()
            except OSError as error:
                _log.warning("no inotify instance (%s): a lost state directory is noticed when it is written to", error)
                await asyncio.sleep(NO_INOTIFY_S)
                continue
            try:
                with inotify:
                    followed = self._follow(inotify)
                    await self._look()
                    await self._changed(inotify, followed)
            except Exception:  # noqa: BLE001 - whatever it was, the directory is looked at again
                _log.exception("looking at the state directory failed; it is tried again in %g s", RETRY_S)
                await asyncio.sleep(RETRY_S)

    def _follow(self, inotify: Inotify) -> dict[int, set[str]]:
        """Watch what there is of the path, and of the one that a link leads to.

        :returns: by watch, the names in that folder that matter.
        """
        path = self.state_dir.path
        followed: dict[int, set[str]] = {}
        for whole in {path, Path(os.path.realpath(path))}:
            below, nearest = whole, True
            for folder in whole.parents:
                mask = _GONE | _CHANGED if nearest else _GONE
                # It is not there, or may not be read: then the one above it tells.
                with contextlib.suppress(OSError):
                    followed.setdefault(inotify.add_watch(folder, mask).wd, set()).add(below.name)
                    nearest = False
                below = folder
        with contextlib.suppress(OSError):
            # A removed journal takes along what was committed, though nothing else is written for long.
            names = STATE_FILES | {f"{self.state_dir.database.name}-wal"}
            followed.setdefault(inotify.add_watch(path, _GONE | _REMOVED).wd, set()).update(names)
        return followed

    async def _changed(self, inotify: Inotify, followed: dict[int, set[str]]) -> None:
        """Wait until something may have become of the directory."""
        while True:
            try:
                async with asyncio.timeout(RETRY_S if self._retry else None):
                    event = await inotify.get()
            except TimeoutError:
                return
            if _matters(event, followed):
                return

    async def _look(self) -> None:
        """Judge what is there."""
        emptied = not self.state_dir.is_whole(self.host.state_id) or not self.state_dir.database.exists()
        if not self._gone and self.state_dir.is_there() and emptied:
            await asyncio.sleep(SETTLE_S)
        if not self.state_dir.is_there():
            self._retry = False
            if not self._gone:
                self._gone = True
                self.host.store.suspend("it was removed or moved away; make it again, and all is written anew")
        elif self._gone or not self.state_dir.is_whole(self.host.state_id):
            self._make_whole()
        else:
            # The database may be missing alone.
            self.host.store.poke()

    def _make_whole(self) -> None:
        try:
            self.state_dir.make_whole(self.host.state_id)
        except PoolManagerError as error:
            if not self._retry:
                self._warn(f"{error.message}; it is tried again by itself", str(error.code), error.hint)
            self._gone = self._retry = True
            self.host.store.suspend(error.message)
            return
        self._gone = self._retry = False
        self._warn(f"the state directory {self.state_dir.path} or files in it were removed: they are written anew")
        self.host.store.resume()
        self._write_anew()

    def _warn(self, reason: str, code: str = str(Code.STORE_UNAVAILABLE), hint: str | None = None) -> None:
        self.host.bus.publish(
            EventKind.DAEMON,
            to="warning",
            code=code,
            reason=reason,
            details={"path": str(self.state_dir.path), "hint": hint},
        )


def _matters(event: Event, followed: dict[int, set[str]]) -> bool:
    """Whether an event is about the directory, and not about its neighbours or about files that come and go in it."""
    if event.watch is None or event.name is None or not event.mask & _CHANGED:
        return True
    return str(event.name) in followed.get(event.watch.wd, set())
