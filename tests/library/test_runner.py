import re
import subprocess
import sys

import pytest
from PoolManagerLibrary.failed_folder import clear_failed, kept_files, make_failed_folder
from PoolManagerLibrary.runner import (
    BAD_DATA,
    FEATURE_PATH,
    RunnerError,
    choose_suites,
    claim_results,
    default_options,
    has_tests,
    parse,
    run,
)

QUIETLY = ["--quiet", "--output", "none", "--log", "none", "--report", "none", "--xunit", "none"]
SUITE = "*** Test Cases ***\nOne\n    No Operation\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "robot" / "a").mkdir(parents=True)
    (tmp_path / "robot" / "a" / "one.robot").write_text(SUITE)
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_options_and_suites_are_told_apart():
    plan = parse(["--parallel", "2", "-i", "B-1", "--dryrun", "--variable=URL:http://x", "a.robot", "b.robot"])
    assert plan.parallel == 2
    assert plan.options == ["-i", "B-1", "--dryrun", "--variable=URL:http://x"]
    assert plan.suites == ["a.robot", "b.robot"]


def test_parallel_needs_a_number():
    with pytest.raises(RunnerError, match="needs a number of processes, not 'many'"):
        parse(["--parallel=many"])


def test_the_command_line_goes_before_the_environment_and_that_before_the_default(folder):
    environment = {FEATURE_PATH: "robot/a/one.robot"}
    assert choose_suites(parse(["x.robot"]), environment, folder) == ["x.robot"]
    assert choose_suites(parse([]), environment, folder) == [str(folder / "robot/a/one.robot")]
    assert choose_suites(parse([]), {FEATURE_PATH: " "}, folder) == ["robot"]


def test_a_path_that_is_not_there_or_has_no_test_is_252_and_a_plain_sentence(folder, capsys):
    assert run([], {FEATURE_PATH: "robot/nope"}, folder) == BAD_DATA
    assert capsys.readouterr().err == f"bdd-runner: {FEATURE_PATH} names robot/nope, which does not exist.\n"
    assert run([], {FEATURE_PATH: "empty"}, folder) == BAD_DATA
    assert capsys.readouterr().err == f"bdd-runner: {FEATURE_PATH} names empty, which holds no test.\n"
    assert run([], {}, folder / "empty") == BAD_DATA
    assert "There is no folder" in capsys.readouterr().err
    assert not (folder / "results").exists()


def test_suites_with_and_without_tests(folder):
    assert has_tests(folder / "robot")
    assert has_tests(folder / "robot/a/one.robot")
    assert not has_tests(folder / "empty")


def test_defaults_stand_back_behind_what_is_given(folder):
    options = default_options(parse([]), folder)
    assert ["--outputdir", str(folder / "results")] == options[:2]
    assert "--xunit" in options
    assert "PoolManagerLibrary.progress.ProgressListener" in options
    given = default_options(parse(["-d", "out", "-x", "j.xml", "--console", "dotted"]), folder)
    assert "--outputdir" not in given
    assert "--xunit" not in given
    assert "--console" not in given
    assert f"REPORT_DIR:{folder / 'out'}" in given


def test_a_run_ends_as_robot_ends(folder):
    assert run([*QUIETLY, str(folder / "robot")], {}, folder) == 0


def test_tests_are_chosen_by_name_in_parallel_as_well(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.robot").write_text(f"{SUITE}Two\n    No Operation\n")
    command = [sys.executable, "-m", "PoolManagerLibrary.runner", "--parallel", "2", "-t", "One", "a.robot", "b.robot"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    tests = re.findall(r'<test id="[^"]+" name="(\w+)"', (tmp_path / "results/output.xml").read_text())
    assert tests == ["One", "One"]


def test_only_what_an_earlier_run_kept_is_removed_from_the_folder_of_the_results(folder):
    own = folder / "failed" / "A.A-bad-one"
    make_failed_folder(own)
    (own / "daemon.log").write_text("old")
    for name in ("notes.txt", "photos/1.png"):
        path = folder / "failed" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("somebody's")
    assert run([*QUIETLY, "--outputdir", str(folder), str(folder / "robot")], {}, folder) == 0
    assert not own.exists()
    assert sorted(path.name for path in (folder / "failed").rglob("*")) == ["1.png", "notes.txt", "photos"]


def test_a_folder_that_somebody_else_has_filled_is_never_marked(folder):
    theirs = folder / "failed" / "A.A-bad-one"
    theirs.mkdir(parents=True)
    (theirs / "notes.txt").write_text("mine")
    make_failed_folder(theirs)
    clear_failed(folder)
    assert (theirs / "notes.txt").read_text() == "mine"


def test_a_folder_of_failed_scenarios_goes_when_nothing_is_left_in_it(folder):
    make_failed_folder(folder / "failed" / "A.A-bad-one")
    assert run([*QUIETLY, "--outputdir", str(folder), str(folder / "robot")], {}, folder) == 0
    assert not (folder / "failed").exists()


def test_the_mark_of_a_kept_folder_is_none_of_what_was_kept(tmp_path):
    make_failed_folder(tmp_path / "failed" / "one")
    (tmp_path / "failed" / "one" / "daemon.log").touch()
    assert kept_files(tmp_path / "failed" / "one") == ["daemon.log"]
    assert kept_files(tmp_path / "failed" / "two") == []


def test_suites_that_are_not_there_are_named(folder, capfd):
    assert run([str(folder / "nosuch")], {}, folder) == 252
    assert "nosuch" in capfd.readouterr().err


def test_a_run_beside_another_has_results_of_its_own(folder, capsys):
    first, claim = claim_results(folder)
    with claim:
        second, other = claim_results(folder)
        other.close()
    assert first == folder / "results"
    assert second.parent == first
    assert str(second) in capsys.readouterr().err
    assert f"REPORT_DIR:{second}" in default_options(parse([]), folder, second)
    again, claim = claim_results(folder)
    claim.close()
    assert again == first
