import os
import subprocess
import sys
import time
from pathlib import Path

from PoolManagerLibrary import leftovers


def sleeper(mark):
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)", mark])


def test_processes_are_found_by_their_mark_and_ended(tmp_path):
    process = sleeper(f"{tmp_path}/x")
    try:
        assert leftovers.processes_of(str(tmp_path)) == [process.pid]
        assert str(tmp_path) in leftovers.command_of(process.pid)
        assert leftovers.kill_all(str(tmp_path)) == [process.pid]
        assert leftovers.processes_of(str(tmp_path)) == []
    finally:
        process.kill()
        process.wait()


def test_a_program_that_names_the_folder_nowhere_is_found_by_where_its_output_goes(tmp_path):
    with (tmp_path / "engine.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"], stdout=log)
    try:
        assert leftovers.kill_all(f"{tmp_path}/") == [process.pid]
    finally:
        process.kill()
        process.wait()


def test_a_stranger_whose_output_has_a_name_that_is_no_text_disturbs_nobody(tmp_path):
    with (tmp_path / os.fsdecode(b"\xff.log")).open("wb") as log:
        stranger = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"], stdout=log)
    try:
        assert leftovers.processes_of("no such mark") == []
    finally:
        stranger.kill()
        stranger.wait()


def test_the_reaper_cleans_up_after_a_run_that_was_killed(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    process = sleeper(f"{folder}/engine")
    reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(leftovers.__file__)), str(folder)], stdin=subprocess.PIPE
    )
    try:
        assert process.poll() is None
        reaper.stdin.close()  # what the end of the run does, however it ends
        assert reaper.wait(5) == 0
        assert process.wait(5) == -9
        assert not folder.exists()
    finally:
        process.kill()
        process.wait()


def test_a_mark_does_not_match_the_searcher_itself(tmp_path):
    started = time.monotonic()
    assert leftovers.processes_of(str(tmp_path)) == []
    assert time.monotonic() - started < 1
