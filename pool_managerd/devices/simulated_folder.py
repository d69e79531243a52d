"""The simulated GPUs' folder: read and written by engines, keywords and tests (format: docs/simulated-devices.md).

This module needs the standard library alone and imports nothing else of the package, so that a program may
load it by its file path under ``python -I -S`` in a few milliseconds.

All sizes are bytes. A file is always replaced as a whole (temporary file + rename), so that a reader never
sees half of one; the XID feed is appended to, one write per line.
"""

# pathlib alone would double the time that this module takes to import:
# ruff: noqa: PTH103, PTH104, PTH108, PTH110, PTH112, PTH118, PTH123, PTH208

from __future__ import annotations

import contextlib
import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing these costs more than all the rest of this module
    from collections.abc import Iterator, Mapping
    from typing import Any

MIB = 1 << 20
GIB = 1 << 30
DEFAULT_MEMORY_TOTAL = 24 * GIB
DRIVER_MODES = ("ok", "no_driver", "no_devices", "unknown_error", "hang")
PROCESS_MODES = ("own", "foreign_pids", "no_bytes")
HEALTH_STATES = ("ok", "lost", "reset_required", "unreadable")


class Allocation:
    """What one process holds on which GPU.

    :param pid: process id, in the pid namespace of the reader.
    :param start_ticks: field 22 of ``/proc/<pid>/stat``: with the pid it names one process for good.
    :param sticky_ms: milliseconds for which the memory stays taken after the process has ended.
    :param bytes_by_uuid: bytes per GPU UUID.
    """

    __slots__ = ("bytes_by_uuid", "pid", "start_ticks", "sticky_ms")

    def __init__(self, pid: int, start_ticks: int, sticky_ms: int, bytes_by_uuid: dict[str, int]) -> None:
        self.pid = pid
        self.start_ticks = start_ticks
        self.sticky_ms = sticky_ms
        self.bytes_by_uuid = bytes_by_uuid

    @classmethod
    def parse(cls, text: bytes) -> Allocation:
        """Read one allocation file.

        :raises ValueError: if it is not one (``KeyError`` and ``TypeError`` included).
        """
        try:
            doc = json.loads(text)
            held = {str(uuid): int(count) for uuid, count in doc["bytes"].items()}
            return cls(int(doc["pid"]), int(doc["start_ticks"]), int(doc.get("sticky_ms", 0)), held)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an allocation: {error!r}") from error


class Holder:
    """One process' share of one GPU, in bytes; ``alive`` is false while only ``sticky_ms`` keeps it."""

    __slots__ = ("alive", "pid", "used")

    def __init__(self, pid: int, used: int, alive: bool) -> None:
        self.pid = pid
        self.used = used
        self.alive = alive

    def __repr__(self) -> str:
        return f"Holder(pid={self.pid}, used={self.used}, alive={self.alive})"


def start_ticks(pid: int) -> int | None:
    """The start time of a process in clock ticks since boot; ``None`` if it has ended.

    A zombie has, too, unless one of its threads lives on: then it holds all that it had.
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(fd, 4096)
    except OSError:  # it ended between the two calls (ESRCH)
        return None
    finally:
        os.close(fd)
    fields = text[text.rfind(b")") + 2 :].split()
    if len(fields) < 20 or (fields[0] in (b"Z", b"X", b"x") and int(fields[17]) <= 1):
        return None
    return int(fields[19])


def boottime() -> float:
    """Seconds since boot (CLOCK_BOOTTIME): the same clock for every process of the host."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def default_uuid(number: int) -> str:
    """The UUID that the n-th simulated GPU gets where none is given; it looks like NVML's own."""
    return f"GPU-51000000-0000-4000-8000-{number:012x}"


def write_atomically(path: str, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step. Names that start with a dot are ignored by every reader."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


class SimulatedFolder:
    """A folder of simulated GPUs.

    :param path: the folder; :meth:`create` makes it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.gpus_path = os.path.join(self.path, "gpus")
        self.allocations_path = os.path.join(self.path, "allocations")
        self.engines_path = os.path.join(self.path, "engines")
        self.driver_path = os.path.join(self.path, "driver.json")
        self.xids_path = os.path.join(self.path, "xids.jsonl")
        self._unwritten_deaths: dict[tuple[int, int], float] = {}

    def exists(self) -> bool:
        """Whether the folder has been made."""
        return os.path.isdir(self.gpus_path)

    def create(self, gpus: int = 2, *, memory_total: int = DEFAULT_MEMORY_TOTAL) -> SimulatedFolder:
        """Make the folder with ``gpus`` equal GPUs; what is already there stays as it is."""
        for folder in (self.gpus_path, self.allocations_path, self.engines_path):
            os.makedirs(folder, exist_ok=True)
        if not os.path.exists(self.driver_path):
            self.set_driver()
        with open(self.xids_path, "ab"):
            pass
        if not self.gpus():
            for _ in range(gpus):
                self.add_gpu(memory_total=memory_total)
        return self

    # -- the driver ---------------------------------------------------------------------------------------------

    def driver(self) -> dict[str, Any]:
        """What ``driver.json`` says; an absent file is a working driver."""
        doc = {"driver_version": "580.00", "cuda_version": "13.0", "mode": "ok", "process_mode": "own"}
        doc.update(_read_object(self.driver_path) or {})
        return doc

    def set_driver(self, *, mode: str | None = None, process_mode: str | None = None, **more: Any) -> None:
        """Change how the driver behaves; what is not named stays.

        :param mode: one of :data:`DRIVER_MODES`.
        :param process_mode: one of :data:`PROCESS_MODES`.
        :raises ValueError: for an unknown mode.
        """
        doc = self.driver()
        _choose(doc, "mode", mode, DRIVER_MODES)
        _choose(doc, "process_mode", process_mode, PROCESS_MODES)
        doc.update(more)
        _write_object(self.driver_path, doc)

    # -- GPUs ---------------------------------------------------------------------------------------------------

    def gpus(self) -> list[dict[str, Any]]:
        """All GPU documents, by index."""
        found = []
        for name in _json_names(self.gpus_path):
            doc = _read_object(os.path.join(self.gpus_path, name))
            if doc is not None and "uuid" in doc:
                found.append(doc)
        found.sort(key=lambda doc: (int(doc.get("index", 0)), str(doc["uuid"])))
        return found

    def gpu(self, uuid: str) -> dict[str, Any]:
        """One GPU's document.

        :raises KeyError: if there is no such GPU.
        """
        doc = _read_object(self._gpu_path(uuid))
        if doc is None:
            raise KeyError(f"no simulated GPU {uuid} in {self.gpus_path}")
        return doc

    def add_gpu(
        self,
        *,
        uuid: str | None = None,
        name: str = "Simulated GPU",
        memory_total: int = DEFAULT_MEMORY_TOTAL,
        index: int | None = None,
        memory_reserved: int = 0,
        memory_used: int = 0,
        **more: Any,
    ) -> str:
        """Add a GPU (or replace the one of the same UUID) and return its UUID.

        :param index: default: the first free one.
        :param memory_reserved: bytes that the driver keeps for itself.
        :param memory_used: bytes that nobody in the process list holds.
        """
        present = self.gpus()
        if index is None:
            taken = {int(doc.get("index", 0)) for doc in present}
            index = next(number for number in range(len(taken) + 1) if number not in taken)
        if uuid is None:
            known = {str(doc["uuid"]) for doc in present}
            number = index
            while default_uuid(number) in known:
                number += 1
            uuid = default_uuid(number)
        os.makedirs(self.gpus_path, exist_ok=True)
        doc = {
            "index": index,
            "uuid": uuid,
            "name": name,
            "memory_total": memory_total,
            "memory_reserved": memory_reserved,
            "memory_used": memory_used,
            "pci_bus_id": f"00000000:{index + 1:02X}:00.0",
            "compute_capability": [9, 0],
            "health": "ok",
            "recovery_action": 0,
        }
        doc.update(more)
        _write_object(self._gpu_path(uuid), doc)
        return uuid

    def remove_gpu(self, uuid: str) -> None:
        """Take the GPU out of the host; one that is not there is no error."""
        _unlink(self._gpu_path(uuid))

    def change_gpu(self, uuid: str, **changes: Any) -> None:
        """Change any field of a GPU's document.

        :raises KeyError: if there is no such GPU.
        """
        doc = self.gpu(uuid)
        doc.update(changes)
        _write_object(self._gpu_path(uuid), doc)

    def set_health(self, uuid: str, health: str, *, recovery_action: int | None = None) -> None:
        """Let the GPU be lost, need a reset, be unreadable, or be well again.

        :param health: one of :data:`HEALTH_STATES`.
        :param recovery_action: NVML's number (0 none, 1 reset, 2 reboot, 3 drain P2P, 4 drain + reset).
        """
        if health not in HEALTH_STATES:
            raise ValueError(f"health {health!r} is none of {', '.join(HEALTH_STATES)}")
        changes: dict[str, Any] = {"health": health}
        if recovery_action is not None:
            changes["recovery_action"] = recovery_action
        self.change_gpu(uuid, **changes)

    # -- allocations --------------------------------------------------------------------------------------------

    def allocate(self, pid: int, bytes_by_uuid: Mapping[str, int], sticky_ms: int = 0) -> None:
        """Say that process ``pid`` holds these bytes from now on, instead of what it held before.

        :raises ProcessLookupError: if there is no such process.
        """
        ticks = start_ticks(pid)
        if ticks is None:
            raise ProcessLookupError(f"no process {pid}")
        os.makedirs(self.allocations_path, exist_ok=True)
        doc = {"pid": pid, "start_ticks": ticks, "sticky_ms": sticky_ms, "bytes": dict(bytes_by_uuid)}
        _write_object(os.path.join(self.allocations_path, f"{pid}-{ticks}.json"), doc)

    def free(self, pid: int) -> None:
        """Give back at once all that ``pid`` holds; ``sticky_ms`` has no part in this."""
        prefix = f"{pid}-"
        for name in _names(self.allocations_path):
            if name.startswith(prefix):
                _unlink(os.path.join(self.allocations_path, name))

    def remove_allocation(self, pid: int, ticks: int, suffix: str = ".json") -> None:
        """Remove one process' allocation file (``.json``) or the note of its death (``.died``)."""
        self._unwritten_deaths.pop((pid, ticks), None)
        _unlink(os.path.join(self.allocations_path, f"{pid}-{ticks}{suffix}"))

    def allocations(self) -> Iterator[Allocation]:
        """All allocations that count now: those of living processes, and sticky ones of ended processes."""
        for allocation, _ in self._counting():
            yield allocation

    def holders(self) -> dict[str, list[Holder]]:
        """Who holds how much, by GPU UUID."""
        found: dict[str, list[Holder]] = {}
        for allocation, alive in self._counting():
            for uuid, used in allocation.bytes_by_uuid.items():
                found.setdefault(uuid, []).append(Holder(allocation.pid, used, alive))
        return found

    def free_bytes(self, uuid: str) -> int:
        """How many bytes could still be allocated on a GPU.

        :raises KeyError: if there is no such GPU.
        """
        doc = self.gpu(uuid)
        taken = int(doc.get("memory_reserved", 0)) + int(doc.get("memory_used", 0))
        taken += sum(holder.used for holder in self.holders().get(uuid, ()))
        return max(0, int(doc["memory_total"]) - taken)

    def death_of(self, pid: int, ticks: int) -> float:
        """When a process was first seen ended (seconds of CLOCK_BOOTTIME); this call may be the first to see it."""
        path = os.path.join(self.allocations_path, f"{pid}-{ticks}.died")
        while True:
            text = _read(path)
            try:
                if text is not None:
                    return float(text)
            except ValueError:
                pass  # somebody else's write is under way, or the file is damaged: ours replaces it
            now = self._unwritten_deaths.setdefault((pid, ticks), boottime())
            try:
                write_atomically(path, f"{now:.3f}\n".encode())
            except OSError:  # no room: then no other reader hears of it, but nobody's look at the GPUs fails for it
                return now
            del self._unwritten_deaths[pid, ticks]
            if text is not None:
                return now

    def _counting(self) -> Iterator[tuple[Allocation, bool]]:
        for name in _json_names(self.allocations_path):
            text = _read(os.path.join(self.allocations_path, name))
            if text is None:
                continue
            try:
                allocation = Allocation.parse(text)
            except ValueError:
                continue
            if start_ticks(allocation.pid) == allocation.start_ticks:
                yield allocation, True
            elif allocation.sticky_ms > 0:
                died = self.death_of(allocation.pid, allocation.start_ticks)
                if boottime() - died < allocation.sticky_ms / 1000:
                    yield allocation, False

    # -- XIDs ---------------------------------------------------------------------------------------------------

    def emit_xid(self, uuid: str, xid: int) -> None:
        """Let the driver report an XID error for a GPU, to whoever waits for one now."""
        line = json.dumps({"uuid": uuid, "xid": xid}) + "\n"
        fd = os.open(self.xids_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)

    def xids_since(self, offset: int) -> tuple[list[tuple[str, int]], int]:
        """The (uuid, xid) pairs reported after byte ``offset`` of the feed, and the offset for the next call."""
        try:
            with open(self.xids_path, "rb") as file:
                if file.seek(0, os.SEEK_END) < offset:  # somebody emptied the feed: begin again
                    offset = 0
                file.seek(offset)
                text = file.read()
        except OSError:
            return [], offset
        whole = text[: text.rfind(b"\n") + 1]  # a line without its end is still being written
        found = []
        for line in whole.splitlines():
            try:
                doc = json.loads(line)
                found.append((str(doc["uuid"]), int(doc["xid"])))
            except (ValueError, KeyError, TypeError):
                continue
        return found, offset + len(whole)

    def _gpu_path(self, uuid: str) -> str:
        if "/" in uuid or uuid.startswith("."):
            raise ValueError(f"{uuid!r} cannot be a GPU's UUID")
        return os.path.join(self.gpus_path, uuid + ".json")


def _choose(doc: dict[str, Any], key: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is None:
        return
    if value not in known:
        raise ValueError(f"{key} {value!r} is none of {', '.join(known)}")
    doc[key] = value


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _json_names(folder: str) -> list[str]:
    return [name for name in _names(folder) if name.endswith(".json") and not name.startswith(".")]


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return None


def _read_object(path: str) -> dict[str, Any] | None:
    text = _read(path)
    try:
        doc = json.loads(text) if text else None
    except ValueError:
        return None
    return doc if isinstance(doc, dict) else None


def _write_object(path: str, doc: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(doc, indent=2) + "\n").encode())


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
