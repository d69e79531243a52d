"""What every benchmark needs: a daemon of its own, its event stream with arrival times, and plain HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

GIB = 1 << 30
START_TIMEOUT_S = 30.0
#: The one GPU of each daemon.
GPU = "GPU-51000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity, in milliseconds unless its name says otherwise.

    :param baseline: the least that this host needed for the same kind of thing, measured in the same run.
    :param limit: the bar; ``None`` where there is none.
    :param judged: the value that the limit is for, by name.
    """

    name: str
    values: tuple[float, ...]
    baseline: float | None = None
    baseline_name: str = ""
    limit: float | None = None
    judged: str = "median"
    unit: str = "ms"

    def value(self, which: str) -> float:
        """``median``, ``p95``, ``p99``, ``max`` or ``min`` of the values."""
        ordered = sorted(self.values)
        if which == "median":
            return statistics.median(ordered)
        share = {"min": 0.0, "p95": 0.95, "p99": 0.99, "max": 1.0}[which]
        return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]

    @property
    def ratio(self) -> float | None:
        """Median over the baseline."""
        return self.value("median") / self.baseline if self.baseline else None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; ``None`` without one."""
        return None if self.limit is None else self.value(self.judged) <= self.limit


@dataclass(slots=True)
class Seen:
    """One event as a watcher got it: ``received`` is our clock when its line had been read."""

    received: float
    event: dict[str, Any]


@dataclass(slots=True)
class Watcher:
    """The event stream (server-sent events), read by a thread of its own from the first revision on."""

    address: str
    seen: list[Seen] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read."""
        connection = connect(self.address, timeout_s=None)
        connection.request("GET", "/v2/events?since=0")
        answer = connection.getresponse()
        self._thread = threading.Thread(target=self._read, args=(answer,), daemon=True)
        self._thread.start()

    def _read(self, answer: http.client.HTTPResponse) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while line := answer.readline():
                if line.startswith(b"data: "):
                    received = time.time()
                    with self._changed:
                        self.seen.append(Seen(received, json.loads(line[6:])))
                        self._changed.notify_all()

    def wait(self, accept: Callable[[dict[str, Any]], bool], *, start: int = 0, timeout_s: float = 30.0) -> Seen:
        """The first event from index ``start`` on that is accepted.

        :raises TimeoutError: with the last events.
        """
        deadline = time.monotonic() + timeout_s
        at = start
        with self._changed:
            while True:
                for seen in self.seen[at:]:
                    if accept(seen.event):
                        return seen
                at = max(at, len(self.seen))
                left = deadline - time.monotonic()
                if left <= 0:
                    last = "\n".join(json.dumps(seen.event) for seen in self.seen[-5:])
                    raise TimeoutError(f"no such event within {timeout_s} s; the last ones:\n{last}")
                self._changed.wait(left)


class BenchDaemon:
    """A daemon on simulated GPUs in a folder that vanishes with it."""

    def __init__(
        self, pools: Sequence[Mapping[str, Any]], *, server: Mapping[str, Any] | None = None, gpu_bytes: int = 80 * GIB
    ) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="pool-managerd-benchmark-"))
        self.devices = self.root / "devices"
        (self.root / "model.bin").write_bytes(b"weights")
        _make_gpu(self.devices, gpu_bytes)
        self._server = {"http": "127.0.0.1:0", "grpc": "127.0.0.1:0", "state_dir": "state"} | dict(server or {})
        self.write_config(pools)
        self.process: subprocess.Popen[bytes] | None = None
        self.address = ""
        self.watcher = Watcher("")
        self.started_in_s = 0.0

    def write_config(self, pools: Sequence[Mapping[str, Any]]) -> None:
        """The config file, with these pools."""
        tables = {
            "server": self._server,
            "devices": {"source": "simulated", "simulated_dir": "devices", "overhead_bytes": 0},
            "log": {"format": "json"},
        }
        lines = [line for name, table in tables.items() for line in (f"[{name}]", *_toml(table), "")]
        for pool in pools:
            lines += ["[[pool]]", *_toml(pool), ""]
        (self.root / "pools.toml").write_text("\n".join(lines), encoding="utf-8")

    def launch(self) -> None:
        """Start the process and wait for its first answer."""
        (self.root / "state" / "daemon.json").unlink(missing_ok=True)
        with (self.root / "daemon.log").open("ab") as log:
            began = time.monotonic()
            self.process = subprocess.Popen(
                [*program(), "serve", "--config", str(self.root / "pools.toml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment(),
            )
        where = self.root / "state" / "daemon.json"
        while True:
            with contextlib.suppress(OSError, ValueError):
                self.address = json.loads(where.read_text(encoding="utf-8"))["http"]
                if get(self.address, "/health")[0] == 200:
                    break
            if self.process.poll() is not None or time.monotonic() - began > START_TIMEOUT_S:
                output = (self.root / "daemon.log").read_text(encoding="utf-8")[-2000:]
                raise RuntimeError(f"the daemon does not serve (exit code {self.process.poll()}):\n{output}")
            time.sleep(0.001)
        self.started_in_s = time.monotonic() - began

    def __enter__(self) -> Self:
        """Launch it and watch its events."""
        try:
            self.launch()
            self.watcher = Watcher(self.address)
            self.watcher.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and with it its engines."""
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def stop(self) -> None:
        """SIGTERM, then patience, then SIGKILL."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        if self.process is None:
            raise RuntimeError("the daemon does not run")
        return self.process.pid

    def status(self, pool_id: str) -> dict[str, Any]:
        """One pool's status."""
        return dict(json.loads(get(self.address, f"/v2/pools/{pool_id}")[1]))

    def engine_requests(self, pool_id: str) -> Iterator[dict[str, Any]]:
        """What the engine of the first replica was asked, with its own times (ms)."""
        log = self.devices / "engines" / f"{pool_id}-r0.requests.jsonl"
        return (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())


def simulated_pool(pool_id: str, **more: Any) -> dict[str, Any]:
    """A pool that needs next to nothing and fails only when told to."""
    base: dict[str, Any] = {
        "id": pool_id,
        "engine": "simulated",
        "model": "model.bin",
        "devices": "0",
        "share_devices": True,
        "vram_bytes": "64MiB",
        "ram_bytes": "1MiB",
        "stop": {"grace_ms": 2000},
    }
    return base | more


def environment() -> dict[str, str]:
    """Ours, without what would change the daemon."""
    foreign = ("POOL_MANAGERD_", "LLORCH_", "CUDA_VISIBLE_DEVICES", "NOTIFY_SOCKET")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)}


def program() -> list[str]:
    """``pool-managerd`` of the Python that runs this."""
    script = Path(sys.executable).with_name("pool-managerd")
    return [str(script)] if script.exists() else [sys.executable, "-m", "pool_managerd.cli"]


def connect(address: str, *, timeout_s: float | None = 30.0) -> http.client.HTTPConnection:
    """A connection to HOST:PORT."""
    host, _, port = address.rpartition(":")
    return http.client.HTTPConnection(host, int(port), timeout=timeout_s)


def call(connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    """One request on a kept connection."""
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def get(address: str, path: str) -> tuple[int, bytes]:
    """GET on a connection of its own."""
    connection = connect(address)
    try:
        return call(connection, "GET", path)
    finally:
        connection.close()


def post(address: str, path: str, body: str = "{}") -> tuple[int, bytes]:
    """POST on a connection of its own."""
    connection = connect(address, timeout_s=60)
    try:
        return call(connection, "POST", path, body)
    finally:
        connection.close()


def cpu_s(pid: int) -> float:
    """CPU time that a process with all its threads has used, in seconds."""
    fields = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
    total = int(fields[0])
    for task in Path(f"/proc/{pid}/task").iterdir():
        if task.name != str(pid):
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total / 1e9


def rss_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _make_gpu(folder: Path, memory_total: int) -> None:
    # The format is that of docs/simulated-devices.md; nothing of the daemon is needed to write it.
    (folder / "gpus").mkdir(parents=True)
    (folder / "allocations").mkdir()
    gpu = {"uuid": GPU, "index": 0, "name": "Benchmark GPU", "memory_total": memory_total}
    (folder / "gpus" / f"{GPU}.json").write_text(json.dumps(gpu), encoding="utf-8")


def _toml(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_toml(value)) + " }"
    return json.dumps(value)  # strings, numbers, booleans and lists are the same in TOML
