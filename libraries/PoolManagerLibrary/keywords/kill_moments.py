"""The daemon killed at one exact moment of a preload, and how many processes each replica has from then on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.removal import engine_processes
from PoolManagerLibrary.units import seconds

#: How often is looked whether the moment has come, in seconds: phases may last a millisecond.
LOOK_S = 0.0003
#: How often the processes of a pool are counted, in seconds.
COUNT_S = 0.02


class KillMomentKeywords(Keywords):
    """Keywords about the moment of a kill."""

    @keyword
    def kill_daemon_at(self, moment: str, name: str = "the pool", timeout: timedelta = timedelta(seconds=10)) -> None:
        """``kill -9`` of the scenario's own daemon as soon as a moment of a pool's preload has come.

        ``event PHASE`` is the arrival of the first event of that phase since the last act, ``pid file`` and
        ``handoff file`` the appearance of the file of replica r0.

        Example:
        | Preload Pool |
        | Kill Daemon At | event loading |
        """
        daemon = self.own_daemon()
        come = self._moment(moment, name)
        deadline = time.monotonic() + seconds(timeout)
        while not come():
            if time.monotonic() > deadline:
                raise ExpectationFailed(
                    f"The moment '{moment}' has not come.\n{self.explain(self.scenario.pool(name))}"
                )
            time.sleep(LOOK_S)
        daemon.kill()
        self.scenario.act(f"kill -9 of the daemon at the {moment}")

    def _moment(self, moment: str, name: str) -> Callable[[], bool]:
        pool, daemon = self.scenario.pool(name), self.world.selected
        kind, _, phase = moment.partition(" ")
        if kind == "event":
            since = self.scenario.act_at - 0.002
            return lambda: any(
                one.kind == "phase" and one.to == phase and one.at >= since for one in self.pool_events(pool)
            )
        files = {
            "pid file": daemon.state_dir / f"{pool.pool_id}-r0.pid",
            "handoff file": daemon.handoff_path(pool.pool_id),
        }
        if moment not in files:
            raise UsageError(f"'{moment}' is no moment; say 'event PHASE', 'pid file' or 'handoff file'.")
        return files[moment].exists

    @keyword
    def start_counting_processes(self, name: str = "the pool") -> None:
        """Counts the processes of each replica of a pool in the background, until `No Replica Should Have Had Two`.

        Example:
        | Start Counting Processes |
        """
        counter = _Counter(self.scenario.pool(name).pool_id)
        self.scenario.memory["process_counter"] = counter
        self.scenario.cleanups.append(("the counting of processes", counter.end))

    @keyword
    def no_replica_should_have_had_two(self) -> None:
        """Ends `Start Counting Processes` and checks that no replica ever had two processes at the same time.

        Example:
        | No Replica Should Have Had Two |
        """
        counter: _Counter = self.scenario.memory["process_counter"]
        counter.end()
        if counter.looks < 3:
            raise ExpectationFailed(f"The processes were counted {counter.looks} times only; that proves nothing.")
        if counter.doubled:
            replica, pids = counter.doubled[0]
            raise ExpectationFailed(f"Replica {replica} had the processes {pids} at the same time.")


class _Counter:
    def __init__(self, pool_id: str) -> None:
        self.looks = 0
        self.doubled: list[tuple[str, list[int]]] = []
        self._pool_id = pool_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="process counter", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(COUNT_S):
            self._look()

    def _look(self) -> None:
        replicas: dict[str, list[int]] = {}
        for pid in engine_processes(self._pool_id):
            with contextlib.suppress(OSError, IndexError):
                environ = Path(f"/proc/{pid}/environ").read_bytes()
                replica = environ.split(b"POOL_MANAGERD_REPLICA=")[1].split(b"\0")[0].decode()
                replicas.setdefault(replica, []).append(pid)
        self.looks += 1
        self.doubled += [(replica, pids) for replica, pids in replicas.items() if len(pids) > 1 and _all_live(pids)]

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


def _all_live(pids: list[int]) -> bool:
    """Whether they live at the same time: one that was listed may have ended before the other began."""
    states = []
    for pid in pids:
        with contextlib.suppress(OSError):
            states.append(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0])
    return len([state for state in states if state not in "ZX"]) > 1
