"""The three things that can stand where NVML stands, each with the outside world that it shows."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pynvml
import pytest

from pool_managerd.devices.simulated import SimulatedNvml
from pool_managerd.devices.simulated_folder import SimulatedFolder

MIB = 1 << 20


def _real_library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None


#: The driver's own library, looked for before the stand-in is loaded: after that, its name alone leads to the stand-in.
REAL_LIBRARY = _real_library()
STAND_IN = Path(__file__).parent / "nvml_stand_in.c"


@dataclass
class Instance:
    """A MIG instance: 100 MiB of a GPU, with what is held there by pid."""

    number: int
    holders: dict[int, int] = field(default_factory=dict)

    @property
    def uuid(self) -> str:
        return f"MIG-00000000-0000-4000-8000-00000000000{self.number}"


@dataclass
class Gpu:
    """What a world says of one GPU; ``health`` is ok, lost or reset_required, sizes are bytes."""

    number: int
    total: int = 1000 * MIB
    reserved: int = 100 * MIB
    used: int = 0
    health: str = "ok"
    recovery_action: int = 0
    holders: dict[int, int] = field(default_factory=dict)
    utilization: int = 0
    temperature: int = 35
    ecc_errors: int | None = 0
    instances: list[Instance] = field(default_factory=list)

    @property
    def uuid(self) -> str:
        return f"GPU-00000000-0000-4000-8000-00000000000{self.number}"

    @property
    def pci_bus_id(self) -> str:
        return f"00000000:0{self.number + 1}:00.0"


class SimulatedWorld:
    """The simulated folder, changed as its document says."""

    def __init__(self, path: Path) -> None:
        self.folder = SimulatedFolder(path / "devices").create(gpus=0)
        self.folder.set_driver(driver_version="580.1", cuda_version="13.0")
        self.nvml: Any = SimulatedNvml(self.folder.path)

    def show(self, gpus: list[Gpu]) -> None:
        for gpu in gpus:
            if gpu.uuid not in {known["uuid"] for known in self.folder.gpus()}:
                self.folder.add_gpu(uuid=gpu.uuid, index=gpu.number, name="Stand-in", memory_total=gpu.total)
            self.folder.change_gpu(
                gpu.uuid,
                memory_reserved=gpu.reserved,
                memory_used=gpu.used,
                health=gpu.health,
                recovery_action=gpu.recovery_action,
                pci_bus_id=gpu.pci_bus_id,
                utilization=gpu.utilization,
                temperature=gpu.temperature,
                ecc_errors=gpu.ecc_errors,
                **({"mig": [self._instance(one) for one in gpu.instances]} if gpu.instances else {}),
            )
        holding = [*gpus, *(one for gpu in gpus for one in gpu.instances)]
        for pid in {pid for one in holding for pid in one.holders}:
            self.folder.allocate(pid, {one.uuid: one.holders[pid] for one in holding if pid in one.holders})

    @staticmethod
    def _instance(one: Instance) -> dict[str, Any]:
        return {
            "uuid": one.uuid,
            "memory_total": 100 * MIB,
            "gpu_instance_id": one.number,
            "compute_instance_id": 0,
        }

    def xid(self, gpu: Gpu, number: int) -> None:
        self.folder.emit_xid(gpu.uuid, number)


class DriverWorld:
    """The production path: the real pynvml, through ctypes, down to a C library of the driver's interface."""

    def __init__(self, path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path / "world"
        monkeypatch.setenv("NVML_WORLD", str(self.path))
        # As pynvml has it once it has found the driver's library by its name (test_real_nvml.py proves that it does).
        monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library)))
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        self.nvml: Any = pynvml

    def show(self, gpus: list[Gpu]) -> None:
        lines = ["driver 580.1 13000"]
        for gpu in gpus:
            health = "reset" if gpu.health == "reset_required" else gpu.health
            used = gpu.used + sum(gpu.holders.values())
            sizes = f"{gpu.total} {gpu.reserved} {gpu.total - gpu.reserved - used} {used}"
            lines.append(
                f"gpu {gpu.uuid} {gpu.number} Stand-in {gpu.pci_bus_id} {sizes} {health} {gpu.recovery_action} 9 0"
            )
        for gpu in gpus:
            ecc = -1 if gpu.ecc_errors is None else gpu.ecc_errors
            lines.append(f"condition {gpu.uuid} {gpu.utilization} {gpu.temperature} {ecc}")
            for one in gpu.instances:
                held = sum(one.holders.values())
                lines.append(f"mig {gpu.uuid} {one.uuid} {one.number} 0 {100 * MIB} 0 {100 * MIB - held} {held}")
        for one in [*gpus, *(one for gpu in gpus for one in gpu.instances)]:
            lines += [f"process {one.uuid} {pid} {held}" for pid, held in one.holders.items()]
        fresh = self.path.with_suffix(".new")
        fresh.write_text("\n".join([*lines, ""]), encoding="ascii")
        fresh.rename(self.path)

    def xid(self, gpu: Gpu, number: int) -> None:
        with self.path.with_suffix(".xid").open("a", encoding="ascii") as feed:
            feed.write(f"{gpu.uuid} {number}\n")


class World:
    """Two GPUs that a test can change, behind one of the sources."""

    def __init__(self, source: SimulatedWorld | DriverWorld) -> None:
        self._source = source
        self.nvml = source.nvml
        self.gpus = [Gpu(0), Gpu(1, total=2000 * MIB)]
        self._source.show(self.gpus)
        self.nvml.nvmlInit()

    def change(self, number: int, **changes: Any) -> Gpu:
        self.gpus[number] = replace(self.gpus[number], **changes)
        self._source.show(self.gpus)
        return self.gpus[number]

    def xid(self, number: int, xid: int) -> None:
        self._source.xid(self.gpus[number], xid)


def build_stand_in(folder: Path) -> Path:
    """The C library, under the driver's name; skips where there is no compiler."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(
        ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", "-o", library, STAND_IN],
        check=True,
        timeout=60,
    )
    return library
