from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.runtime.files import StateDir

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    made = StateDir(tmp_path / "deep" / "state")
    made.prepare()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_folders_and_files_are_for_the_daemons_user_only(state):
    state.write_pid("chat", "r0", 42, first=True)
    state.write_handoff("chat", "r0", {"pid": 42})
    work = state.work_dir("chat", "r0")
    for folder in (state.path, state.path / "engines", state.path / "work", work):
        assert mode(folder) == 0o700
    for file in (state.pid_file("chat", "r0"), state.pid_file("chat"), state.handoff_file("chat", "r0")):
        assert mode(file) == 0o600
    assert state.work_dir("chat", "r1") != work
    assert state.work_dir("chat", "r0") == work


def test_pid_files_hold_the_number_alone(state):
    state.write_pid("chat", "r0", 42, first=True)
    state.write_pid("chat", "r1", 43, first=False)
    contents = {path.name: path.read_bytes() for path in state.path.glob("*.pid")}
    assert contents == {"chat-r0.pid": b"42\n", "chat.pid": b"42\n", "chat-r1.pid": b"43\n"}
    for replica, first in (("r0", True), ("r1", False), ("r1", False)):
        state.remove_pid("chat", replica, first=first)
    assert list(state.path.glob("*.pid")) == []


def test_a_handoff_file_is_indented_utf8_json_with_a_newline(state):
    document = {"pool_id": "chat", "model": {"path": "/m/größe.gguf"}, "flags": ["-c", "4096"]}
    state.write_handoff("chat", "r0", document)
    data = state.handoff_file("chat", "r0").read_bytes()
    assert json.loads(data) == document
    assert data.endswith(b"}\n")
    assert "größe".encode() in data
    assert b'\n  "pool_id"' in data
    assert state.read_handoff("chat", "r0") == document
    state.remove_handoff("chat", "r0")
    state.remove_handoff("chat", "r0")
    assert state.read_handoff("chat", "r0") is None


def test_arguments_that_are_no_utf8_do_not_hinder_the_handoff(state):
    state.write_handoff("chat", "r0", {"flags": ["\udcff"]})
    assert json.loads(state.handoff_file("chat", "r0").read_text()) == {"flags": ["\ufffd"]}


def test_a_reader_never_sees_a_partial_handoff(state):
    path = state.handoff_file("chat", "r0")
    state.write_handoff("chat", "r0", {"n": 0, "fill": "x" * 20_000})
    stop = threading.Event()
    faults: list[Exception] = []

    def read() -> None:
        while not stop.is_set():
            try:
                assert len(json.loads(path.read_text())["fill"]) == 20_000
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what the test looks for
                faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(300):
        state.write_handoff("chat", "r0", {"n": number, "fill": "x" * 20_000})
    stop.set()
    reader.join()
    assert faults == []
    assert [file.name for file in path.parent.iterdir()] == ["chat-r0.json"]


def test_planted_links_are_replaced_or_refused_but_never_followed(state, tmp_path):
    target = tmp_path / "target"
    target.write_text("keep")
    state.pid_file("chat", "r0").symlink_to(target)
    state.handoff_file("chat", "r0").symlink_to(target)
    state.write_pid("chat", "r0", 42, first=False)
    state.write_handoff("chat", "r0", {})
    assert target.read_text() == "keep"
    assert not state.pid_file("chat", "r0").is_symlink()

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (state.path / "engines" / "chat-r0.json").unlink()
    (state.path / "engines").rmdir()
    (state.path / "engines").symlink_to(elsewhere)
    with pytest.raises(PoolManagerError) as caught:
        state.write_handoff("chat", "r0", {})
    assert caught.value.code is Code.STORE_UNAVAILABLE
    assert str(state.path / "engines") in caught.value.message
    assert list(elsewhere.iterdir()) == []

    (state.path / "daemon.lock").symlink_to(target)
    with pytest.raises(PoolManagerError):
        state.lock()
    (state.path / "work" / "chat-r0").symlink_to(elsewhere)
    with pytest.raises(PoolManagerError):
        state.work_dir("chat", "r0")


def test_a_missing_folder_is_made_again_by_the_next_write(state):
    (state.path / "engines").rmdir()
    state.write_handoff("chat", "r0", {})
    assert mode(state.path / "engines") == 0o700


def test_a_state_directory_that_was_removed_is_not_made_by_a_write(state):
    state.lock()
    shutil.rmtree(state.path)
    assert not state.is_there()
    for write in (
        lambda: state.write_pid("chat", "r0", 1, first=True),
        lambda: state.write_handoff("chat", "r0", {}),
        lambda: state.work_dir("chat", "r0"),
        lambda: state.link_log("chat", "r0"),
    ):
        with pytest.raises(PoolManagerError) as caught:
            write()
        assert caught.value.code is Code.STORE_UNAVAILABLE
    assert not state.path.exists()
    state.unlock()


def test_a_state_directory_that_is_back_is_locked_again_and_keeps_its_id(state):
    state.lock()
    kept = state.state_id()
    assert state.is_whole(kept)
    shutil.rmtree(state.path)
    state.path.mkdir()
    assert not state.is_whole(kept)
    state.make_whole(kept)
    assert state.is_whole(kept)
    assert StateDir(state.path).state_id() == kept
    with pytest.raises(PoolManagerError) as caught:
        StateDir(state.path).lock()
    assert caught.value.code is Code.CONFLICT
    state.unlock()


def test_a_state_directory_that_came_back_with_another_daemon_in_it_is_not_taken(state):
    state.lock()
    kept = state.state_id()
    shutil.rmtree(state.path)
    other = StateDir(state.path)
    other.prepare()
    other.lock()
    theirs = other.state_id()
    with pytest.raises(PoolManagerError) as caught:
        state.make_whole(kept)
    assert caught.value.code is Code.CONFLICT
    assert other.state_id() == theirs != kept
    other.unlock()
    state.make_whole(kept)
    assert state.is_whole(kept)
    state.unlock()


def test_one_that_was_moved_away_and_back_is_still_the_same(state):
    state.lock()
    kept = state.state_id()
    elsewhere = state.path.rename(state.path.with_name("elsewhere"))
    assert not state.is_there()
    elsewhere.rename(state.path)
    assert state.is_whole(kept)
    state.make_whole(kept)
    assert state.is_whole(kept)
    state.unlock()


def test_write_access_of_others_is_taken_away(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o777)
    StateDir(folder).prepare()
    assert mode(folder) == 0o755


def test_an_unusable_state_directory_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(PoolManagerError) as caught:
            StateDir(path).prepare()
        assert caught.value.code is Code.STORE_UNAVAILABLE
        assert str(path) in caught.value.message


@pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")
def test_a_folder_of_somebody_else_or_without_access_is_refused(tmp_path):
    tmp_path.chmod(0o755)
    for name, code in (("foreign", "0o755"), ("closed", "0o500")):
        folder = tmp_path / name
        folder.mkdir()
        folder.chmod(int(code, 8))
        if name == "closed":
            os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        program = (
            "import os, sys, pathlib; from pool_managerd.runtime.files import StateDir;"
            f"os.setuid({pwd.getpwnam('nobody').pw_uid}); StateDir(pathlib.Path({str(folder)!r})).prepare()"
        )
        for parent in folder.parents:
            if parent != Path("/") and mode(parent) & 0o001 == 0:
                parent.chmod(mode(parent) | 0o001)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert "STORE_UNAVAILABLE" in done.stderr, done.stderr
        assert str(folder) in done.stderr


def test_only_one_daemon_uses_a_state_directory(state):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import sys, pathlib; from pool_managerd.runtime.files import StateDir;"
                f"StateDir(pathlib.Path({str(state.path)!r})).lock(); print('up', flush=True); sys.stdin.read()"
            ),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"up\n"
        with pytest.raises(PoolManagerError) as caught:
            state.lock()
        assert caught.value.code is Code.CONFLICT
        assert f"pid {holder.pid}" in caught.value.message
        assert caught.value.details["pid"] == holder.pid
    finally:
        holder.kill()
        holder.communicate()
    state.lock()
    assert (state.path / "daemon.lock").read_text() == f"{os.getpid()}\n"
    state.unlock()


def test_the_pools_log_leads_to_its_first_replicas(state):
    state.log_file("chat", "r0").write_text("line\n")
    state.link_log("chat", "r0")
    state.link_log("chat", "r0")
    link = state.path / "engine-chat.log"
    assert link.read_text() == "line\n"
    assert not str(link.readlink()).startswith("/")


def test_the_state_id_stays(state):
    assert state.state_id() == state.state_id() == StateDir(state.path).state_id()
    assert len(state.state_id()) == 16


def test_files_of_engines_that_do_not_run_are_removed(state):
    for pool, replica in (("a", "r0"), ("a", "r1"), ("b", "r0")):
        state.write_pid(pool, replica, 1, first=replica == "r0")
        state.write_handoff(pool, replica, {"pool_id": pool})
        state.log_file(pool, replica).write_text("")
    state.handoff_file("c", "r0").write_text("{damaged")
    (state.path / ".tmp-1-x").write_text("")
    found = {handoff.path.stem: handoff.document for handoff in state.handoffs()}
    assert found == {"a-r0": {"pool_id": "a"}, "a-r1": {"pool_id": "a"}, "b-r0": {"pool_id": "b"}, "c-r0": None}
    removed = state.remove_stale({("a", "r1"), ("b", "r0")}, first={"a": "r0", "b": "r0"})
    assert {path.name for path in removed} == {"a-r0.pid", "a.pid", "a-r0.json", "c-r0.json", ".tmp-1-x"}
    assert {path.name for path in state.path.glob("*.pid")} == {"a-r1.pid", "b-r0.pid", "b.pid"}
    assert len(list(state.path.glob("*.log"))) == 3


def test_a_removed_replica_leaves_its_log_only(state):
    state.write_pid("a", "r0", 1, first=True)
    state.write_handoff("a", "r0", {})
    state.link_log("a", "r0")
    state.log_file("a", "r0").write_text("")
    (state.work_dir("a", "r0") / "core").write_text("")
    state.forget_replica("a", "r0", first=True)
    assert sorted(path.name for path in state.path.rglob("*")) == ["engine-a-r0.log", "engines", "work"]


def test_the_work_dir_belongs_to_the_engines_user(state):
    if not IS_ROOT:
        pytest.skip("only root gives a folder away")
    assert state.work_dir("chat", "r0", user="nobody").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert state.work_dir("chat", "r0").stat().st_uid == 0
    with pytest.raises(PoolManagerError):
        state.work_dir("chat", "r0", user="no-such-user")
