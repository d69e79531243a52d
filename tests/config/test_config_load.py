"""Values: defaults, types, paths, precedence, tokens."""

from pathlib import Path

import pytest
from config_texts import POOL, Load, Refuse

from pool_managerd.config import Config, PoolConfig
from pool_managerd.config_load import load_config
from pool_managerd.config_problems import ConfigError
from pool_managerd.config_values import Address, format_size, parse_address, parse_size
from pool_managerd.core.errors import Code, PoolManagerError


def test_defaults_are_the_specifications(load: Load, tmp_path: Path):
    config = load(POOL)
    assert config.server.http == Address("127.0.0.1", 9200)
    assert config.server.grpc == Address("127.0.0.1", 9201)
    assert config.server.state_dir == tmp_path / ".runtime"
    assert config.server.port_range == (20000, 29999)
    assert config.server.token_file is None
    assert config.devices.overhead_bytes == 512 << 20
    assert config.log.engine_log_max_bytes == 64 << 20
    pool = config.pools[0]
    assert pool.model == tmp_path / "small.gguf"
    assert pool.model_ref == "small.gguf"
    assert (pool.binary, pool.user, pool.engine_version, pool.vram_bytes, pool.ram_bytes) == (None,) * 5
    assert pool.readiness.model_dump() == {
        "timeout_ms": 120_000,
        "first_ms": 5,
        "max_interval_ms": 500,
        "probe_timeout_ms": 2000,
        "path": None,
    }
    assert pool.liveness.interval_ms == 10_000
    assert pool.liveness.failures == 3
    assert (pool.stop.grace_ms, pool.drain.deadline_ms, pool.lease.ttl_ms) == (5000, 30_000, 30_000)
    assert (pool.restart.initial_ms, pool.restart.factor, pool.restart.max_ms, pool.restart.floor_ms) == (
        1000,
        2,
        60_000,
        500,
    )
    assert (pool.breaker.failures, pool.breaker.open_ms, pool.breaker.max_open_ms) == (5, 300_000, 3_600_000)
    assert pool.replica_ids == ("r0",)
    assert pool.masks == ((),)


def test_no_pool_at_all_is_a_good_config(load: Load):
    assert load("").pools == ()


def test_everything_is_frozen(load: Load):
    pool = load(POOL).pools[0]
    with pytest.raises(Exception, match="frozen"):
        pool.slots = 3
    assert isinstance(pool.args, tuple)


def test_relative_paths_are_relative_to_the_file(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir("/")
    config = load(
        '[server]\nstate_dir = "state/../run"\nmodel_dirs = ["models"]\n[devices]\nsimulated_dir = "gpus"\n'
        '[[pool]]\nid = "a"\nengine = "llamacpp"\nmodel = "models/x.gguf"\nbinary = "bin/llama-server"\n'
        '[[pool]]\nid = "b"\nengine = "llamacpp"\nmodel = "models/x.gguf"\nbinary = "llama-server"\n'
        '[[pool]]\nid = "c"\nengine = "command"\ncommand = ["./serve", "{port}"]\n'
    )
    assert config.server.state_dir == tmp_path / "run"
    assert config.server.model_dirs == (tmp_path / "models",)
    assert config.devices.simulated_dir == tmp_path / "gpus"
    a, b, c = config.pools
    assert a.binary == tmp_path / "bin/llama-server"
    assert b.binary == Path("llama-server")
    assert c.command == (str(tmp_path / "serve"), "{port}")
    assert c.model is None


def test_precedence_is_command_line_environment_file_default(load: Load):
    text = '[server]\nhttp = "127.0.0.1:1"\n'
    env = {"POOL_MANAGERD_ADDR": "127.0.0.1:2", "POOL_MANAGERD_GRPC_ADDR": "[::1]:3"}
    assert load("").server.http.port == 9200
    assert load(text).server.http.port == 1
    assert load(text, env=env).server.http.port == 2
    assert load(text, env=env).server.grpc == Address("::1", 3)
    assert load(text, env=env, server__http="localhost:0").server.http == Address("localhost", 0)
    assert load(text, env=env, server__http=None).server.http.port == 2
    assert load(text, env={"POOL_MANAGERD_ADDR": ""}).server.http.port == 1


def test_a_path_of_the_command_line_is_relative_to_the_current_folder(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert load("", server__state_dir="s").server.state_dir == tmp_path / "here/s"


def test_a_bad_address_names_where_it_came_from(refuse: Refuse):
    (problem,) = refuse("", env={"POOL_MANAGERD_ADDR": "nonsense"})
    assert (problem.file, problem.key, problem.value) == ("environment", "POOL_MANAGERD_ADDR", "nonsense")
    (problem,) = refuse("", server__grpc="127.0.0.1:99999")
    assert (problem.file, problem.key, problem.line) == ("command line", "server.grpc", None)
    assert "99999" in problem.message


@pytest.mark.parametrize(
    "text", ["", ":1", "a b:1", "::1:1", "[127.0.0.1]:1", "1.2.3:1", "h:65536", "h:-1", "h:", "h:1x"]
)
def test_no_addresses(text: str):
    with pytest.raises(ValueError, match="is not an address"):
        parse_address(text)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1:1", True), ("127.9.9.9:1", True), ("[::1]:1", True), ("localhost:1", True), ("0.0.0.0:1", False),
     ("[::]:1", False), ("10.0.0.1:1", False), ("gpu-host.example:1", False)],
)  # fmt: skip
def test_loopback(address: str, loopback: bool):
    parsed = parse_address(address)
    assert parsed.is_loopback is loopback
    assert str(parsed) == address


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("6GiB", 6 << 30),
        ("6 GiB", 6 << 30),
        ("1.5GiB", 3 << 29),
        ("10MB", 10**7),
        ("1kB", 1000),
        ("5", 5),
        ("5B", 5),
        (7, 7),
    ],
)
def test_sizes(text: object, size: int):
    assert parse_size(text) == size
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    "value", ["6Gb", "GiB", "-1", -1, 1.5, True, "0.3B", "1e9", "9999TiB", "٣GiB", "1GiB ", [], "nan"]
)
def test_no_sizes(value: object):
    with pytest.raises(ValueError, match=r"size|bytes"):
        parse_size(value)


@pytest.mark.parametrize(
    ("setting", "replicas", "masks"),
    [
        ('""', 1, [[]]),
        ('""', 2, [[], []]),
        ('"0,1"', 1, [["0", "1"]]),
        ('["0", "1"]', 1, [["0", "1"]]),
        ("[0, 1]", 1, [["0", "1"]]),
        ('["0,1"]', 1, [["0", "1"]]),
        ('[["0", 1]]', 1, [["0", "1"]]),
        ('"GPU0,GPU1"', 1, [["0", "1"]]),
        ('["0", "1"]', 2, [["0"], ["1"]]),
        ("[0, 1]", 2, [["0"], ["1"]]),
        ('["0,1", ["2", 3]]', 2, [["0", "1"], ["2", "3"]]),
        ('"GPU-11111111-2222-3333-4444-555555555555"', 1, [["GPU-11111111-2222-3333-4444-555555555555"]]),
    ],
)
def test_masks(load: Load, setting: str, replicas: int, masks: list[list[str]]):
    split = "tensor_split = [1, 1]\n" if len(masks[0]) == 2 else ""
    pool = load(f"{POOL}devices = {setting}\nreplicas = {replicas}\n{split}").pools[0]
    assert [list(mask) for mask in pool.masks] == masks
    assert len(pool.replica_ids) == replicas


def test_the_effective_config_says_all_and_no_secret(load: Load, tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("s3cret-token\n")
    token.chmod(0o600)
    text = (
        f'[server]\ntoken_file = "token"\n{POOL}env = {{ HF_TOKEN = "s3cret-env" }}\n'
        'args = ["--api-key", "s3cret-arg"]\n'
        'vram_bytes = "6GiB"\ndevices = "GPU1"\n[pool.readiness]\ntimeout_ms = 7\n'
    )
    config = load(text)
    assert config.tokens.full == "s3cret-token"
    effective = config.effective()
    assert "s3cret" not in str(effective)
    assert "s3cret-token" not in repr(config)
    assert effective["server"]["http"] == "127.0.0.1:9200"
    assert effective["server"]["token_file"] == str(token)
    (pool,) = effective["pool"]
    assert pool["env"] == {"HF_TOKEN": "(hidden)"}
    assert pool["vram_bytes"] == 6 << 30
    assert pool["ram_bytes"] == "auto"
    assert pool["devices"] == ["1"]
    assert pool["readiness"]["timeout_ms"] == 7
    assert pool["model"] == str(tmp_path / "small.gguf")


def test_token_of_environment_and_file(load: Load, tmp_path: Path):
    for name in ("token", "other"):
        (tmp_path / name).write_text(f"{name}-of-file\n")
        (tmp_path / name).chmod(0o600)
    text = '[server]\ntoken_file = "token"\n'
    env = {"LLORCH_API_TOKEN": "of-environment"}
    assert load("", env=env).tokens.full == "of-environment"
    assert load("", env={"LLORCH_API_TOKEN": ""}).tokens.full is None
    assert load(text).tokens.full == "token-of-file"
    assert load(text, env=env).tokens.full == "of-environment"
    assert load(text, env=env, server__token_file=str(tmp_path / "other")).tokens.full == "other-of-file"
    assert load(text + 'readonly_token_file = "other"\n').tokens.readonly == "other-of-file"


def test_a_token_allows_other_addresses(load: Load):
    assert load('[server]\nhttp = "0.0.0.0:0"\n', env={"LLORCH_API_TOKEN": "x"}).server.http.host == "0.0.0.0"


def test_simulated_is_an_open_table_with_sizes(load: Load):
    text = (
        POOL.replace("llamacpp", "simulated") + '[pool.simulated]\nload_ms = 10\nvram_bytes = "1GiB"\nstdout = ["a"]\n'
    )
    assert load(text).pools[0].simulated == {"load_ms": 10, "vram_bytes": 1 << 30, "stdout": ["a"]}


def test_missing_file_folder_and_binary(tmp_path: Path):
    for path, reason in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=reason) as error:
            load_config(path, env={})
        assert error.value.problems[0].file == str(path)
    binary = tmp_path / "x"
    binary.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(binary, env={})


def test_a_byte_order_mark_is_no_fault(tmp_path: Path):
    file = tmp_path / "x.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\r\n")
    assert load_config(file, env={}).pools == ()


def test_a_callers_model_must_lie_in_the_allowed_folders(load: Load, tmp_path: Path):
    for name in ("models/a.gguf", "models/b.gguf", "elsewhere/c.gguf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "models/link.gguf").symlink_to(tmp_path / "elsewhere/c.gguf")
    for text in (POOL.replace("small", "models/a"), '[server]\nmodel_dirs = ["models"]\n'):
        config = load(text)
        for good in ("models/b.gguf", "b.gguf", str(tmp_path / "models/b.gguf"), "models/../models/b.gguf"):
            assert config.resolve_model_ref(good) == tmp_path / "models/b.gguf"
        assert config.resolve_model_ref("new.gguf") == tmp_path / "models/new.gguf"
        for bad in (
            "elsewhere/c.gguf",
            "models/../elsewhere/c.gguf",
            "/etc/passwd",
            "models/link.gguf",
            "..",
            "",
            "a\0",
        ):
            with pytest.raises(PoolManagerError) as error:
                config.resolve_model_ref(bad)
            assert error.value.code is Code.INVALID_REQUEST
            assert error.value.details["field"] == "new_model_ref"


def test_a_model_whose_name_is_too_long_is_just_not_there(load: Load, tmp_path: Path):
    assert load(POOL).resolve_model_ref("a" * 300) == tmp_path / ("a" * 300)


def test_pools_can_be_made_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pool = PoolConfig(id="a", engine="simulated", model="m")
    assert pool.model == tmp_path / "m"
    assert pool.model_copy(update={"model_ref": "/n"}).model == Path("/n")
    assert Config(pools=(pool,)).pool("a") is pool
    assert Config().pool("a") is None
