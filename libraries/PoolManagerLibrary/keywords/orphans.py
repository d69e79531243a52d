"""Engines whose daemon was killed: who becomes their parent, and when that parent reaps them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

from robot.api.deco import keyword

from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.engines import EngineKeywords
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until

#: ``prctl(2)``: orphans among the descendants of this process become its children instead of init's.
PR_SET_CHILD_SUBREAPER = 36
#: How often this process looks for new children, in seconds: nothing tells it that it has got one.
LOOK_S = 0.002


class OrphanKeywords(Keywords):
    """Keywords about the parent of engines whose daemon is gone."""

    @keyword
    def reap_orphans_at_once(self, *but: str) -> None:
        """Makes this run the parent of engines whose daemon dies, which reaps each the moment it ends, as init should.

        A host's own init may be slow, and the kernel tells an engine's exit status to strangers only once it is
        reaped. Engines named in ``but``, which have to run now, are left as zombies until `Reap Orphan`.

        Example:
        | Reap Orphans At Once | engine of pool slow |
        | Kill Daemon |
        """
        self.world.need_local("local processes")
        spared = {EngineKeywords(self.world).get_engine_pid(engine) for engine in but}
        init = _Init(spared)
        self.scenario.memory["init"] = init
        self.scenario.cleanups.append(("the parent of orphans", init.close))

    @keyword
    def reap_orphan(self, engine: str = "the engine", within: timedelta = timedelta(seconds=2)) -> None:
        """Reaps an engine that has ended and that `Reap Orphans At Once` was told to leave.

        The engine is the process that `Remember Engine` saw.

        Example:
        | Reap Orphan | engine of pool slow |
        """
        init: _Init | None = self.scenario.memory.get("init")
        if init is None:
            raise UsageError("Reap Orphans At Once first.")
        pool, replica = self.scenario.replica(engine)
        pid = int(self.scenario.memory[f"pid of {pool.pool_id}-{replica}"])
        self.scenario.act(f"{engine} is reaped")
        wait_until(
            lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG),
            lambda ended: ended is not None,
            timeout=seconds(within),
            expected=f"process {pid} to have ended, so that it can be reaped",
        )
        init.spared.discard(pid)


class _Init:
    """This process as the parent of orphans."""

    def __init__(self, spared: set[int]) -> None:
        self.spared = spared
        self._known: set[int] = set()
        self._stop = threading.Event()
        _set_subreaper(on=True)
        self._thread = threading.Thread(target=self._run, name="init", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            for pid in _engines_among_children() - self._known:
                self._known.add(pid)
                if pid not in self.spared:
                    _reap_when_ended(pid)
            time.sleep(LOOK_S)

    def close(self) -> None:
        """Take no more orphans; those that are children by now are reaped when they end."""
        self._stop.set()
        self._thread.join()
        _set_subreaper(on=False)
        for pid in self.spared:
            _reap_when_ended(pid)


def _set_subreaper(*, on: bool) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _engines_among_children() -> set[int]:
    children: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            children |= {int(word) for word in (task / "children").read_text(encoding="ascii").split()}
    found = set()
    for pid in children:
        with contextlib.suppress(OSError):
            if b"POOL_MANAGERD_POOL=" in Path(f"/proc/{pid}/environ").read_bytes():
                found.add(pid)
    return found


def _reap_when_ended(pid: int) -> None:
    def wait() -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED)

    threading.Thread(target=wait, name=f"reaper of {pid}", daemon=True).start()
