"""Many pools that preload at once, and how quickly the daemon answers meanwhile."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness import BenchDaemon, Figure, call, connect, cpu_s, rss_mib, simulated_pool

POOLS = 50
#: Seconds between requests of one prober.
PAUSE_S = 0.005
IDLE_S = 5.0


def measure(rounds: int) -> list[Figure]:
    """The usual number of loads at a time, and all at once."""
    del rounds  # one crowd is many requests
    return [*_crowd(2), *_crowd(POOLS)]


def _crowd(at_a_time: int) -> list[Figure]:
    """Start a daemon with 50 pools to preload; ask for all pools on a kept connection.

    The baseline is a bare asyncio HTTP server (``bare_server.py``), asked in the same way in the same seconds: how long
    anybody waits on this host while 50 programs start.
    """
    load_ms = 300 if at_a_time == POOLS else 0
    pools = [simulated_pool(f"p{number:02}", simulated={"load_ms": load_ms}) for number in range(POOLS)]
    with (
        bare_server() as bare,
        BenchDaemon(pools, server={"max_parallel_loads": at_a_time}, gpu_bytes=800 << 30) as daemon,
    ):
        began = time.monotonic()
        ours, floor = Prober(daemon.address, "/v2/pools"), Prober(bare, "/")
        for pool in pools:
            daemon.watcher.wait(_is_ready(pool["id"]), timeout_s=60)
        all_ready = time.monotonic() - began
        during, during_floor = ours.stop(), floor.stop()
        cpu_before = cpu_s(daemon.pid)
        time.sleep(IDLE_S)
        idle = cpu_s(daemon.pid) - cpu_before
        ours = Prober(daemon.address, "/v2/pools")
        time.sleep(1)
        after = ours.stop()
        rss = rss_mib(daemon.pid)
    least = sorted(during_floor)[len(during_floor) // 2]
    loading = f"{POOLS} pools preload, {at_a_time} loads at a time"
    figures = [
        Figure(f"GET /v2/pools while {loading}", tuple(during), least, "a bare server", 50.0, "max"),
        Figure("  the bare server in the same seconds", tuple(during_floor)),
        Figure("  serve answers → all Ready", (all_ready * 1000,)),
    ]
    if at_a_time == POOLS:
        figures += [
            Figure(f"GET /v2/pools with {POOLS} pools ready", tuple(after)),
            Figure(f"daemon's CPU at rest, {POOLS} pools ready", (idle / IDLE_S * 1000,), unit="ms/s"),
            Figure(f"daemon's resident memory, {POOLS} pools ready", (rss,), unit="MiB"),
        ]
    return figures


def _is_ready(pool_id: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["kind"] == "pool_ready" and event["pool_id"] == pool_id


@contextlib.contextmanager
def bare_server() -> Iterator[str]:
    """The address of a server that does nothing else."""
    program = Path(__file__).with_name("bare_server.py")
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.terminate()


class Prober:
    """Asks again and again on one connection, from a thread; notes how long each answer took (ms)."""

    def __init__(self, address: str, path: str) -> None:
        self._stop = threading.Event()
        self._took: list[float] = []
        self._connection = connect(address)
        self._path = path
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._stop.wait(PAUSE_S):
            began = time.perf_counter()
            status, _ = call(self._connection, "GET", self._path)
            self._took.append((time.perf_counter() - began) * 1000)
            if status != 200:
                raise RuntimeError(f"{self._path} answered {status}")

    def stop(self) -> list[float]:
        """End, and say what was seen."""
        self._stop.set()
        self._thread.join()
        self._connection.close()
        return self._took
