"""The GPUs that a config speaks of, seen without a daemon."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pool_managerd.config import Config
from pool_managerd.core.errors import PoolManagerError
from pool_managerd.devices.mask import MaskUse, overlap_error, overlapping, resolve_mask
from pool_managerd.devices.nvml import gpu_required, load_nvml
from pool_managerd.devices.simulated_folder import SimulatedFolder
from pool_managerd.devices.snapshot import DevicesSnapshot
from pool_managerd.devices.sweep import Sweeper

if TYPE_CHECKING:
    from pool_managerd.config import PoolConfig


def look(config: Config) -> DevicesSnapshot:
    """Look at the GPUs once. A simulated folder that `serve` would make is not made here.

    :raises PoolManagerError: GPU_REQUIRED, saying what is missing.
    """
    import pynvml  # noqa: PLC0415 - only who looks at GPUs needs it

    with _simulated_folder(config) as folder:
        nvml = load_nvml(config.devices.source, folder)
        try:
            nvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise gpu_required(error) from error
        try:
            sweep = Sweeper(nvml, source=config.devices.source).sweep()
        except pynvml.NVMLError as error:
            raise gpu_required(error) from error
        finally:
            with contextlib.suppress(pynvml.NVMLError):
                nvml.nvmlShutdown()
    if not sweep.devices:
        raise gpu_required(None)
    return DevicesSnapshot(devices=sweep.devices, residency=sweep.residency, source=config.devices.source)


def mask_problems(config: Config, snapshot: DevicesSnapshot) -> list[tuple[PoolConfig, PoolManagerError]]:
    """What is wrong with the pools' masks on this host: devices that are not there, and devices used twice."""
    problems = []
    uses = []
    for pool in config.pools:
        uuids: set[str] = set()
        for mask in pool.masks:
            try:
                uuids.update(device.uuid for device in resolve_mask(mask, snapshot))
            except PoolManagerError as error:
                problems.append((pool, error))
        uses.append(MaskUse(pool.id, pool.share_devices, frozenset(uuids)))
    for one, other, shared in overlapping(uses):
        by_id = {pool.id: pool for pool in config.pools}
        problems.append((by_id[other.pool_id], overlap_error(one, other, shared, snapshot)))
    return problems


def engine_pids(snapshot: DevicesSnapshot) -> frozenset[int]:
    """The processes on the GPUs that are engines of a pool-managerd of this host."""
    listed = {process.pid for device in snapshot.devices for process in device.processes}
    return frozenset(pid for pid in listed if _is_engine(pid))


def _is_engine(pid: int) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return any(entry.startswith(b"POOL_MANAGERD_MARKER=") for entry in environment.split(b"\0"))


@contextlib.contextmanager
def _simulated_folder(config: Config) -> Iterator[Path]:
    folder = config.devices.simulated_dir
    if config.devices.source != "simulated" or folder.exists():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="pool-managerd-") as made:
        SimulatedFolder(made).create(gpus=2)
        yield Path(made)
