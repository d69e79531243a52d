import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.settings import coerce, merge, nest, parse_rows, to_toml, toml_value


@pytest.mark.parametrize(
    ("key", "cell", "value"),
    [
        ("slots", "4", 4),
        ("preload", "True", True),
        ("factor", "0.5", 0.5),
        ("readiness.timeout_ms", "2 s", 2000),
        ("timeout_ms", "250", 250),
        ("deadline_ms", "never", "never"),
        ("args", '["--a b", "c"]', ["--a b", "c"]),
        ("engine_version", '"1.0"', "1.0"),
        ("model", "models/small.gguf", "models/small.gguf"),
        ("vram_bytes", "6GiB", "6GiB"),
        ("slots", 4, 4),
    ],
)
def test_a_cell_means_what_it_looks_like(key, cell, value):
    assert coerce(key, cell) == value


def test_dotted_keys_become_tables():
    assert nest({"a.b.c_ms": "1 s", "a.d": "x"}) == {"a": {"b": {"c_ms": 1000}, "d": "x"}}
    with pytest.raises(UsageError, match="is a value already"):
        nest({"a": 1, "a.b": 2})


def test_merging_goes_table_by_table_and_none_removes():
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": None, "e": 4}}) == {"a": {"b": 1, "e": 4}, "d": 3}


def test_a_config_is_the_toml_that_the_daemon_reads():
    text = to_toml(
        {"server": {"http": "127.0.0.1:0", "model_dirs": ["models"]}, "empty": {}},
        [{"id": "chat", "env": {"A B": "x\n"}, "readiness": {"timeout_ms": 5}, "devices": [["a"], ["b"]]}, {"id": "b"}],
    )
    assert tomllib.loads(text) == {
        "server": {"http": "127.0.0.1:0", "model_dirs": ["models"]},
        "pool": [
            {"id": "chat", "env": {"A B": "x\n"}, "readiness": {"timeout_ms": 5}, "devices": [["a"], ["b"]]},
            {"id": "b"},
        ],
    }


values = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(values)
def test_any_value_survives_toml(value):
    assert tomllib.loads(f"x = {toml_value(value)}") == {"x": value}
    assert toml_value(math.inf) == "inf"


def test_tables_in_bars():
    assert parse_rows(["name | slots | load_ms", "chat | 2 | -", "| code | 4 | 1 s |"]) == [
        {"name": "chat", "slots": "2"},
        {"name": "code", "slots": "4", "load_ms": "1 s"},
    ]
    with pytest.raises(UsageError, match="has 1 cells, the columns are name, slots"):
        parse_rows(["name | slots", "chat"])
