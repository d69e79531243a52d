"""A service in memory that answers like the real one: three pools in fixed states, leases, drains, events."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator

from pool_managerd.core import status
from pool_managerd.core.errors import Code, PoolManagerError, invalid_request
from pool_managerd.core.events import Event, EventKind
from pool_managerd.core.times import rfc3339
from pool_managerd.observe.bus import EventBus
from pool_managerd.observe.correlation import CORRELATION_ID

#: ``max_request_bytes`` of the servers under test.
LIMIT = 65_536
NOW = rfc3339(1_790_000_000.123)
BIG = 2**40 + 7
ERROR = status.LastError(
    "INSUFFICIENT_VRAM",
    "GPU 0 has <b>1 GiB</b> free, 7 GiB required",
    "free memory",
    True,
    NOW,
    {"device": "GPU-0", "required_bytes": BIG, "log": ["a", None, 1.5]},
)


def pool(pool_id: str, *, ready: bool = True, draining: bool = False) -> status.PoolStatus:
    breaker = status.BreakerStatus("general", "closed", 0, 0, None)
    phase = "draining" if draining else "ready" if ready else "backoff"
    error = None if ready else ERROR
    replica = status.ReplicaStatus(
        "r0", phase, ready, ready, 4242 if ready else None, "http://127.0.0.1:20000" if ready else None,
        ["GPU-0"], [1.0], NOW, False, 0, error, breaker, None if ready else NOW,
    )  # fmt: skip
    return status.PoolStatus(
        pool_id, "llamacpp", "b1" if ready else None, "small.gguf", "stopped" if draining else "running", phase,
        ready, ready, draining, ["GPU-0"], 4, 3, 1, 0, error, breaker, None if ready else NOW,
        status.VramStatus(BIG, BIG if ready else None), [replica], BIG,
    )  # fmt: skip


class FakeService:
    """See the module."""

    version = "1.2.3"

    def __init__(self) -> None:
        self.bus = EventBus(time.time, first_revision=BIG, append=lambda _event: None)
        self.ready_pools = {"chat": True, "small": True, "broken": False}
        self.leases: dict[str, status.LeaseStatus] = {}
        self.draining: set[str] = set()
        self.calls: list[tuple] = []
        self.numbers = itertools.count()
        self.gate = asyncio.Event()
        self.fault: BaseException | None = None
        self.followers = 0

    def _note(self, *call: object) -> None:
        self.calls.append((*call, CORRELATION_ID.get()))
        if self.fault is not None:
            raise self.fault

    def health(self):
        return {"status": "ok", "version": self.version}

    def ready(self):
        pools = [
            status.PoolReadiness(name, "running", "ready" if ok else "backoff", ok, False, None if ok else ERROR)
            for name, ok in sorted(self.ready_pools.items())
        ]
        every = all(self.ready_pools.values())
        return status.ReadySummary(every, "ready" if every else "not ready", "ok", pools)

    def is_leaving(self, _pool_id):
        return False

    def pool_ready(self, pool_id):
        return self.ready_pools.get(pool_id)

    def list_pools(self):
        return status.PoolList([self.get_pool(name) for name in sorted(self.ready_pools)], self.bus.revision)

    def get_pool(self, pool_id):
        self._note("get_pool", pool_id)
        return pool(pool_id, ready=self.ready_pools[pool_id], draining=pool_id in self.draining)

    async def preload(self, pool_id, *, wait_s=None):
        self._note("preload", pool_id, wait_s)
        if pool_id == "broken" and wait_s:
            raise PoolManagerError(Code.INSUFFICIENT_VRAM, "too small", hint="free some", details=ERROR.details)
        return self.get_pool(pool_id), self.ready_pools[pool_id]

    async def drain(self, pool_id, *, deadline_ms=None, wait_s=None):
        self._note("drain", pool_id, deadline_ms, wait_s)
        if deadline_ms is not None and not 0 <= deadline_ms <= 3_600_000:
            raise invalid_request("deadline_ms", f"deadline_ms {deadline_ms} is out of range")
        self.draining.add(pool_id)
        return self.get_pool(pool_id), status.DrainResult("drained", 12, 0) if wait_s is not None else None

    async def cancel_drain(self, pool_id):
        self._note("cancel_drain", pool_id)
        self.draining.discard(pool_id)
        return self.get_pool(pool_id)

    async def reload(self, pool_id, *, new_model_ref, drain_deadline_ms=None, wait_s=None):
        self._note("reload", pool_id, new_model_ref, drain_deadline_ms, wait_s)
        return self.get_pool(pool_id), wait_s is not None

    async def reset_circuit(self, pool_id):
        self._note("reset_circuit", pool_id)
        if pool_id == "broken":
            raise PoolManagerError(Code.CIRCUIT_OPEN, "open", retry_after_ms=1001, details={"open_until": NOW})
        return self.get_pool(pool_id)

    async def acquire_lease(self, pool_id, *, holder=None, ttl_ms=None):
        self._note("acquire_lease", pool_id, holder, ttl_ms)
        if ttl_ms is not None and not 0 < ttl_ms <= 3_600_000:
            raise invalid_request("ttl_ms", f"ttl_ms {ttl_ms} is out of range")
        if holder == "slow":
            await self.gate.wait()
        lease = status.LeaseStatus(f"lease-{next(self.numbers)}", pool_id, "r0", holder, "http://127.0.0.1:20000", NOW)
        self.leases[lease.lease_id] = lease
        return lease

    def list_leases(self, pool_id):
        return [lease for lease in self.leases.values() if lease.pool_id == pool_id]

    async def renew_lease(self, pool_id, lease_id, *, ttl_ms=None):
        self._note("renew_lease", pool_id, lease_id, ttl_ms)
        if lease_id not in self.leases:
            raise PoolManagerError(Code.LEASE_NOT_FOUND, f"no lease {lease_id}")
        return self.leases[lease_id]

    async def release_lease(self, pool_id, lease_id):
        self._note("release_lease", pool_id, lease_id)
        self.leases.pop(lease_id, None)

    async def logs(self, pool_id, *, replica=None, tail=None, follow=False):
        self._note("logs", pool_id, replica, tail, follow)

        async def lines() -> AsyncIterator[bytes]:
            self.followers += 1
            try:
                yield b"one\n"
                yield b"two \xff\n"
                if follow:
                    await self.gate.wait()
                    yield b"three\n"
            finally:
                self.followers -= 1

        return lines()

    async def devices(self):
        holder = status.HolderStatus(4242, None, "chat")
        device = status.DeviceStatus(
            "GPU-0", 0, "Fake <i>GPU</i>", 24 * 2**30, 20 * 2**30, 4 * 2**30, 2**30, "ok", "process", False, [holder]
        )
        return status.DeviceList([device], "simulated", False, NOW)

    async def watch(self, since=None) -> AsyncIterator[list[Event]]:
        if since is not None:
            self._note("watch", since)

        async def history(_last: int, _limit: int) -> list[Event]:
            return []

        return self.bus.watch(since, history, lambda: BIG)

    async def reload_config(self, *, dry_run=False):
        self._note("reload_config", dry_run)
        return status.ConfigChanges([], [status.ConfigChange("chat", ["model"])], [], ["small"], dry_run)

    def set_ready(self, pool_id: str, ready: bool) -> None:
        self.ready_pools[pool_id] = ready
        self.bus.publish(EventKind.POOL_READY if ready else EventKind.POOL_UNREADY, pool_id=pool_id)
