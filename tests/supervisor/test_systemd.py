"""What the daemon tells systemd, over a real socket."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest
from supervisor_world import QUICK, pool, wait

from pool_managerd.systemd import watchdog_s

CALM = QUICK.replace("interval_ms = 60", "interval_ms = 10000")


@pytest.fixture
def told(tmp_path):
    """systemd's end of the socket; it waits at most 10 s for a message."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10)
        yield listener


def message(told):
    return dict(line.partition("=")[::2] for line in told.recv(65536).decode().splitlines())


def drain(told):
    """Take messages until none comes any more."""
    while True:
        message(told)


def env(tmp_path, **more):
    return {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_PID": "", "WATCHDOG_USEC": "", **more}


def test_it_says_when_it_serves_reloads_and_stops(daemon, told, tmp_path):
    d = daemon(pool(more="preload = false"))
    d.start(env=env(tmp_path))
    got = message(told)
    assert (got["READY"], got["MAINPID"]) == ("1", str(d.process.pid))
    assert f"HTTP on 127.0.0.1:{d.port}" in got["STATUS"]

    before = time.monotonic_ns() // 1000
    d.process.send_signal(signal.SIGHUP)
    got = message(told)
    assert got["RELOADING"] == "1"
    assert before <= int(got["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    got = message(told)
    assert (got["READY"], "refused" in got["STATUS"]) == ("1", False)

    d.place.write(pool(more="preload = false\nslotz = 2"))
    d.process.send_signal(signal.SIGHUP)
    assert message(told)["RELOADING"] == "1"
    got = message(told)
    assert got["READY"] == "1"
    assert "refused" in got["STATUS"]
    assert "slotz" in got["STATUS"]

    assert d.end() == 0
    assert message(told) == {"STOPPING": "1"}


def test_it_pings_twice_in_the_watchdogs_time_and_not_while_its_loop_hangs(daemon, told, tmp_path):
    d = daemon(pool(more="preload = false"))
    d.start(env=env(tmp_path, WATCHDOG_USEC="400000"))
    assert message(told)["READY"] == "1"
    times = []
    for _ in range(5):
        assert message(told) == {"WATCHDOG": "1"}
        times.append(time.monotonic())
    assert times[-1] - times[0] >= 4 * 0.2 - 0.1

    d.process.send_signal(signal.SIGSTOP)
    told.settimeout(0.6)
    with pytest.raises(TimeoutError):
        drain(told)
    told.settimeout(10)
    d.process.send_signal(signal.SIGCONT)
    assert message(told) == {"WATCHDOG": "1"}

    # What systemd does to a daemon that is silent.
    d.process.send_signal(signal.SIGABRT)
    assert d.process.wait(10) == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in d.log()


def test_engines_are_told_nothing_of_it(daemon, told, tmp_path):
    d = daemon(pool(quick=CALM))
    d.start(env=env(tmp_path, WATCHDOG_USEC="60000000"), ready="p")
    pid = d.status()["replicas"][0]["pid"]
    environ = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"NOTIFY_SOCKET" not in environ
    assert b"WATCHDOG" not in environ


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", None, 30.0),
        ("30000000", "me", 30.0),
        ("30000000", "1", None),
        ("", None, None),
        ("0", None, None),
        ("-5", None, None),
        ("soon", "me", None),
    ],
)
def test_it_is_watched_only_where_systemd_says_so_and_means_this_process(monkeypatch, usec, pid, seconds):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    if pid is None:
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
    else:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "me" else pid)
    assert watchdog_s() == seconds


def test_without_systemd_nothing_is_sent(daemon):
    d = daemon(pool(more="preload = false"))
    d.start(env={"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "100000"})
    assert wait(lambda: d.status()["phase"] == "stopped")
    assert d.end() == 0
