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
    :param reserved: bytes that the driver keeps for itself, neither used nor free; ``None`` for an old driver.
    :param compute_capability: for instance (9, 0); this and what follows is ``None`` where NVML does not say.
    :param utilization: percent of the last sample period in which a kernel ran; ``temperature`` is degrees Celsius.
        Neither makes two snapshots differ: they change all the time.
    :param ecc_errors: uncorrected memory errors since the driver was loaded.
    :param mig: the GPU is divided into MIG instances, each a device of its own; nothing runs on it as a whole.
    :param parent: for a MIG instance the UUID of its GPU, whose ``index`` it has; ``instance`` is its GPU instance and
        compute instance id.
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
    reserved: int | None = None
    compute_capability: tuple[int, int] | None = None
    utilization: int | None = field(default=None, compare=False)
    temperature: int | None = field(default=None, compare=False)
    ecc_errors: int | None = None
    mig: bool = False
    parent: str | None = None
    instance: tuple[int, int] | None = None

    def held_by(self, pids: frozenset[int] | set[int]) -> int:
        """The bytes that these processes hold here; a process without a figure counts as 0."""
        return sum(process.used or 0 for process in self.processes if process.pid in pids)

    def label(self) -> str:
        """How messages call it: index and UUID."""
        return f"GPU {self.index}{'' if self.parent is None else ' MIG'} ({self.uuid})"


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
    driver_version: str | None = None
    cuda_version: str | None = None

    @cached_property
    def by_uuid(self) -> Mapping[str, Device]:
        """The devices by UUID."""
        return {device.uuid: device for device in self.devices}

    def family(self, uuid: str) -> tuple[Device, ...]:
        """All devices that are the same piece of hardware: a GPU and its MIG instances, from any one of them."""
        device = self.by_uuid.get(uuid)
        physical = uuid if device is None else device.parent or uuid
        return tuple(one for one in self.devices if physical in {one.uuid, one.parent})

    def listing(self) -> str:
        """All devices in one line, for messages."""
        shown = [
            f"{device.index}{'' if device.parent is None else ' MIG'} = {device.uuid}"
            for device in self.devices
            if not device.mig
        ]
        return ", ".join(shown) or "none"
