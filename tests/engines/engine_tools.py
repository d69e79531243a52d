"""What the tests of the engines share: pools as plain values, and engines as real processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from pool_managerd.devices.simulated_folder import SimulatedFolder
from pool_managerd.engines import get_engine
from pool_managerd.engines.base import EngineSpec
from pool_managerd.engines.simulated import control


@dataclass(frozen=True)
class Pool:
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    binary: Path | None = None
    env: dict[str, str] = field(default_factory=dict)
    simulated: dict[str, object] = field(default_factory=dict)


def spec(kind: str, **changes) -> EngineSpec:
    values = {
        "pool_id": "p1",
        "replica_id": "r0",
        "kind": kind,
        "binary": Path("/opt/engine"),
        "model": Path("/models/m.gguf"),
        "host": "127.0.0.1",
        "port": 20001,
        "slots": 4,
        "context": 2048,
        "kv_type": "f16",
        "devices": ("GPU-a",),
    }
    return EngineSpec(**{**values, **changes})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, timeout_s: float = 10.0, what: str = "the condition"):
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s} s"
        time.sleep(0.002)
    return value


class RunningEngine:
    """An engine's process, and a client for it."""

    def __init__(self, argv, environment, log: Path, port: int) -> None:
        self.port, self.log_path = port, log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                argv,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8")

    def request(self, path: str, body: dict | None = None, timeout: float = 10.0) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST" if body else "GET", path, body=json.dumps(body) if body else None)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def status(self, path: str = "/health") -> int | None:
        try:
            return self.request(path, timeout=0.5)[0]
        except OSError:
            return None

    def wait_for(self, status: int, path: str = "/health", timeout_s: float = 20.0) -> None:
        wait_until(lambda: self.status(path) == status, timeout_s, f"{path} answering {status}: {self.log}")

    @contextlib.contextmanager
    def stream(self, **body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", "/v1/completions", json.dumps({"prompt": "x", "stream": True, **body}))
            with connection.getresponse() as answer:
                yield answer
        finally:
            connection.close()

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)


class StandIn(RunningEngine):
    """The stand-in as the daemon would start it, on two simulated GPUs."""

    def __init__(self, folder: Path, *args: str, model: Path | None = None, slots: int = 2, **simulated) -> None:
        self.dir = folder
        self.gpus = SimulatedFolder(folder).create(2)
        self.uuids = tuple(gpu["uuid"] for gpu in self.gpus.gpus())
        engine = get_engine("simulated")
        port = free_port()
        self.spec = spec(
            "simulated",
            binary=Path(sys.executable),
            model=model,
            port=port,
            slots=slots,
            devices=self.uuids[:1],
            simulated=simulated,
            simulated_dir=folder,
            args=args,
        )
        environment = {
            **engine.environment(self.spec),
            "POOL_MANAGERD_POOL": "p1",
            "POOL_MANAGERD_REPLICA": "r0",
            "CUDA_VISIBLE_DEVICES": ",".join(self.spec.devices),
        }
        super().__init__(engine.command_line(self.spec), environment, folder / "engine.log", port)

    def tell(self, **values) -> None:
        identity = control.write_control(self.dir, "p1", "r0", values)
        assert control.wait_applied(self.dir, "p1", "r0", identity), self.log

    @property
    def requests(self) -> list[dict]:
        return control.read_requests(self.dir, "p1", "r0")

    def held(self) -> dict[str, int]:
        return {
            uuid: sum(holder.used for holder in holders if holder.pid == self.process.pid)
            for uuid, holders in self.gpus.holders().items()
        }
