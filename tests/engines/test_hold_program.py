"""The program that holds simulated memory for a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

GPUS = ("GPU-51000000-0000-4000-8000-000000000000", "GPU-51000000-0000-4000-8000-000000000001")
HOLD = [sys.executable, "-c", "from pool_managerd.engines.simulated.hold_program import main; main()"]


def test_the_program_holds_what_it_was_told_for_as_long_as_it_lives(tmp_path):
    environment = os.environ | {"POOL_MANAGERD_SIMULATED_DIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": ",".join(GPUS)}
    script = "import os, sys; print(os.getpid(), *sys.argv[1:], flush=True); sys.stdin.read()"
    command = [*HOLD, "64MiB", sys.executable, "-c", script, "--flag", "a b"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().split(maxsplit=1) == [str(process.pid), "--flag a b\n"]
        (allocation,) = (tmp_path / "allocations").glob(f"{process.pid}-*.json")
        assert json.loads(allocation.read_text())["bytes"] == dict.fromkeys(GPUS, 32 << 20)
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "usage: "),
        (["much", "true"], 2, "much"),
        (["1"], 2, "usage: "),
        (["1", "/no/such/program"], 127, "/no/such/program"),
    ],
)
def test_wrong_usage_is_said_plainly(arguments, code, said):
    ended = subprocess.run([*HOLD, *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == code
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
