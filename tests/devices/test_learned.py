from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pool_managerd.devices.learned import Peak, chosen, need_key, with_peak
from pool_managerd.devices.need import DeviceShare, Need

GIB = 1 << 30
KNOWN = Need((DeviceShare("a", 0.75, 3 * GIB, 0, 0, 3 * GIB), DeviceShare("b", 0.25, GIB, 0, 0, GIB)), 7, "gguf")
UNKNOWN = Need((), 7, "unknown")


def test_a_peak_counts_where_it_is_more_or_nothing_else_is_known():
    devices, split = ("a", "b"), (0.75, 0.25)
    more = with_peak(KNOWN, Peak((2 * GIB, 2 * GIB), "1", 0), devices, split)
    assert (more.per_device, more.basis) == ({"a": 3 * GIB, "b": 2 * GIB}, "measured")
    assert more.least("b", 0.1) == KNOWN.least("b", 0.1)  # what must be seen is what the model says
    assert with_peak(KNOWN, Peak((GIB, GIB), "1", 0), devices, split) == KNOWN
    assert with_peak(KNOWN, None, devices, split) == KNOWN
    learned = with_peak(UNKNOWN, Peak((GIB, 2 * GIB), "1", 0), devices, split)
    assert (learned.per_device, learned.total, learned.ram, learned.basis) == (
        {"a": GIB, "b": 2 * GIB},
        3 * GIB,
        7,
        "measured",
    )
    assert learned.least("a", 0.1) == 1


def test_a_need_that_was_said_and_another_number_of_gpus_are_left_alone():
    for basis in ("configured", "simulated"):
        said = replace(KNOWN, basis=basis)
        assert with_peak(said, Peak((9 * GIB, 9 * GIB), "1", 0), ("a", "b"), (0.75, 0.25)) == said
    assert with_peak(KNOWN, Peak((9 * GIB,), "1", 0), ("a", "b"), (0.75, 0.25)) == KNOWN


def test_the_peak_of_the_engines_version_counts_and_else_the_newest():
    old, new = Peak((1,), "1", 10), Peak((2,), "2", 20)
    assert chosen([old, new], "1") == old
    assert chosen([old, new], None) == new
    assert chosen([old, new], "3") == new
    assert chosen([], "1") is None


def test_a_need_is_remembered_by_model_and_flags(tmp_path: Path):
    model = tmp_path / "m.gguf"
    model.write_bytes(b"x")
    facts = {
        "engine": "llamacpp", "model": model, "args": (), "command": (), "context": 4096, "slots": 4, "kv_type": "f16",
        "split": (1.0,), "simulated": {},
    }  # fmt: skip
    key = need_key(**facts)
    assert need_key(**facts) == key
    for change in (
        {"engine": "vllm"}, {"args": ("-fa",)}, {"context": 8192}, {"slots": 1}, {"kv_type": "q8_0"},
        {"split": (0.5, 0.5)}, {"model": None},
    ):  # fmt: skip
        assert need_key(**{**facts, **change}) != key
    model.write_bytes(b"xy")
    assert need_key(**facts) != key
