"""One look at all GPUs through NVML (blocking; runs in the NVML thread)."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pynvml

from pool_managerd.devices.snapshot import Device, GpuProcess, Health, Residency

T = TypeVar("T")

#: The inode of the initial pid namespace (PROC_PID_INIT_INO in Linux' include/linux/proc_ns.h).
_HOST_PID_NAMESPACE = "pid:[4026531836]"
#: Linux gives out no pid from here on (PID_MAX_LIMIT): such a pid is of another namespace.
_PID_LIMIT = 1 << 22
#: How often a look is begun anew because GPUs came or went under it.
_LOOKS = 5


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one look found. ``handles`` are those of the GPUs that answered, by UUID."""

    devices: tuple[Device, ...]
    residency: Residency
    handles: dict[str, Any]


class Sweeper:
    """Looks at all GPUs. One that it has seen and that no longer answers is lost, and forgotten only when asked to.

    :param nvml: ``pynvml`` or what stands for it.
    :param source: ``nvml`` or ``simulated``; pids of a real driver are the host's, so that in a container they
        cannot be matched with ours.
    """

    def __init__(self, nvml: Any, *, source: str) -> None:
        self._nvml = nvml
        self._known: dict[str, Device] = {}
        self._absent: set[str] = set()
        self._pids_match = source != "nvml" or _in_host_pid_namespace()
        self._residency: Residency = "process" if self._pids_match else "device"

    def sweep(self) -> Sweep:
        """Read everything.

        :raises pynvml.NVMLError: if NVML fails as a whole, with an error that says nothing about a GPU.
        """
        count = self._nvml.nvmlDeviceGetCount()
        for _ in range(_LOOKS):
            handles, found, silent, failures = self._enumerate(count)
            before, count = count, self._nvml.nvmlDeviceGetCount()
            if count == before:
                break
            # One came or went under the look, and those behind it have moved up: what was read is of the wrong ones.
        if len(failures) > 1 and len(failures) == len(found) + len(silent) and not any(map(_about_a_gpu, failures)):
            raise failures[0]  # no GPU answers, and not for a reason of its own: it is NVML that fails
        absent: set[str] = set()
        for uuid, device in self._known.items():
            if uuid not in found:
                fault = silent.get(device.index)
                health = "lost" if fault is None else _health(fault)
                as_before = device.health == health and not device.processes
                found[uuid] = device if as_before else replace(device, health=health, processes=())
                if fault is None:
                    absent.add(uuid)
        self._known, self._absent = found, absent
        devices = tuple(sorted(found.values(), key=_order))
        return Sweep(devices, self._judge_residency(devices), handles)

    def _enumerate(
        self, count: int
    ) -> tuple[dict[str, Any], dict[str, Device], dict[int, pynvml.NVMLError], list[pynvml.NVMLError]]:
        """Read the GPUs of so many slots: their handles, what they are, the slots without an answer, all failures."""
        handles: dict[str, Any] = {}
        found: dict[str, Device] = {}
        silent: dict[int, pynvml.NVMLError] = {}
        failures: list[pynvml.NVMLError] = []
        for slot in range(count):
            try:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(slot)
                uuid = _text(self._nvml.nvmlDeviceGetUUID(handle))
            except pynvml.NVMLError as error:
                silent[slot] = error
                failures.append(error)
                continue
            handles[uuid] = handle
            found[uuid], failure = self._read(handle, uuid, slot)
            if failure is not None:
                failures.append(failure)
            elif self._is_divided(handle):
                # The list of a divided GPU's processes is that of its instances, which have it themselves.
                found[uuid] = replace(found[uuid], mig=True, processes=())
                found.update(self._instances(handle, found[uuid]))
        return handles, found, silent, failures

    def forget(self, uuids: Collection[str]) -> None:
        """Remember these GPUs no longer, as far as NVML does not enumerate them any more."""
        for uuid in self._absent.intersection(uuids):
            del self._known[uuid]
        self._absent.difference_update(uuids)

    def _read(
        self, handle: Any, uuid: str, slot: int, *, parent: Device | None = None
    ) -> tuple[Device, pynvml.NVMLError | None]:
        known = self._known.get(uuid)
        device = known or Device(uuid=uuid, index=slot, name="", pci_bus_id="", total=0, free=0, used=0)
        try:
            if parent is None:
                device = replace(
                    device, index=self._index(handle, slot), recovery_action=self._recovery_action(handle), mig=False
                )
            if not device.name:
                device = replace(device, name=_text(self._nvml.nvmlDeviceGetName(handle)))
            if parent is None and not device.pci_bus_id:
                device = replace(
                    device,
                    pci_bus_id=_text(self._nvml.nvmlDeviceGetPciInfo(handle).busId),
                    compute_capability=self._compute_capability(handle),
                )
            memory = self._memory(handle)
            processes = tuple(
                GpuProcess(int(process.pid), None if process.usedGpuMemory is None else int(process.usedGpuMemory))
                for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            )
        except pynvml.NVMLError as error:
            return replace(device, health=_health(error), processes=()), error
        device = replace(
            device,
            total=int(memory.total),
            free=int(memory.free),
            used=int(memory.used),
            reserved=_int_or_none(getattr(memory, "reserved", None)),
            processes=processes,
            health="ok",
        )
        return (device if parent is not None else self._with_condition(device, handle)), None

    def _instances(self, handle: Any, parent: Device) -> dict[str, Device]:
        """The MIG instances of a GPU, by UUID."""
        found = {}
        for number in range(self._nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            try:
                instance = self._nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
                uuid = _text(self._nvml.nvmlDeviceGetUUID(instance))
                ids = (
                    int(self._nvml.nvmlDeviceGetGpuInstanceId(instance)),
                    int(self._nvml.nvmlDeviceGetComputeInstanceId(instance)),
                )
            except pynvml.NVMLError:
                continue  # there is no instance of this number
            device, _ = self._read(instance, uuid, parent.index, parent=parent)
            found[uuid] = replace(
                device,
                index=parent.index,
                pci_bus_id=parent.pci_bus_id,
                compute_capability=parent.compute_capability,
                recovery_action=parent.recovery_action,
                temperature=parent.temperature,
                ecc_errors=parent.ecc_errors,
                parent=parent.uuid,
                instance=ids,
            )
        return found

    def _is_divided(self, handle: Any) -> bool:
        mode = self._optional(lambda: self._nvml.nvmlDeviceGetMigMode(handle))
        return mode is not None and int(mode[0]) == pynvml.NVML_DEVICE_MIG_ENABLE

    def _compute_capability(self, handle: Any) -> tuple[int, int] | None:
        found = self._optional(lambda: self._nvml.nvmlDeviceGetCudaComputeCapability(handle))
        return None if found is None else (int(found[0]), int(found[1]))

    def _with_condition(self, device: Device, handle: Any) -> Device:
        """Add what a GPU tells of how it is, as far as this one can tell it."""
        nvml = self._nvml
        rates = self._optional(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        degrees = self._optional(lambda: nvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
        kinds = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
        errors = self._optional(lambda: nvml.nvmlDeviceGetTotalEccErrors(handle, *kinds))
        return replace(
            device,
            utilization=None if rates is None else int(rates.gpu),
            temperature=_int_or_none(degrees),
            ecc_errors=_int_or_none(errors),
        )

    @staticmethod
    def _optional(ask: Callable[[], T]) -> T | None:
        """An answer that not every GPU and driver has. One that fails says nothing of the GPU's health."""
        try:
            return ask()
        except pynvml.NVMLError:
            return None

    def _index(self, handle: Any, slot: int) -> int:
        try:
            return int(self._nvml.nvmlDeviceGetIndex(handle))
        except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
            return slot

    def _memory(self, handle: Any) -> Any:
        try:
            return self._nvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
        except (pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NotSupported, pynvml.NVMLError_InvalidArgument):
            return self._nvml.nvmlDeviceGetMemoryInfo(handle)  # drivers before 510

    def _recovery_action(self, handle: Any) -> int | None:
        field = pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
        try:
            value = self._nvml.nvmlDeviceGetFieldValues(handle, [field])[0]
        except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_InvalidArgument):
            return None
        return int(value.value.uiVal) if value.nvmlReturn == pynvml.NVML_SUCCESS else None

    def _judge_residency(self, devices: tuple[Device, ...]) -> Residency:
        """Whether the process lists can be matched with our pids; lists that are empty prove nothing."""
        listed = [process for device in devices for process in device.processes]
        if listed:
            odd = any(not 0 < process.pid < _PID_LIMIT or process.used is None for process in listed)
            self._residency = "device" if odd or not self._pids_match else "process"
        return self._residency


def _order(device: Device) -> tuple[int, bool, bool, str]:
    return (device.index, device.health == "lost", device.parent is not None, device.uuid)


def _about_a_gpu(error: pynvml.NVMLError) -> bool:
    return _health(error) != "unreadable"


def _health(error: pynvml.NVMLError) -> Health:
    if isinstance(error, pynvml.NVMLError_GpuIsLost):
        return "lost"
    if isinstance(error, pynvml.NVMLError_ResetRequired):
        return "reset_required"
    return "unreadable"


def _in_host_pid_namespace() -> bool:
    try:
        return os.readlink("/proc/self/ns/pid") == _HOST_PID_NAMESPACE  # noqa: PTH115 - the link leads to no path
    except OSError:
        return True


def _int_or_none(value: Any) -> int | None:
    return None if value is None else int(value)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
