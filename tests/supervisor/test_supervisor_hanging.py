# ruff: noqa: ASYNC240 - a test may block its own loop
"""An engine that hangs in the kernel: killed, not gone, and never forgotten, not even by the next daemon."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from supervisor_world import QUICK, World, pool, until

from pool_managerd.runtime.identity import read_stat

HANGING = Path(__file__).parents[1] / "runtime" / "hanging_filesystem.py"
#: Runs the stand-in, and a thread that looks into the folder that never answers, once it is told to.
ENGINE = """#!{python}
import os, runpy, sys, threading, time

def hang():
    while not os.path.exists({trigger!r}):
        time.sleep(0.01)
    os.stat({folder!r} + "/x")

threading.Thread(target=hang, daemon=True).start()
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def hanging(tmp_path):
    """A file system that never answers, as a program; it lets everybody go when it ends."""
    folder = tmp_path / "hanging"
    folder.mkdir()
    command = [sys.executable, "-I", "-S", str(HANGING), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        if program.stdout.readline() != b"mounted\n":
            program.wait()
            pytest.skip("a FUSE file system cannot be mounted here")
        yield program
        program.kill()
        program.wait()
        subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.fixture
def engine(tmp_path, hanging):
    path = tmp_path / "engine"
    names = {"python": sys.executable, "trigger": str(tmp_path / "hang"), "folder": str(tmp_path / "hanging")}
    path.write_text(ENGINE.format(**names))
    path.chmod(0o700)
    return path


def warnings(w) -> list:
    return [event for event in w.of("phase") if "cannot be killed" in event.reason]


async def test_it_stays_stopping_with_its_port_and_its_memory_until_the_kernel_lets_it_go(place, hanging, engine):
    told = pool(more=f'binary = "{engine}"', quick=QUICK.replace("grace_ms = 300", "grace_ms = 50"))
    there = place(told)
    async with World(there) as w:
        await w.phase("ready")
        run = w.replica().run
        pid, port = run.process.pid, run.spec.port
        (there.path / "hang").touch()
        await asyncio.to_thread(hanging.stdout.readline)
        await w.service.drain("p", deadline_ms=0)
        await until(lambda: warnings(w))
        # Its first thread has ended, another one hangs: it is no zombie that only waits to be reaped.
        stat = read_stat(pid)
        assert (stat.state, stat.ended) == ("Z", False)
        assert any("\nState:\tD" in path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status"))
        await holds(w, pid, port)
        await w.leave()

        # The next daemon neither forgets it nor starts another one in its place.
        async with World(there) as next_:
            await next_.phase("stopping")
            await until(lambda: warnings(next_))
            await holds(next_, pid, port)
            assert not next_.of("phase", to="starting")
            hanging.kill()
            await next_.phase("stopped")
            assert not Path(f"/proc/{pid}").exists() or read_stat(pid).ended
            assert port not in next_.host.ports._taken
            await next_.service.preload("p", wait_s=8)


async def holds(w, pid: int, port: int) -> None:
    """It is shown as stopping, with its reason, and what it has is not given to others."""
    status = w.service.get_pool("p")
    assert (w.replica().state.phase, status.ready) == ("stopping", False)
    assert f"pid {pid} cannot be killed" in status.last_error.message
    assert status.last_error.details["pids"] == [pid]
    assert port in w.host.ports._taken
    device = (await w.service.devices()).devices[0]
    assert device.memory_reserved_bytes == 1 << 30
