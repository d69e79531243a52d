"""What the GPUs look like at one moment: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Health = Literal["ok", "lost", "reset_required", "unreadable"]
Residency = Literal["process", "device"]

#: NVML's recovery actions (field 230) by number, in words.
RECOVERY_ACTIONS: Mapping[int, str] = {
    0: "none",
    1: "reset the GPU",
    2: "reboot the host",
    3: "drain peer-to-peer traffic",
    4: "drain and reset the GPU",
    5: "recover the IMEX domain",
    6: "reset the bus",
    7: "reboot the system",
}


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that NVML lists on a GPU; ``used`` is bytes, ``None`` where NVML does not say."""

    pid: int
    used: int | None


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU.

    :param index: NVML's index; not stable across reboots, show it and key by ``uuid``.
    :param total: bytes of memory, ``used`` and ``free`` likewise; last known values unless ``health`` is ok.
    :param recovery_action: NVML's number, see :data:`RECOVERY_ACTIONS`; ``None`` where NVML does not say.
    """

    uuid: str
    index: int
    name: str
    pci_bus_id: str
    total: int
    free: int
    used: int
    processes: tuple[GpuProcess, ...] = ()
    health: Health = "ok"
    recovery_action: int | None = None

    def held_by(self, pids: frozenset[int] | set[int]) -> int:
        """The bytes that these processes hold here; a process without a figure counts as 0."""
        return sum(process.used or 0 for process in self.processes if process.pid in pids)

    def label(self) -> str:
        """How messages call it: index and UUID."""
        return f"GPU {self.index} ({self.uuid})"


@dataclass(frozen=True)
class DevicesSnapshot:
    """All GPUs at one moment.

    :param stale: NVML fails; these are the last known values.
    :param taken_at: wall time in seconds since the epoch when the values were read.
    :param residency: ``process`` where NVML's process list can be matched with our pids and carries bytes;
        else ``device``.
    """

    devices: tuple[Device, ...] = ()
    stale: bool = False
    taken_at: float = 0.0
    residency: Residency = "process"
    source: str = "nvml"
    error: str | None = field(default=None, compare=False)

    @cached_property
    def by_uuid(self) -> Mapping[str, Device]:
        """The devices by UUID."""
        return {device.uuid: device for device in self.devices}

    def listing(self) -> str:
        """All devices in one line, for messages."""
        return ", ".join(f"{device.index} = {device.uuid}" for device in self.devices) or "none"
