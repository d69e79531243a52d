"""Configs on simulated devices, a daemon's supervision inside the test's own loop, and daemons as processes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from pool_managerd.app import Daemon
from pool_managerd.config_load import load_config
from pool_managerd.core.phases import Phase
from pool_managerd.devices.simulated_folder import SimulatedFolder
from pool_managerd.engines.simulated import control
from pool_managerd.runtime.files import StateDir
from pool_managerd.runtime.registry import Registry
from pool_managerd.service import PoolManagerService

QUICK = """
[pool.restart]
initial_ms = 50
floor_ms = 50
jitter = 0.0

[pool.stop]
grace_ms = 300
vram_release_ms = 2000

[pool.liveness]
interval_ms = 60
failures = 2
probe_timeout_ms = 200
"""


def pool(pool_id: str = "p", *, more: str = "", simulated: str = "", quick: str = QUICK) -> str:
    """One pool on the first GPU, with short times. ``more`` are keys of the pool itself."""
    return f"""
[[pool]]
id = "{pool_id}"
engine = "simulated"
model = "a.txt"
{'devices = "0"' if "devices" not in more else ""}
share_devices = true
vram_bytes = "1GiB"
ram_bytes = "1MiB"
{more}
{quick}
[pool.simulated]
{simulated}
"""


class Place:
    """A folder with a config, models and simulated GPUs."""

    def __init__(self, path: Path, *pools: str, server: str = "") -> None:
        self.path = path
        self.config = path / "pools.toml"
        self.state = path / ".runtime"
        self.devices = path / "devices"
        self.write(*pools, server=server)
        for name in ("a.txt", "b.txt", "c.txt"):
            (path / name).write_text(name)
        self.folder = SimulatedFolder(self.devices).create(gpus=2)

    def write(self, *pools: str, server: str = "") -> None:
        # The ports lie apart from those that other tests' daemons use by default.
        self.config.write_text(
            '[server]\nhttp = "127.0.0.1:0"\ngrpc = "127.0.0.1:0"\nport_range = [31000, 31999]\n'
            f'{server}\n[devices]\nsource = "simulated"\n' + "".join(pools)
        )

    def control(self, pool_id: str = "p", replica_id: str = "r0", **values: object) -> None:
        """Tell an engine to have a fault; waits until it has it, if it runs."""
        control.write_control(self.devices, pool_id, replica_id, values)

    def pid_file(self, pool_id: str = "p", replica_id: str = "r0") -> int | None:
        path = self.state / f"{pool_id}-{replica_id}.pid"
        return int(path.read_text()) if path.exists() else None

    def handoff(self, pool_id: str = "p", replica_id: str = "r0") -> dict | None:
        path = self.state / "engines" / f"{pool_id}-{replica_id}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def engines(self) -> set[int]:
        """The pids of all living processes that carry this place's mark, wherever they are."""
        wanted = b"POOL_MANAGERD_SIMULATED_DIR=" + os.fsencode(self.devices) + b"\0"
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (process / "environ").read_bytes() + b"\0":
                    found.add(int(process.name))
        return found

    def kill_engines(self) -> None:
        for pid in self.engines():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class World:
    """The daemon's supervision without its servers, in the test's loop."""

    def __init__(self, place: Place, *, begin: bool = True) -> None:
        self.place = place
        self.begin = begin
        self.events: list = []

    async def __aenter__(self) -> Self:
        config = load_config(self.place.config)
        daemon = Daemon(config, lambda: load_config(self.place.config))
        self.stack = contextlib.AsyncExitStack()
        state_dir = StateDir(self.place.state)
        state_dir.prepare()
        state_dir.lock()
        self.stack.callback(state_dir.unlock)
        self.host, _ = await daemon._make_host(self.stack, state_dir)
        self.host.bus.add_projection(self.events.append)
        self.registry = Registry(self.host)
        self.service = PoolManagerService(self.host, self.registry, daemon.reread)
        await self.registry.restore()
        self.stack.callback(self.registry.close)
        if self.begin:
            self.registry.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()
        self.place.kill_engines()
        await asyncio.sleep(0)

    async def leave(self) -> None:
        """End like a daemon that leaves its engines to the next one."""
        self.host.shutting_down = True
        await self.stack.aclose()

    async def stop(self) -> None:
        """End like a daemon that is told to stop, and stops its engines."""
        self.host.shutting_down = True
        await self.registry.stop_all(self.host.clock() + 5)
        await self.stack.aclose()

    def pool(self, pool_id: str = "p"):
        return self.registry.pools[pool_id]

    def replica(self, pool_id: str = "p", replica_id: str = "r0"):
        return self.pool(pool_id).replicas[replica_id]

    async def phase(self, *phases: str, pool_id: str = "p", replica_id: str = "r0", timeout_s: float = 8.0) -> None:
        """Wait until a replica is in one of these phases."""
        wanted = {Phase(one) for one in phases}
        owner, replica = self.pool(pool_id), self.replica(pool_id, replica_id)
        try:
            async with asyncio.timeout(timeout_s):
                while replica.state.phase not in wanted:
                    await owner.changed()
        except TimeoutError:
            raise AssertionError(
                f"{replica.name} is {replica.state.phase}, not {phases}: {replica.state.failure}"
            ) from None

    def of(self, kind: str, **fields: object) -> list:
        return [
            event
            for event in self.events
            if event.kind == kind and all(getattr(event, name) == value for name, value in fields.items())
        ]


async def until(condition, timeout_s: float = 8.0):
    """Wait until something outside the loop has happened."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)
    return value


SERVE = "from pool_managerd.cli import main; main()"


class DaemonProcess:
    """``pool-managerd serve`` as a process of its own."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self, *, ready: str | None = None, env: dict[str, str] | None = None) -> None:
        told = self.place.state / "daemon.json"
        told.unlink(missing_ok=True)
        self.spawn(env=env)
        wait(lambda: told.exists() or self.process.poll() is not None, 20)
        assert self.process.poll() is None, self.log()
        self.port = int(json.loads(told.read_text())["http"].rpartition(":")[2])
        if ready is not None:
            self.wait_phase(ready, "ready")

    def spawn(self, *, env: dict[str, str] | None = None) -> None:
        """Start it, and wait for nothing."""
        with (self.place.path / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, "serve", "--config", str(self.place.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
            )

    def log(self) -> str:
        return (self.place.path / "log").read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, timeout_s: float = 15) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.log()[-6000:]}") from None

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"content-type": "application/json"} if text else {})
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if data else {}
        finally:
            connection.close()

    def status(self, pool_id: str = "p") -> dict:
        return self.ask("GET", f"/v2/pools/{pool_id}")[1]

    def wait_phase(self, pool_id: str, phase: str, timeout_s: float = 10) -> dict:
        return wait(lambda: (found := self.status(pool_id))["phase"] == phase and found, timeout_s)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.place.kill_engines()


def wait(condition, timeout_s: float = 10):
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return value


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    return False
