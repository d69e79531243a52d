"""Bringing a pool's replicas to a changed config: some are replaced, some are new, some go.

One worker for each pool, so that two config reloads in a row do not stop and start the same engines against each
other. A model reload under way is let end first. Replacements go one after the other: a pool of several stays Ready.
"""

from __future__ import annotations

import asyncio
from functools import partial

from pool_managerd.core.errors import PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.core.phases import AT_REST, Desired, Phase
from pool_managerd.core.replica_state import DrainCause, Input, Signal
from pool_managerd.runtime.draining import wait_idle
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.replica import Replica
from pool_managerd.runtime.store import Delete


def follow(pool: Pool) -> None:
    """Do in the background what is to be done; a worker that is at it already takes it on."""
    retired = any(one not in pool.config.replica_ids for one in pool.replicas)
    if (retired or pool.outdated) and not pool.is_following:
        pool.follower = pool.host.start_task(_work(pool), f"config of {pool.id}")


async def _work(pool: Pool) -> None:
    while not pool.removed:
        if pool.activity is not None and pool.activity.kind == "reload":
            await pool.changed()
            continue
        retired = [replica for name, replica in pool.replicas.items() if name not in pool.config.replica_ids]
        if retired:
            await asyncio.gather(*(_retire(pool, replica) for replica in retired))
            continue
        outdated = next((replica for name, replica in pool.replicas.items() if name in pool.outdated), None)
        if outdated is None:
            pool.outdated.clear()
            return
        pool.outdated.discard(outdated.replica_id)
        # What its operator stopped takes the new spec with its next start.
        if pool.desired is Desired.RUNNING:
            await _replace(pool, outdated)


async def _retire(pool: Pool, replica: Replica) -> None:
    """Drain and drop a replica that the config no longer has."""
    await _stop_gently(pool, replica)
    await replica.stopping.cleaned_up()
    if replica.replica_id in pool.config.replica_ids:
        # The config has it again by now.
        pool.outdated.add(replica.replica_id)
        return
    pool.retired_restarts += replica.state.history.restart_count
    pool.replicas.pop(replica.replica_id, None)
    replica.forget()
    pool.host.store.post([Delete("replica", f"{pool.id}/{replica.replica_id}")])
    try:
        pool.host.state_dir.forget_replica(pool.id, replica.replica_id, first=False)
    except PoolManagerError as error:
        pool.host.bus.publish(
            EventKind.DAEMON, pool_id=pool.id, to="warning", code=str(error.code), reason=error.message
        )
    pool.post()
    pool.wake()


async def _replace(pool: Pool, replica: Replica) -> None:
    """Stop a replica and start it with the new spec."""
    if not await _stop_gently(pool, replica):
        return
    replica.version = None
    # Whatever the config says by now is what it is started with.
    pool.outdated.discard(replica.replica_id)
    replica.start(Input(Signal.START, reason="its spawn spec changed in the config"), trigger="config")
    while replica.state.phase is not Phase.READY and replica.state.phase not in AT_REST and not pool.removed:
        await pool.changed()


async def _stop_gently(pool: Pool, replica: Replica) -> bool:
    """Drain a replica and stop it; whether it is at rest now and to be started again."""
    run = replica.run
    replica.trigger = "config"
    if replica.state.phase is Phase.READY:
        replica.signal(Input(Signal.DRAIN, drain=DrainCause.RELOAD, reason="its config changed"))
    if replica.state.phase is Phase.DRAINING:
        deadline = pool.host.clock() + pool.config.drain.deadline_ms / 1000
        await wait_idle(pool, [replica], partial(float, deadline))
    if pool.removed:
        return False
    if replica.run is run:
        replica.signal(Input(Signal.STOP, reason="its config changed"))
    while replica.state.phase is Phase.STOPPING or (run is not None and replica.run is run):
        await pool.changed()
    return replica.state.phase in AT_REST and not pool.removed and pool.desired is Desired.RUNNING
