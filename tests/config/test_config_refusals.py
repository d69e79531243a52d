"""Every fault has its key, its line, its value and what to do, and all of a file are told at once."""

import json
from pathlib import Path

import pytest
from config_texts import POOL, Load, Refuse

from pool_managerd.config_load import parse_config
from pool_managerd.config_problems import ConfigError
from pool_managerd.core.errors import Code


def pool(**keys: str) -> str:
    """A pool with these keys, their values as written in TOML."""
    settings = {"id": '"chat"', "engine": '"llamacpp"', "model": '"small.gguf"', **keys}
    return "[[pool]]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items() if value)


@pytest.mark.parametrize(
    ("text", "key", "line", "words"),
    [
        # unknown keys, everywhere
        ("prot = 1\n", "prot", 1, ["unknown key"]),
        ("[sever]\n", "sever", 1, ["unknown key", "nearest", "server"]),
        ("[server]\n\nhtpp = 1\n", "server.htpp", 3, ["nearest", "http"]),
        (f"{POOL}slot = 1\n", "pool[chat].slot", 5, ["nearest", "slots"]),
        (f"{POOL}[pool.readiness]\ntimeout = 1\n", "pool[chat].readiness.timeout", 6, ["timeout_ms"]),
        (f"{POOL}stop = {{ grace_ms = 1, 'grce_ms' = 3 }}\n", "pool[chat].stop.grce_ms", 5, ["grace_ms"]),
        (f"{POOL}ttl_ms = 5\n", "pool[chat].ttl_ms", 5, ["[pool.lease]"]),
        (f"{POOL}model_ref = 'x'\n", "pool[chat].model_ref", 5, ["unknown key"]),
        ("[log]\nxyzzy = 1\n", "log.xyzzy", 2, ["unknown key"]),
        ("[log]\ntimout_ms = 1\n", "log.timout_ms", 2, ["timeout_ms", "[pool.readiness]"]),
        (pool(engine='"simulated"') + "[pool.simulated]\nload = 3\n", "pool[chat].simulated.load", 6, ["load_ms"]),
        # required keys
        (pool(id=""), "pool[#1].id", 1, ["required"]),
        (pool(engine=""), "pool[chat].engine", 1, ["required"]),
        (pool(model=""), "pool[chat].model", 1, ["required", "llamacpp"]),
        (pool(model="", engine='"simulated"'), "pool[chat].model", 1, ["required"]),
        (pool(model="", engine='"command"'), "pool[chat].command", 1, ["required"]),
        # wrong types
        ("server = 3\n", "server", 1, ["a table", "a whole number"]),
        ("[[server]]\n", "server", 1, ["a table", "a list"]),
        ("[pool]\nid = 'a'\n", "pool", 1, ["[[pool]]"]),
        ("pool = [1]\n", "pool", 1, ["[[pool]]"]),
        (f"{POOL}slots = '4'\n", "pool[chat].slots", 5, ["a whole number", "text", '"4"']),
        (f"{POOL}slots = true\n", "pool[chat].slots", 5, ["a whole number", "a boolean"]),
        (f"{POOL}slots = 4.0\n", "pool[chat].slots", 5, ["a whole number"]),
        (f"{POOL}preload = 1\n", "pool[chat].preload", 5, ["true or false"]),
        (f"{POOL}args = 'x'\n", "pool[chat].args", 5, ["a list"]),
        (f"{POOL}args = [\n'a',\n3]\n", "pool[chat].args[1]", 7, ["text"]),
        (f"{POOL}env = {{ A = 1 }}\n", "pool[chat].env.A", 5, ["text"]),
        (f"{POOL}host = 2026-01-01\n", "pool[chat].host", 5, ["a date"]),
        (f"{POOL}readiness = 3\n", "pool[chat].readiness", 5, ["a table"]),
        (f"{POOL}simulated = 3\n", "pool[chat].simulated", 5, ["a table"]),
        (f"{POOL}model_x = 1\nbinary = 5\n", "pool[chat].binary", 6, ["text"]),
        (pool(id="7"), "pool[#1].id", 2, ["text"]),
        (pool(engine='"simulated"') + "simulated.load_ms = inf\n", "pool[chat].simulated", 5, ["load_ms", "finite"]),
        # ranges
        (f"{POOL}slots = 0\n", "pool[chat].slots", 5, ["at least 1", "0"]),
        (f"{POOL}slots = 99999999999999999999999999999\n", "pool[chat].slots", 5, ["at most"]),
        (f"{POOL}port = 70000\n", "pool[chat].port", 5, ["65535"]),
        (f"{POOL}[pool.stop]\ngrace_ms = -1\n", "pool[chat].stop.grace_ms", 6, ["at least 0", "-1"]),
        (f"{POOL}[pool.drain]\nmax_deadline_ms = 99999999999\n", "pool[chat].drain.max_deadline_ms", 6, ["a week"]),
        (f"{POOL}[pool.restart]\nfactor = 0.5\n", "pool[chat].restart.factor", 6, ["at least 1"]),
        (f"{POOL}[pool.restart]\nfactor = nan\n", "pool[chat].restart.factor", 6, ["finite"]),
        (f"{POOL}[pool.restart]\njitter = 1.5\n", "pool[chat].restart.jitter", 6, ["below 1"]),
        ("[devices]\nresidency_tolerance = inf\n", "devices.residency_tolerance", 2, ["finite"]),
        ("[server]\nport_range = [5, 2]\n", "server.port_range", 2, ["5, 2"]),
        ("[server]\nport_range = [0, 2]\n", "server.port_range", 2, ["0, 2"]),
        ("[server]\nport_range = [1]\n", "server.port_range[1]", 2, ["two ports"]),
        ("[server]\nport_range = [1, 2, 3]\n", "server.port_range", 2, ["two ports"]),
        ("[server]\nport_range = [1, 2]\n" + pool(replicas="3"), "server.port_range", 2, ["2 ports", "3"]),
        ("[server]\nmax_request_bytes = 10\n", "server.max_request_bytes", 2, ["1KiB"]),
        ("[server]\nmax_request_bytes = '2GiB'\n", "server.max_request_bytes", 2, ["1GiB"]),
        (f"{POOL}vram_bytes = '6Gb'\n", "pool[chat].vram_bytes", 5, ["size", "6Gb"]),
        (f"{POOL}vram_bytes = -1\n", "pool[chat].vram_bytes", 5, ["bytes", "-1"]),
        ("[log]\nengine_log_max_bytes = 0\n", "log.engine_log_max_bytes", 2, ["at least 1"]),
        (f"{POOL}[pool.lease]\nttl_ms = 9\nmax_ttl_ms = 8\n", "pool[chat].lease.ttl_ms", 6, ["9", "8"]),
        (f"{POOL}[pool.readiness]\nmax_interval_ms = 2\n", "pool[chat].readiness.first_ms", 5, ["5", "2"]),
        (f"{POOL}[pool.restart]\nfloor_ms = 90000\n", "pool[chat].restart.floor_ms", 6, ["90000", "60000"]),
        # words
        (pool(id='"Chat"'), "pool[Chat].id", 2, ["pool id", "Chat"]),
        (pool(id='"a/b"'), "pool[a/b].id", 2, ["a/b"]),
        (pool(id='".."'), "pool[..].id", 2, [".."]),
        (pool(id='"-a"'), "pool[-a].id", 2, ["-a"]),
        (pool(id='""'), "pool[].id", 2, ["pool id"]),
        (pool(id='"a\\n"'), "pool[a\\n].id", 2, ["pool id"]),
        (pool(id=f'"{"a" * 64}"'), f"pool[{'a' * 64}].id", 2, ["aaa"]),
        (pool(id='"a\\u0000"'), "pool[a\\x00].id", 2, ["NUL"]),
        (pool(model='"a\\u0000"'), "pool[chat].model", 4, ["NUL"]),
        (f'{POOL}args = ["a", "b\\u0000"]\n', "pool[chat].args[1]", 5, ["NUL"]),
        ("[server]\non_shutdown = 'lave'\n", "server.on_shutdown", 2, ["'stop' or 'leave'", "lave"]),
        (f"{POOL}kv_type = 'f61'\n", "pool[chat].kv_type", 5, ["f61", "f16"]),
        (f"{POOL}host = '1.2.3'\n", "pool[chat].host", 5, ["1.2.3"]),
        (f"{POOL}[pool.readiness]\npath = 'health'\n", "pool[chat].readiness.path", 6, ["health"]),
        (f"{POOL}env = {{ 'A B' = 'x' }}\n", "pool[chat].env", 5, ["A B"]),
        ("[server]\nstate_dir = ''\n", "server.state_dir", 2, ["empty"]),
        # addresses
        ("[server]\nhttp = '0.0.0.0:9200'\n", "server.http", 2, ["0.0.0.0:9200", "other hosts"]),
        ("[server]\ngrpc = '[::]:0'\n", "server.grpc", 2, ["[::]:0"]),
        ("[server]\ngrpc = '127.0.0.1:9200'\n", "server.grpc", 2, ["9200"]),
        ("[server]\nhttp = '127.0.0.1'\n", "server.http", 2, ["not an address", "127.0.0.1"]),
        # not available
        ("[server]\ntls_cert = 'a.pem'\n", "server.tls_cert", 2, ["not available in this version", "a.pem"]),
        ("[server]\ntls_client_ca = 'a.pem'\n", "server.tls_client_ca", 2, ["not available in this version"]),
        # between keys
        (pool(min_ready="0"), "pool[chat].min_ready", 5, ['"chat"', "0", "1"]),
        (pool(min_ready="3", replicas="2"), "pool[chat].min_ready", 5, ['"chat"', "3", "2"]),
        (pool(port="8000", replicas="2"), "pool[chat].port", 5, ["8000", "2"]),
        (pool(command='["x"]'), "pool[chat].command", 5, ["llamacpp"]),
        (pool(engine='"command"', command='["x"]'), "pool[chat].command", 5, ["{port}"]),
        (pool(engine='"command"', command='["x", "{prt}", "{port}"]'), "pool[chat].command", 5, ["{prt}"]),
        (pool(engine='"command"', model="", command='["x", "{port}{model}"]'), "pool[chat].command", 4, ["model"]),
        (pool(engine='"command"', command='["x{port}"]', binary='"y"'), "pool[chat].binary", 6, ["command"]),
        (pool() + "[pool.simulated]\nload_ms = 1\n", "pool[chat].simulated", 5, ["simulated", "llamacpp"]),
        (pool(engine='"simulated"') + "[pool.simulated]\nload_ms = 'x'\n", "pool[chat].simulated.load_ms", 6, ["int"]),
    ],
)  # fmt: skip
def test_one_fault(refuse: Refuse, text: str, key: str, line: int, words: list[str]):
    problems = [problem for problem in refuse(text) if "model_x" not in problem.key]
    assert [(problem.key, problem.line, problem.code) for problem in problems] == [(key, line, Code.INVALID_REQUEST)]
    for word in words:
        assert word in problems[0].message + problems[0].hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (pool(devices='"0,,1"'), ["0,,1", "empty"]),
        (pool(devices='"0,0"'), ["0,0", "twice"]),
        (pool(devices='["0", "GPU0"]'), ["twice"]),
        (pool(devices='"-1"'), ["-1"]),
        (pool(devices="3"), ["3"]),
        (pool(devices="[true]"), ["boolean"]),
        (pool(devices="[[[1]]]"), ["list"]),
        (pool(devices='["0", "1"]', replicas="3"), ["2 masks", "replicas is 3"]),
        (pool(devices='"0,1"', replicas="2"), ["1 mask", "replicas is 2"]),
        (pool(devices='["0,1", "2,3"]'), ["2 masks", "replicas is 1"]),
        (pool(devices='["0", ""]', replicas="2"), ["empty", "r1"]),
    ],
)
def test_masks(refuse: Refuse, text: str, words: list[str]):
    (problem,) = refuse(text)
    assert (problem.code, problem.key, problem.line) == (Code.INVALID_DEVICE_MASK, "pool[chat].devices", 5)
    for word in words:
        assert word in problem.message


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"devices": '"0,1"'}, ["2 GPUs", "not set"]),
        ({"devices": '"0,1"', "tensor_split": "[1]"}, ["1 weight", "2 GPUs"]),
        ({"devices": '"0,1"', "tensor_split": "[1, 2, 3]"}, ["3 weights", "2 GPUs"]),
        ({"tensor_split": "[1, 1]"}, ["2 weights", "1 GPUs"]),
        ({"devices": '["0,1", "2"]', "replicas": "2", "tensor_split": "[1, 1]"}, ["2 weights", "1 GPUs"]),
        ({"devices": '"0,1"', "tensor_split": "[1, 0]"}, ["above 0"]),
        ({"devices": '"0,1"', "tensor_split": "[1, -2]"}, ["above 0", "-2"]),
        ({"devices": '"0,1"', "tensor_split": "[1, inf]"}, ["finite"]),
        ({"devices": '"0,1"', "tensor_split": "[1, nan]"}, ["finite"]),
        ({"devices": '"0,1"', "tensor_split": '[1, "2"]'}, ["a number"]),
        ({"devices": '"0,1"', "tensor_split": "[1, true]"}, ["a number"]),
        ({"devices": '"0,1"', "tensor_split": "[1, 2]", "engine": '"vllm"'}, ["vllm", "evenly"]),
        ({"devices": '"0,1"', "tensor_split": "[1, 2]", "engine": '"tgi"'}, ["tgi", "evenly"]),
        ({"devices": '"0,1"', "tensor_split": "[1, 2]", "engine": '"triton"'}, ["triton", "evenly"]),
    ],
)
def test_splits(refuse: Refuse, keys: dict[str, str], words: list[str]):
    (problem,) = refuse(pool(**keys))
    assert problem.code is Code.INVALID_SPLIT
    assert problem.key.startswith("pool[chat].tensor_split")
    for word in words:
        assert word in problem.message


def test_good_splits(load: Load):
    assert load(pool(devices='"0,1"', tensor_split="[1, 3.5]")).pools[0].tensor_split == (1, 3.5)
    load(pool(devices='"0,1"', tensor_split="[2, 2]", engine='"vllm"'))
    load(pool(devices='"0"', tensor_split="[2]"))


def test_an_unknown_engine_lists_the_kinds(refuse: Refuse):
    (problem,) = refuse(pool(engine='"lamacpp"'))
    assert problem.code is Code.ENGINE_NOT_FOUND
    assert "llamacpp, vllm, tgi, triton, command, simulated" in problem.message
    assert 'engine = "llamacpp"' in problem.hint


def test_a_pool_id_twice_names_both_lines(refuse: Refuse):
    (problem,) = refuse(pool() + "\n" + pool())
    assert (problem.key, problem.line) == ("pool[chat].id", 7)
    assert '"chat"' in problem.message
    assert "lines 2 and 7" in problem.message


@pytest.mark.parametrize(("ids", "line"), [(("a", "a-r1"), 7), (("a-r1", "a"), 2)])
def test_pools_that_would_write_the_same_files(refuse: Refuse, ids: tuple[str, str], line: int):
    (problem,) = refuse("".join(pool(id=f'"{name}"', replicas="2") for name in ids))
    assert "a-r1.pid" in problem.message
    assert problem.line == line


def test_pools_with_similar_names_are_fine(load: Load):
    load(pool(id='"a"') + pool(id='"a-r1"') + pool(id='"a-r"') + pool(id='"a-r01"') + pool(id='"a-rx"'))


def test_overlapping_masks(refuse: Refuse, load: Load):
    one, other = pool(id='"a"', devices='"0"'), pool(id='"b"', devices='["1", "GPU0"]', replicas="2")
    (problem,) = refuse(one + other)
    assert problem.code is Code.INVALID_DEVICE_MASK
    assert '"a"' in problem.message
    assert '"b"' in problem.message
    assert problem.line == 10
    share = "share_devices = true\n"
    assert 'in "b"' in refuse(one + share + other)[0].hint
    assert len(load(one + share + other + share).pools) == 2


def test_a_model_outside_model_dirs(refuse: Refuse, load: Load, tmp_path: Path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/link.gguf").symlink_to("/etc/passwd")
    head = '[server]\nmodel_dirs = ["models"]\n'
    for model in ("small.gguf", "models/../small.gguf", "/etc/passwd", "models/link.gguf", "models-2/a"):
        (problem,) = refuse(head + pool(model=f'"{model}"'))
        assert (problem.key, problem.line, problem.value) == ("pool[chat].model", 6, model)
        assert str(tmp_path / "models") in problem.message
    load(head + pool(model='"models/deep/a.gguf"'))


def test_without_a_token_only_loopback(refuse: Refuse):
    problems = refuse('[server]\nhttp = "0.0.0.0:0"\ngrpc = "10.1.2.3:0"\n')
    assert [problem.line for problem in problems] == [2, 3]
    assert all("LLORCH_API_TOKEN" in problem.hint for problem in problems)
    (problem,) = refuse("", env={"POOL_MANAGERD_ADDR": "0.0.0.0:0"})
    assert problem.key == "POOL_MANAGERD_ADDR"


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("hush.hush", 0o644, "0644"),
        ("hush.hush", 0o640, "0640"),
        ("", 0o600, "visible"),
        ("two words", 0o600, "visible"),
        ("sécret", 0o600, "visible"),
        (None, 0, "No such file"),
    ],
)
def test_token_files(refuse: Refuse, tmp_path: Path, content: str | None, mode: int, words: str):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    for key in ("token_file", "readonly_token_file"):
        env = {"LLORCH_API_TOKEN": "x"} if key == "readonly_token_file" else {}
        (problem,) = refuse(f'[server]\n{key} = "token"\nhttp = "127.0.0.1:0"\n', env=env)
        assert (problem.key, problem.line, problem.value) == (f"server.{key}", 2, str(file))
        assert words in problem.message
        assert "hush.hush" not in str(problem)


def test_a_bad_token_of_the_environment_is_not_shown(refuse: Refuse):
    (problem,) = refuse("", env={"LLORCH_API_TOKEN": "s3cret with blanks"})
    assert problem.key == "LLORCH_API_TOKEN"
    assert "s3cret" not in str(problem)


def test_a_readonly_token_needs_another_one(refuse: Refuse, tmp_path: Path):
    (tmp_path / "t").write_text("same")
    (tmp_path / "t").chmod(0o600)
    text = '[server]\nreadonly_token_file = "t"\n'
    assert "LLORCH_API_TOKEN" in refuse(text)[0].hint
    assert "same token" in refuse(text, env={"LLORCH_API_TOKEN": "same"})[0].message


def test_all_faults_at_once(refuse: Refuse):
    text = (
        "bogus = 1\n[server]\nhtpp = 1\nhttp = 'x'\n"
        "[[pool]]\nid = 'a'\nengine = 'vlm'\nmodel = 'm'\nslots = 0\nmin_ready = 2\ndevices = '0,0'\n"
        "[pool.restart]\nfactor = 'x'\njiter = 0\n"
        "[[pool]]\nid = 'a'\nengine = 'llamacpp'\n"
        "[[pool]]\nengine = 'command'\nid = 'B'\n"
    )
    found = [(problem.line, problem.key) for problem in refuse(text, env={"POOL_MANAGERD_GRPC_ADDR": "y"})]
    assert found == [
        (None, "POOL_MANAGERD_GRPC_ADDR"),
        (1, "bogus"),
        (3, "server.htpp"),
        (4, "server.http"),
        (7, "pool[a].engine"),
        (9, "pool[a].slots"),
        (10, "pool[a].min_ready"),
        (11, "pool[a].devices"),
        (13, "pool[a].restart.factor"),
        (14, "pool[a].restart.jiter"),
        (15, "pool[a].model"),
        (16, "pool[a].id"),
        (18, "pool[B].command"),
        (20, "pool[B].id"),
    ]


def test_the_error_can_be_sent(load: Load):
    with pytest.raises(ConfigError) as error:
        load(pool(devices='"0,0"', env='{ A = 3, B = "s3cret" }', slots="99999999999999999999999"))
    assert error.value.code is Code.INVALID_REQUEST
    details = json.loads(json.dumps(error.value.details, allow_nan=False))
    assert {problem["key"] for problem in details["problems"]} >= {"pool[chat].devices", "pool[chat].env.A"}
    assert "s3cret" not in str(error.value)
    with pytest.raises(ConfigError) as error:
        load(pool(devices='"0,0"'))
    assert error.value.code is Code.INVALID_DEVICE_MASK


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[server]\nhttp = \n", 2, "Invalid value"),
        ("[server]\n[server]\n", 2, "server"),
        ("a = 1\na = 2\n", 2, "overwrite"),
        ("a = '''x\n\n", 2, "Expected"),
        ("[server\n", 1, ""),
    ],
)
def test_syntax(refuse: Refuse, text: str, line: int, words: str):
    (problem,) = refuse(text)
    assert problem.line == line
    assert "not valid TOML" in problem.message
    assert words in problem.message


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 5000])
def test_hostile_texts(text: str):
    with pytest.raises(ConfigError):
        parse_config(text, Path("/x.toml"), env={})


def test_an_override_of_no_key_is_the_callers_mistake(load: Load):
    with pytest.raises(ValueError, match=r"server\.nothing"):
        load("", server__nothing="x")


@pytest.mark.parametrize("text", ["a" + ".a" * 5000 + " = 1\n", "a = " + "[" * 200 + "]" * 200 + "\n"])
def test_a_document_nested_without_end_is_refused_as_such(refuse: Refuse, text: str):
    (problem,) = refuse(text)
    assert "nested" in problem.message
