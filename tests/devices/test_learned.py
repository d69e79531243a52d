from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pool_managerd.devices.learned import Peak, chosen, need_key, with_peak
from pool_managerd.devices.need import DeviceShare, Need
from pool_managerd.devices.snapshot import Device
from pool_managerd.runtime.learned import key_of_pool

GIB = 1 << 30
KNOWN = Need((DeviceShare("a", 0.75, 3 * GIB, 0, 0, 3 * GIB), DeviceShare("b", 0.25, GIB, 0, 0, GIB)), 7, "gguf")
UNKNOWN = Need((), 7, "unknown")


def gpu(uuid: str, total: int = 24 * GIB) -> Device:
    return Device(index=0, uuid=uuid, name="card", total=total, free=total, used=0, pci_bus_id="0")


def test_a_peak_counts_where_it_is_more_or_nothing_else_is_known():
    devices, split = (gpu("a"), gpu("b")), (0.75, 0.25)
    more = with_peak(KNOWN, Peak((2 * GIB, 2 * GIB), "1", 0), devices, split, 0)
    assert (more.per_device, more.basis) == ({"a": 3 * GIB, "b": 2 * GIB}, "measured")
    assert more.least("b", 0.1) == KNOWN.least("b", 0.1)  # what must be seen is what the model says
    assert with_peak(KNOWN, Peak((GIB, GIB), "1", 0), devices, split, 0) == KNOWN
    assert with_peak(KNOWN, None, devices, split, 0) == KNOWN
    learned = with_peak(UNKNOWN, Peak((GIB, 2 * GIB), "1", 0), devices, split, 0)
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
        assert with_peak(said, Peak((9 * GIB, 9 * GIB), "1", 0), (gpu("a"), gpu("b")), (0.75, 0.25), 0) == said
    assert with_peak(KNOWN, Peak((9 * GIB,), "1", 0), (gpu("a"), gpu("b")), (0.75, 0.25), 0) == KNOWN


def test_a_peak_makes_no_need_that_an_empty_gpu_could_not_meet():
    devices, overhead = (gpu("a"), gpu("b", 8 * GIB)), GIB // 2
    for need in (KNOWN, UNKNOWN):
        measured = with_peak(need, Peak((24 * GIB - 1, 4 * GIB), "1", 0), devices, (0.75, 0.25), overhead)
        assert measured.per_device == {"a": 24 * GIB - overhead, "b": 4 * GIB}
    # What the model itself needs is not made smaller: it would not fit.
    large = Need((DeviceShare("a", 1.0, 30 * GIB, 0, 0, GIB),), 7, "gguf")
    assert with_peak(large, Peak((72 * GIB,), "1", 0), devices[:1], (1.0,), overhead).per_device == {"a": 30 * GIB}


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
        "split": (1.0,), "simulated": {}, "sizes": (24 * GIB,),
    }  # fmt: skip
    key = need_key(**facts)
    assert need_key(**facts) == key
    for change in (
        {"engine": "vllm"}, {"args": ("-fa",)}, {"context": 8192}, {"slots": 1}, {"kv_type": "q8_0"},
        {"split": (0.5, 0.5)}, {"model": None}, {"sizes": (80 * GIB,)},
    ):  # fmt: skip
        assert need_key(**{**facts, **change}) != key
    model.write_bytes(b"xy")
    assert need_key(**facts) != key


@pytest.mark.parametrize(("engine", "learns"), [("llamacpp", True), ("command", True), ("vllm", False), ("tgi", False)])
def test_nothing_is_learned_of_engines_that_take_a_share_of_any_gpu(engine, learns):
    pool = SimpleNamespace(
        engine=engine, args=(), command=(), context=4096, slots=4, kv_type="f16", split=(1.0,), simulated={}
    )
    key = key_of_pool(pool, None, (1.0,), (80 * GIB,))
    assert (key is not None) is learns
