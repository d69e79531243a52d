"""The real GPUs of a host, judged by the driver's own library beside the daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pynvml
from robot.api import SkipExecution
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.scenario import Gpu
from PoolManagerLibrary.units import parse_size, seconds, show_size
from PoolManagerLibrary.waiting import wait_until

_MODULE = "PoolManagerLibrary.cuda_engine"


class RealGpuKeywords(Keywords):
    """Keywords about real GPUs, which need a daemon of the scenario's own with ``devices.source=nvml``."""

    @keyword
    def use_real_gpu(self, alias: str = "real", within: timedelta = timedelta(seconds=5)) -> str:
        """Makes a real GPU of this host that nobody uses *the GPU*. Returns its UUID.

        The test is skipped where there is none, also ``within`` that time.

        Example:
        | Use Real GPU |
        """
        self.world.need_local("a GPU of this host")
        try:
            pynvml.nvmlInit()
            if pynvml.nvmlDeviceGetCount() == 0:
                raise SkipExecution("There is no real NVIDIA GPU here: the driver shows none.")
            # An engine that was killed holds its memory for a moment.
            idle = wait_until(_idle, bool, timeout=seconds(within), expected="a GPU that nobody uses").value
        except pynvml.NVMLError as error:
            raise SkipExecution(f"There is no real NVIDIA GPU here: {error}") from error
        except ExpectationFailed as error:
            raise SkipExecution("There is no real NVIDIA GPU here that is free: all are in use.") from error
        gpu = Gpu(alias, *idle[0])
        self.scenario.gpus[alias] = self.scenario.current_gpu = gpu
        return gpu.uuid

    @keyword
    def define_real_gpu_pool(self, name: str = "pool", holds: str = "1 GiB", **settings: Any) -> str:
        """Defines a pool on *the GPU* whose engine holds so much of its memory, through CUDA. Returns its id.

        ``settings`` are those of `Define Pool`. What CUDA itself takes (its context) comes on top of ``holds``.

        Example:
        | Define Real GPU Pool | chat | 2 GiB | vram_bytes=2 GiB |
        """
        command = [sys.executable, "-m", _MODULE, "--hold", str(parse_size(holds))]
        values = {
            "engine": "command",
            "command": [*command, "--host", "{host}", "--port", "{port}"],
            "devices": [self.scenario.gpu("the GPU").uuid],
            "vram_bytes": holds,
        }
        return self.world.define_pool(name, {**values, **settings}).pool_id

    @keyword
    def hold_real_gpu_memory(self, size: str, within: timedelta = timedelta(seconds=20)) -> int:
        """Starts another program that holds memory of *the GPU* until `Release GPU Memory` or the end.

        Returns its pid.

        Example:
        | Hold Real GPU Memory | 3 GiB |
        """
        log = self.world.root / f"holder-{self.world.next_id()}.log"
        with log.open("wb") as output:
            # Where its output goes is what tells of which run it is.
            process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, "--hold", str(parse_size(size))],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": self.scenario.gpu("the GPU").uuid},
                start_new_session=True,
            )
        self.scenario.memory.setdefault("holders", []).append(process)
        self.scenario.cleanups.append((f"the program that holds {size}", lambda: _end(process)))
        wait_until(
            lambda: log.read_text(encoding="utf-8", errors="replace"),
            lambda text: text == "holding\n" or process.poll() is not None,
            timeout=seconds(within),
            expected=f"another program to hold {size} of the GPU",
        )
        if process.poll() is not None:
            raise ExpectationFailed(f"The other program could not get {size} of the GPU: {log.read_text().strip()}")
        return process.pid

    @keyword
    def let_kernel_fault(self, engine: str = "the engine") -> str:
        """Lets a pool's engine run a kernel that writes where it may not. Returns CUDA's own word of it.

        The driver reports an XID; the process lives on and answers its health checks.

        Example:
        | ${error} = | Let Kernel Fault |
        """
        pool, replica = self.scenario.replica(engine)
        document = json.loads(self.daemon.handoff_path(pool.pool_id, replica).read_text(encoding="utf-8"))
        self.scenario.act("a fault of a kernel")
        return str(self.must(self.daemon.http.request("POST", f"{document['url']}/fault")).body["cuda"])

    @keyword
    def real_gpu_should_be_held(
        self, *holders: str, gpu: str = "the GPU", within: timedelta = timedelta(seconds=6)
    ) -> None:
        """Checks exactly who holds a real GPU, each with at least so much, written as ``HOLDER with SIZE``.

        A holder is ``the engine`` (also of another pool: ``engine of pool chat``) or ``another program``. It is asked
        of the daemon, whose pids and bytes must be those that the driver tells: what CUDA takes for itself is in them.

        Example:
        | Real GPU Should Be Held | the engine with 2 GiB | another program with 1 GiB |
        """
        uuid = self.scenario.gpu(gpu).uuid
        wanted = [holder.rpartition(" with ")[::2] for holder in holders]

        def look() -> list[str]:
            seen = self._holders(uuid)
            wrong = [] if _as_driver(uuid) == {pid: used for pid, used, _ in seen} else ["not what the driver tells"]
            left = sorted(seen, key=lambda one: one[1])
            for who, size in sorted(wanted, key=lambda one: parse_size(one[1])):
                pool = None if who == "another program" else self.scenario.replica(who)[0].pool_id
                match = next((one for one in left if one[2] == pool and one[1] >= parse_size(size)), None)
                if match is None:
                    wrong.append(f"{who} is missing")
                else:
                    left.remove(match)
            wrong += [f"{pid} holds {show_size(used)} for {pool or 'no pool'}" for pid, used, pool in left]
            return wrong

        wait_until(
            look,
            lambda wrong: not wrong,
            timeout=seconds(within),
            expected=f"{gpu} to be held by {', '.join(holders) or 'nobody'}",
            show="; ".join,
        )

    def _holders(self, uuid: str) -> list[tuple[int, int, str | None]]:
        devices = self.must(call(self.daemon, "devices")).body["devices"]
        device = next(one for one in devices if one["uuid"] == uuid)
        return [(one["pid"], int(one["used_bytes"] or 0), one["pool_id"]) for one in device["holders"]]


def _idle() -> list[tuple[str, int]]:
    """UUID and bytes of each GPU that no process computes on."""
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    return [
        (pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetMemoryInfo(handle).total)
        for handle in handles
        if not pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    ]


def _as_driver(uuid: str) -> dict[int, int]:
    handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    return {one.pid: one.usedGpuMemory or 0 for one in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
