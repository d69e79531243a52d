"""The real HTTP facade and the real event bus over a scripted service, and the real command in a process of its own."""

import asyncio
import os
import sys
import threading
from dataclasses import replace

from pool_managerd.api.auth import Auth
from pool_managerd.api.http_facade import start_http
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import Event, EventKind
from pool_managerd.core.status import (
    BreakerStatus,
    DeviceList,
    DeviceStatus,
    DrainResult,
    HolderStatus,
    LastError,
    LeaseStatus,
    PoolList,
    PoolReadiness,
    PoolStatus,
    ReadySummary,
    ReplicaStatus,
    VramStatus,
)
from pool_managerd.observe.bus import EventBus

GPU = "GPU-11111111-2222-3333-4444-555555555555"
AT = "2026-01-31T12:00:00.000Z"
BREAKER = BreakerStatus("general", "closed", 0, 0, None)


def pool_status(pool_id: str, phase: str, *, error: LastError | None = None) -> PoolStatus:
    ready = phase == "ready"
    replica = ReplicaStatus(
        "r0", phase, ready, ready, 12, "http://127.0.0.1:1", [GPU], [], AT, False, 0, error, BREAKER, None
    )
    return PoolStatus(
        pool_id, "simulated", "1.0", "/models/a.gguf", "running", phase, ready, ready, False, [GPU], 4, 3, 1, 2, error,
        BREAKER, None, VramStatus(1, 1), [replica], 5,
    )  # fmt: skip


class ScriptedService:
    """Answers as a daemon with the pools ``chat`` (loads well), ``bad`` (fails) and ``slow`` (never gets there)."""

    version = "0.0"

    def __init__(self):
        self.events: list[Event] = []
        self.bus = EventBus(lambda: 1_769_860_800.0, 1, self.events.append)
        error = LastError("ENGINE_EXITED", "it left\nwith 3", "see its log", True, AT)
        self.pools = {
            "bad": pool_status("bad", "failed", error=error),
            "chat": pool_status("chat", "ready"),
            "slow": pool_status("slow", "loading"),
        }
        self.calls: list[tuple] = []
        for to in ("preflight", "starting", "loading"):
            self.phase("chat", to)

    def phase(self, pool_id: str, to: str) -> None:
        self.bus.publish(EventKind.PHASE, pool_id=pool_id, replica_id="r0", from_="x", to=to, reason="so it is")

    def health(self):
        return {"status": "ok", "version": self.version}

    def ready(self):
        pools = [PoolReadiness(p.pool_id, p.desired, p.phase, p.ready, False, None) for p in self.pools.values()]
        return ReadySummary(False, "not ready", "ok", pools)

    def list_pools(self):
        return PoolList(list(self.pools.values()), self.bus.revision)

    def get_pool(self, pool_id):
        return self.pools[pool_id]

    def is_leaving(self, _pool_id):
        return False

    def pool_ready(self, pool_id):
        return self.pools[pool_id].ready if pool_id in self.pools else None

    async def preload(self, pool_id, *, wait_s=None):
        self.calls.append(("preload", pool_id, wait_s))
        self.phase(pool_id, "loading")
        if pool_id == "bad":
            self.phase(pool_id, "failed")
            raise PoolManagerError(
                Code.ENGINE_EXITED, "exit code 3", hint="read the log", details={"log_tail": ["last words"]}
            )
        if pool_id == "slow":
            await asyncio.sleep(min(wait_s or 0, 0.2))
            return self.pools[pool_id], False
        self.phase(pool_id, "ready")
        return self.pools[pool_id], wait_s is not None

    async def drain(self, pool_id, *, deadline_ms=None, wait_s=None):
        self.calls.append(("drain", pool_id, deadline_ms, wait_s))
        if wait_s is None:
            return self.pools[pool_id], None
        forced = deadline_ms == 0
        return self.pools[pool_id], DrainResult("forced" if forced else "drained", 1500, 2 if forced else 0)

    async def cancel_drain(self, pool_id):
        return self.pools[pool_id]

    async def reload(self, pool_id, *, new_model_ref, drain_deadline_ms=None, wait_s=None):
        self.calls.append(("reload", pool_id, new_model_ref, drain_deadline_ms, wait_s))
        if "missing" in new_model_ref:
            raise PoolManagerError(
                Code.RELOAD_FAILED,
                "the new model is not there",
                hint="copy it first",
                details={"cause": "MODEL_NOT_FOUND", "restored": True},
            )
        return replace(self.pools[pool_id], model=new_model_ref), True

    async def reset_circuit(self, pool_id):
        return self.pools[pool_id]

    def _lease(self, pool_id):
        return LeaseStatus("l-1", pool_id, "r0", "me", "http://127.0.0.1:1", AT)

    async def acquire_lease(self, pool_id, *, holder=None, ttl_ms=None):
        self.calls.append(("acquire", holder, ttl_ms))
        if pool_id == "slow":
            raise PoolManagerError(Code.NO_FREE_SLOT, "all slots are taken")
        return self._lease(pool_id)

    def list_leases(self, pool_id):
        return [self._lease(pool_id)]

    async def renew_lease(self, pool_id, lease_id, *, ttl_ms=None):
        self.calls.append(("renew", lease_id, ttl_ms))
        return self._lease(pool_id)

    async def release_lease(self, pool_id, lease_id):
        self.calls.append(("release", pool_id, lease_id))

    async def logs(self, pool_id, *, replica=None, tail=None, follow=False):
        self.calls.append(("logs", pool_id, replica, tail, follow))

        async def chunks():
            yield b"first\n"
            await asyncio.sleep(0.05)
            yield "zweite Zeile ü\n".encode()

        return chunks()

    async def devices(self):
        holders = [HolderStatus(12, 1 << 30, "chat"), HolderStatus(13, None, None)]
        device = DeviceStatus(GPU, 0, "Sim", 24 << 30, 20 << 30, 4 << 30, 1 << 30, "ok", "process", False, holders)
        return DeviceList([device], "simulated", False, AT)

    async def watch(self, since=None):
        async def history(after, limit):
            return [event for event in self.events if event.revision > after][:limit]

        return self.bus.watch(since, history, lambda: 1)

    async def reload_config(self, *, dry_run=False):
        raise NotImplementedError


async def no_metrics() -> bytes:
    return b""


class Facade:
    """The facade on a loop in a thread of its own."""

    def __init__(self, *, token: str | None = None):
        self.service = ScriptedService()
        self._auth = Auth(token=token)
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._started.wait(10)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await start_http(
            self.service, address="127.0.0.1:0", auth=self._auth, metrics=no_metrics, max_request_bytes=10_000
        )
        self.address = f"127.0.0.1:{server.port}"
        self._started.set()
        await self._stop.wait()
        self.service.bus.close()
        await server.stop()

    def soon(self, act, *args) -> None:
        self.loop.call_soon_threadsafe(act, *args)

    def close(self) -> None:
        if self._thread.is_alive():
            self.soon(self._stop.set)
        self._thread.join(10)


COMMAND = [sys.executable, "-c", "from pool_managerd.cli import main; main()"]


def environment(**more: str) -> dict[str, str]:
    mine = {"POOL_MANAGERD_ADDR", "POOL_MANAGERD_GRPC_ADDR", "LLORCH_API_TOKEN"}
    return (
        {key: value for key, value in os.environ.items() if key not in mine} | {"http_proxy": "http://0.0.0.0:1"} | more
    )
