"""A control group for each engine: nothing that it starts can leave it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pool_managerd.core.errors import PoolManagerError
from pool_managerd.runtime import oom as oom_module
from pool_managerd.runtime.cgroups import DAEMON_GROUP, ControlGroup, ControlGroups, groups
from pool_managerd.runtime.descendants import descendants, marked_processes
from pool_managerd.runtime.identity import read_stat
from pool_managerd.runtime.process import SpawnSpec, adopt, spawn
from pool_managerd.runtime.stop import end_leftovers, reap_leftovers, stop_ladder


def can_make_groups() -> bool:
    made = groups().make("probe:p:r0")
    if made is None:
        return False
    made.remove()
    return True


needs_groups = pytest.mark.skipif(not can_make_groups(), reason="needs a control group (v2) that this user may write")

#: Leaves its parent, its session and its environment behind: neither kinship nor marker tells whose it was. It is not
#: so quick as to do that before it is in its group, for which the kernel takes some milliseconds after the start.
ESCAPE = """
import os, sys, time
while "/pool-managerd." not in open("/proc/self/cgroup").read():
    time.sleep(0.001)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execve("/bin/sh", ["sh", "-c", "echo $$; exec sleep 60"], {})
os.wait()
print("up", flush=True)
time.sleep(60)
"""
#: Has a child in another session before it does anything else.
FORK = "import os, time\nif os.fork() == 0: os.setsid()\nprint(os.getpid(), flush=True); time.sleep(60)"
#: The same again and again.
STORM = """
import os, time
while "/pool-managerd." not in open("/proc/self/cgroup").read():
    time.sleep(0.001)
while True:
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.execve("/bin/sh", ["sh", "-c", "echo $$; exec sleep 60"], {})
    os.wait()
    time.sleep(0.002)
"""


def lives(pid: int) -> bool:
    found = read_stat(pid)
    return found is not None and not found.ended


async def escaped(run, log_lines):
    process = await run(ESCAPE)
    lines = await log_lines(2)
    return process, next(int(line) for line in lines if line != "up")


@needs_groups
async def test_an_engine_and_all_that_it_starts_are_in_its_group_once_it_is_placed(run, log_lines, marker):
    for number in range(10):
        process = await run(FORK)
        lines = await log_lines(2 * number + 2)
        pids = {int(line) for line in lines[-2:]}
        await process._placed
        group = groups().of(marker)
        assert set(group.stats()) == pids
        assert group.is_populated()
        await stop_ladder(process, grace_s=0)
        assert not any(map(lives, pids))
        assert groups().of(marker) is None, "the empty group is taken away"


@needs_groups
def test_what_an_engine_had_started_before_it_was_placed_follows_it(marker):
    # As if the engine had been quicker than the thread that started it.
    command = [sys.executable, "-I", "-S", "-c", FORK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as engine:
        pids = {int(engine.stdout.readline()) for _ in range(2)}
        group = groups().make(marker)
        assert groups().place(group, engine.pid)
        assert set(group.stats()) == pids
        group.kill()


@needs_groups
async def test_who_left_session_parent_and_environment_is_ended_with_the_engine(run, log_lines):
    process, child = await escaped(run, log_lines)
    assert child not in descendants(process.identity, process.marker)
    report = await stop_ladder(process, grace_s=5)
    assert (report.survivors, report.leftovers) == ((), 1)
    assert not lives(child)


@needs_groups
async def test_what_a_crash_leaves_behind_is_found_by_the_group(run, log_lines):
    process, child = await escaped(run, log_lines)
    process.send(9)
    await process.gone()
    assert lives(child)
    assert (await end_leftovers(process)).survivors == ()
    assert not lives(child)


@needs_groups
async def test_the_next_daemon_finds_it_too(run, log_lines, marker):
    process, child = await escaped(run, log_lines)
    adopted = adopt(process.identity)
    process.detach()
    assert (await marked_processes(marker.partition(":")[0] + ":"))[marker] == {process.pid, child}
    await stop_ladder(adopted, grace_s=0)
    assert not lives(child)
    assert await reap_leftovers(marker) == ()


@needs_groups
async def test_a_storm_of_forks_is_ended_in_one_step(run, log_lines, marker):
    process = await run(STORM)
    await log_lines(20)
    report = await stop_ladder(process, grace_s=0)
    assert report.survivors == ()
    assert report.leftovers >= 20
    group = groups().of(marker)
    assert group is None or not group.is_populated()


@needs_groups
async def test_a_program_that_cannot_be_started_leaves_no_group(tmp_path, marker):
    env = {"POOL_MANAGERD_MARKER": marker}
    with pytest.raises(PoolManagerError):
        await spawn(SpawnSpec(argv=("/no/such",), env=env, cwd=tmp_path, log_path=tmp_path / "log"))
    assert groups().of(marker) is None


@needs_groups
def test_empty_groups_of_dead_daemons_are_taken_away_and_new_ones_are_not(marker, monkeypatch):
    group = groups().make(marker)
    groups().remove_stale()
    assert group.path.is_dir()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 100)
    groups().remove_stale()
    assert not group.path.is_dir()


async def test_an_engine_that_lost_a_worker_to_the_oom_killer_has_run_out_of_memory(run, tmp_path):
    # The kernel of this machine may not count by group: its file is written by hand.
    events = tmp_path / "memory.events"
    for code, kills, oom in (("raise SystemExit(1)", 1, True), ("raise SystemExit(1)", 0, False), ("pass", 1, False)):
        process = await run(f"import time; time.sleep(0.2); {code}")
        process._group, process._oom_before = ControlGroup(tmp_path), 3
        events.write_text(f"low 0\noom {3 + kills}\noom_kill {3 + kills}\n")
        assert (await process.gone()).oom is oom


@pytest.mark.parametrize(("rise_s", "oom"), [(0.05, False), (60.0, True)])
async def test_a_helper_that_was_killed_long_ago_is_no_reason_of_a_later_end(run, tmp_path, monkeypatch, rise_s, oom):
    monkeypatch.setattr(oom_module, "RISE_S", rise_s)
    process = await run("import time; time.sleep(60)")
    process._group, process._oom_before = ControlGroup(tmp_path), 3
    (tmp_path / "memory.events").write_text("oom_kill 4\n")
    process.note_oom_kills()  # as after a good probe
    await asyncio.sleep(0.1)
    process.send(signal.SIGABRT)
    assert (await process.gone()).oom is oom


def fake_proc(tmp_path: Path, group: str, *mounts: str) -> Path:
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(f"4:memory:/x\n0::{group}\n")
    (proc / "self" / "mountinfo").write_text("".join(f"{line}\n" for line in mounts))
    return proc


def test_the_own_group_is_found_wherever_it_is_mounted(tmp_path):
    mounted = tmp_path / "unified"
    own = mounted / "a.slice" / "d.service"
    own.mkdir(parents=True)
    mount = f"31 23 0:28 / {mounted} rw - cgroup2 cgroup2 rw"
    proc = fake_proc(tmp_path, "/a.slice/d.service", "30 23 0:27 / /x rw - tmpfs tmpfs rw", mount)
    assert ControlGroups.find(proc).base is None, "there is no cgroup.procs"
    (own / "cgroup.procs").write_text("")
    assert ControlGroups.find(proc).base == own
    # A kernel before 5.14, or a folder that is none of the kernel's.
    assert ControlGroups.find(proc).make("s:p:r0") is None
    assert list(own.iterdir()) == [own / "cgroup.procs"]


@pytest.mark.parametrize("group", ["/../elsewhere", "/not/mounted"])
def test_without_a_group_of_its_own_in_sight_the_daemon_makes_none(tmp_path, group):
    proc = fake_proc(tmp_path, group, f"31 23 0:28 /a {tmp_path} rw - cgroup2 cgroup2 rw")
    found = ControlGroups.find(proc)
    assert (found.base, found.make("s:p:r0"), found.of("s:p:r0"), found.members("s:")) == (None, None, None, {})
    found.remove_stale()


def test_beside_a_daemon_in_a_group_of_its_own_memory_is_counted_for_each_engine(tmp_path):
    (tmp_path / DAEMON_GROUP).mkdir()
    (tmp_path / "cgroup.subtree_control").write_text("")
    found = ControlGroups(tmp_path / DAEMON_GROUP)
    assert found.base == tmp_path
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"


@pytest.mark.parametrize("marker", [None, "", "no colons", "a:b", "../x:p:r0", "a:b/c:r0", "s.x:p:r0"])
def test_no_marker_leads_out_of_the_daemons_group(tmp_path, marker):
    found = ControlGroups(tmp_path)
    assert (found.make(marker), found.of(marker)) == (None, None)
    assert list(tmp_path.iterdir()) == []
