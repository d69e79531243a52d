"""When processes end, and processes that cannot be ended."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from robot.api import SkipExecution
from robot.api.deco import keyword

from PoolManagerLibrary import leftovers, unkillable
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.removal import engine_processes
from PoolManagerLibrary.units import seconds, show_time
from PoolManagerLibrary.waiting import wait_until

#: Event times are rounded to the millisecond, and who watches an end is woken a moment later, on a busy machine some
#: tens of milliseconds. A process that nobody ended lives on for longer than that: scenarios make it ignore SIGTERM.
_ROUNDING_S = 0.05


class ProcessEndKeywords(Keywords):
    """Keywords about the ends of processes."""

    @keyword
    def get_engine_children(
        self, engine: str = "the engine", at_least: int = 1, within: timedelta = timedelta(seconds=2)
    ) -> list[int]:
        """Returns the pids of what an engine has started, wherever it went. They are found by their environment.

        Example:
        | ${children} = | Get Engine Children | the engine |
        """
        self.world.need_local("local processes")
        pool, replica = self.scenario.replica(engine)
        main = next(one["pid"] for one in self.status(pool.pool_id)["replicas"] if one["replica_id"] == replica)
        of_replica = set(leftovers.processes_of(f"POOL_MANAGERD_REPLICA={replica}\0"))
        return wait_until(
            lambda: [pid for pid in engine_processes(pool.pool_id) if pid != main and pid in of_replica],
            lambda pids: len(pids) >= at_least,
            timeout=seconds(within),
            expected=f"{engine} of pool {pool.pool_id} to have at least {at_least} child",
            context=lambda: self.explain(pool),
        ).value

    @keyword
    def watch_ends_of_processes(self, *pids: int) -> None:
        """Notes from now on when these processes end, for `Processes Should Have Ended Before Phase`.

        Example:
        | ${children} = | Get Engine Children |
        | Watch Ends Of Processes | @{children} |
        """
        ends = self.scenario.memory.setdefault("process_ends", {})
        for pid in pids:
            watch = _EndWatch(int(pid))
            ends[int(pid)] = watch
            self.scenario.cleanups.append((f"the watch of process {pid}", watch.close))

    @keyword
    def processes_should_have_ended_before_phase(self, phase: str, name: str = "the pool") -> None:
        """Checks that all that `Watch Ends Of Processes` watches had ended when a pool entered a phase.

        Example:
        | Processes Should Have Ended Before Phase | starting | the pool |
        """
        watches: dict[int, _EndWatch] = self.scenario.memory.get("process_ends", {})
        if not watches:
            raise UsageError("Watch Ends Of Processes first.")
        pool = self.scenario.pool(name)
        self.world.sync_events()
        begin = self.scenario.act_at - 0.002
        entered = next(
            (one for one in self.pool_events(pool) if one.kind == "phase" and one.to == phase and one.at >= begin), None
        )
        if entered is None:
            raise ExpectationFailed(f"{name} has not entered phase {phase} since the last act.\n{self.explain(pool)}")
        for pid, watch in watches.items():
            ended = watch.ended_at()
            if ended is None:
                raise ExpectationFailed(f"Process {pid} should have ended, it lives: {leftovers.command_of(pid)}")
            if ended > entered.at + _ROUNDING_S:
                raise ExpectationFailed(
                    f"Process {pid} ended at {show_time(ended)}, after phase {phase} began: {entered.describe()}"
                )

    @keyword
    def measure_cpu_waits_of_daemon(self) -> None:
        """Measures from now on for how long the scenario's own daemon is ready to run and gets no CPU.

        So a time limit can be held to what the daemon itself needs, on a machine that others use as well.

        Example:
        | Measure CPU Waits Of Daemon |
        | Try To Start Daemon |
        | ${waited} = | Get CPU Wait Of Daemon |
        """
        daemon = self.world.selected
        old = daemon.process
        watch = _CpuWaits(lambda: None if daemon.process is None or daemon.process is old else daemon.process.pid)
        self.scenario.memory["cpu_waits"] = watch
        self.scenario.cleanups.append(("the watch of the daemon's waits", watch.close))

    @keyword
    def get_cpu_wait_of_daemon(self) -> float:
        """Returns the seconds that the daemon's main thread waited for a CPU since `Measure CPU Waits Of Daemon`.

        Example:
        | ${waited} = | Get CPU Wait Of Daemon |
        """
        watch: _CpuWaits | None = self.scenario.memory.get("cpu_waits")
        if watch is None:
            raise UsageError("Measure CPU Waits Of Daemon first.")
        watch.close()
        return watch.seconds

    @keyword
    def make_engine_unkillable(self, engine: str = "the engine") -> int:
        """Makes an engine one that no signal ends, like one that hangs in a driver. Returns its pid.

        It lasts until `Let Engine End`. It is done by tracing (ptrace); where that is not allowed the test is skipped
        with the reason.

        Example:
        | Make Engine Unkillable |
        | Stop Pool |
        | Let Engine End |
        """
        pool, replica = self.scenario.replica(engine)
        pid = next(one["pid"] for one in self.status(pool.pool_id)["replicas"] if one["replica_id"] == replica)
        holder = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(unkillable.__file__)), str(pid), str(self.world.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert holder.stdout is not None  # noqa: S101  # asked for above
        answer = holder.stdout.readline().decode().strip()
        self.scenario.memory.setdefault("unkillable", []).append(holder)
        self.scenario.cleanups.append((f"the holder of process {pid}", lambda: _end(holder)))
        if answer != "holding":
            reason = answer or "the program that does it has failed"
            raise SkipExecution(f"No process can be made unkillable here: {reason}.")
        return int(pid)

    @keyword
    def let_engine_end(self) -> None:
        """Takes back `Make Engine Unkillable`: what has been killed is gone now.

        Example:
        | Let Engine End |
        """
        self.scenario.act("the stuck engine can end")
        for holder in self.scenario.memory.pop("unkillable", []):
            _end(holder)


class _EndWatch:
    """Waits in a thread for the end of a process."""

    def __init__(self, pid: int) -> None:
        self._pidfd = os.pidfd_open(pid)
        self._at: float | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"end-of-{pid}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        while not self._closing.is_set():
            if poll.poll(100):
                self._at = time.time()
                return

    def ended_at(self) -> float | None:
        """When it ended, as seconds since the epoch; None: it lives."""
        self._thread.join(0.3)
        return self._at

    def close(self) -> None:
        self._closing.set()
        self._thread.join(1)
        os.close(self._pidfd)


class _CpuWaits:
    """Reads in a thread how long a process has been waiting for a CPU: the kernel counts it in ``schedstat``."""

    def __init__(self, pid: Callable[[], int | None]) -> None:
        self.seconds = 0.0
        self._pid = pid
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cpu-waits", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.wait(0.005):
            pid = self._pid()
            if pid is None:
                continue
            try:
                waited = int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1])
            except (OSError, ValueError, IndexError):
                continue
            self.seconds = max(self.seconds, waited / 1e9)

    def close(self) -> None:
        """Measure no longer."""
        self._closing.set()
        self._thread.join(1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
