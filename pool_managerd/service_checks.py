"""What the service judges of the values it is given, and of whether the moment is right."""

from __future__ import annotations

import math

from pool_managerd.core.errors import Code, PoolManagerError, invalid_request
from pool_managerd.core.phases import Desired, Phase
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.pool import Pool

#: The longest that a caller may wait for the outcome of a call, in seconds.
MAX_WAIT_S = 3600.0
#: The most lines of a log that may be asked for at once.
MAX_TAIL = 100_000
#: The most characters of a lease holder's name.
MAX_HOLDER = 256
#: The highest revision that may be asked for.
MAX_REVISION = 2**63 - 1


def check_running(host: Host) -> None:
    """The daemon is not about to end."""
    if host.shutting_down:
        raise PoolManagerError(
            Code.SHUTTING_DOWN,
            "the daemon is shutting down and starts nothing any more",
            hint="try again once it is back",
        )


def check_present(pool: Pool) -> None:
    """The pool is still configured: a config may have removed it while a caller waited for his turn."""
    if pool.removed:
        raise PoolManagerError(Code.POOL_NOT_FOUND, f"pool {pool.id!r} was removed from the config meanwhile")


def check_activity(pool: Pool, wanted: str) -> None:
    """Nothing under way stands against what is wanted (``preload``, ``drain`` or ``reload``)."""
    if pool.activity is not None:
        raise conflict(pool, f"a {wanted}", f"{pool.activity.description} is under way")
    if wanted == "reload" and pool.is_following:
        raise conflict(pool, "a reload", "its replicas are being brought to a changed config")
    if wanted == "preload" and any(
        replica.state.phase is Phase.STOPPING and pool.desired is Desired.STOPPED for replica in pool.replicas.values()
    ):
        raise conflict(pool, "a preload", "the pool is being stopped")


def conflict(pool: Pool, wanted: str, why: str, *, hint: str | None = None) -> PoolManagerError:
    """The refusal of what does not go together with what the pool is doing."""
    return PoolManagerError(
        Code.CONFLICT,
        f"pool {pool.id}: {wanted} is not possible: {why}",
        hint=hint or "wait until the operation under way is over",
        details={"pool_id": pool.id, "operation": None if pool.activity is None else pool.activity.kind},
    )


def check_int(field: str, value: object, *, low: int, high: int, default: int) -> int:
    """An integer within its bounds; ``None`` stands for the default."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid_request(field, f"{field} must be an integer, not {value!r}", value=value)
    if not low <= value <= high:
        raise invalid_request(field, f"{field} must be between {low} and {high}, not {value}", value=value)
    return value


def check_ttl(pool: Pool, ttl_ms: object) -> int:
    """A lease's TTL in milliseconds; ``None`` stands for the pool's own."""
    limit = pool.config.lease.max_ttl_ms
    return check_int("ttl_ms", ttl_ms, low=1, high=limit, default=min(limit, pool.config.lease.ttl_ms))


def check_wait(wait_s: object) -> None:
    """A wait for an outcome is a number of seconds within its bounds, or ``None``."""
    if wait_s is None:
        return
    if isinstance(wait_s, bool) or not isinstance(wait_s, (int, float)) or not math.isfinite(wait_s):
        raise invalid_request("wait", f"wait must be a number of seconds, not {wait_s!r}")
    if not 0 <= wait_s <= MAX_WAIT_S:
        raise invalid_request("wait", f"wait must be between 0 and {MAX_WAIT_S:g} seconds, not {wait_s!r}")
