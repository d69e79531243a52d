"""What a daemon under test finds on its host: simulated GPUs and model files."""

from __future__ import annotations

import uuid
from pathlib import Path

from pool_managerd.devices.simulated_folder import SimulatedFolder
from PoolManagerLibrary.daemon_process import Daemon
from PoolManagerLibrary.scenario import Scenario

DEFAULT_GPU_MEMORY = 8 << 30
DEFAULT_MODEL = "models/small.gguf"
#: A GGUF file without tensors: all that the stand-in engine needs.
EMPTY_MODEL = b"GGUF\x03\x00\x00\x00" + bytes(16)


def make_folder(daemon: Daemon, gpus: int) -> None:
    """The folder of a daemon's simulated GPUs, with some that belong to no scenario."""
    folder = SimulatedFolder(daemon.simulated_dir)
    folder.create(gpus=0)
    for number in range(gpus):
        folder.add_gpu(uuid=f"GPU-{uuid.uuid4()}", name=f"Host GPU {number}", memory_total=DEFAULT_GPU_MEMORY)


def make_model(daemon: Daemon, name: str, content: bytes = EMPTY_MODEL) -> Path:
    """A file in a daemon's models folder."""
    path = daemon.models_path / name.removeprefix("models/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def clear_devices(daemon: Daemon, scenario: Scenario) -> None:
    """Take out of the simulated host what a scenario put in."""
    folder = SimulatedFolder(daemon.simulated_dir)
    if scenario.memory.get("driver_changed"):
        folder.set_driver(mode="ok", process_mode="own")
    for gpu in scenario.gpus.values():
        folder.remove_gpu(gpu.uuid)
    for pool in scenario.pools.values():
        for path in Path(folder.engines_path).glob(f"{pool.pool_id}-*"):
            path.unlink(missing_ok=True)
