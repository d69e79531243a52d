"""The use cases of the daemon, as the API layers see them: the only way in.

Both protocols call this and nothing else. Values are checked by the service, so that gRPC and HTTP refuse
alike; every refusal is a :class:`~pool_managerd.core.errors.PoolManagerError`. Durations end in ``_ms``
(milliseconds) or ``_s`` (seconds). A method that takes a pool id raises POOL_NOT_FOUND for one that is not
configured, and every one that changes something raises SHUTTING_DOWN once the daemon is about to end.

A caller that hangs up never undoes what it asked for: the API layers let each changing call run to its end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from pool_managerd.core.events import Event
from pool_managerd.core.status import (
    ConfigChanges,
    DeviceList,
    DrainResult,
    LeaseStatus,
    PoolList,
    PoolStatus,
    ReadySummary,
)


class Service(Protocol):
    """What can be asked of the daemon."""

    version: str

    def health(self) -> dict[str, Any]:
        """``{"status": "ok", "version": …}``, whenever the daemon serves."""
        ...

    def ready(self) -> ReadySummary:
        """Whether every pool that is desired to run is ready."""
        ...

    def list_pools(self) -> PoolList:
        """All pools, sorted by id."""
        ...

    def get_pool(self, pool_id: str) -> PoolStatus:
        """One pool."""
        ...

    def pool_ready(self, pool_id: str) -> bool | None:
        """Whether the pool is ready; ``None`` for one that is not configured."""
        ...

    def is_leaving(self, pool_id: str) -> bool:
        """Whether the config no longer has the pool, and its leases may still be renewed and given back."""
        ...

    async def preload(self, pool_id: str, *, wait_s: float | None = None) -> tuple[PoolStatus, bool]:
        """Set desired = running. True: the pool is ready; False: the load goes on (or the wait is over)."""
        ...

    async def drain(
        self, pool_id: str, *, deadline_ms: int | None = None, wait_s: float | None = None
    ) -> tuple[PoolStatus, DrainResult | None]:
        """Set desired = stopped. ``None`` for a result: the drain goes on."""
        ...

    async def cancel_drain(self, pool_id: str) -> PoolStatus:
        """Cancel a drain that still waits; CONFLICT if the engine is stopping already."""
        ...

    async def reload(
        self, pool_id: str, *, new_model_ref: str, drain_deadline_ms: int | None = None, wait_s: float | None = None
    ) -> tuple[PoolStatus, bool]:
        """Move the pool to another model. True: it runs the new model; False: the reload goes on."""
        ...

    async def reset_circuit(self, pool_id: str) -> PoolStatus:
        """Close the breakers and try at once."""
        ...

    async def acquire_lease(self, pool_id: str, *, holder: str | None = None, ttl_ms: int | None = None) -> LeaseStatus:
        """Grant a lease, after its commit."""
        ...

    def list_leases(self, pool_id: str) -> list[LeaseStatus]:
        """The active leases of a pool."""
        ...

    async def renew_lease(self, pool_id: str, lease_id: str, *, ttl_ms: int | None = None) -> LeaseStatus:
        """Move a lease's expiry to a full TTL from now."""
        ...

    async def release_lease(self, pool_id: str, lease_id: str) -> None:
        """End a lease; ending it again is fine."""
        ...

    async def logs(
        self, pool_id: str, *, replica: str | None = None, tail: int | None = None, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """The engine's log in chunks. Refusals are raised by the call, not by the first chunk."""
        ...

    async def devices(self) -> DeviceList:
        """All GPUs."""
        ...

    async def watch(self, since: int | None = None) -> AsyncIterator[list[Event]]:
        """Events after revision ``since``, without end. Without it: one event of kind daemon, then what is new.

        They come in lists, as many at a time as there are. Refusals (STORE_UNAVAILABLE where past events cannot be
        read now) are raised by the call, not by the first event. A watcher that is too slow is given an event of kind
        gap; it never delays others.
        """
        ...

    async def reload_config(self, *, dry_run: bool = False) -> ConfigChanges:
        """Read the config file again and apply (or only say) what changed."""
        ...
