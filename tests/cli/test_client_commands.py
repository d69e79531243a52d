"""The client commands against the HTTP facade."""

import inspect
import json
import os
import signal
import socket
import subprocess

import pytest
from cli_facade import COMMAND, GPU, Facade, environment

from pool_managerd.core.errors import Code, PoolManagerError


@pytest.fixture
def cli(run, facade):
    """Run a command against the facade."""
    return lambda *arguments: run(*arguments, "--address", facade.address)


def test_status_has_one_row_per_pool(cli):
    code, out, err = cli("status")
    assert (code, err) == (0, "")
    head, _, *rows = out.splitlines()
    assert head.split()[:4] == ["POOL", "DESIRED", "PHASE", "READY"]
    bad, chat, slow = rows
    assert "ENGINE_EXITED: it left" in bad
    assert chat.split()[:7] == ["chat", "running", "ready", "yes", "1/1", "1/4", "2"]
    assert slow.split()[:4] == ["slow", "running", "loading", "no"]


def test_status_as_json_is_the_apis_document(cli):
    code, out, _ = cli("status", "--json")
    assert code == 0
    document = json.loads(out)
    assert [pool["pool_id"] for pool in document["pools"]] == ["bad", "chat", "slow"]
    _, one, _ = cli("status", "chat", "--json")
    assert json.loads(one) == document["pools"][1]


def test_preload_waits_and_shows_progress(cli):
    code, out, err = cli("preload", "chat")
    assert code == 0
    assert out.startswith("chat is ready (1 replica, ")
    assert "chat/r0 x → loading (so it is)" in err
    assert "chat/r0 x → ready" in err


def test_a_failed_preload_says_code_and_hint_on_stderr(cli):
    code, out, err = cli("preload", "bad")
    assert (code, out) == (1, "")
    assert err.splitlines()[-4:] == [
        "ENGINE_EXITED: exit code 3",
        "last lines of the engine's log:",
        "  last words",
        "hint: read the log",
    ]


def test_a_preload_that_takes_too_long_says_so(cli):
    code, _, err = cli("preload", "slow", "--timeout", "0.1")
    assert code == 1
    assert "TIMEOUT: slow is not done after 0.1 s: it is in phase loading" in err


def test_a_preload_need_not_wait(cli, facade):
    assert cli("preload", "slow", "--no-wait")[:2] == (0, "slow: loading\n")
    assert facade.service.calls[-1] == ("preload", "slow", None)


def test_a_drain_says_whether_it_was_forced(cli, facade):
    assert cli("drain", "chat")[:2] == (0, "chat is stopped: drained after 1.5 s\n")
    code, out, _ = cli("drain", "chat", "--deadline-ms", "0")
    assert (code, out) == (0, "chat is stopped: forced after 1.5 s, 2 leases ended by force\n")
    assert facade.service.calls[-1] == ("drain", "chat", 0, 3600.0)
    assert json.loads(cli("drain", "chat", "--json")[1])["outcome"] == "drained"


@pytest.mark.parametrize("command", ["undrain", "reset"])
def test_undrain_and_reset_show_the_phase(cli, command):
    assert cli(command, "chat")[:2] == (0, "chat: ready\n")


def test_a_reload_names_the_new_model(cli):
    code, out, _ = cli("reload", "chat", "b.gguf")
    assert code == 0
    assert out.startswith("chat runs b.gguf (")


def test_a_failed_reload_names_cause_and_whether_the_old_model_serves(cli):
    code, _, err = cli("reload", "chat", "missing.gguf")
    assert code == 1
    assert err.splitlines()[-4:] == [
        "RELOAD_FAILED: the new model is not there",
        "cause: MODEL_NOT_FOUND",
        "restored: yes, the old model serves",
        "hint: copy it first",
    ]


def test_leases(cli, facade):
    assert cli("leases", "list", "chat")[1].splitlines()[-1].split()[:3] == ["l-1", "r0", "me"]
    code, out, _ = cli("leases", "acquire", "chat", "--holder", "me", "--ttl-ms", "500")
    assert (code, out.split()[:2]) == (0, ["l-1", "http://127.0.0.1:1"])
    assert facade.service.calls[-1] == ("acquire", "me", 500)
    assert json.loads(cli("leases", "acquire", "chat", "--json")[1])["lease_id"] == "l-1"
    assert cli("leases", "renew", "chat", "l-1")[0] == 0
    assert cli("leases", "release", "chat", "l-1")[:2] == (0, "l-1 is released\n")
    code, _, err = cli("leases", "acquire", "slow")
    assert (code, err) == (1, "NO_FREE_SLOT: all slots are taken\n")


def test_leases_without_a_command_says_what_to_type(cli, facade):
    code, out, err = cli("leases", "chat", "--json")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "leases knows list, acquire, renew, release, not 'chat'",
        f"hint: a command comes first: `pool-managerd leases list chat --json --address {facade.address}`",
    ]
    assert "hint: did you mean 'acquire'? `pool-managerd leases acquire chat" in cli("leases", "aquire", "chat")[2]


def test_logs_are_given_as_they_are(cli, facade):
    code, out, _ = cli("logs", "chat", "--tail", "5", "--replica", "r0", "--follow")
    assert (code, out) == (0, "first\nzweite Zeile ü\n")
    assert facade.service.calls[-1] == ("logs", "chat", "r0", 5, True)


def test_logs_as_json_are_one_document_per_line(cli):
    code, out, _ = cli("logs", "chat", "--json")
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == [
        {"pool_id": "chat", "replica_id": "r0", "line": line} for line in ("first", "zweite Zeile ü")
    ]


def test_every_command_that_answers_knows_json():
    from pool_managerd.cli.app import app  # noqa: PLC0415 - needed here only

    commands = {command.name or command.callback.__name__: command for command in app.registered_commands}
    for group in app.registered_groups:
        for command in group.typer_instance.registered_commands:
            commands[f"{group.name} {command.name or command.callback.__name__}"] = command
    without = [
        name for name, command in commands.items() if "json" not in inspect.signature(command.callback).parameters
    ]
    assert without == ["serve"]


def test_a_release_as_json(cli):
    assert json.loads(cli("leases", "release", "chat", "l-1", "--json")[1]) == {
        "lease_id": "l-1", "pool_id": "chat", "released": True,
    }  # fmt: skip


def test_events_from_a_revision_on(cli):
    code, out, _ = cli("events", "--since", "1", "--json")
    assert code == 0
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["revision"] for event in events[:2]] == [2, 3]
    assert cli("events")[1].splitlines()[0].endswith("chat/r0 x → preflight (so it is)")
    assert cli("events", "--since", "999999")[:2] == (0, "")


def test_events_that_the_daemon_cannot_read_are_no_end_of_them(cli, facade, monkeypatch):
    gone = PoolManagerError(Code.STORE_UNAVAILABLE, "the disk is gone")

    async def ends_soon():
        raise gone
        yield []

    async def watch(_since):
        return ends_soon()

    async def refuse(_since):
        raise gone

    monkeypatch.setattr(facade.service, "watch", watch)
    code, out, err = cli("events", "--since", "1")
    assert (code, out) == (1, "")
    assert "ended at revision 1, before the present one" in err
    monkeypatch.setattr(facade.service, "watch", refuse)
    assert cli("events", "--since", "1") == (1, "", "STORE_UNAVAILABLE: the disk is gone\n")


def test_events_are_followed_until_interrupted(facade):
    arguments = ["events", "--follow", "--json", "--address", facade.address]
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert json.loads(process.stdout.readline())["kind"] == "daemon"
        facade.soon(facade.service.phase, "chat", "draining")
        assert json.loads(process.stdout.readline())["to"] == "draining"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == ""


def test_a_watched_status_shows_each_change(facade):
    arguments = ["status", "slow", "--watch", "--json", "--address", facade.address]
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        lines = iter(process.stdout.readline, "")
        first = "".join(iter(lambda: next(lines), "}\n"))
        assert '"phase": "loading"' in first
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert process.returncode == 130


def test_devices(cli):
    code, out, err = cli("devices")
    assert (code, err) == (0, "These GPUs are simulated.\n")
    row = out.splitlines()[-1]
    assert row.split()[:2] == ["0", GPU]
    assert "24 GiB" in row
    assert "chat (pid 12, 1 GiB), other (pid 13, -)" in row
    assert json.loads(cli("devices", "--json")[1])["source"] == "simulated"


def test_an_unknown_pool_is_refused(cli):
    for command in (["preload", "nope"], ["status", "nope"], ["logs", "nope"], ["leases", "list", "a/b?c"]):
        code, _, err = cli(*command)
        assert code == 1
        assert err.startswith("POOL_NOT_FOUND: ")


def test_the_token_comes_from_the_file_or_else_from_the_environment(run, tmp_path):
    facade = Facade(token="good-token")
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("good-token\n")
    bad.write_text("bad-token\n")
    address = ["--address", facade.address]
    try:
        assert run("status", *address)[0] == 1
        assert run("status", *address, env={"LLORCH_API_TOKEN": "good-token"})[0] == 0
        assert run("status", *address, "--token-file", good, env={"LLORCH_API_TOKEN": "bad"})[0] == 0
        code, _, err = run("status", *address, "--token-file", bad, env={"LLORCH_API_TOKEN": "good-token"})
        assert code == 1
        assert err.startswith("UNAUTHENTICATED: ")
        assert run("status", *address, "--token-file", tmp_path / "none")[0] == 2
        code, _, err = run("status", *address, env={"LLORCH_API_TOKEN": "two\nlines"})
        assert code == 2
        assert err.startswith("LLORCH_API_TOKEN: ")
    finally:
        facade.close()


def test_the_address_comes_from_the_option_or_else_from_the_environment(run, facade):
    assert run("status", env={"POOL_MANAGERD_ADDR": facade.address})[0] == 0
    assert run("status", "--address", facade.address, env={"POOL_MANAGERD_ADDR": "127.0.0.1:1"})[0] == 0
    assert run("status", "--address", f"http://{facade.address}/")[0] == 0


CLIENT_COMMANDS = [
    ["status"],
    ["preload", "chat"],
    ["drain", "chat"],
    ["undrain", "chat"],
    ["reload", "chat", "m"],
    ["reset", "chat"],
    ["leases", "list", "chat"],
    ["leases", "acquire", "chat"],
    ["leases", "renew", "chat", "l"],
    ["leases", "release", "chat", "l"],
    ["logs", "chat"],
    ["events"],
    ["events", "--follow"],
    ["devices"],
]


@pytest.mark.parametrize("command", CLIENT_COMMANDS, ids=" ".join)
def test_no_daemon_is_exit_code_3_and_names_the_address(run, command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, out, err = run(*command, "--address", address)
    assert (code, out) == (3, "")
    assert f"no daemon answers at {address}: Connection refused" in err


def test_something_else_that_listens_is_no_daemon(run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [*COMMAND, "status", "--address", address], stderr=subprocess.PIPE, text=True, env=environment()
        )
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(b"220 mail.example ESMTP\r\n")
        connection.close()
        _, err = process.communicate(timeout=10)
    assert process.returncode == 3
    assert f"no daemon answers at {address}" in err


@pytest.mark.parametrize(
    "command",
    [
        ["nonsense"],
        ["preload"],
        ["preload", "chat", "--nonsense"],
        ["drain", "chat", "--deadline-ms", "soon"],
        ["status", "--address", "nonsense"],
        ["status", "--address", "ftp://127.0.0.1:1"],
        ["serve"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(run, command):
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert err


def test_serve_without_a_config_says_how_to_get_one(run):
    assert "pool-managerd example-config > pools.toml" in run("serve")[2]


def test_a_reader_who_has_seen_enough_is_no_error(facade):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [*COMMAND, "status", "--json", "--address", facade.address],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=30,
        env=environment(),
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, "")
