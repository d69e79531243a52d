# ruff: noqa: ASYNC110, ASYNC220, ASYNC240 - a test may block its own loop, and other processes set no event
from __future__ import annotations

import asyncio
import errno
import json
import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.runtime import oom
from pool_managerd.runtime.identity import ProcessIdentity, boot_id, read_stat
from pool_managerd.runtime.oom import OomWatch
from pool_managerd.runtime.process import SpawnSpec, adopt, spawn

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
IS_ROOT = os.geteuid() == 0


def spec_of(tmp_path: Path, *argv: str, **changes: object) -> SpawnSpec:
    spec = SpawnSpec(argv=argv, env={"A": "1"}, cwd=tmp_path, log_path=tmp_path / "engine.log")
    return replace(spec, **changes)


async def test_an_engine_leads_its_own_session_and_group(run):
    process = await run(SLEEP)
    found = read_stat(process.pid)
    assert found is not None
    assert found.pgrp == found.session == process.pid
    assert found.start_ticks == process.identity.start_ticks
    assert process.identity.boot_id == boot_id()


async def test_arguments_environment_folder_and_output_arrive_unchanged(tmp_path):
    arguments = ["a b", "it's", '"$HOME"', "grün", "", "\udcff\udcfe", "line\nline", "--x=`id`"]
    code = (
        "import os,sys,json; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]), flush=True);"
        "print('to stderr', file=sys.stderr)"
    )
    spec = spec_of(tmp_path, sys.executable, "-X", "utf8", "-I", "-S", "-c", code, *arguments, env={"ONLY": "ü=1"})
    process = await spawn(spec)
    assert (await process.gone()).code == 0
    shown, errors = (tmp_path / "engine.log").read_text().splitlines()
    argv, env, cwd = json.loads(shown)
    assert argv == arguments
    env.pop("LC_CTYPE", None)  # set by the Python that plays the engine
    assert env == {"ONLY": "ü=1", "POOL_MANAGERD_SPEC": spec.digest()}
    assert cwd == str(tmp_path)
    assert errors == "to stderr"


async def test_the_command_line_starts_with_the_binary_itself(run, log_lines):
    process = await run(SLEEP)
    await log_lines(1)
    argv = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    assert argv[0] == os.fsencode(sys.executable)
    assert Path(f"/proc/{process.pid}/exe").resolve() == Path(sys.executable).resolve()


async def test_no_descriptor_but_the_standard_ones_is_inherited(run, log_lines, tmp_path):
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        await run("import os; print(sorted(os.listdir('/proc/self/fd')), flush=True)")
        # The fourth is the one by which the folder is listed.
        assert await log_lines(1) == ["['0', '1', '2', '3']"]


async def test_the_log_is_private_appended_to_and_its_old_end_is_known(run, tmp_path, log_lines):
    log = tmp_path / "engine.log"
    log.write_text("before\n")
    log.chmod(0o666)
    process = await run("print('now', flush=True)")
    await process.gone()
    assert log.read_text() == "before\nnow\n"
    assert process.log_offset == len("before\n")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.parametrize("planted", ["symlink", "fifo", "folder"])
async def test_what_is_planted_in_the_logs_place_is_refused(tmp_path, planted):
    log = tmp_path / "engine.log"
    target = tmp_path / "target"
    target.write_text("")
    {"symlink": lambda: log.symlink_to(target), "fifo": lambda: os.mkfifo(log), "folder": log.mkdir}[planted]()
    with pytest.raises(PoolManagerError) as caught:
        await spawn(spec_of(tmp_path, "/bin/true"))
    assert caught.value.code is Code.SPAWN_FAILED
    assert str(log) in caught.value.message
    assert target.read_text() == ""


@pytest.mark.parametrize(
    ("content", "mode", "code", "reason"),
    [
        (None, 0, Code.ENGINE_NOT_FOUND, "No such file"),
        (b"#!/bin/sh\n", 0o600, Code.ENGINE_NOT_FOUND, "Permission denied"),
        (b"just text\n", 0o700, Code.SPAWN_FAILED, "Exec format error"),
        (b"", 0o700, Code.SPAWN_FAILED, "Exec format error"),
        (b"\x7fELF garbage", 0o700, Code.SPAWN_FAILED, "Exec format error"),
        (b"#!/no/such/interpreter\n", 0o700, Code.ENGINE_NOT_FOUND, "interpreter"),
    ],
)
async def test_a_binary_that_cannot_be_run_is_named_with_the_systems_reason(tmp_path, content, mode, code, reason):
    binary = tmp_path / "engine"
    if content is not None:
        binary.write_bytes(content)
        binary.chmod(mode)
    with pytest.raises(PoolManagerError) as caught:
        await spawn(spec_of(tmp_path, str(binary)))
    assert caught.value.code is code
    assert str(binary) in caught.value.message
    assert reason in caught.value.message
    assert caught.value.details["path"] == str(binary)


async def test_a_missing_working_directory_is_named(tmp_path):
    with pytest.raises(PoolManagerError) as caught:
        await spawn(spec_of(tmp_path, "/bin/true", cwd=tmp_path / "gone"))
    assert caught.value.code is Code.SPAWN_FAILED
    assert str(tmp_path / "gone") in caught.value.message


async def test_an_unknown_user_and_a_nul_in_an_argument_are_refused(tmp_path):
    for spec in (spec_of(tmp_path, "/bin/true", user="no-such-user"), spec_of(tmp_path, "/bin/true", "a\0b")):
        with pytest.raises(PoolManagerError) as caught:
            await spawn(spec)
        assert caught.value.code is Code.SPAWN_FAILED


async def test_an_engine_has_no_capabilities_and_gets_no_new_privileges(run):
    process = await run(SLEEP)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    assert status["NoNewPrivs"] == "1"
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    own = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert own["NoNewPrivs"] == "0", "the daemon itself keeps what it has"


@pytest.mark.skipif(not IS_ROOT, reason="only root can start a process as somebody else")
async def test_root_starts_an_engine_as_another_user(tmp_path):
    nobody = pwd.getpwnam("nobody")
    process = await spawn(spec_of(tmp_path, "/bin/sleep", "60", user="nobody"))
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    assert status["Uid"].split() == [str(nobody.pw_uid)] * 4
    assert status["Gid"].split() == [str(nobody.pw_gid)] * 4
    assert status["CapEff"] == "0" * 16
    assert process.kill_group()
    assert (await process.gone()).signal == "SIGKILL"


@pytest.mark.parametrize(
    ("code", "exit_code", "signal_name"),
    [
        ("raise SystemExit(7)", 7, None),
        ("pass", 0, None),
        ("import os; os.kill(os.getpid(), 11)", None, "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 3)", None, "SIGRTMIN+3"),
    ],
)
async def test_the_end_is_noticed_with_its_cause_and_no_zombie_stays(run, code, exit_code, signal_name):
    process = await run(code)
    status = await asyncio.wait_for(process.gone(), 5)
    assert (status.code, status.signal, status.known, status.oom) == (exit_code, signal_name, True, False)
    assert read_stat(process.pid) is None
    assert not process.send(signal.SIGTERM)
    assert not process.kill_group()


async def test_the_end_is_noticed_where_the_kernel_reaps_by_number_only(run, monkeypatch):
    waitid = os.waitid

    def older(kind, number, options):
        if kind == os.P_PIDFD:
            raise OSError(errno.EINVAL, "Invalid argument")
        return waitid(kind, number, options)

    monkeypatch.setattr(os, "waitid", older)
    process = await run("raise SystemExit(7)")
    status = await asyncio.wait_for(process.gone(), 5)
    assert (status.code, status.known) == (7, True)
    assert read_stat(process.pid) is None


async def test_a_kill_is_noticed_within_milliseconds(run, log_lines):
    delays = []
    for count in range(5):
        process = await run(SLEEP)
        await log_lines(count + 1)
        began = time.perf_counter()
        process.send(signal.SIGKILL)
        await process.gone()
        delays.append(time.perf_counter() - began)
    assert sorted(delays)[2] < 0.02


async def test_the_digest_tells_specs_apart(tmp_path):
    spec = spec_of(tmp_path, "/bin/true", "x")
    assert spec.digest() == spec_of(tmp_path, "/bin/true", "x").digest()
    others = [replace(spec, argv=("/bin/true", "y")), replace(spec, env={"A": "2"}), replace(spec, user="nobody")]
    assert len({spec.digest(), *(other.digest() for other in others)}) == 4


async def test_a_running_engine_is_adopted_and_its_end_noticed(run, log_lines, marker):
    child = await run(SLEEP)
    await log_lines(1)
    adopted = adopt(child.identity)
    assert adopted is not None
    assert adopted.marker == marker
    child.send(signal.SIGKILL)
    await asyncio.wait_for(adopted.gone(), 5)
    await child.gone()


STRANGER = """
import subprocess, sys, time
# The daemon that started the engine dies; its engine goes to whoever reaps here.
child = subprocess.Popen([sys.executable, "-c", {code!r}], start_new_session=True,
                         env={{"POOL_MANAGERD_SPEC": "digest", "POOL_MANAGERD_MARKER": "m"}})
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize(
    ("code", "exit_code", "signal_name"),
    [
        ("import sys; sys.stdin.read(); sys.exit(9)", 9, None),
        ("import os, sys; sys.stdin.read(); os.abort()", None, "SIGABRT"),
    ],
)
async def test_a_strangers_exit_status_is_known_where_the_kernel_tells_it(code, exit_code, signal_name):
    parent = subprocess.Popen(
        [sys.executable, "-c", STRANGER.format(code=code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    pid = int(parent.stdout.readline())
    async with asyncio.timeout(5):
        while b"POOL_MANAGERD_SPEC=digest" not in Path(f"/proc/{pid}/environ").read_bytes():
            await asyncio.sleep(0.002)
    found = read_stat(pid)
    process = adopt(ProcessIdentity(pid, found.start_ticks, boot_id(), "digest"))
    assert process is not None
    assert not process.is_child
    parent.communicate(b"")
    status = await asyncio.wait_for(process.gone(), 5)
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if release >= (6, 15):
        assert (status.code, status.signal, status.known) == (exit_code, signal_name, True)
    else:
        assert not status.known


LAZY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(sys.stdin.read(1) and 9)"],
                         stdin=subprocess.PIPE, env={"POOL_MANAGERD_SPEC": "digest"})
print(child.pid, flush=True)
sys.stdin.readline()
child.stdin.write(b"x")
child.stdin.flush()
sys.stdin.readline()
child.wait()
"""


@pytest.mark.skipif(
    tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 15),
    reason="the kernel tells the exit status of a stranger from Linux 6.15 on",
)
async def test_a_stranger_whose_parent_is_slow_to_reap_it_has_ended_at_once_and_is_explained_later():
    parent = subprocess.Popen([sys.executable, "-c", LAZY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    async with asyncio.timeout(5):
        while b"POOL_MANAGERD_SPEC=digest" not in Path(f"/proc/{pid}/environ").read_bytes():
            await asyncio.sleep(0.002)
    process = adopt(ProcessIdentity(pid, read_stat(pid).start_ticks, boot_id(), "digest"))
    parent.stdin.write(b"\n")
    parent.stdin.flush()
    assert not (await asyncio.wait_for(process.gone(), 5)).known
    assert not process.running
    assert not process.explained.done()
    parent.communicate(b"\n")
    status = await asyncio.wait_for(process.explained, 5)
    assert (status.code, status.signal, status.known) == (9, None, True)


async def test_a_process_that_differs_in_anything_is_not_adopted(run, log_lines):
    process = await run(SLEEP)
    await log_lines(1)
    identity = process.identity
    for other in (
        replace(identity, start_ticks=identity.start_ticks + 1),
        replace(identity, boot_id="another boot"),
        replace(identity, spec_digest="another spec"),
        replace(identity, pid=os.getpid()),
        replace(identity, pid=2**22 - 1),
    ):
        assert adopt(other) is None
    assert process.running
    process.send(signal.SIGKILL)
    await process.gone()
    assert adopt(identity) is None


async def test_a_detached_engine_lives_on(run, log_lines):
    process = await run(SLEEP)
    await log_lines(1)
    process.detach()
    assert process.exited.cancelled()
    again = adopt(process.identity)
    assert again is not None
    assert again.is_child
    again.kill_group()
    assert (await again.gone()).signal == "SIGKILL"
    assert read_stat(process.pid) is None


async def test_many_engines_start_and_end_without_a_leak(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    processes = [await spawn(spec_of(tmp_path, "/bin/sleep", "60")) for _ in range(50)]
    for process in processes:
        process.send(signal.SIGKILL)
    await asyncio.gather(*(process.gone() for process in processes))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


CGROUP = Path("/sys/fs/cgroup/memory")


@pytest.mark.skipif(
    not (IS_ROOT and (CGROUP / "memory.limit_in_bytes").exists()), reason="needs root and a memory control group (v1)"
)
async def test_a_victim_of_the_cgroups_oom_killer_is_known_as_such(run, log_lines):
    group = CGROUP / f"pool-managerd-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("control groups cannot be made here")
    try:
        (group / "memory.limit_in_bytes").write_text("32M")
        process = await run(
            "import time; print('up', flush=True); time.sleep(0.3); x = b'x' * (200 << 20); time.sleep(60)"
        )
        await log_lines(1)
        (group / "cgroup.procs").write_text(str(process.pid))
        status = await asyncio.wait_for(process.gone(), 10)
        assert status.signal == "SIGKILL"
        assert status.oom
    finally:
        group.rmdir()


def test_without_the_kernels_log_the_groups_counter_is_put_down_to_the_next_killed_process(tmp_path):
    counter = tmp_path / "memory.events"
    counter.write_text("low 0\noom 1\noom_kill 1\n")
    watch = OomWatch()
    watch._forget_log()
    watch._counters = [counter]
    watch.look()
    watch._rises.clear()
    assert not watch.killed(1, "SIGKILL")
    counter.write_text("low 0\noom 2\noom_kill 2\n")
    assert not watch.killed(1, "SIGSEGV")
    assert watch.killed(1, "SIGKILL")
    assert not watch.killed(2, "SIGKILL")


def test_a_rise_of_the_counter_is_not_put_down_to_a_process_that_is_killed_much_later(tmp_path, monkeypatch):
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 1\n")
    watch = OomWatch()
    watch._forget_log()
    watch._counters = [counter]
    watch.look()
    monkeypatch.setattr(oom, "RISE_S", 0.05)
    time.sleep(0.06)
    assert not watch.killed(1, "SIGKILL")


async def test_a_start_that_is_given_up_leaves_no_process(tmp_path):
    spec = spec_of(tmp_path, "/bin/sleep", "4711.25")
    starts = [asyncio.ensure_future(spawn(spec)) for _ in range(5)]
    await asyncio.sleep(0)  # each has asked for its process by now
    for start in starts:
        start.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*starts, return_exceptions=True))
    last = await spawn(spec)  # one thread starts all, so the others are over
    last.kill_group()
    await last.gone()
    alive = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in alive if b"4711.25" in line]
