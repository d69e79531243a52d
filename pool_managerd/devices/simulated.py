"""The NVML API over a folder of small files: the same functions and exceptions that ``pynvml`` has.

It stands where the driver's library stands, so that everything above it is the production path. The folder's
format is described in docs/simulated-devices.md. Constants and exception classes are pynvml's own.
"""

# The functions have the names that they have in NVML:
# ruff: noqa: N802

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pynvml

from pool_managerd.devices.simulated_feed import FolderFeed
from pool_managerd.devices.simulated_folder import SimulatedFolder
from pool_managerd.devices.simulated_mig import WHOLE_GPU, ids_of, instances_of, parent_of
from pool_managerd.devices.simulated_reader import FolderReader, SimulatedState

#: Pids of "another namespace" are ours plus this: beyond the largest pid that Linux gives out.
FOREIGN_PID_OFFSET = 1 << 22
#: Calls of one sweep share one look at the folder; a sweep begins with nvmlDeviceGetCount, which always looks.
_SWEEP_S = 0.005
#: How often a call that plays a hanging driver looks whether it may go on, in seconds.
_HANG_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class SimulatedHandle:
    """A device handle."""

    uuid: str


class _EventSet:
    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.uuids: set[str] = set()
        self.pending: deque[tuple[str, int, tuple[int, int]]] = deque()
        self.freed = False


class SimulatedNvml:
    """What ``import pynvml`` offers, as far as this project calls it, for the GPUs of one folder.

    :param path: the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.folder = SimulatedFolder(path)
        self._reader = FolderReader(self.folder)
        self._state: SimulatedState | None = None
        self._by_uuid: dict[str, dict[str, Any]] = {}
        self._initialised = False
        self._xids = threading.Condition()
        self._feed_lock = threading.Lock()
        self._feed: FolderFeed | None = None
        self._feed_users = 0
        self._listeners: list[Callable[[], None]] = []

    def __getattr__(self, name: str) -> Any:
        """Constants and exception classes are pynvml's own."""
        if name.startswith(("NVMLError", "NVML_", "nvmlEventType", "nvmlMemory_v2")):
            return getattr(pynvml, name)
        raise AttributeError(f"the simulated NVML has no {name}")

    # -- the library --------------------------------------------------------------------------------------------

    def nvmlInit(self) -> None:
        """Load the driver library, or raise as pynvml does on a host that has none."""
        mode = self.folder.driver()["mode"] if self.folder.exists() else "no_driver"
        if mode == "no_driver":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
        if mode == "unknown_error":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)
        self._initialised = True

    def nvmlShutdown(self) -> None:
        """Undo :meth:`nvmlInit`."""
        self._require()
        self._initialised = False

    def nvmlSystemGetDriverVersion(self) -> str:
        """The driver's version."""
        return str(self._now().driver["driver_version"])

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        """The CUDA version as NVML gives it: 1000 * major + 10 * minor."""
        major, _, minor = str(self._now().driver["cuda_version"]).partition(".")
        return int(major) * 1000 + int(minor or 0) * 10

    # -- devices ------------------------------------------------------------------------------------------------

    def nvmlDeviceGetCount(self) -> int:
        """How many GPUs there are; always looks at the folder anew."""
        return len(self._gpus(self._now(fresh=True)))

    def nvmlDeviceGetHandleByIndex(self, index: int) -> SimulatedHandle:
        """The handle of the n-th GPU; raises GpuIsLost for a lost one."""
        gpus = self._gpus(self._now())
        if not 0 <= index < len(gpus):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self._present(gpus[index])

    def nvmlDeviceGetHandleByUUID(self, uuid: str | bytes) -> SimulatedHandle:
        """The handle of a GPU by its UUID; raises GpuIsLost for a lost one."""
        name = uuid.decode() if isinstance(uuid, bytes) else uuid
        return self._present(self._gpu(SimulatedHandle(name), check=False))

    def nvmlDeviceGetUUID(self, handle: SimulatedHandle) -> str:
        """The UUID."""
        self._gpu(handle)
        return handle.uuid

    def nvmlDeviceGetIndex(self, handle: SimulatedHandle) -> int:
        """The index that the GPU's file says."""
        return int(self._gpu(handle).get("index", 0))

    def nvmlDeviceGetName(self, handle: SimulatedHandle) -> str:
        """The product name."""
        gpu = self._gpu(handle)
        name = str(gpu.get("name", "Simulated GPU"))
        return name if gpu["uuid"] == handle.uuid else str(self._instance(handle).get("name", f"{name} MIG"))

    def nvmlDeviceGetPciInfo(self, handle: SimulatedHandle) -> Any:
        """The PCI address, as ``busId``."""
        return SimpleNamespace(busId=str(self._gpu(handle).get("pci_bus_id", "")))

    def nvmlDeviceGetCudaComputeCapability(self, handle: SimulatedHandle) -> list[int]:
        """[major, minor]."""
        return [int(part) for part in self._gpu(handle).get("compute_capability", (9, 0))]

    def nvmlDeviceGetUtilizationRates(self, handle: SimulatedHandle) -> Any:
        """Percent: of time with a kernel running, and of time with memory traffic."""
        gpu = self._gpu(handle)
        return SimpleNamespace(gpu=int(gpu.get("utilization", 0)), memory=int(gpu.get("memory_utilization", 0)))

    def nvmlDeviceGetTemperature(self, handle: SimulatedHandle, sensor: int) -> int:
        """Degrees Celsius of the die."""
        if sensor != pynvml.NVML_TEMPERATURE_GPU:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return int(self._gpu(handle).get("temperature", 35))

    def nvmlDeviceGetTotalEccErrors(self, handle: SimulatedHandle, error_type: int, counter_type: int) -> int:
        """Uncorrected errors since the driver was loaded; NotSupported for a GPU without ECC."""
        count = self._gpu(handle).get("ecc_errors", 0)
        kinds = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
        if count is None or (error_type, counter_type) != kinds:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return int(count)

    # -- MIG instances ------------------------------------------------------------------------------------------

    def nvmlDeviceGetMigMode(self, handle: SimulatedHandle) -> list[int]:
        """[current mode, mode after the next reset]; NotSupported for a GPU whose document says nothing of MIG."""
        gpu = self._gpu(handle)
        if "mig" not in gpu or handle.uuid != gpu["uuid"]:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        mode = pynvml.NVML_DEVICE_MIG_DISABLE if gpu["mig"] is None else pynvml.NVML_DEVICE_MIG_ENABLE
        return [mode, mode]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: SimulatedHandle) -> int:
        """As many as NVIDIA's GPUs have at most."""
        self._gpu(handle)
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: SimulatedHandle, index: int) -> SimulatedHandle:
        """The handle of a MIG instance; NotFound where there is none of that number."""
        instances = instances_of(self._gpu(handle))
        if not 0 <= index < len(instances):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return SimulatedHandle(str(instances[index]["uuid"]))

    def nvmlDeviceGetGpuInstanceId(self, handle: SimulatedHandle) -> int:
        """The GPU instance of a MIG instance."""
        return ids_of(self._instance(handle))[0]

    def nvmlDeviceGetComputeInstanceId(self, handle: SimulatedHandle) -> int:
        """The compute instance of a MIG instance."""
        return ids_of(self._instance(handle))[1]

    # -- memory and processes -----------------------------------------------------------------------------------

    def nvmlDeviceGetMemoryInfo(self, handle: SimulatedHandle, version: int | None = None) -> Any:
        """Bytes: total, free, used and, with ``version``, reserved apart from used."""
        gpu = self._readable(handle)
        processes = self._now().processes
        names = [handle.uuid]
        if gpu["uuid"] == handle.uuid:
            names += [str(instance["uuid"]) for instance in instances_of(gpu)]
        else:
            gpu = self._instance(handle)
        held = sum(count for name in names for _, count in processes.get(name, ()))
        total, reserved = int(gpu["memory_total"]), int(gpu.get("memory_reserved", 0))
        used = min(total - reserved, held + int(gpu.get("memory_used", 0)))
        free = total - reserved - used
        if version is None:
            return SimpleNamespace(total=total, free=free, used=used + reserved)
        return SimpleNamespace(version=version, total=total, reserved=reserved, free=free, used=used)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: SimulatedHandle) -> list[Any]:
        """Who holds memory, with pids and bytes as the driver's ``process_mode`` says.

        In the modes that cannot be matched with our processes each GPU lists one process more (of another
        namespace, or without bytes), so that this can be told from an idle GPU, as on a host of several containers.
        """
        gpu = self._readable(handle)
        state = self._now()
        whole = gpu["uuid"] == handle.uuid
        names = [handle.uuid, *(str(one["uuid"]) for one in instances_of(gpu))] if whole else [handle.uuid]
        listed: list[tuple[int, int | None]] = [pair for name in names for pair in state.processes.get(name, ())]
        if state.driver["process_mode"] == "foreign_pids":
            listed = [(FOREIGN_PID_OFFSET, 0), *((pid + FOREIGN_PID_OFFSET, used) for pid, used in listed)]
        elif state.driver["process_mode"] == "no_bytes":
            listed = [(1, None), *((pid, None) for pid, _ in listed)]
        ids = WHOLE_GPU if whole else ids_of(self._instance(handle))
        return [
            SimpleNamespace(pid=pid, usedGpuMemory=used, gpuInstanceId=ids[0], computeInstanceId=ids[1])
            for pid, used in listed
        ]

    def nvmlDeviceGetFieldValues(self, handle: SimulatedHandle, field_ids: Sequence[int]) -> list[Any]:
        """Field values; the recovery action (230) is the one that there is."""
        gpu = self._gpu(handle)
        values = []
        for field in field_ids:
            known = field == pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
            value = SimpleNamespace(uiVal=int(gpu.get("recovery_action", 0)) if known else 0)
            code = pynvml.NVML_SUCCESS if known else pynvml.NVML_ERROR_NOT_SUPPORTED
            values.append(SimpleNamespace(fieldId=field, nvmlReturn=code, value=value))
        return values

    # -- events -------------------------------------------------------------------------------------------------

    def nvmlDeviceGetSupportedEventTypes(self, handle: SimulatedHandle) -> int:
        """XIDs are all that there is."""
        self._gpu(handle)
        return int(pynvml.nvmlEventTypeXidCriticalError)

    def nvmlEventSetCreate(self) -> _EventSet:
        """A set that sees what is reported from now on."""
        self._require()
        self._use_feed()
        try:
            offset = os.stat(self.folder.xids_path).st_size  # noqa: PTH116 - the folder's paths are strings
        except OSError:
            offset = 0
        return _EventSet(offset)

    def nvmlDeviceRegisterEvents(self, handle: SimulatedHandle, event_types: int, event_set: _EventSet) -> None:
        """Let the set see this GPU's XIDs, also when the GPU is lost later."""
        self._gpu(handle)
        if event_types & pynvml.nvmlEventTypeXidCriticalError:
            with self._xids:
                event_set.uuids.add(handle.uuid)

    def nvmlEventSetWait_v2(self, event_set: _EventSet, timeoutms: int) -> Any:
        """Sleep until an XID is reported; raises Timeout after that many milliseconds."""
        deadline = time.monotonic() + timeoutms / 1000
        with self._xids:
            while True:
                if event_set.freed:
                    raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
                self._read_xids(event_set)
                if event_set.pending:
                    uuid, xid, instance = event_set.pending.popleft()
                    return SimpleNamespace(
                        device=SimulatedHandle(uuid),
                        eventType=pynvml.nvmlEventTypeXidCriticalError,
                        eventData=xid,
                        gpuInstanceId=instance[0],
                        computeInstanceId=instance[1],
                    )
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
                self._xids.wait(remaining)

    def nvmlEventSetFree(self, event_set: _EventSet) -> None:
        """End the set; whoever waits on it is woken with Uninitialized."""
        with self._xids:
            if event_set.freed:
                return
            event_set.freed = True
            self._xids.notify_all()
        self._release_feed()

    # -- what the real library has not --------------------------------------------------------------------------

    def watch_changes(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` (in a thread of ours) whenever GPUs, driver or allocations may have changed.

        :returns: a function that ends it.
        """
        self._use_feed()
        self._listeners.append(callback)

        def stop() -> None:
            self._listeners.remove(callback)
            self._release_feed()

        return stop

    def _use_feed(self) -> None:
        with self._feed_lock:
            self._feed_users += 1
            if self._feed is None:
                self._feed = FolderFeed(self.folder, self._reader, self._changed, self._xids_grew)

    def _release_feed(self) -> None:
        with self._feed_lock:
            self._feed_users -= 1
            if self._feed_users == 0 and self._feed is not None:
                self._feed.close()
                self._feed = None

    def _changed(self) -> None:
        for callback in tuple(self._listeners):
            callback()

    def _xids_grew(self) -> None:
        with self._xids:
            self._xids.notify_all()

    def _read_xids(self, event_set: _EventSet) -> None:
        lines, event_set.offset = self.folder.xids_since(event_set.offset)
        gpus = () if self._state is None else self._state.gpus
        for uuid, xid in lines:
            parent, instance = parent_of(gpus, uuid)
            if parent in event_set.uuids:
                event_set.pending.append((parent, xid, instance))

    # -- the folder's state -------------------------------------------------------------------------------------

    def _require(self) -> None:
        if not self._initialised:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)

    def _now(self, *, fresh: bool = False) -> SimulatedState:
        self._require()
        state = self._state
        if state is None or fresh or time.monotonic() - state.loaded_at > _SWEEP_S:
            state = self._load()
        while state.driver["mode"] == "hang":
            time.sleep(_HANG_LOOK_S)
            state = self._load()
        if state.driver["mode"] == "unknown_error":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)
        if state.driver["mode"] == "no_driver":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
        return state

    def _load(self) -> SimulatedState:
        state = self._state = self._reader.load()
        self._by_uuid = {
            str(uuid): gpu
            for gpu in state.gpus
            for uuid in (*(instance["uuid"] for instance in instances_of(gpu)), gpu["uuid"])
        }
        return state

    def _gpus(self, state: SimulatedState) -> tuple[dict[str, Any], ...]:
        return () if state.driver["mode"] == "no_devices" else state.gpus

    def _present(self, gpu: dict[str, Any]) -> SimulatedHandle:
        if gpu.get("health") == "lost":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return SimulatedHandle(str(gpu["uuid"]))

    def _instance(self, handle: SimulatedHandle) -> dict[str, Any]:
        for instance in instances_of(self._gpu(handle)):
            if instance["uuid"] == handle.uuid:
                return instance
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def _gpu(self, handle: SimulatedHandle, *, check: bool = True) -> dict[str, Any]:
        """The document of a GPU, also for the handle of one of its MIG instances."""
        shown = self._gpus(self._now())
        gpu = self._by_uuid.get(handle.uuid)
        if gpu is None or not shown:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST if check else pynvml.NVML_ERROR_NOT_FOUND)
        if check:
            self._present(gpu)
        return gpu

    def _readable(self, handle: SimulatedHandle) -> dict[str, Any]:
        gpu = self._gpu(handle)
        if gpu.get("health") == "reset_required":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_RESET_REQUIRED)
        if gpu.get("health") == "unreadable":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)
        return gpu
