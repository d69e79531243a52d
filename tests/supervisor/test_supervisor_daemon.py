"""Whole daemons: killed, told to stop, without room on their disk."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import time

import pytest
from supervisor_world import QUICK, alive, pool, wait

CALM = QUICK.replace("interval_ms = 60", "interval_ms = 10000")


def test_killed_at_any_moment_of_a_preload_it_comes_back_to_one_ready_engine(daemon):
    d = daemon(pool(simulated="load_ms = 1200", quick=CALM))
    d.start()
    for moments in ((), ("loading", "ready"), ("ready",)):
        # On a busy machine the engine of the first daemon may have loaded before the second one looks.
        wait(lambda: not moments or d.status()["phase"] in moments)  # noqa: B023  # waited for before the next round
        d.kill()
        d.start()
    status = d.wait_phase("p", "ready")
    engines = wait(lambda: len(d.place.engines()) == 1 and d.place.engines())
    assert engines == {status["replicas"][0]["pid"]} == {d.place.pid_file()}
    assert d.place.handoff()["pid"] == d.place.pid_file()
    assert status["replicas"][0]["adopted"]
    assert d.end() == 0
    assert d.place.engines() == set()
    assert (d.place.pid_file(), d.place.handoff()) == (None, None)


def test_engines_are_left_to_the_next_daemon_and_a_second_sigterm_ends_the_wait_for_leases(daemon):
    leave = 'on_shutdown = "leave"'
    d = daemon(pool(quick=CALM), server=leave)
    d.start(ready="p")
    pid = d.status()["replicas"][0]["pid"]
    assert d.end() == 0
    assert alive(pid)
    assert d.place.handoff()["pid"] == pid
    d.place.write(pool(quick=CALM), server="shutdown_drain_ms = 60000")
    d.start(ready="p")
    assert d.status()["replicas"][0]["pid"] == pid
    assert d.ask("POST", "/v2/pools/p/leases", {"ttl_ms": 60_000})[0] == 201
    d.process.send_signal(signal.SIGTERM)
    wait(lambda: not d.place.state.joinpath("daemon.json").exists() or d.status()["draining"])
    assert d.ask("POST", "/v2/pools/p/leases", {})[1]["code"] in {"SHUTTING_DOWN", "POOL_DRAINING"}
    assert alive(pid)
    began = time.monotonic()
    assert d.end() == 0
    assert time.monotonic() - began < 10
    assert not alive(pid)


def test_without_room_on_the_disk_supervision_goes_on_and_nothing_promised_is_forgotten(daemon):
    d = daemon(pool(quick=CALM))
    d.start(ready="p")
    granted = d.ask("POST", "/v2/pools/p/leases", {"ttl_ms": 60_000, "holder": "before"})[1]
    limit = resource.prlimit(d.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(d.process.pid, resource.RLIMIT_FSIZE, (0, limit[1]))
    status, refused = d.ask("POST", "/v2/pools/p/leases", {})
    assert (status, refused["code"]) == (503, "STORE_UNAVAILABLE")
    status, told = d.ask("GET", "/ready")
    assert (status, told["store"]) == (503, "unavailable")
    status, refused = d.ask("POST", "/v2/pools/p/drain", {})
    assert (status, refused["code"]) == (503, "STORE_UNAVAILABLE")
    assert (d.status()["desired"], d.status()["draining"], d.status()["ready"]) == ("running", False, True)
    assert [one["lease_id"] for one in d.ask("GET", "/v2/pools/p/leases")[1]["leases"]] == [granted["lease_id"]]
    os.kill(d.status()["replicas"][0]["pid"], signal.SIGKILL)
    crashed = wait(lambda: (found := d.status())["last_error"] and found, 1)
    assert (crashed["last_error"]["code"], crashed["live"]) == ("ENGINE_EXITED", False)
    resource.prlimit(d.process.pid, resource.RLIMIT_FSIZE, limit)
    d.wait_phase("p", "ready")
    second = wait(lambda: (got := d.ask("POST", "/v2/pools/p/leases", {"ttl_ms": 60_000}))[0] == 201 and got[1])
    d.kill()
    d.start(ready="p")
    assert [one["lease_id"] for one in d.ask("GET", "/v2/pools/p/leases")[1]["leases"]] == [second["lease_id"]]


def test_a_stop_in_the_midst_of_the_start_ends_what_was_started(daemon):
    d = daemon(pool(simulated="load_ms = 60000", quick=CALM))
    d.start()
    d.wait_phase("p", "loading")
    assert d.end() == 0
    assert d.place.engines() == set()


def test_strange_handoff_files_are_no_reason_not_to_start(daemon):
    d = daemon(pool(quick=CALM, more="preload = false"))
    (d.place.state / "engines").mkdir(parents=True)
    d.place.state.chmod(0o700)
    (d.place.state / "engines" / "p-r0.json").write_bytes(b"[1, 2")
    (d.place.state / "engines" / "p-r1.json").write_bytes(b"{}")
    (d.place.state / "engines" / "other-r0.json").mkdir()
    d.start()
    assert d.status()["phase"] == "stopped"
    assert d.end() == 0


def test_a_busy_grpc_address_is_found_out_before_anything_is_touched(daemon):
    d = daemon(pool(quick=CALM), pool("gone", quick=CALM))
    d.start(ready="gone")
    engine = d.status("gone")["replicas"][0]["pid"]
    d.kill()
    d.place.write(pool(quick=CALM))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AssertionError, match=f"cannot listen on {address}"):
            d.start(env={"POOL_MANAGERD_GRPC_ADDR": address})
    assert alive(engine)
    assert d.place.state.joinpath("gone-r0.pid").exists()


def test_that_daemon_json_cannot_be_written_holds_up_no_supervision(daemon):
    d = daemon(pool(quick=CALM))
    d.start(ready="p")
    engine = d.status()["replicas"][0]["pid"]
    d.kill()
    told = d.place.state / "daemon.json"
    told.unlink()
    told.joinpath("in the way").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        d.port = free.getsockname()[1]
    d.spawn(env={"POOL_MANAGERD_ADDR": f"127.0.0.1:{d.port}"})

    def adopted() -> bool:
        with contextlib.suppress(ConnectionError):
            return d.status()["phase"] == "ready"
        return False

    wait(adopted, 20)
    assert d.status()["replicas"][0]["pid"] == engine
    assert "it is tried again by itself" in d.log()
    shutil.rmtree(told)
    wait(told.is_file)
