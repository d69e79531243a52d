from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_gguf import real_model, write_model

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.capacity import check_split
from pool_managerd.devices.memory import SIMULATED_VRAM_BYTES, DeviceShare, Need, llamacpp_need, need_of
from pool_managerd.devices.snapshot import Device, DevicesSnapshot

MIB, GIB = 1 << 20, 1 << 30


@dataclass
class Pool:
    engine: str = "llamacpp"
    context: int = 4096
    slots: int = 4
    kv_type: str = "f16"
    vram_bytes: int | None = None
    ram_bytes: int | None = None
    simulated: dict[str, Any] = field(default_factory=dict)


def write_safetensors(path: Path, sizes: list[int], *, cut: int = 0) -> Path:
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for number, size in enumerate(sizes):
        header[f"t{number}"] = {"dtype": "U8", "shape": [size], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    path.write_bytes((len(text).to_bytes(8, "little") + text + bytes(offset))[: -cut or None])
    return path


def test_llamacpp_leaves_the_input_embedding_in_host_memory(tmp_path):
    blocks = 2 * (64 * 64 * 2 + 64 * 4)
    need = llamacpp_need(write_model(tmp_path / "m.gguf"), context=256, slots=1, kv_type="f16")
    assert need.weights == blocks + 100 * 64 * 4
    assert need.host == 100 * 64 * 2
    assert need.piece == 100 * 64 * 4


def test_llamacpp_loads_a_tied_embedding_onto_the_gpu_too(tmp_path):
    need = llamacpp_need(write_model(tmp_path / "m.gguf", tied=True), context=256, slots=1, kv_type="f16")
    assert need.weights == 2 * (64 * 64 * 2 + 64 * 4) + 100 * 64 * 2
    assert need.host == 100 * 64 * 2


def test_the_real_models_figures():
    need = llamacpp_need(real_model(), context=2048, slots=1, kv_type="f16")
    assert need.weights == 96576768  # tied: the embedding counts
    assert need.kv == 30 * 2048 * 3 * 64 * 2 * 2
    assert 16 * MIB < need.compute < 24 * MIB


@pytest.mark.parametrize(("kind", "part"), [("f32", 2), ("f16", 1), ("q8_0", 34 / 64), ("q4_0", 18 / 64)])
def test_the_cache_grows_with_context_slots_and_type(tmp_path, kind, part):
    path = write_model(tmp_path / "m.gguf")
    one = llamacpp_need(path, context=1024, slots=1, kv_type="f16").kv
    assert one == 2 * 2 * 1024 * (16 + 16) * 2
    assert llamacpp_need(path, context=2048, slots=3, kv_type=kind).kv == 6 * one * part


def test_layers_without_cache_need_none(tmp_path):
    full = llamacpp_need(write_model(tmp_path / "a.gguf"), context=1024, slots=1, kv_type="f16").kv
    half = write_model(tmp_path / "b.gguf", head_count_kv=[2, 0])
    assert llamacpp_need(half, context=1024, slots=1, kv_type="f16").kv == full // 2


def test_a_replicas_need_is_divided_by_the_split(tmp_path):
    path = write_model(tmp_path / "m.gguf")
    whole = need_of(Pool(), path, ["a"], (1.0,))
    need = need_of(Pool(), path, ["a", "b"], (0.75, 0.25))
    assert [share.ratio for share in need.shares] == [0.75, 0.25]
    assert sum(share.weights for share in need.shares) == pytest.approx(whole.shares[0].weights, abs=2)
    assert need.shares[0].kv == 3 * need.shares[1].kv
    assert whole.basis == "gguf"
    assert whole.least("a", 0.1) == math.floor(whole.shares[0].weights * 0.9)
    assert need.least("b", 0.1) < need.shares[1].weights


def test_a_configured_need_replaces_the_computed_one(tmp_path):
    need = need_of(Pool(vram_bytes=5 * GIB, ram_bytes=7), write_model(tmp_path / "m.gguf"), ["a"], (1.0,))
    assert (need.total, need.per_device, need.ram, need.basis) == (5 * GIB, {"a": 5 * GIB}, 7, "configured")
    assert need.least("a", 0.1) < 5 * GIB  # the model itself says what must be seen


def test_a_command_without_a_figure_needs_what_is_not_known():
    need = need_of(Pool(engine="command"), None, ["a"], (1.0,))
    assert (need.total, dict(need.per_device), need.basis, need.least("a", 0.1)) == (None, {}, "unknown", 1)
    need = need_of(Pool(engine="command", vram_bytes=100), None, ["a"], (1.0,))
    assert (need.total, need.least("a", 0.1)) == (100, 90)


def test_the_stand_in_needs_what_it_will_hold(tmp_path):
    model = tmp_path / "m.bin"
    model.write_bytes(b"x" * 1000)
    assert need_of(Pool("simulated", simulated={"vram_bytes": GIB}), model, ["a"], (1.0,)).total == GIB
    assert need_of(Pool("simulated", simulated={"vram_bytes": "2GiB"}), model, ["a"], (1.0,)).total == 2 * GIB
    assert need_of(Pool("simulated"), model, ["a"], (1.0,)).total == 1000
    assert need_of(Pool("simulated"), None, ["a"], (1.0,)).total == SIMULATED_VRAM_BYTES
    assert need_of(Pool("simulated", simulated={"vram_bytes": 0}), None, ["a"], (1.0,)).total == 0


def test_safetensors_weights_come_from_the_headers_of_all_shards(tmp_path):
    one = write_safetensors(tmp_path / "model-00001-of-00002.safetensors", [1000, 24])
    write_safetensors(tmp_path / "model-00002-of-00002.safetensors", [500])
    for model in (one, tmp_path):
        assert need_of(Pool("vllm"), model, ["a"], (1.0,)).shares[0].weights == 1524
    config = {"num_attention_heads": 8, "num_key_value_heads": 2, "hidden_size": 64, "num_hidden_layers": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert need_of(Pool("vllm"), tmp_path, ["a"], (1.0,)).shares[0].kv == 3 * 2 * 8 * 2 * 2 * 4096 * 4
    index = {"weight_map": {"t0": "model-00001-of-00002.safetensors", "t1": "model-00003.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(PoolManagerError, match=r"model-00003\.safetensors is missing"):
        need_of(Pool("vllm"), tmp_path, ["a"], (1.0,))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda _: None, "missing"),
        (lambda p: p.write_bytes(b"\0\0"), "truncated"),
        (lambda p: p.write_bytes(b"\xff" * 16), "truncated or no safetensors"),
        (lambda p: p.write_bytes((2).to_bytes(8, "little") + b"[]"), "cannot be read"),
        (lambda p: p.write_bytes((3).to_bytes(8, "little") + b"{a}"), "cannot be read"),
        (lambda p: write_safetensors(p, [100], cut=1), "truncated"),
    ],
)
def test_a_bad_safetensors_file_names_path_and_fault(tmp_path, write, said):
    path = tmp_path / "m.safetensors"
    write(path)
    with pytest.raises(PoolManagerError) as caught:
        need_of(Pool("vllm"), path, ["a"], (1.0,))
    assert caught.value.code == Code.MODEL_NOT_FOUND
    assert str(path) in caught.value.message
    assert said in caught.value.message


def test_a_bad_gguf_file_names_path_and_fault(tmp_path):
    path = write_model(tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PoolManagerError, match="truncated") as caught:
        need_of(Pool(), path, ["a"], (1.0,))
    assert caught.value.code == Code.MODEL_NOT_FOUND
    with pytest.raises(PoolManagerError, match="No such file"):
        need_of(Pool(), tmp_path / "none.gguf", ["a"], (1.0,))


def host(*totals):
    return DevicesSnapshot(
        devices=tuple(
            Device(uuid=f"GPU-{n}", index=n, name="", pci_bus_id="", total=total, free=total, used=0)
            for n, total in enumerate(totals)
        )
    )


def need(weights, kv, fixed, *ratios):
    return Need(
        tuple(
            DeviceShare(f"GPU-{n}", ratio, math.ceil(weights * ratio), math.ceil(kv * ratio), fixed, 0)
            for n, ratio in enumerate(ratios)
        ),
        0,
        "gguf",
    )


def test_a_share_too_large_for_the_smallest_gpu_names_the_largest_that_fits():
    snapshot = host(8 * GIB, 24 * GIB)
    with pytest.raises(PoolManagerError) as caught:
        check_split(need(16 * GIB, 4 * GIB, 0, 0.5, 0.5), snapshot, 512 * MIB)
    error = caught.value
    assert error.code == Code.INVALID_SPLIT
    assert error.details["device"] == "GPU-0"
    largest = error.details["largest_ratio"]
    assert largest == pytest.approx(7.5 / 20, abs=1e-6)
    check_split(need(16 * GIB, 4 * GIB, 0, largest, 1 - largest), snapshot, 512 * MIB)
    with pytest.raises(PoolManagerError):
        check_split(need(16 * GIB, 5 * GIB, 0, largest, 1 - largest), snapshot, 512 * MIB)


@given(
    weights=st.integers(1, 1 << 44),
    kv=st.integers(0, 1 << 44),
    fixed=st.integers(0, 1 << 34),
    total=st.integers(1 << 20, 1 << 40),
    ratio=st.floats(0.01, 0.99),
)
def test_the_largest_ratio_named_is_always_accepted(weights, kv, fixed, total, ratio):
    snapshot = host(total, 1 << 50)
    try:
        check_split(need(weights, kv, fixed, ratio, 1 - ratio), snapshot, 0)
    except PoolManagerError as error:
        largest = error.details["largest_ratio"]
        assert largest < ratio
        if largest > 0:
            check_split(need(weights, kv, fixed, largest, 1 - largest), snapshot, 0)
