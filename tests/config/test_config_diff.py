"""What a new file changes, and what has to be started anew for it."""

from pathlib import Path

import pytest
from config_texts import POOL, Load

from pool_managerd.config import PoolConfig, keys_of
from pool_managerd.config_diff import SPAWN_KEYS, diff

BASE = (
    "[server]\nmax_parallel_loads = 3\n"
    + POOL
    + 'slots = 2\nvram_bytes = "1GiB"\ndevices = "0,1"\ntensor_split = [1, 1]\nenv = { A = "1", B = "2" }\n'
    'args = ["-x"]\n'
    "[pool.restart]\nfactor = 3\n"
    '[[pool]]\nid = "b"\nengine = "simulated"\nmodel = "m"\n'
)


def test_the_same_written_otherwise_is_unchanged(load: Load):
    other = (
        '[[pool]]\nmodel = "./x/../m"\nengine = "simulated"\nid = "b"\npreload = true # as ever\n'
        '[[pool]]\nengine = "llamacpp"\nmodel = "small.gguf"\nid = "chat"\nenv.B = "2"\nenv.A = "1"\nargs = [ "-x", ]\n'
        "vram_bytes = 1073741824\ndevices = ['GPU0', 1]\ntensor_split = [1.0, 1.0]\nslots = 2\n"
        "restart = { factor = 3.0 }\n"
        "[server]\nmax_parallel_loads = 3\nhttp = '127.0.0.1:9200'\n"
    )
    result = diff(load(BASE), load(other))
    assert result.is_empty
    assert result.unchanged == ["b", "chat"]
    assert not result.restart


def test_added_removed_and_changed(load: Load):
    new = BASE.replace("slots = 2", "slots = 3").replace("factor = 3", "factor = 4").replace('id = "b"', 'id = "c"')
    result = diff(load(BASE), load(new.replace("loads = 3", "loads = 4")))
    assert (result.added, result.removed, result.unchanged) == (["c"], ["b"], [])
    assert result.changed == {"chat": ["slots", "restart.factor"]}
    assert result.restart == {"chat"}
    assert result.daemon_keys == ["server.max_parallel_loads"]


@pytest.mark.parametrize(
    ("line", "keys", "restart"),
    [
        ('binary = "x"', ["binary"], True),
        ('args = ["y"]', ["args"], True),
        ('env = { A = "1" }', ["env"], True),
        ("context = 5", ["context"], True),
        ('kv_type = "q8_0"', ["kv_type"], True),
        ('user = "u"', ["user"], True),
        ("simulated.load_ms = 5", ["simulated.load_ms"], True),
        ('devices = "1"', ["devices"], True),
        ('engine_version = "9"', ["engine_version"], False),
        ("preload = false", ["preload"], False),
        ("share_devices = true", ["share_devices"], False),
        ('vram_bytes = "1GiB"', ["vram_bytes"], False),
        ("liveness.canary = true", ["liveness.canary"], False),
        ('readiness.path = "/x"', ["readiness.path"], False),
        ("breaker.failures = 3", ["breaker.failures"], False),
        ("replicas = 2", ["replicas"], False),
    ],
)
def test_only_the_spawn_spec_needs_a_new_process(load: Load, line: str, keys: list[str], restart: bool):
    text = POOL.replace("llamacpp", "simulated")
    result = diff(load(text), load(text + line + "\n"))
    assert result.changed == {"chat": keys}
    assert bool(result.restart) is restart
    assert result.restart_replicas == ({"chat": ("r0",)} if restart else {})


def test_one_more_replica_leaves_the_first_alone(load: Load):
    one, two = POOL + 'devices = "0"\n', POOL + 'devices = ["0", "1"]\nreplicas = 2\n'
    result = diff(load(one), load(two))
    assert result.changed == {"chat": ["replicas", "devices"]}
    assert not result.restart
    moved = POOL + 'devices = ["0", "2"]\nreplicas = 2\n'
    assert diff(load(two), load(moved)).restart_replicas == {"chat": ("r1",)}


def test_another_token_is_a_change_that_is_not_shown(load: Load, tmp_path: Path):
    token = tmp_path / "t"
    token.touch(0o600)
    text = '[server]\ntoken_file = "t"\n'
    token.write_text("one")
    old = load(text)
    token.write_text("two")
    assert diff(old, load(text)).daemon_keys == ["server.token_file"]


def test_a_switch_is_not_a_number(load: Load):
    text = POOL.replace("llamacpp", "simulated")
    assert diff(load(text + "simulated.hang = true\n"), load(text + "simulated.hang = false\n")).restart == {"chat"}


def test_spawn_keys_are_keys():
    assert set(keys_of(PoolConfig).values()) >= SPAWN_KEYS
