"""Attempts to load: in turn, one after the other, and each Ready earned by its own process."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from datetime import timedelta

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.event_log import ROUNDING_S, SeenEvent
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.faults import FaultKeywords
from PoolManagerLibrary.removal import engine_processes
from PoolManagerLibrary.units import seconds, show_time
from PoolManagerLibrary.waiting import wait_until


class AttemptKeywords(Keywords):
    """Keywords about attempts to load."""

    @keyword
    def get_most_loading_at_once(self) -> int:
        """Returns how many replicas of the scenario's pools were starting or loading at the same time, at most.

        Example:
        | ${most} = | Get Most Loading At Once |
        """
        ids = {pool.pool_id for pool in self.scenario.pools.values()}
        self.world.sync_events()
        loading: set[tuple[str | None, str | None]] = set()
        most = 0
        for event in self.daemon.events.events():
            if event.kind != "phase" or event.pool_id not in ids:
                continue
            key = (event.pool_id, event.replica_id)
            if event.to in {"starting", "loading"}:
                loading.add(key)
            else:
                loading.discard(key)
            most = max(most, len(loading))
        return most

    @keyword
    def pools_should_wait_without_a_process(self, count: int, within: timedelta = timedelta(seconds=2)) -> None:
        """Waits until so many pools wait for their turn: in phase preflight, not live, without any process.

        Example:
        | Pools Should Wait Without A Process | 3 |
        """
        pools = list(self.scenario.pools.values())

        def look() -> list[str]:
            waiting = []
            for pool in pools:
                status = self.status(pool.pool_id)
                if status["phase"] == "preflight" and not status["live"] and status["replicas"][0]["pid"] is None:
                    said = any(event.details.get("waiting_for") == "turn" for event in self.pool_events(pool))
                    if said and not engine_processes(pool.pool_id):
                        waiting.append(pool.pool_id)
            return waiting

        wait_until(
            look,
            lambda waiting: len(waiting) == count,
            timeout=seconds(within),
            expected=f"{count} pools to wait for their turn without a process",
            show=lambda waiting: ", ".join(waiting) or "none",
        )

    @keyword
    def watch_processes(
        self, count: int, name: str = "the pool", within: timedelta = timedelta(seconds=3)
    ) -> list[int]:
        """Waits until a pool has so many processes, and notes from then on when each of them ends. Returns their pids.

        Example:
        | Watch Processes | 2 |
        | Watched Processes Should Have Ended Before | preflight |
        """
        _ = self.daemon
        pool = self.scenario.pool(name)
        pids: list[int] = wait_until(
            lambda: engine_processes(pool.pool_id),
            lambda seen: len(seen) == count,
            timeout=seconds(within),
            expected=f"pool {pool.pool_id} to have {count} processes",
            context=lambda: self.explain(pool),
        ).value
        watch = _ProcessWatch(pids)
        self.scenario.memory["process_watch"] = watch
        self.scenario.cleanups.append(("the watch of the processes", watch.stop))
        return pids

    @keyword
    def watched_processes_should_have_ended_before(
        self, phase: str = "preflight", engine: str = "the engine", within: timedelta = timedelta(seconds=5)
    ) -> None:
        """Waits for the replica's next event of a phase; all watched processes must have ended by then.

        Example:
        | Watched Processes Should Have Ended Before | preflight |
        """
        watch: _ProcessWatch | None = self.scenario.memory.get("process_watch")
        if watch is None:
            raise UsageError("Watch Processes first.")
        pool, _ = self.scenario.replica(engine)
        event = wait_until(
            lambda: [one for one in self.phases_of(engine, phase) if one.at > watch.began],
            bool,
            timeout=seconds(within),
            expected=f"{engine} to reach phase {phase} again",
            show=lambda _: "no such event",
            context=lambda: self.explain(pool),
        ).value[0]
        watch.wait(0.5)
        for pid, ended in watch.ended.items():
            if ended is None:
                raise ExpectationFailed(f"Process {pid} of the attempt before still lives after {event.describe()}.")
            if ended > event.at + ROUNDING_S:
                raise ExpectationFailed(f"Process {pid} ended at {show_time(ended)} only, after {event.describe()}.")

    @keyword
    def every_ready_should_be_earned(self, at_least: int = 1) -> None:
        """Checks over the daemon's whole event stream that each change to phase ready says that readiness and residency
        passed, of the pid that was loading or adopted right before, and, for the scenario's own pools, that this
        pid had answered 200.

        Example:
        | Every Ready Should Be Earned | at_least=3 |
        """  # noqa: D205  # one sentence
        self.world.sync_events()
        mine = {pool.pool_id: pool.alias for pool in self.scenario.pools.values()}
        coming: dict[tuple[str | None, str | None], int | None] = {}
        earned = 0
        for event in self.daemon.events.events():
            key = (event.pool_id, event.replica_id)
            if event.kind == "adopted":
                coming[key] = event.details.get("pid")
            if event.kind != "phase":
                continue
            if event.to == "loading":
                coming[key] = event.details.get("pid")
            elif event.to == "ready" and event.from_ != "draining":
                self._check_earned(event, coming.get(key), mine)
                earned += event.pool_id in mine
            elif event.to != event.from_:
                coming.pop(key, None)
        if earned < at_least:
            raise ExpectationFailed(f"Replicas of this scenario became ready {earned} times only; that proves nothing.")

    def _check_earned(self, event: SeenEvent, pid: int | None, mine: dict[str, str]) -> None:
        details = event.details
        if pid is None or details.get("pid") != pid:
            raise ExpectationFailed(
                f"Ready has the pid {details.get('pid')}, the one that was loading is {pid}: {event.describe()}"
            )
        if details.get("readiness") != "passed" or details.get("residency") not in {"process", "device"}:
            raise ExpectationFailed(
                f"Ready without a passed readiness and residency check: {event.describe()} {details}"
            )
        if event.pool_id not in mine:
            return
        requests = FaultKeywords(self.world).get_engine_requests(f"{mine[event.pool_id]}/{event.replica_id}", "/health")
        good = [one for one in requests if one["pid"] == pid and one["status"] == 200]
        if not good or float(good[0]["at"]) / 1000 > event.at + ROUNDING_S:
            raise ExpectationFailed(f"Process {pid} had not answered 200 before {event.describe()}.")


class _ProcessWatch:
    """Notes when processes end, by their pidfds."""

    def __init__(self, pids: list[int]) -> None:
        self.began = time.time()
        self.ended: dict[int, float | None] = dict.fromkeys(pids)
        self._descriptors: dict[int, int] = {}
        self._stop = threading.Event()
        for pid in pids:
            try:
                self._descriptors[os.pidfd_open(pid)] = pid
            except ProcessLookupError:
                self.ended[pid] = self.began
        self._thread = threading.Thread(target=self._run, name="process-watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poll = select.poll()
        for descriptor in self._descriptors:
            poll.register(descriptor, select.POLLIN)
        left = len(self._descriptors)
        while left and not self._stop.is_set():
            for descriptor, _ in poll.poll(200):
                self.ended[self._descriptors[descriptor]] = time.time()
                poll.unregister(descriptor)
                left -= 1

    def wait(self, timeout: float) -> None:
        """Wait for all of them to end, at most ``timeout`` seconds."""
        self._thread.join(timeout)

    def stop(self) -> None:
        """End watching."""
        self._stop.set()
        self._thread.join(1)
        for descriptor in self._descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._descriptors.clear()
