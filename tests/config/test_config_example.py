"""The example is a good config, shows every key with its default, and the schema agrees with both."""

import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from config_texts import POOL, Load, Refuse

from pool_managerd.config import DevicesConfig, LogConfig, PoolConfig, ServerConfig, keys_of, section_values
from pool_managerd.config_example import example_config, table_of, toml_value
from pool_managerd.config_schema import config_json_schema

TABLES = {"server": ServerConfig, "devices": DevicesConfig, "log": LogConfig, "pool": PoolConfig} | {
    f"pool.{name}": table for name, field in PoolConfig.model_fields.items() if (table := table_of(field))
}


def test_it_is_a_good_config(load: Load):
    config = load(example_config())
    assert config.devices.source == "simulated"
    assert {pool.engine for pool in config.pools} == {"simulated"}
    assert [pool.replicas for pool in config.pools] == [1, 2, 1]
    assert all(pool.model is not None and pool.model.is_file() for pool in config.pools)


def test_it_is_a_good_config_with_all_defaults_written_out(load: Load):
    out_commented = re.sub(r"^# (?=[a-z_]+ = )", "", example_config(), flags=re.MULTILINE)
    out_commented = re.sub(r"^(tls_.*)$", r"# \1", out_commented, flags=re.MULTILINE)
    assert load(out_commented).effective() == load(example_config()).effective()


@pytest.mark.parametrize("table", TABLES)
def test_it_shows_every_key_with_its_default(table: str):
    header = "[[pool]]" if table == "pool" else f"[{table}]"
    text = example_config().split(f"\n{header}\n", 1)[1].split("\n[", 1)[0]
    for name, key in keys_of(TABLES[table]).items():
        field = TABLES[table].model_fields[name]
        if table_of(field) or key == "simulated":
            continue
        default = None if field.is_required() else re.escape(toml_value(field.default))
        assert re.search(rf"^(# {key} = {default}\s|{key} = )", text, re.MULTILINE), key


def test_lines_are_not_too_long():
    assert max(len(line) for line in example_config(Path("/m")).splitlines()) <= 120


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = config_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_accepts_the_example(validator: Any):
    validator.validate(tomllib.loads(example_config()))
    validator.validate(tomllib.loads(POOL + 'devices = ["0,1", [2, "3"]]\nvram_bytes = "auto"\nmin_ready = 1\n'))
    validator.validate(tomllib.loads('[[pool]]\nid = "a"\nengine = "command"\ncommand = ["x", "{port}"]\n'))
    validator.validate({})


@pytest.mark.parametrize(
    "text",
    [
        "bogus = 1\n",
        "[server]\nhtpp = 'x'\n",
        "[server]\nmax_parallel_loads = '2'\n",
        "[server]\nport_range = [1]\n",
        POOL + "slots = 1.5\n",
        POOL + "slots = 0\n",
        POOL + "[pool.lease]\nttl = 3\n",
        POOL + "vram_bytes = '6Gb'\n",
        POOL + "devices = 3\n",
        POOL + "tensor_split = ['1']\n",
        POOL + "env = { A = 1 }\n",
        POOL.replace("llamacpp", "lama"),
        POOL.replace('id = "chat"', 'id = "Chat"'),
        '[[pool]]\nid = "a"\nengine = "llamacpp"\n',
        '[[pool]]\nid = "a"\nengine = "command"\n',
        '[[pool]]\nid = "a"\nmodel = "x"\n',
    ],
)
def test_the_schema_and_the_loader_refuse_alike(validator: Any, refuse: Refuse, text: str):
    assert not validator.is_valid(tomllib.loads(text))
    assert refuse(text)


def test_the_schema_describes_each_key_and_its_default():
    schema = config_json_schema()
    server = schema["$defs"]["ServerConfig"]["properties"]
    assert server["http"]["default"] == "127.0.0.1:9200"
    pool = schema["$defs"]["PoolConfig"]
    assert "model" in pool["properties"]
    assert "model_ref" not in pool["properties"]
    assert all(
        "description" in found or "$ref" in found
        for definition in schema["$defs"].values()
        for found in definition.get("properties", {}).values()
    )


@pytest.mark.parametrize("model", [ServerConfig, DevicesConfig, LogConfig])
def test_sections_can_be_made_of_their_own_values(model: Any, load: Load):
    section = getattr(load(POOL), model.__name__.removesuffix("Config").lower())
    values = section_values(section)
    assert section_values(model.model_validate(values)) == values
