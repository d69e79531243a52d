"""What GPUs there are, kept up to date: one NVML thread publishes snapshots, one waits for XIDs."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pynvml

from pool_managerd.devices.nvml import NvmlThread, cuda_version, gpu_required
from pool_managerd.devices.snapshot import (
    RECOVERY_ACTIONS,
    Device,
    DevicesSnapshot,
    GpuProcess,
    Health,
    Residency,
)
from pool_managerd.devices.sweep import Sweep, Sweeper

__all__ = [
    "RECOVERY_ACTIONS",
    "Device",
    "DevicesSnapshot",
    "GpuProcess",
    "Health",
    "HealthEvent",
    "Inventory",
    "Residency",
    "XidEvent",
]

T = TypeVar("T")

#: What an event's instance ids are where it is of the whole GPU.
_WHOLE_GPU = 0xFFFFFFFF

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class XidEvent:
    """An XID as the driver reported it; XIDs carry no pid."""

    uuid: str
    xid: int


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """A GPU's health changed; ``before`` is ``None`` for a GPU seen for the first time after the start."""

    uuid: str
    before: Health | None
    after: Health
    recovery_action: int | None


class Inventory:
    """The GPUs of this host.

    Set the callbacks before :meth:`start`; they run on the event loop:
    ``on_xid(XidEvent)``, ``on_health(HealthEvent)``, ``on_forgotten(Device)``, and ``on_change(DevicesSnapshot)``
    whenever a new snapshot differs from the one before in more than its time.

    :param nvml: see :func:`pool_managerd.devices.nvml.load_nvml`.
    :param source: ``nvml`` or ``simulated``.
    :param wait_ms: how long one wait for XIDs lasts; a real GPU's health and memory are read anew after each.
    :param refresh_timeout_s: a look at the GPUs that takes longer counts as failed.
    """

    def __init__(self, nvml: Any, *, source: str, wait_ms: int = 5000, refresh_timeout_s: float = 5.0) -> None:
        self.source = source
        self.driver_version: str | None = None
        self.cuda_version: str | None = None
        self.on_xid: Callable[[XidEvent], None] | None = None
        self.on_health: Callable[[HealthEvent], None] | None = None
        self.on_forgotten: Callable[[Device], None] | None = None
        self.on_change: Callable[[DevicesSnapshot], None] | None = None
        self._nvml = nvml
        self._wait_ms = wait_ms
        self._timeout_s = refresh_timeout_s
        self._sweeper = Sweeper(nvml, source=source)
        self._snapshot = DevicesSnapshot(source=source)
        self._queued: asyncio.Task[DevicesSnapshot] | None = None
        self._tasks: set[asyncio.Task[DevicesSnapshot]] = set()
        self._hung: asyncio.Future[Sweep] | None = None
        self._running = asyncio.Lock()
        self._closing = threading.Event()
        self._event_set: Any = None
        self._registered: set[str] = set()
        self._handle_uuids: dict[Any, str] = {}
        self._stop_watching: Callable[[], None] | None = None
        self._events: threading.Thread | None = None

    @property
    def snapshot(self) -> DevicesSnapshot:
        """The last published snapshot; costs nothing."""
        return self._snapshot

    async def start(self) -> DevicesSnapshot:
        """Initialise NVML, take the first snapshot and begin to wait for events.

        :raises PoolManagerError: GPU_REQUIRED, saying what was missing.
        """
        self._loop = asyncio.get_running_loop()
        self._thread = NvmlThread()
        try:
            sweep = await self._thread.call(self._open)
        except pynvml.NVMLError as error:
            self._thread.close()
            raise gpu_required(error) from error
        if not sweep.devices and not self._slots:
            self._thread.close()
            raise gpu_required(None, driver=self.driver_version)
        self._publish(sweep)
        watch = getattr(self._nvml, "watch_changes", None)
        if watch is not None:
            self._stop_watching = watch(self._from_thread(self._kick))
            await self.refresh()  # what changed between the first look and the watch
        self._events = threading.Thread(target=self._wait_for_events, name="nvml-events", daemon=True)
        self._events.start()
        return self._snapshot

    async def refresh(self) -> DevicesSnapshot:
        """Look anew; callers at the same moment share one look, and never one that began before they called.

        If NVML fails as a whole, the last values are published with ``stale`` set, and returned.
        """
        return await asyncio.shield(self._queue_look())

    def forget(self, uuids: Collection[str]) -> None:
        """Speak of these GPUs no more, as far as NVML no longer enumerates them; soon, by the next snapshot."""
        self._thread.call(lambda: self._sweeper.forget(uuids))
        self._kick()

    async def close(self) -> None:
        """End the threads. A driver call that hangs is left behind; it does not hold up the process' end."""
        self._closing.set()
        for task in tuple(self._tasks):
            task.cancel()
        interruptible = self._stop_watching is not None
        if self._stop_watching is not None:
            await asyncio.to_thread(self._stop_watching)
        if self._event_set is not None and interruptible:
            await asyncio.to_thread(self._nvml.nvmlEventSetFree, self._event_set)  # wakes the thread that waits on it
        if self._events is not None:
            await asyncio.to_thread(self._events.join, 2.0 if interruptible else 0.1)
        self._thread.close()

    # -- in the NVML thread -------------------------------------------------------------------------------------

    def _open(self) -> Sweep:
        self._nvml.nvmlInit()
        try:
            version = self._nvml.nvmlSystemGetDriverVersion()
            self.driver_version = version.decode() if isinstance(version, bytes) else str(version)
        except pynvml.NVMLError:
            self.driver_version = None
        self.cuda_version = cuda_version(self._nvml)
        self._slots = int(self._nvml.nvmlDeviceGetCount())
        if self._slots == 0:
            return Sweep((), "process", {})
        try:
            self._event_set = self._nvml.nvmlEventSetCreate()
        except pynvml.NVMLError as error:
            _log.warning("this driver reports no XID events: %s", error)
        return self._look()

    def _look(self) -> Sweep:
        try:
            sweep = self._sweeper.sweep()
        except pynvml.NVMLError_Uninitialized:
            self._nvml.nvmlInit()
            sweep = self._sweeper.sweep()
        for uuid, handle in sweep.handles.items():
            self._handle_uuids[_handle_key(handle)] = uuid
            if uuid not in self._registered and self._event_set is not None:
                self._registered.add(uuid)
                self._register(uuid, handle)
        return sweep

    def _register(self, uuid: str, handle: Any) -> None:
        wanted = pynvml.nvmlEventTypeXidCriticalError
        try:
            supported = self._nvml.nvmlDeviceGetSupportedEventTypes(handle)
            if supported & wanted:
                self._nvml.nvmlDeviceRegisterEvents(handle, supported & wanted, self._event_set)
                return
            _log.warning("GPU %s reports no XID events", uuid)
        except pynvml.NVMLError as error:
            if not isinstance(error, pynvml.NVMLError_NotSupported):
                self._registered.discard(uuid)  # lost, or failing for now: tried again at the next look
            _log.warning("GPU %s: XID events cannot be had: %s", uuid, error)

    # -- in the event thread ------------------------------------------------------------------------------------

    def _wait_for_events(self) -> None:
        kick = self._from_thread(self._kick)
        while not self._closing.is_set():
            if self._event_set is None:
                self._closing.wait(self._wait_ms / 1000)
                kick()
                continue
            try:
                data = self._nvml.nvmlEventSetWait_v2(self._event_set, self._wait_ms)
            except pynvml.NVMLError_Timeout:
                if self._stop_watching is None:
                    kick()
            except pynvml.NVMLError as error:
                if not self._closing.wait(1.0):
                    _log.warning("waiting for XID events failed: %s", error)
                    kick()
            else:
                self._report(data)

    def _report(self, data: Any) -> None:
        if data.eventType != pynvml.nvmlEventTypeXidCriticalError:
            return
        uuid = self._handle_uuids.get(_handle_key(data.device))
        if uuid is None:
            try:
                found = self._nvml.nvmlDeviceGetUUID(data.device)
            except pynvml.NVMLError as error:
                _log.warning("XID %s of a GPU that cannot be named: %s", data.eventData, error)
                return
            uuid = found.decode() if isinstance(found, bytes) else str(found)
        instance = (int(data.gpuInstanceId), int(data.computeInstanceId))
        self._from_thread(self._announce_xid)(uuid, instance, int(data.eventData))

    def _from_thread(self, function: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any) -> None:
            try:
                self._loop.call_soon_threadsafe(function, *args)
            except RuntimeError:
                return  # the loop is closed: the process is about to end

        return call

    # -- on the event loop --------------------------------------------------------------------------------------

    def _announce_xid(self, uuid: str, instance: tuple[int, int], xid: int) -> None:
        """An XID of one MIG instance is told as its, one of the whole GPU as the GPU's."""
        if self._closing.is_set():
            return
        told = uuid
        for device in self._snapshot.devices:
            if device.parent == uuid and device.instance is not None and _matches(instance, device.instance):
                told = device.uuid
        _tell(self.on_xid, XidEvent(told, xid))

    def _kick(self) -> None:
        if not self._closing.is_set():
            self._queue_look()

    def _queue_look(self) -> asyncio.Task[DevicesSnapshot]:
        if self._queued is None:
            self._queued = self._loop.create_task(self._refresh())
            self._tasks.add(self._queued)  # the loop itself keeps no reference
            self._queued.add_done_callback(self._tasks.discard)
        return self._queued

    async def _refresh(self) -> DevicesSnapshot:
        async with self._running:
            self._queued = None  # who calls from here on wants a look that begins later
            if self._hung is not None:
                return self._publish_stale("NVML has not answered yet")
            look = self._thread.call(self._look)
            try:
                sweep = await asyncio.wait_for(asyncio.shield(look), self._timeout_s)
            except TimeoutError:
                self._hung = look
                look.add_done_callback(self._answered)
                return self._publish_stale(f"NVML has not answered within {self._timeout_s:g} s")
            except pynvml.NVMLError as error:
                return self._publish_stale(str(error))
            return self._publish(sweep)

    def _answered(self, look: asyncio.Future[Sweep]) -> None:
        self._hung = None
        if not look.cancelled():
            look.exception()  # seen: the next look says what there is to say
        self._kick()

    def _publish_stale(self, error: str) -> DevicesSnapshot:
        if not self._snapshot.stale:
            _log.warning("the GPUs cannot be read, their last known values are stale: %s", error)
        return self._replace(replace(self._snapshot, stale=True, error=error))

    def _publish(self, sweep: Sweep) -> DevicesSnapshot:
        new = DevicesSnapshot(
            devices=sweep.devices,
            taken_at=time.time(),
            residency=sweep.residency,
            source=self.source,
            driver_version=self.driver_version,
            cuda_version=self.cuda_version,
        )
        return self._replace(new)

    def _replace(self, new: DevicesSnapshot) -> DevicesSnapshot:
        old, self._snapshot = self._snapshot, new
        if self._closing.is_set():
            return new
        if old.taken_at:
            for device in new.devices:
                known = old.by_uuid.get(device.uuid)
                before = None if known is None else known.health
                if before != device.health:
                    _tell(self.on_health, HealthEvent(device.uuid, before, device.health, device.recovery_action))
            for device in old.devices:
                if device.uuid not in new.by_uuid:
                    _tell(self.on_forgotten, device)
        if new != replace(old, taken_at=new.taken_at):
            _tell(self.on_change, new)
        return new


def _tell(callback: Callable[[T], None] | None, value: T) -> None:
    """Call back; an error there is logged and stops nothing here."""
    if callback is None:
        return
    try:
        callback(value)
    except Exception:  # noqa: BLE001 - whatever it is, the inventory goes on
        _log.exception("a callback of the device inventory failed")


def _matches(told: tuple[int, int], instance: tuple[int, int]) -> bool:
    """Whether an event's ids name a MIG instance; an event may leave the compute instance open."""
    return told[0] == instance[0] and told[1] in {instance[1], _WHOLE_GPU}


def _handle_key(handle: Any) -> Any:
    """Equal for equal handles: pynvml's are pointers to an opaque structure."""
    if isinstance(handle, ctypes._Pointer):  # noqa: SLF001 - the public base of all pointer types
        return ctypes.cast(handle, ctypes.c_void_p).value
    return handle
