"""Notices at once when the state directory is taken away under the running daemon, and makes it whole when it is back.

The daemon does not make the directory again by itself: whoever removed or moved it may have meant it, and a new one at
the same place might be anybody's. Until it is there again nothing is granted; engines go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

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

_GONE = Mask.MOVE_SELF | Mask.DELETE_SELF | Mask.ONLYDIR
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
                return
            with inotify:
                followed = self._follow(inotify)
                await self._look()
                await self._changed(inotify, followed)

    def _follow(self, inotify: Inotify) -> dict[int, str | None]:
        """Watch what there is of the path; returns, by watch, the one name in that folder that matters, if one does."""
        path = self.state_dir.path
        followed: dict[int, str | None] = {}
        below = path
        nearest = True
        for folder in path.parents:
            mask = _GONE | _CHANGED if nearest else _GONE
            try:
                followed[inotify.add_watch(folder, mask).wd] = below.name
                nearest = False
            except OSError:  # it is not there, or may not be read: then the one above it tells
                pass
            below = folder
        try:
            followed[inotify.add_watch(path, _GONE | _REMOVED).wd] = None
        except OSError:
            _log.debug("the state directory %s is not there", path)
        return followed

    async def _changed(self, inotify: Inotify, followed: dict[int, str | None]) -> None:
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
        if not self.state_dir.is_there():
            self._retry = False
            if not self._gone:
                self._gone = True
                self.host.store.suspend("it was removed or moved away; make it again, and all is written anew")
            return
        if not self._gone and self.state_dir.is_whole(self.host.state_id):
            # The database may be missing alone.
            self.host.store.poke()
            return
        if not self._gone:
            await asyncio.sleep(SETTLE_S)
            if not self.state_dir.is_there():
                return  # its end has been told, too
        self._make_whole()

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


def _matters(event: Event, followed: dict[int, str | None]) -> bool:
    """Whether an event is about the directory, and not about its neighbours or about files that come and go in it."""
    if event.watch is None or event.name is None or not event.mask & _CHANGED:
        return True
    name = followed.get(event.watch.wd)
    return str(event.name) in STATE_FILES if name is None else str(event.name) == name
