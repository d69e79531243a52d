"""Reading the simulated GPUs' folder often: files that did not change are not parsed again."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pool_managerd.devices.simulated_folder import (
    Allocation,
    SimulatedFolder,
    boottime,
    start_ticks,
)

#: A file this young may change again without a change of its time stamp (the kernel's clock tick is 4 or 10 ms).
_RACY_NS = 30_000_000


@dataclass(frozen=True, slots=True)
class SimulatedState:
    """The folder at one moment.

    :param gpus: the GPU documents, by index.
    :param processes: (pid, bytes) by GPU UUID.
    :param living: (pid, start ticks) of the living holders.
    :param next_expiry: when the next sticky allocation ends, in seconds of CLOCK_BOOTTIME.
    :param loaded_at: seconds of the monotonic clock.
    """

    driver: dict[str, Any]
    gpus: tuple[dict[str, Any], ...]
    processes: dict[str, tuple[tuple[int, int], ...]]
    living: frozenset[tuple[int, int]]
    next_expiry: float | None
    loaded_at: float


class FolderReader:
    """Reads the folder; safe to use from several threads."""

    def __init__(self, folder: SimulatedFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[tuple[int, int, int], Any]] = {}

    def load(self) -> SimulatedState:
        """Read what changed, and remove the allocations of processes that have ended."""
        with self._lock:
            return self._load()

    def _load(self) -> SimulatedState:
        seen: dict[str, tuple[tuple[int, int, int], Any]] = {}
        gpus = [doc for doc in self._folder_of(self._folder.gpus_path, _gpu, seen) if doc is not None]
        gpus.sort(key=lambda doc: (int(doc.get("index", 0)), str(doc["uuid"])))
        processes: dict[str, list[tuple[int, int]]] = {}
        living: set[tuple[int, int]] = set()
        expiry: float | None = None
        for allocation in self._folder_of(self._folder.allocations_path, _allocation, seen):
            if allocation is None:
                continue
            if start_ticks(allocation.pid) == allocation.start_ticks:
                living.add((allocation.pid, allocation.start_ticks))
            else:
                ends = self._end_of(allocation)
                if ends is None:
                    continue
                expiry = ends if expiry is None else min(expiry, ends)
            for uuid, count in allocation.bytes_by_uuid.items():
                processes.setdefault(uuid, []).append((allocation.pid, count))
        self._cache = seen
        return SimulatedState(
            driver=self._folder.driver(),
            gpus=tuple(gpus),
            processes={uuid: tuple(held) for uuid, held in processes.items()},
            living=frozenset(living),
            next_expiry=expiry,
            loaded_at=time.monotonic(),
        )

    def _end_of(self, allocation: Allocation) -> float | None:
        """When an ended process' allocation stops counting; ``None`` if it has (then its files are removed)."""
        if allocation.sticky_ms > 0:
            ends = self._folder.death_of(allocation.pid, allocation.start_ticks) + allocation.sticky_ms / 1000
            if boottime() < ends:
                return ends
        for suffix in (".json", ".died"):
            self._folder.remove_allocation(allocation.pid, allocation.start_ticks, suffix)
        return None

    def _folder_of(self, path: str, parse: Callable[[bytes], Any], seen: dict[str, Any]) -> list[Any]:
        found = []
        try:
            entries = list(os.scandir(path))
        except OSError:
            return []
        now = time.time_ns()
        for entry in entries:
            name = entry.name
            if not name.endswith(".json") or name.startswith("."):
                continue
            try:
                stat = entry.stat()
            except OSError:
                continue
            key = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            cached = self._cache.get(entry.path)
            if cached is None or cached[0] != key or now - stat.st_mtime_ns < _RACY_NS:
                try:
                    with open(entry.path, "rb", buffering=0) as file:  # noqa: PTH123 - half the cost of Path.open
                        value = parse(file.read())
                except (OSError, ValueError):
                    value = None
                cached = (key, value)
            seen[entry.path] = cached
            found.append(cached[1])
        return found


def _gpu(text: bytes) -> dict[str, Any] | None:
    doc = json.loads(text)
    return doc if isinstance(doc, dict) and isinstance(doc.get("uuid"), str) and "memory_total" in doc else None


def _allocation(text: bytes) -> Allocation:
    return Allocation.parse(text)
