"""When a handoff file comes and goes, seen from outside."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.event_log import ROUNDING_S
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.faults import FaultKeywords
from PoolManagerLibrary.units import seconds, show_seconds, show_time
from PoolManagerLibrary.waiting import wait_until


class HandoffWatchKeywords(Keywords):
    """Keywords that watch a handoff file."""

    @keyword
    def watch_handoff_file(self, engine: str = "the engine") -> None:
        """Notes in the background when the handoff file of a replica, which is there now, was seen last.

        Example:
        | Watch Handoff File |
        | Stop Pool |
        | Handoff File Should Be Gone Before | stopped |
        """
        pool, replica = self.scenario.replica(engine)
        path = self.world.selected.handoff_path(pool.pool_id, replica)
        if not path.exists():
            raise ExpectationFailed(f"There is no handoff file {path}.")
        watch = _FileWatch(path)
        self.scenario.memory["handoff_watch"] = watch
        self.scenario.cleanups.append(("the watch of the handoff file", watch.stop))

    @keyword
    def handoff_file_should_be_gone_before(
        self, phase: str, engine: str = "the engine", within: timedelta = timedelta(seconds=3)
    ) -> None:
        """Waits for the replica's event of a phase; the handoff file must not have been seen after it.

        Example:
        | Handoff File Should Be Gone Before | stopped |
        """
        watch: _FileWatch = self.scenario.memory["handoff_watch"]
        event = wait_until(
            lambda: [one for one in self.phases_of(engine, phase) if one.at > watch.began],
            bool,
            timeout=seconds(within),
            expected=f"{engine} to reach phase {phase}",
            show=lambda _: "no such event",
            context=lambda: self.explain(self.scenario.replica(engine)[0]),
        ).value[0]
        time.sleep(0.02)
        watch.stop()
        if watch.path.exists() or watch.last_seen > event.at + ROUNDING_S:
            raise ExpectationFailed(
                f"{watch.path.name} was still there at {show_time(watch.last_seen)}, after {event.describe()}."
            )

    @keyword
    def handoff_file_should_be_gone_within(
        self, within: timedelta, after: str = "act", engine: str = "the engine"
    ) -> None:
        """Checks that the watched handoff file was not seen later than a time after the last act, or after an event.

        Example:
        | Watch Handoff File |
        | Kill Engine |
        | Handoff File Should Be Gone Within | 500 ms |
        """
        watch: _FileWatch = self.scenario.memory["handoff_watch"]
        since = self.scenario.act_at
        if after != "act":
            pool, _ = self.scenario.replica(engine)
            self.world.sync_events()
            found = [one for one in self.pool_events(pool) if one.kind == after and one.at > watch.began]
            if not found:
                raise ExpectationFailed(f"There is no event of kind {after}.\n{self.explain(pool)}")
            since = found[0].at
        wait_until(
            watch.path.exists,
            lambda there: not there,
            timeout=max(0.0, since + seconds(within) - time.time()) + 0.05,
            expected=f"{watch.path.name} to be gone",
        )
        watch.stop()
        took = watch.last_seen - since
        logger.info(f"Last seen {show_seconds(took)} after {after}.")
        if took > seconds(within):
            raise ExpectationFailed(f"{watch.path.name} was there for {show_seconds(took)}; {within} are allowed.")

    @keyword
    def watch_for_handoff_file(self, engine: str = "the engine") -> None:
        """Notes in the background when the handoff file of a replica, which is not there now, is seen first.

        Example:
        | Watch For Handoff File |
        | Preload Pool | wait=5 s |
        | Handoff File Should Have Come After Engine |
        """
        pool, replica = self.scenario.replica(engine)
        path = self.daemon.handoff_path(pool.pool_id, replica)
        if path.exists():
            raise ExpectationFailed(f"There is a handoff file {path} already.")
        watch = _FileWatch(path)
        self.scenario.memory["handoff_watch"] = watch
        self.scenario.cleanups.append(("the watch of the handoff file", watch.stop))

    @keyword
    def handoff_file_should_have_come_after_engine(self, engine: str = "the engine") -> None:
        """Checks that `Watch For Handoff File` did not see the file before the engine's process had answered 200.

        Example:
        | Handoff File Should Have Come After Engine |
        """
        watch: _FileWatch = self.scenario.memory["handoff_watch"]
        wait_until(lambda: watch.first_seen, bool, timeout=1, expected=f"{watch.path.name} to be seen")
        watch.stop()
        ready = self.phases_of(engine, "ready")[-1]
        requests = FaultKeywords(self.world).get_engine_requests(engine, "/health")
        good = [one for one in requests if one["pid"] == ready.details["pid"] and one["status"] == 200]
        if not good or (watch.first_seen or 0.0) < float(good[0]["at"]) / 1000 - ROUNDING_S:
            raise ExpectationFailed(
                f"{watch.path.name} was there at {show_time(watch.first_seen or 0.0)}, before the engine's good answer."
            )


class _FileWatch:
    """Notes when a file was seen first (never too early) and last (never too late)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.began = time.time()
        self.last_seen = self.began
        self.first_seen: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="file-watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            at = time.time()
            if self.path.exists():
                self.last_seen = at
                self.first_seen = self.first_seen or time.time()
            time.sleep(0.0005)

    def stop(self) -> None:
        """End watching."""
        self._stop.set()
        self._thread.join(1)
