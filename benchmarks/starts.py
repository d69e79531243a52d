"""How long the programs take to start."""

from __future__ import annotations

import subprocess
import sys
import time

from harness import BenchDaemon, Figure, environment, program


def measure(rounds: int) -> list[Figure]:
    """The command line, and the daemon until its first answer. The baseline is a Python that does nothing."""
    bare = _times([sys.executable, "-c", "pass"], rounds)
    least = sorted(bare)[len(bare) // 2]
    figures = [Figure("python -c pass", tuple(bare))]
    with BenchDaemon([]) as daemon:
        for arguments in (["--version"], ["--help"], ["status", "--address", daemon.address], ["example-config"]):
            took = _times([*program(), *arguments], rounds)
            figures.append(Figure(f"pool-managerd {arguments[0]}", tuple(took), least, "python -c pass"))
    serve = []
    for _ in range(max(5, rounds // 3)):
        with BenchDaemon([]) as daemon:
            serve.append(daemon.started_in_s * 1000)
    figures.append(Figure("pool-managerd serve → GET /health is 200", tuple(serve), least, "python -c pass"))
    return figures


def _times(command: list[str], rounds: int) -> list[float]:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment())
        took.append((time.perf_counter() - began) * 1000)
    return took
