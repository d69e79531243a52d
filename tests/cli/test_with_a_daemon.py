"""The commands against a real daemon on simulated devices."""

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from cli_facade import COMMAND, environment


@pytest.fixture
def daemon(run, tmp_path):
    """A daemon on the example config: its process and its HTTP address."""
    config = tmp_path / "pools.toml"
    config.write_text(run("example-config")[1])
    address = free_address()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--config", str(config), "--http", address, "--grpc", "127.0.0.1:0"],
            stderr=log,
            env=environment(),
        )
        try:
            deadline = time.monotonic() + 20
            while run("status", "--address", address)[0] == 3 and time.monotonic() < deadline:
                assert process.poll() is None, (tmp_path / "log").read_text()
            yield process, address, config
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_pools_life_from_the_command_line(run, daemon):
    process, address, config = daemon
    at = ("--address", address)
    code, out, _ = run("preload", "chat", *at)
    assert (code, out.split()[:3]) == (0, ["chat", "is", "ready"])
    code, out, _ = run("leases", "acquire", "chat", "--json", *at)
    assert code == 0
    assert json.loads(run("status", "chat", "--json", *at)[1])["active_leases"] == 1
    assert run("leases", "release", "chat", json.loads(out)["lease_id"], *at)[0] == 0
    assert run("logs", "chat", "--tail", "1", *at)[1].count("\n") == 1
    code, _, err = run("reload", "chat", str(Path(config).parent / "missing.gguf"), *at)
    assert code == 1
    assert err
    code, out, _ = run("drain", "chat", *at)
    assert (code, out.split()[:4]) == (0, ["chat", "is", "stopped:", "drained"])
    lines = [json.loads(line) for line in run("events", "--json", "--pool", "chat", *at)[1].splitlines()]
    assert [event["to"] for event in lines if event["kind"] == "phase" and event["to"] in {"ready", "stopped"}] == [
        "ready",
        "stopped",
    ]
    second = subprocess.run(
        [*COMMAND, "serve", "--config", str(config), "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env=environment(),
    )
    assert second.returncode == 1
    assert str(process.pid) in second.stderr
    assert run("status", *at)[0] == 0
