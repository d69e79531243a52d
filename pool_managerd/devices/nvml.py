"""Which NVML the daemon talks to, its errors in this project's words, and the one thread that calls it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pynvml

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.simulated_folder import SimulatedFolder

T = TypeVar("T")

_NEVER_CPU = "inference on the CPU is never used as a fallback"
_SIMULATED_HINT = 'to try the daemon without a GPU set source = "simulated" under [devices]'


def load_nvml(source: str, simulated_dir: Path | None = None) -> Any:
    """The NVML of a config: ``pynvml`` itself, or the simulated one (its folder is made, with two GPUs, if absent).

    Nothing is initialised yet; importing ``pynvml`` works without a driver.

    :param source: ``nvml`` or ``simulated``.
    :raises OSError: if the simulated folder cannot be made.
    """
    if source != "simulated":
        return pynvml
    if simulated_dir is None:
        raise ValueError('source = "simulated" needs simulated_dir')
    from pool_managerd.devices.simulated import SimulatedNvml  # noqa: PLC0415 - a GPU host never needs it

    if not simulated_dir.exists():
        SimulatedFolder(simulated_dir).create(gpus=2)
    return SimulatedNvml(simulated_dir)


def gpu_required(error: Exception | None, *, driver: str | None = None) -> PoolManagerError:
    """GPU_REQUIRED with what was missing.

    :param error: what NVML said when it was initialised; ``None``: it works and shows no GPU.
    :param driver: the driver's version, where known.
    """
    if error is None:
        missing = "devices"
        what = f"the NVIDIA driver{f' {driver}' if driver else ''} is there, but it shows no GPU"
        hint = (
            "check that the GPUs are seated, bound to the NVIDIA driver and visible in this container (nvidia-smi -L)"
        )
    elif isinstance(error, pynvml.NVMLError_LibraryNotFound):
        missing = "driver library"
        what = "the NVIDIA driver library (libnvidia-ml.so.1) was not found"
        hint = "install the NVIDIA driver, and in a container the NVIDIA container toolkit"
    else:
        missing = "driver"
        what = f"the NVIDIA driver cannot be used: {error}"
        hint = "load the driver's kernel module, and see nvidia-smi and the kernel log for what it says"
    return PoolManagerError(
        Code.GPU_REQUIRED,
        f"no usable GPU: {what}; {_NEVER_CPU}",
        hint=f"{hint}; {_SIMULATED_HINT}",
        details={"missing": missing},
    )


def cuda_version(nvml: Any) -> str | None:
    """The newest CUDA version that the driver can run, such as ``13.0``; ``None`` where NVML does not say."""
    try:
        number = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
    except pynvml.NVMLError:
        return None
    return f"{number // 1000}.{number % 1000 // 10}"


class NvmlThread:
    """Runs calls one after the other in a thread that never holds up the end of the process."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, name="nvml", daemon=True).start()

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Queue ``function``; the future has its result or its exception."""
        future: asyncio.Future[T] = self._loop.create_future()

        def job() -> None:
            try:
                result = function()
            except Exception as error:  # noqa: BLE001 - it is handed to who waits for the future
                self._settle(future.set_exception, future, error)
            else:
                self._settle(future.set_result, future, result)

        self._jobs.put(job)
        return future

    def close(self) -> None:
        """End the thread after the call that it is in, without waiting for it."""
        self._jobs.put(None)

    def _settle(self, settle: Callable[[Any], None], future: asyncio.Future[Any], value: Any) -> None:
        def on_loop() -> None:
            if not future.done():
                settle(value)

        if not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(on_loop)
            except RuntimeError:
                return  # the loop was closed in between: nobody waits any more

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
