import json

from PoolManagerLibrary import shares


def suite(folder, name, tags="quick"):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"*** Settings ***\nTest Tags    {tags}\n*** Test Cases ***\nOne\n    No Operation\n")
    return file


def test_the_longest_go_first_each_to_the_lightest_share():
    times = {"a": 9.0, "b": 5.0, "c": 4.0, "d": 3.0, "e": 3.0}
    assert shares.divide(times, 2) == [["a", "d"], ["b", "c", "e"]]
    assert shares.divide({"a": 1.0}, 3) == [["a"]]


def test_suites_are_those_that_robot_would_run(tmp_path):
    robot = tmp_path / "robot"
    first, second = suite(robot, "api/grpc_health.robot"), suite(robot, "drain/01__leases.robot", tags="slow")
    suite(robot, "harness/_must_fail/hidden.robot")
    assert shares.suite_files([robot]) == {"Robot.Api.Grpc Health": first, "Robot.Drain.Leases": second}
    several = shares.suite_files([robot / "api", robot / "drain"])
    assert several == {"Api & Drain.Api.Grpc Health": first, "Api & Drain.Drain.Leases": second}
    assert list(shares.suite_files([robot], exclude=["slow"]).values()) == [first]
    assert list(shares.suite_files([robot], include=["slow"]).values()) == [second]
    assert list(shares.suite_files([robot], suites=["Drain"]).values()) == [second]


def test_shares_are_written_by_what_the_suites_took_and_one_that_is_new_counts_as_usual(tmp_path):
    robot = tmp_path / "robot"
    for name in ("api/long.robot", "api/short.robot", "drain/new.robot"):
        suite(robot, name)
    (robot / shares.TIMES).write_text(json.dumps({"api/long.robot": 9, "api/short.robot": 1, "api/gone.robot": 99}))
    ordering = tmp_path / "results" / "ordering"
    assert shares.balance([robot], 2, ordering)
    assert ordering.read_text().split("\n") == [
        "{",
        "--suite Robot.Api.Long",
        "}",
        "{",
        "--suite Robot.Drain.New",
        "--suite Robot.Api.Short",
        "}",
        "",
    ]


def test_without_times_or_suites_the_shares_are_left_to_pabot(tmp_path):
    for number in range(3):
        suite(tmp_path / "robot", f"api/{number}.robot")
    assert not shares.balance([tmp_path / "robot"], 2, tmp_path / "ordering")
    assert not shares.balance([tmp_path / "nowhere"], 2, tmp_path / "ordering")
    assert not shares.balance([tmp_path / "robot"], 2, tmp_path / "ordering", include=["none-has-this"])
    assert not (tmp_path / "ordering").exists()
