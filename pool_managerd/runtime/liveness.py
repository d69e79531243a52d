"""Watching a Ready engine: its health answers, its place on the GPUs, and, if asked for, whether it generates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pool_managerd.config import PoolConfig
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.runtime.canary import Canary
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.loading import check_residency, readiness_path
from pool_managerd.runtime.probe import ProbeFailed, http_request
from pool_managerd.runtime.run import Run


async def watch(
    host: Host,
    config: Callable[[], PoolConfig],
    run: Run,
    *,
    leases: Callable[[], int | None],
    on_failed_probe: Callable[[], None] = lambda: None,
) -> None:
    """Probe until something is wrong. Never returns but by raising.

    :param config: the pool's present config, asked anew at each round, so that a changed interval takes effect.
    :param leases: how many leases the replica has; ``None`` while it takes no new work.
    :param on_failed_probe: called for each probe without a good answer, or without a token where one was due.
    :raises PoolManagerError: HEALTH_CHECK_FAILED, or a spillover.
    """
    canary = Canary(host, run, leases)
    while True:
        pool = config()
        await asyncio.sleep(pool.liveness.interval_ms / 1000)
        pool = config()
        reason = await probe(pool, run)
        if reason is None:
            run.probe_failures = 0
            run.beat(host.clock())
            run.process.note_oom_kills()
            # While NVML itself fails there is no evidence either way: supervision goes on without it.
            snapshot = await host.inventory.refresh()
            if not snapshot.stale:
                await check_residency(host, run, snapshot)
            if pool.liveness.canary and (problem := await canary.look(pool)) is not None:
                on_failed_probe()
                canary.judge(pool, problem)
            continue
        run.note_failed_probe(host.clock())
        on_failed_probe()
        if run.probe_failures >= pool.liveness.failures:
            raise PoolManagerError(
                Code.HEALTH_CHECK_FAILED,
                f"pool {pool.id} replica {run.spec.replica_id} failed {run.probe_failures} health checks in a row; "
                f"the last: {reason}",
                hint="look at the engine's log for what it was doing when it stopped answering",
                details={"failed_probes": run.failed_probes[-run.probe_failures :], "last_answer": reason},
            )


async def probe(pool: PoolConfig, run: Run) -> str | None:
    """One health check of a running engine: ``None`` for a good answer, else what was wrong with it."""
    try:
        answer = await http_request(
            run.spec.host,
            run.spec.port,
            "GET",
            readiness_path(pool, run),
            timeout_s=pool.liveness.probe_timeout_ms / 1000,
        )
    except ProbeFailed as failed:
        return failed.reason
    return None if answer.status == 200 else f"HTTP {answer.status}"
