"""The path through the real pynvml, which finds a C library of the driver's name on the library path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nvml_sources import build_stand_in

PROGRAM = Path(__file__).parent / "real_nvml_program.py"


def test_the_inventory_works_through_the_real_pynvml(tmp_path):
    build_stand_in(tmp_path)
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path), "NVML_WORLD": str(tmp_path / "world")}
    run = subprocess.run(
        [sys.executable, PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "all seen\n"
