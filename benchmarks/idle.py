"""What the daemon costs while nothing happens: two hundred Ready replicas, with their probes and between them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from harness import BenchDaemon, Figure, cpu_s, post, rss_mib

from pool_managerd.devices import simulated_folder

POOLS, REPLICAS = 4, 50
#: The default, and an interval in which no probe falls into the measuring.
PROBED_MS, QUIET_MS = 10_000, 3_600_000
MEASURED_S = 20.0
NEED = 1 << 20


def measure(rounds: int) -> list[Figure]:
    """The daemon's CPU time over 20 s at the default interval of probes, and with none."""
    del rounds  # 20 s are many probes
    with BenchDaemon([_pool(number, PROBED_MS) for number in range(POOLS)], server={"max_parallel_loads": 8}) as daemon:
        for number in range(POOLS):
            pool_id = f"p{number}"
            while sum(one["ready"] for one in daemon.status(pool_id)["replicas"]) < REPLICAS:
                time.sleep(0.2)
        probed = _cpu_ms(daemon.pid)
        daemon.write_config([_pool(number, QUIET_MS) for number in range(POOLS)])
        post(daemon.address, "/v2/config/reload", "")
        time.sleep(PROBED_MS / 1000 + 1)  # each watch takes the new interval over with its next probe
        quiet = _cpu_ms(daemon.pid)
        rss = rss_mib(daemon.pid)
    ready = f"{POOLS * REPLICAS} ready replicas"
    return [
        Figure(f"daemon's CPU between probes, {ready}", (quiet,), unit="ms/s", limit=20.0),
        Figure(f"daemon's CPU, {ready}, each probed every {PROBED_MS // 1000} s", (probed,), unit="ms/s"),
        Figure("  of which one probe", ((probed - quiet) / (POOLS * REPLICAS * 1000 / PROBED_MS),), unit="ms"),
        Figure(f"daemon's resident memory, {ready}", (rss,), unit="MiB"),
    ]


def _cpu_ms(pid: int) -> float:
    """CPU time of a process over some seconds, in milliseconds per second."""
    before, began = cpu_s(pid), time.monotonic()
    time.sleep(MEASURED_S)
    return (cpu_s(pid) - before) / (time.monotonic() - began) * 1000


def _pool(number: int, interval_ms: int) -> dict[str, Any]:
    program = str(Path(__file__).with_name("tiny_engine.py"))
    return {
        "id": f"p{number}",
        "engine": "command",
        "command": [sys.executable, "-I", "-S", program, simulated_folder.__file__, "{port}", str(NEED)],
        "devices": ["0"] * REPLICAS,
        "replicas": REPLICAS,
        "share_devices": True,
        "vram_bytes": NEED,
        "ram_bytes": NEED,
        "liveness": {"interval_ms": interval_ms},
        "stop": {"grace_ms": 1000},
    }
