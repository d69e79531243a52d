"""Looking at every surface all the time, side by side: the proof of "never" and "always"."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PoolManagerLibrary.daemon_process import Daemon
from PoolManagerLibrary.errors import PoolManagerLibraryError
from PoolManagerLibrary.grpc_client import GrpcClient
from PoolManagerLibrary.operations import call, run_cli

SURFACES = ("HTTP status", "HTTP list", "gRPC status", "gRPC health", "ready", "metrics", "handoff file", "CLI")
PAUSE_S = 0.02
#: A look by the command line is a process of its own, which costs as much as fifty others.
CLI_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one surface. ``asked`` and ``answered`` are seconds since the epoch."""

    surface: str
    asked: float
    answered: float
    ready: bool
    value: Any


@dataclass
class Sampler:
    """Threads, one per surface, that look at a pool until told to stop."""

    daemon: Daemon
    pool_id: str
    handoff: Path
    surfaces: tuple[str, ...] = SURFACES
    samples: list[Sample] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        # A channel of its own: closing ours must not disturb the scenario's calls.
        self._grpc = GrpcClient(lambda: self.daemon.grpc_address or "", lambda: self.daemon.token)
        self._threads = [
            threading.Thread(target=self._run, args=(surface,), name=f"sample-{surface}", daemon=True)
            for surface in self.surfaces
        ]

    def start(self) -> Sampler:
        """Begin, and return when every surface (the slow CLI apart) has been looked at once."""
        for thread in self._threads:
            thread.start()
        quick = {surface for surface in self.surfaces if surface != "CLI"}
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            with self._lock:
                if quick <= {sample.surface for sample in self.samples}:
                    break
            time.sleep(0.005)
        return self

    def stop(self) -> list[Sample]:
        """End, and return all samples in the order of their answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10)
        self._grpc.close()
        with self._lock:
            return sorted(self.samples, key=lambda sample: sample.answered)

    def once(self) -> list[Sample]:
        """One look at each surface, now, one after the other."""
        try:
            looks = self._looks()
            samples = []
            for surface in self.surfaces:
                asked = time.time()
                ready, value = looks[surface]()
                samples.append(Sample(surface, asked, time.time(), ready, value))
            return samples
        finally:
            self._grpc.close()

    def _run(self, surface: str) -> None:
        look = self._looks()[surface]
        pause = CLI_PAUSE_S if surface == "CLI" else PAUSE_S
        while not self._stop.is_set():
            asked = time.time()
            try:
                ready, value = look()
            except (PoolManagerLibraryError, OSError, ValueError, KeyError, TypeError) as error:
                with self._lock:
                    self.errors.append(f"{surface}: {type(error).__name__}: {error}")
                self._stop.wait(pause)
                continue
            with self._lock:
                self.samples.append(Sample(surface, asked, time.time(), ready, value))
            self._stop.wait(pause)

    def _looks(self) -> dict[str, Callable[[], tuple[bool, Any]]]:
        return {
            "HTTP status": self._http_status,
            "HTTP list": self._http_list,
            "gRPC status": self._grpc_status,
            "gRPC health": self._grpc_health,
            "ready": self._ready,
            "metrics": self._metrics,
            "handoff file": self._handoff,
            "CLI": self._cli,
        }

    def _http_status(self) -> tuple[bool, Any]:
        return _of_status(call(self.daemon, "status", pool_id=self.pool_id).body)

    def _http_list(self) -> tuple[bool, Any]:
        pools = call(self.daemon, "list").body["pools"]
        return _of_status(next(pool for pool in pools if pool["pool_id"] == self.pool_id))

    def _grpc_status(self) -> tuple[bool, Any]:
        return _of_status(self._grpc.call("GetPool", {"pool_id": self.pool_id}).body)

    def _grpc_health(self) -> tuple[bool, Any]:
        value = self._grpc.health(self.pool_id)
        return value == "SERVING", value

    def _ready(self) -> tuple[bool, Any]:
        body = call(self.daemon, "ready").body
        mine = next(pool for pool in body["pools"] if pool["pool_id"] == self.pool_id)
        return bool(mine["ready"]) or mine["phase"] == "ready", mine

    def _metrics(self) -> tuple[bool, Any]:
        text = self.daemon.http.request("GET", "/metrics").text
        start = "pool_managerd_pool_ready{"
        mine = [line for line in text.splitlines() if line.startswith(start) and f'"{self.pool_id}"' in line]
        return any(float(line.rpartition(" ")[2]) == 1 for line in mine), mine

    def _handoff(self) -> tuple[bool, Any]:
        with contextlib.suppress(FileNotFoundError):
            return True, json.loads(self.handoff.read_text(encoding="utf-8"))
        return False, None

    def _cli(self) -> tuple[bool, Any]:
        outcome = run_cli(self.daemon, ["status", "--json"])
        body = outcome.body
        pools = body["pools"] if isinstance(body, dict) and "pools" in body else body
        mine = next(pool for pool in pools if pool["pool_id"] == self.pool_id)
        return _of_status(mine)


def _of_status(document: dict[str, Any]) -> tuple[bool, Any]:
    ready = bool(document["ready"]) or document["phase"] == "ready" or any(one["ready"] for one in document["replicas"])
    return ready, document


def invariant_breaks(samples: list[Sample], holds: Callable[[dict[str, Any]], bool]) -> list[Sample]:
    """The samples of status documents for which an invariant does not hold."""
    return [
        sample
        for sample in samples
        if isinstance(sample.value, dict) and "slots_total" in sample.value and not holds(sample.value)
    ]


__all__ = ["SURFACES", "Sample", "Sampler", "invariant_breaks"]
