"""``kill -9`` of an engine until the stream says Unready, until its replacement is spawned, and until that is Ready."""

from __future__ import annotations

import os
import select
import signal
import time
from datetime import datetime
from typing import Any

from harness import BenchDaemon, Figure, simulated_pool

#: No delay at all, and no limit that a benchmark would run into.
RESTART = {
    "initial_ms": 0,
    "floor_ms": 0,
    "max_ms": 0,
    "jitter": 0,
    "rate": 100000,
    "storm_warn": 100000,
    "storm_open": 100000,
}


def measure(rounds: int) -> list[Figure]:
    """Kill the engine again and again; it comes back by itself.

    The baseline is a pidfd of this process on the same engine: what the kernel needs to take a process apart is not the
    daemon's to save.
    """
    pool = simulated_pool("a", restart=RESTART, breaker={"failures": 100000}, simulated={"load_ms": 0})
    to_watcher, to_event, spawned, back, floor = [], [], [], [], []
    with BenchDaemon([pool]) as daemon:
        start = 0
        for _ in range(rounds):
            daemon.watcher.wait(lambda event: event["kind"] == "pool_ready", start=start)
            pid = daemon.status("a")["replicas"][0]["pid"]
            time.sleep(0.05)  # what follows Ready (handoff, commit) is no part of this figure
            start = len(daemon.watcher.seen)
            pidfd = os.pidfd_open(pid)
            killed = time.time()
            os.kill(pid, signal.SIGKILL)
            select.select([pidfd], [], [])
            floor.append((time.time() - killed) * 1000)
            os.close(pidfd)
            unready = daemon.watcher.wait(lambda event: event["kind"] == "pool_unready", start=start)
            replaced = daemon.watcher.wait(_is_spawned, start=start)
            ready = daemon.watcher.wait(lambda event: event["kind"] == "pool_ready", start=start)
            spawned.append((datetime.fromisoformat(replaced.event["at"]).timestamp() - killed) * 1000)
            to_watcher.append((unready.received - killed) * 1000)
            to_event.append((datetime.fromisoformat(unready.event["at"]).timestamp() - killed) * 1000)
            back.append((ready.received - killed) * 1000)
    least = sorted(floor)[len(floor) // 2]
    return [
        Figure("kill -9 → the kernel tells that the engine has ended", tuple(floor)),
        Figure("kill -9 → Unready in the stream", tuple(to_watcher), least, "the kernel tells", limit=20.0),
        Figure("  of which until the event is made", tuple(to_event), least, "the kernel tells"),
        Figure("kill -9 → replacement spawned (no backoff)", tuple(spawned), least, "the kernel tells", limit=30.0),
        Figure("kill -9 → Ready again (no backoff)", tuple(back)),
    ]


def _is_spawned(event: dict[str, Any]) -> bool:
    """The replacement's process is there."""
    return (event["kind"], event["to"]) == ("phase", "loading")
