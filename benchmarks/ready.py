"""From the engine's first good answer to Ready, as a watcher of the event stream sees it."""

from __future__ import annotations

import time
from datetime import datetime

from harness import BenchDaemon, Figure, call, connect, post, simulated_pool


def measure(rounds: int) -> list[Figure]:
    """Preload and stop one pool again and again.

    The engine notes the time of each answer; the stream's frame is stamped when it has been read. The baseline is one
    health check of the same engine over a kept connection: nobody who asks can know sooner.
    """
    figures = []
    for load_ms in (0, 300):
        pool = simulated_pool("a", preload=False, simulated={"load_ms": load_ms})
        with BenchDaemon([pool]) as daemon:
            to_watcher, to_event, spawn_to_ready, round_trips = [], [], [], []
            for _ in range(rounds):
                start = len(daemon.watcher.seen)
                asked = len(list(daemon.engine_requests("a"))) if start > 4 else 0
                post(daemon.address, "/v2/pools/a/preload")
                spawned = daemon.watcher.wait(lambda event: event["to"] == "loading", start=start)
                ready = daemon.watcher.wait(lambda event: event["kind"] == "pool_ready", start=start)
                first_good = _first_good(daemon, asked)
                to_watcher.append((ready.received - first_good) * 1000)
                to_event.append((_seconds(ready.event["at"]) - first_good) * 1000)
                spawn_to_ready.append((ready.received - spawned.received) * 1000)
                round_trips.append(_round_trip(daemon.status("a")["replicas"][0]["url"]))
                post(daemon.address, "/v2/pools/a/drain?wait=30", '{"deadline_ms": 0}')
        floor = sorted(round_trips)[len(round_trips) // 2]
        loads = f"engine that loads for {load_ms} ms"
        figures += [
            Figure(f"first 200 → Ready, {loads}", tuple(to_watcher), floor, "one health check", limit=20.0),
            Figure(f"  of which until the event is made, {loads}", tuple(to_event), floor, "one health check"),
            Figure(f"spawn → Ready, {loads}", tuple(spawn_to_ready)),
        ]
    return figures


def _first_good(daemon: BenchDaemon, skip: int) -> float:
    """Seconds since the epoch of the first 200 to the health check after ``skip`` requests."""
    for request in list(daemon.engine_requests("a"))[skip:]:
        if request["path"] == "/health" and request["status"] == 200:
            return float(request["at"]) / 1000
    raise RuntimeError("the engine never answered 200")


def _round_trip(url: str) -> float:
    connection = connect(url.partition("://")[2].rstrip("/"))
    call(connection, "GET", "/health")
    began = time.perf_counter()
    call(connection, "GET", "/health")
    took = time.perf_counter() - began
    connection.close()
    return took * 1000


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
