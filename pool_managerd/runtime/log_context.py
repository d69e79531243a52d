"""What the log says of a pool and its replica beside the event itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pool_managerd.core.events import Event

if TYPE_CHECKING:
    from pool_managerd.runtime.registry import Registry


def context_of(registry: Registry, event: Event) -> Mapping[str, Any]:
    """The fields that the log adds to an event of a pool, also of one that the config no longer has."""
    if event.pool_id is None:
        return {}
    pool = registry.pools.get(event.pool_id)
    if pool is None:
        leaving = registry.leaving.by_id.get(event.pool_id)
        if leaving is None:
            return {}
        pool = leaving.pool
    known = {"engine": pool.config.engine, "model": pool.model_ref}
    replica = pool.replicas.get(event.replica_id) if event.replica_id else None
    if replica is None:
        return known
    return {
        **known,
        "engine_version": replica.version,
        "device_mask": replica.devices,
        "restart_count": replica.state.history.restart_count,
    }
