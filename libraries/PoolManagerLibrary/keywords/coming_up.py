"""How engines come up: their probes, their attempts one after the other, and when what of them could be seen."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.daemon_process import program
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.event_log import SeenEvent
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.faults import FaultKeywords
from PoolManagerLibrary.keywords.surfaces import SurfaceKeywords
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.outcome import Protocol
from PoolManagerLibrary.removal import engine_processes
from PoolManagerLibrary.sampling import Sample, Sampler
from PoolManagerLibrary.units import seconds, show_seconds, show_time
from PoolManagerLibrary.waiting import wait_until

#: Event times are rounded to the millisecond.
ROUNDING_S = 0.001
#: SPEC, "How soon": Ready is reported so long after the engine's first good answer, or this share of its load time.
REPORT_LIMIT_S = 0.1
REPORT_SHARE = 0.1
#: What an error is, on whatever surface.
ERROR_FIELDS = ("code", "message", "at", "hint")
#: A pool that is not Ready shows the phase of the replica that comes first in this order (SPEC, "Phases").
PHASE_ORDER = (
    *("draining", "stopping", "loading", "starting", "preflight"),
    *("half_open", "backoff", "circuit_open", "failed", "stopped"),
)
BREAKER_ORDER = ("open", "half_open", "closed")


class ComingUpKeywords(Keywords):
    """Keywords about how engines come up."""

    # -- probes -------------------------------------------------------------------------------------------------

    @keyword
    def get_probe_times(self, engine: str = "the engine", path: str = "/health") -> list[float]:
        """Returns when the engine's latest process was probed, in seconds since its spawn, from its own request log.

        Example:
        | ${times} = | Get Probe Times |
        """
        event = self._phases_of(engine, "loading")[-1]
        requests = FaultKeywords(self.world).get_engine_requests(engine, path)
        return [
            round(float(one["at"]) / 1000 - event.at, 4) for one in requests if one["pid"] == event.details.get("pid")
        ]

    @keyword
    def first_probe_should_come_after(self, spawn_to_probe: timedelta, engine: str = "the engine") -> None:
        """Checks that the engine was not probed before a time after its spawn, and soon then.

        Example:
        | First Probe Should Come After | 300 ms |
        """
        times, limit = self.get_probe_times(engine), seconds(spawn_to_probe)
        if not times:
            raise ExpectationFailed("The engine has never been probed.")
        if not limit - 0.01 <= times[0] <= limit + 0.25:
            raise ExpectationFailed(
                f"The first probe should come {show_seconds(limit)} after the spawn, "
                f"it came after {show_seconds(times[0])}."
            )

    @keyword
    def probes_should_be_apart(
        self,
        at_least: timedelta,
        after: timedelta = timedelta(0),
        until: timedelta = timedelta(days=1),
        at_most: timedelta | None = None,
        engine: str = "the engine",
    ) -> None:
        """Checks how far apart the readiness probes are that came between ``after`` and ``until`` after the spawn.

        Three quarters of the pauses must be ``at_least`` long, and half of them ``at_most``: on a busy machine a
        single pause proves nothing.

        Example:
        | Probes Should Be Apart | at_least=5 ms | until=200 ms | at_most=20 ms |
        | Probes Should Be Apart | at_least=30 ms | after=1 s |
        """
        begin, end = seconds(after), seconds(until)
        times = [one for one in self.get_probe_times(engine) if begin <= one <= end]
        pauses = sorted(second - first for first, second in itertools.pairwise(times))
        if len(pauses) < 3:
            raise ExpectationFailed(f"Too few probes came between {after} and {until} to prove anything: {times}")
        logger.info(
            f"Pauses between {show_seconds(begin)} and {show_seconds(end)}: {[round(one, 4) for one in pauses]}"
        )
        # The engine notes when it has answered, so that a pause may look a little shorter than it was.
        if pauses[len(pauses) // 4] < seconds(at_least) - 0.002:
            raise ExpectationFailed(f"Probes should be {at_least} apart, the pauses are {pauses}.")
        if at_most is not None and pauses[len(pauses) // 2] > seconds(at_most):
            raise ExpectationFailed(f"Probes should be at most {at_most} apart, the pauses are {pauses}.")

    @keyword
    def ready_should_be_reported_in_time(self, engine: str = "the engine", path: str = "/health") -> None:
        """Checks that Ready was reported at most max(100 ms, 10 % of the load time) after the engine could answer 200.

        Counted from its last answer that was not 200, or from the first 200 where there was no other.

        Example:
        | Ready Should Be Reported In Time |
        """
        loading = self._phases_of(engine, "loading")[-1]
        ready = self._phases_of(engine, "ready")[-1]
        requests = FaultKeywords(self.world).get_engine_requests(engine, path)
        before = [
            one
            for one in requests
            if one["pid"] == ready.details.get("pid") and float(one["at"]) / 1000 <= ready.at + ROUNDING_S
        ]
        if not before or before[-1]["status"] != 200:
            raise ExpectationFailed(f"No good answer of the engine is behind {ready.describe()}: {before[-3:]}")
        bad = [one for one in before if one["status"] != 200]
        since = float((bad[-1] if bad else before[0])["at"]) / 1000
        limit = max(REPORT_LIMIT_S, REPORT_SHARE * (ready.at - loading.at))
        took = ready.at - since
        logger.info(f"Ready {show_seconds(took)} after the engine could say so; {show_seconds(limit)} are allowed.")
        if took > limit:
            raise ExpectationFailed(
                f"Ready was reported {show_seconds(took)} after the engine could answer 200; "
                f"{show_seconds(limit)} are allowed."
            )

    @keyword
    def status_should_have_shown_ready_within(self, within: timedelta, name: str = "the pool") -> None:
        """Waits for the first status with live, ready and phase ready; it must come soon after the engine's first 200.

        Example:
        | Start Sampling Surfaces | the pool | HTTP status | gRPC status |
        | Status Should Have Shown Ready Within | 500 ms |
        """
        pool = self.scenario.pool(name)
        good = FaultKeywords(self.world).get_first_good_answer(f"{pool.alias}/r0")
        for surface in ("HTTP status", "gRPC status"):
            took = self._first_shown(name, surface, seconds(within) + 1).asked - good
            logger.info(f"{surface} showed it {show_seconds(took)} after the engine's first good answer.")
            if took > seconds(within):
                raise ExpectationFailed(
                    f"{surface} should show the pool ready within {show_seconds(seconds(within))} of the engine's "
                    f"first good answer, it did so after {show_seconds(took)}."
                )

    def _first_shown(self, name: str, surface: str, patience: float) -> Sample:
        wanted = {"live": True, "ready": True, "phase": "ready"}
        sampler: Sampler = self.scenario.memory["samplers"][self.scenario.pool(name).pool_id]

        def look() -> list[Sample]:
            samples = [sample for sample in list(sampler.samples) if sample.surface == surface]
            return [one for one in samples if all(one.value[field] == value for field, value in wanted.items())]

        return wait_until(
            look, bool, timeout=patience, expected=f"{surface} to show live true, ready true, phase ready"
        ).value[0]

    # -- turns and attempts -------------------------------------------------------------------------------------

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
            lambda: [one for one in self._phases_of(engine, phase) if one.at > watch.began],
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

    # -- files --------------------------------------------------------------------------------------------------

    @keyword
    def watch_handoff_file(self, engine: str = "the engine") -> None:
        """Notes in the background when the handoff file of a replica, which is there now, was seen last.

        Example:
        | Watch Handoff File |
        | Stop Pool |
        | Handoff File Should Be Gone Before | stopped |
        """
        pool, replica = self.scenario.replica(engine)
        path = self.world.selected.state_dir / "engines" / f"{pool.pool_id}-{replica}.json"
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
            lambda: [one for one in self._phases_of(engine, phase) if one.at > watch.began],
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
    def wait_until_surfaces_were_seen(
        self, slow: int, quick: int, name: str = "the pool", within: timedelta = timedelta(seconds=30)
    ) -> None:
        """Waits until each sampled surface was asked and answered after the last act: the slow command line ``slow``
        times, the others ``quick`` times.

        Example:
        | Wait Until Surfaces Were Seen | 3 | 20 |
        """  # noqa: D205  # one sentence
        sampler: Sampler = self.scenario.memory["samplers"][self.scenario.pool(name).pool_id]
        began = self.scenario.act_at

        def look() -> dict[str, int]:
            seen = [sample.surface for sample in list(sampler.samples) if sample.asked > began]
            return {surface: seen.count(surface) for surface in sampler.surfaces}

        wait_until(
            look,
            lambda seen: all(count >= (slow if surface == "CLI" else quick) for surface, count in seen.items()),
            timeout=seconds(within),
            expected=f"the command line to be seen {slow} times and all other surfaces {quick} times",
            show=str,
        )

    @keyword
    def status_should_have_been_live_while_loading(self, name: str = "the pool") -> None:
        """Checks that each status that was seen between the spawn and Ready said live true and ready false.

        Example:
        | Status Should Have Been Live While Loading |
        """
        begin = self._phases_of("the engine", "loading")[0].at
        end = self._phases_of("the engine", "ready")[0].at
        during = [
            sample
            for sample in self._samples(name)
            if isinstance(sample.value, dict)
            and "live" in sample.value
            and sample.asked > begin + ROUNDING_S
            and sample.answered < end - ROUNDING_S
        ]
        if len(during) < 5:
            raise ExpectationFailed(f"The status was seen {len(during)} times only while it loaded: no proof.")
        for sample in during:
            if sample.value["live"] is not True or sample.value["ready"] is not False:
                raise ExpectationFailed(f"{sample.surface} should be live and not ready while it loads: {sample.value}")

    @keyword
    def watch_for_handoff_file(self, engine: str = "the engine") -> None:
        """Notes in the background when the handoff file of a replica, which is not there now, is seen first.

        Example:
        | Watch For Handoff File |
        | Preload Pool | wait=5 s |
        | Handoff File Should Have Come After Engine |
        """
        pool, replica = self.scenario.replica(engine)
        path = self.daemon.state_dir / "engines" / f"{pool.pool_id}-{replica}.json"
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
        ready = self._phases_of(engine, "ready")[-1]
        requests = FaultKeywords(self.world).get_engine_requests(engine, "/health")
        good = [one for one in requests if one["pid"] == ready.details["pid"] and one["status"] == 200]
        if not good or (watch.first_seen or 0.0) < float(good[0]["at"]) / 1000 - ROUNDING_S:
            raise ExpectationFailed(
                f"{watch.path.name} was there at {show_time(watch.first_seen or 0.0)}, before the engine's good answer."
            )

    @keyword
    def create_engine_binary(self, name: str = "my-engine") -> str:
        """Makes a program file of its own that can run the stand-in (a copy of Python). Returns its path.

        Example:
        | ${binary} = | Create Engine Binary |
        | Define Pool | chat | binary=${binary} |
        """
        self.world.need_local("files of the daemon")
        real = Path(sys.executable).resolve()
        folder = self.world.selected.root / f"bin-{self.world.next_id()}"
        folder.mkdir()
        shutil.copy2(real, folder / name)
        # As `venv --copies` does it: tells the copy where its standard library is.
        (folder / "pyvenv.cfg").write_text(f"home = {real.parent}\n", encoding="utf-8")
        self.scenario.cleanups.append((str(folder), lambda: shutil.rmtree(folder, ignore_errors=True)))
        return str(folder / name)

    # -- what surfaces say --------------------------------------------------------------------------------------

    @keyword
    def error_should_be_the_same_everywhere(self, name: str = "the pool") -> dict[str, Any]:
        """Checks that a failed pool's code, text, time and hint are the same in the HTTP status, the list that the
        dashboard reads, gRPC status, /ready over both protocols, ``status --json`` and the event of the failure.
        Returns the error.

        Example:
        | Error Should Be The Same Everywhere |
        """  # noqa: D205  # one list
        pool = self.scenario.pool(name)
        daemon = self.daemon
        seen = {
            "HTTP status": call(daemon, "status", pool_id=pool.pool_id).body["last_error"],
            "dashboard (/v2/pools)": _of_pool(call(daemon, "list").body, pool.pool_id)["last_error"],
            "gRPC status": call(daemon, "status", protocol=Protocol.GRPC, pool_id=pool.pool_id).body["last_error"],
            "/ready": _of_pool(call(daemon, "ready").body, pool.pool_id)["last_error"],
            "gRPC GetReady": _of_pool(call(daemon, "ready", protocol=Protocol.GRPC).body, pool.pool_id)["last_error"],
            "CLI status --json": call(daemon, "status", protocol=Protocol.CLI, pool_id=pool.pool_id).body["last_error"],
        }
        self.world.sync_events()
        failures = [event for event in self.pool_events(pool) if event.kind == "phase" and event.code]
        if not failures:
            raise ExpectationFailed(f"No event of a failure.\n{self.explain(pool)}")
        event = failures[-1]
        seen["event stream"] = {
            "code": event.code, "message": event.reason, "at": event.document["at"], "hint": event.details.get("hint"),
        }  # fmt: skip
        short = {
            surface: {field: (error or {}).get(field) for field in ERROR_FIELDS} for surface, error in seen.items()
        }
        wanted = short["HTTP status"]
        empty = [field for field in ERROR_FIELDS if not wanted[field]]
        if empty:
            raise ExpectationFailed(f"The last error has no {', '.join(empty)}: {wanted}")
        for surface, error in short.items():
            if error != wanted:
                raise ExpectationFailed(f"{surface} shows another error than the HTTP status:\n{error}\n{wanted}")
        return wanted

    @keyword
    def every_status_should_follow_from_its_replicas(self, at_least: int, name: str = "the pool") -> None:
        """Ends the sampling and checks for each status that was seen that phase, live, ready, restart_count and breaker
        of the pool follow from those of its replicas. At least so many different combinations of phases must have
        been seen.

        Example:
        | Start Sampling Surfaces | the pool | HTTP status | gRPC status |
        | Every Status Should Follow From Its Replicas | at_least=5 |
        """  # noqa: D205  # one sentence
        least = int(self.scenario.pool(name).settings.get("min_ready", 1))
        combinations = set()
        for sample in self._samples(name):
            _check_follows(sample, least)
            combinations.add(tuple(sorted(one["phase"] for one in sample.value["replicas"])))
        logger.info(f"Seen: {sorted(combinations)}")
        if len(combinations) < at_least:
            raise ExpectationFailed(
                f"Only {len(combinations)} combinations were seen, that proves too little: {combinations}"
            )

    @keyword
    def every_status_should_count_up(self, field: str = "restart_count", name: str = "the pool") -> None:
        """Ends the sampling and checks that a number in the status has never gone down, on each surface.

        Example:
        | Every Status Should Count Up | restart_count |
        """
        last: dict[str, int] = {}
        for sample in sorted(self._samples(name), key=lambda one: one.asked):
            value = sample.value[field]
            if value < last.get(sample.surface, 0):
                raise ExpectationFailed(f"{field} went from {last[sample.surface]} to {value} on {sample.surface}.")
            last[sample.surface] = value

    @keyword
    def answers_should_be_alike(self, path: str, other: str) -> None:
        """Checks that GET of two paths has the same status and the same document.

        Example:
        | Answers Should Be Alike | /ready | /readyz |
        """
        first, second = self.daemon.http.request("GET", path), self.daemon.http.request("GET", other)
        if (first.status, first.body) != (second.status, second.body):
            raise ExpectationFailed(
                f"GET {other} should answer as GET {path}:\n{second.describe()}\n{first.describe()}"
            )

    @keyword
    def default_should_be(self, key: str, value: str) -> None:
        """Checks a default of the config, as ``pool-managerd example-config`` prints it. A table stands before a dot.

        Example:
        | Default Should Be | readiness.timeout_ms | 120000 |
        | Default Should Be | server.max_parallel_loads | 2 |
        """
        seen = _defaults().get(key)
        if seen != value:
            raise ExpectationFailed(f"The default of {key} should be {value}, it is {seen}.")

    # -- helpers ------------------------------------------------------------------------------------------------

    def _phases_of(self, engine: str, phase: str) -> list[SeenEvent]:
        pool, replica = self.scenario.replica(engine)
        self.world.sync_events()
        return [
            event
            for event in self.pool_events(pool)
            if event.kind == "phase" and event.replica_id == replica and event.to == phase and event.from_ != phase
        ]

    def _samples(self, name: str) -> list[Sample]:
        return SurfaceKeywords(self.world).stop_sampling_surfaces(name)


def _of_pool(document: dict[str, Any], pool_id: str) -> dict[str, Any]:
    return next(one for one in document["pools"] if one["pool_id"] == pool_id)


def _check_follows(sample: Sample, min_ready: int) -> None:
    status = sample.value
    replicas = status["replicas"]
    phases = [one["phase"] for one in replicas]
    ready = phases.count("ready") >= min_ready
    expected = {
        "ready": ready,
        "phase": "ready" if ready else next(phase for phase in PHASE_ORDER if phase in phases),
        "live": any(one["live"] for one in replicas),
        "restart_count": sum(one["restart_count"] for one in replicas),
        "breaker": next(state for state in BREAKER_ORDER if any(one["breaker"]["state"] == state for one in replicas)),
    }
    seen = {field: status[field] for field in expected} | {"breaker": status["breaker"]["state"]}
    if seen != expected:
        raise ExpectationFailed(f"{sample.surface} showed {seen}; from its replicas follows {expected}: {replicas}")


@functools.cache
def _defaults() -> dict[str, str]:
    text = subprocess.run([*program(), "example-config"], capture_output=True, text=True, check=True, timeout=30).stdout
    table, found = "", dict[str, str]()
    for line in text.splitlines():
        if line.startswith("["):
            name = line.split("]")[0].strip("[]")
            table = "" if name == "pool" else name.removeprefix("pool.") + "."
        if line.startswith("# ") and " = " in line:
            key, _, rest = line.removeprefix("# ").partition(" = ")
            found.setdefault(table + key.strip(), rest.split(" # ")[0].strip())
    return found


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
