"""The path through the real pynvml, down to a C library of the driver's name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_the_inventory_works_through_the_real_pynvml(tmp_path):
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", "-o", tmp_path / "libnvidia-ml.so.1",
         HERE / "nvml_stand_in.c"],
        check=True, timeout=60,
    )  # fmt: skip
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(tmp_path),
        "NVML_LOST": str(tmp_path / "lost"),
        "NVML_XID": str(tmp_path / "xid"),
    }
    run = subprocess.run(
        [sys.executable, HERE / "real_nvml_program.py"], env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout == "all seen\n"
