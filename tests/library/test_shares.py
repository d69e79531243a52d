import json
from pathlib import Path

import pytest
from PoolManagerLibrary import shares
from robot.errors import DataError


def suite(folder, name, tags="quick"):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"*** Settings ***\nTest Tags    {tags}\n*** Test Cases ***\nOne\n    No Operation\n")
    return file


def test_the_longest_go_first_each_to_the_lightest_share():
    times = {"a": 9.0, "b": 5.0, "c": 4.0, "d": 3.0, "e": 3.0}
    assert shares.divide(times, 2) == [["a", "d"], ["b", "c", "e"]]
    assert shares.divide({"a": 1.0}, 3) == [["a"]]


def files(*arguments):
    return shares.suite_files(*shares.selection([str(argument) for argument in arguments]))


def test_suites_are_those_that_robot_would_run(tmp_path):
    robot = tmp_path / "robot"
    first, second = suite(robot, "api/grpc_health.robot"), suite(robot, "drain/01__leases.robot", tags="slow")
    suite(robot, "harness/_must_fail/hidden.robot")
    both = {"root.Api.Grpc Health": first, "root.Drain.Leases": second}
    assert files(robot) == files(robot / "api", robot / "drain") == files("--name", "My.Run", robot) == both
    assert list(files("-e", "slow", robot).values()) == [first]
    assert list(files("--inc", "slow", robot).values()) == [second]
    assert list(files("--suite=Drain", robot).values()) == [second]
    chosen = tmp_path / "arguments"
    chosen.write_text("--exclude slow\n")
    assert list(files("-A", chosen, robot).values()) == [first]


def test_shares_are_written_by_what_the_suites_took_and_one_that_is_new_counts_as_usual(tmp_path):
    robot = tmp_path / "robot"
    for name in ("api/long.robot", "api/short.robot", "drain/new.robot"):
        suite(robot, name)
    (robot / shares.TIMES).write_text(json.dumps({"api/long.robot": 9, "api/short.robot": 1, "api/gone.robot": 99}))
    ordering = tmp_path / "results" / "ordering"
    assert shares.balance(files(robot), 2, ordering)
    assert ordering.read_text().split("\n") == [
        "{",
        "--suite root.Api.Long",
        "}",
        "{",
        "--suite root.Drain.New",
        "--suite root.Api.Short",
        "}",
        "",
    ]


@pytest.mark.parametrize("text", [None, "{bad", "[]", '{"api/0.robot": "slow"}', '{"api/0.robot": null}'])
def test_without_times_the_shares_are_left_to_pabot(tmp_path, text):
    robot = tmp_path / "robot"
    for number in range(3):
        suite(robot, f"api/{number}.robot")
    if text is not None:
        (robot / shares.TIMES).write_text(text)
    assert not shares.balance(files(robot), 2, tmp_path / "ordering")
    assert not (tmp_path / "ordering").exists()


@pytest.mark.parametrize("arguments", [["nowhere"], ["--include", "none-has-this"], ["--include"], ["--version"]])
def test_what_robot_would_refuse_is_left_to_it(tmp_path, arguments):
    robot = suite(tmp_path / "robot", "api/one.robot").parent
    with pytest.raises(DataError):
        files(*arguments, *([] if arguments == ["--include"] else [robot]))


def test_each_folder_of_suites_has_times():
    folder = Path(__file__).parents[2] / "robot"
    timed = {name.partition("/")[0] for name in json.loads((folder / shares.TIMES).read_text())}
    assert {file.parent.name for file in folder.glob("[a-z]*/[a-z]*.robot")} <= timed
