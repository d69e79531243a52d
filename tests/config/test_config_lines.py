"""The line index knows every key, table and list element that tomllib reads, on its right line."""

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_managerd.config_lines import LineIndex, Place

DOCUMENT = '''\
# comment [not.a.table]
title = "a # no comment = 1"
[server] # here
http = '127.0.0.1:9200'
"quoted key" = 1
site."a.b".c = { x = 1, y = [ { z = 2 } ] }

[[pool]]
id = "a"
args = [
  "one", # two
  # three
  "]",
  ["nested", 4],
]
text = """
[[pool]]
id = \\"""x\\"""
end""""
raw = \'\'\'
id = 'q'
\'\'\'
[pool.readiness]
timeout_ms = 5
env = {A = "}", B = '{'}
[[pool]]
  [pool.restart.deep]
  factor = 2.5
  when = 2026-01-02 03:04:05
[ pool . drain ]
deadline_ms = 1_000
'''


def places(node: object, place: Place = ()) -> Iterator[Place]:
    if place:
        yield place
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*place, key))


def test_every_place_is_known_and_nothing_else():
    assert set(LineIndex(DOCUMENT).lines) == set(places(tomllib.loads(DOCUMENT)))


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("title",), 2),
        (("server",), 3),
        (("server", "http"), 4),
        (("server", "quoted key"), 5),
        (("server", "site", "a.b", "c", "y", 0, "z"), 6),
        (("pool",), 8),
        (("pool", 0), 8),
        (("pool", 0, "id"), 9),
        (("pool", 0, "args", 1), 13),
        (("pool", 0, "args", 2, 1), 14),
        (("pool", 0, "text"), 16),
        (("pool", 0, "raw"), 20),
        (("pool", 0, "readiness"), 23),
        (("pool", 0, "readiness", "env", "B"), 25),
        (("pool", 1), 26),
        (("pool", 1, "restart", "deep", "factor"), 28),
        (("pool", 1, "drain", "deadline_ms"), 31),
        # what is not there has the line of the table around it
        (("pool", 1, "id"), 26),
        (("pool", 0, "readiness", "nothing"), 23),
        (("nothing",), None),
    ],
)
def test_lines(place: Place, line: int | None):
    assert LineIndex(DOCUMENT).line(place) == line


def test_windows_line_ends():
    assert LineIndex("a = 1\r\n\r\n[t]\r\nb = '''\r\nx'''\r\nc = 2\r\n").line(("t", "c")) == 6


def basic(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


keys = st.text("ab-_ .\"'\\#=[]é", min_size=1, max_size=6)
scalars = st.one_of(
    st.integers(-9, 9).map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.text("ab \"'\\#=[]{},\né", max_size=8).map(basic),
    st.sampled_from(["'lit # = ]'", "'''a\n'b''\n'''", '"""x\n\\"""y"""', "1979-05-27T07:32:00Z", "inf", "0x1F"]),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[ # c ]\n" + ",\n ".join(items) + " ]")
        | st.lists(scalars, max_size=3).map(
            lambda items: "{" + ", ".join(f"k{number} = {item}" for number, item in enumerate(items)) + "}"
        )
    ),
    max_leaves=6,
)
tables = st.lists(st.tuples(keys, st.dictionaries(keys, values, max_size=3), st.booleans()), max_size=4)


@given(tables)
def test_any_document(written):
    lines: list[str] = []
    for number, (name, content, many) in enumerate(written):
        lines.append(f"[[t{number}.{basic(name)}]]" if many else f"[t{number}.{basic(name)}]  # x")
        lines += [f"{basic(key)} = {value}" for key, value in content.items()]
    text = "\n".join(lines)
    assert set(LineIndex(text).lines) == set(places(tomllib.loads(text)))
