"""Taking a scenario's pools out of the shared daemon again, quickly, and checking that nothing of them is left."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

from PoolManagerLibrary import leftovers
from PoolManagerLibrary.daemon_process import Daemon
from PoolManagerLibrary.errors import DaemonError
from PoolManagerLibrary.scenario import Pool

GRACE_S = 1.0
SETTLE_S = 3.0


def engine_processes(pool_id: str) -> list[int]:
    """All processes that carry the environment marker of a pool, engines and their descendants."""
    return leftovers.processes_of(f"POOL_MANAGERD_POOL={pool_id}\0")


def remove_pools(daemon: Daemon, pools: list[Pool], *, reload_needed: bool) -> list[str]:
    """Stop the pools, take them out of the config, and look for what is left of them.

    :returns: one sentence for each thing that should not be there.
    """
    present = [pool for pool in pools if not pool.removed]
    threads = [threading.Thread(target=_stop, args=(daemon, pool), daemon=True) for pool in present]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for pool in pools:
        daemon.pools.pop(pool.pool_id, None)
    daemon.raw_config = None
    problems = []
    if reload_needed:
        daemon.write_config()
        try:
            outcome = daemon.http.request("POST", "/v2/config/reload", timeout=30)
            if not outcome.ok:
                problems.append(f"The pools could not be removed after the scenario: {outcome.describe()}")
        except DaemonError as error:
            problems.append(f"The pools could not be removed after the scenario: {error}")
    return problems + _left(daemon, pools)


def _stop(daemon: Daemon, pool: Pool) -> None:
    """Drain to the end; an engine that will not go is killed from outside."""
    with contextlib.suppress(DaemonError):
        outcome = daemon.http.request(
            "POST",
            f"/v2/pools/{pool.pool_id}/drain?wait={GRACE_S:g}",
            json_body={"deadline_ms": 0},
            timeout=GRACE_S + 5,
        )
        if outcome.status in {200, 404}:
            return
    _kill_engines(pool)


def _kill_engines(pool: Pool) -> None:
    for pid in engine_processes(pool.pool_id):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _left(daemon: Daemon, pools: list[Pool]) -> list[str]:
    deadline = time.monotonic() + SETTLE_S
    while True:
        problems = _look(daemon, pools)
        if not problems or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    if problems:
        for pool in pools:
            _kill_engines(pool)
    return problems


def _look(daemon: Daemon, pools: list[Pool]) -> list[str]:
    problems = []
    if pools:
        marks = {pool.pool_id: f"POOL_MANAGERD_POOL={pool.pool_id}\0" for pool in pools}
        problems += [
            f"Process {pid} of a pool of this scenario is left: {leftovers.command_of(pid)}"
            for pid in leftovers.processes_of(*marks.values())
        ]
    for pool in pools:
        names = [f"{pool.pool_id}.pid"] + [f"{pool.pool_id}-{replica}.pid" for replica in pool.replicas]
        paths = [daemon.state_dir / name for name in names]
        paths += [daemon.handoff_path(pool.pool_id, replica) for replica in pool.replicas]
        problems += [f"The file {path} is left." for path in paths if path.is_file()]
    return problems
