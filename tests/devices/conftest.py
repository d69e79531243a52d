from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pool_managerd.devices.simulated_folder import SimulatedFolder

#: The promise about plans holds for this many; `--hypothesis-profile=plans` walks them all in about three minutes.
settings.register_profile("plans", max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Processes:
    """Real processes that do nothing, to hold simulated memory."""

    def __init__(self):
        self._started = []

    def start(self):
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"], stdout=subprocess.DEVNULL
        )
        self._started.append(process)
        return process

    def close(self):
        for process in self._started:
            process.kill()
        for process in self._started:
            process.wait(10)


@pytest.fixture
def processes():
    started = Processes()
    yield started
    started.close()


@pytest.fixture
def folder(tmp_path: Path) -> SimulatedFolder:
    return SimulatedFolder(tmp_path / "devices").create(gpus=2)


@pytest.fixture
def uuids(folder: SimulatedFolder) -> list[str]:
    return [gpu["uuid"] for gpu in folder.gpus()]
