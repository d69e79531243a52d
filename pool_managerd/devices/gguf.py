"""Reading the header of a GGUF model: metadata and tensors, without the long arrays and without the weights.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A file of 50,000 tokens takes a few
milliseconds, whatever its size, for nothing but the header is read.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

#: (elements in a block, bytes of a block) by ggml type number; source: ggml's type traits (ggml.c).
TENSOR_TYPES: Mapping[int, tuple[int, int]] = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    9: (32, 40),  # Q8_1
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    15: (256, 292),  # Q8_K
    16: (256, 66),  # IQ2_XXS
    17: (256, 74),  # IQ2_XS
    18: (256, 98),  # IQ3_XXS
    19: (256, 50),  # IQ1_S
    20: (32, 18),  # IQ4_NL
    21: (256, 110),  # IQ3_S
    22: (256, 82),  # IQ2_S
    23: (256, 136),  # IQ4_XS
    24: (1, 1),  # I8
    25: (1, 2),  # I16
    26: (1, 4),  # I32
    27: (1, 8),  # I64
    28: (1, 8),  # F64
    29: (256, 56),  # IQ1_M
    30: (1, 2),  # BF16
    34: (256, 54),  # TQ1_0
    35: (256, 66),  # TQ2_0
    39: (32, 17),  # MXFP4
    40: (64, 36),  # NVFP4
    41: (128, 18),  # Q1_0
}

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS: Mapping[int, struct.Struct] = {
    number: struct.Struct("<" + form)
    for number, form in {
        0: "B",
        1: "b",
        2: "H",
        3: "h",
        4: "I",
        5: "i",
        6: "f",
        7: "?",
        10: "Q",
        11: "q",
        12: "d",
    }.items()
}
_U32 = struct.Struct("<I").unpack_from
_U64 = struct.Struct("<Q").unpack_from
_KEPT = 4096  # arrays of numbers up to this length are kept (one number per layer), longer ones are skipped
_MOST = 1 << 24  # more tensors, keys or dimensions than this is damage, not a model
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


class GgufError(ValueError):
    """The file is no whole GGUF model; the message says what is wrong with it, without the path."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor; ``offset`` counts from the start of the data, ``size`` is bytes."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says of itself. ``metadata`` lacks strings' and long arrays (they are skipped)."""

    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    data_offset: int
    file_size: int

    @property
    def architecture(self) -> str:
        """``general.architecture``, the prefix of the model's own keys."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size for tensor in self.tensors)

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the architecture's own keys, for instance ``block_count``."""
        return self.metadata.get(f"{self.architecture}.{key}", default)


def read_header(path: Path) -> GgufHeader:
    """Read one file's header; the same unchanged file is not read twice.

    :raises GgufError: if it is truncated or not a GGUF model.
    :raises OSError: if it is missing or cannot be read.
    """
    stat = path.stat()
    return _read_header(str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns)


def read_model(path: Path) -> tuple[GgufHeader, ...]:
    """Read a model's header, or all of them where the model is split over several files (``-00001-of-00003.gguf``).

    :raises GgufError: as :func:`read_header`, and if a part is missing.
    """
    first = read_header(path)
    count = int(first.metadata.get("split.count", 0) or 0)
    if count <= 1:
        return (first,)
    match = _SHARD.fullmatch(path.name)
    if match is None:
        raise GgufError(
            f"it is one of {count} parts of a model, but its name does not end in -00001-of-{count:05d}.gguf"
        )
    headers = []
    for number in range(1, count + 1):
        part = path.with_name(f"{match[1]}-{number:05d}-of-{count:05d}.gguf")
        try:
            headers.append(read_header(part))
        except FileNotFoundError as error:
            raise GgufError(f"part {number} of {count} is missing: {part}") from error
        except GgufError as error:
            raise GgufError(f"part {number} of {count} ({part.name}): {error}") from error
    return tuple(headers)


@lru_cache(maxsize=256)
def _read_header(path: str, _inode: int, size: int, _mtime_ns: int) -> GgufHeader:
    with Path(path).open("rb") as file:
        start = file.read(24)
        if start[:4] != _MAGIC:
            raise GgufError(f"it is not a GGUF file: it begins with {start[:4]!r}, not {_MAGIC!r}")
        if len(start) < 24:
            raise GgufError(f"it is truncated: {size} bytes, not even a header")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _parse(data, size)
            except (struct.error, IndexError) as error:
                raise GgufError(f"it is truncated: its header does not end within its {size} bytes") from error


def _parse(data: mmap.mmap, size: int) -> GgufHeader:
    version = _U32(data, 4)[0]
    if version not in (2, 3):
        raise GgufError(f"it is GGUF version {version}; versions 2 and 3 can be read")
    tensor_count, key_count = _U64(data, 8)[0], _U64(data, 16)[0]
    if tensor_count > _MOST or key_count > _MOST:
        raise GgufError(f"it is damaged: it claims {tensor_count} tensors and {key_count} keys")
    offset = 24
    metadata: dict[str, Any] = {}
    for _ in range(key_count):
        key, offset = _string(data, offset)
        kind = _U32(data, offset)[0]
        value, offset = _value(data, offset + 4, kind, key)
        if value is not None:
            metadata[key] = value
    alignment = int(metadata.get("general.alignment", 32))
    if alignment <= 0:
        raise GgufError(f"it is damaged: general.alignment is {alignment}")
    raw = []
    for _ in range(tensor_count):
        name, offset = _string(data, offset)
        dimensions = _U32(data, offset)[0]
        if dimensions > 8:
            raise GgufError(f"it is damaged: tensor {name!r} has {dimensions} dimensions")
        shape = struct.unpack_from(f"<{dimensions}Q", data, offset + 4)
        offset += 4 + 8 * dimensions
        raw.append((name, shape, _U32(data, offset)[0], _U64(data, offset + 4)[0]))
        offset += 12
    data_offset = -(-offset // alignment) * alignment
    tensors = _sized(raw, size - data_offset)
    end = data_offset + max((tensor.offset + tensor.size for tensor in tensors), default=0)
    if end > size:
        raise GgufError(f"it is truncated: it has {size} bytes, and its tensors end at {end}")
    return GgufHeader(version, metadata, tensors, data_offset, size)


def _sized(raw: list[tuple[str, tuple[int, ...], int, int]], room: int) -> tuple[Tensor, ...]:
    """Add each tensor's bytes: by its type, and for a type that is not known by where the next one begins."""
    starts = sorted({offset for _, _, _, offset in raw} | {room})
    following = dict(pairwise(starts))
    tensors = []
    for name, shape, kind, offset in raw:
        if kind in TENSOR_TYPES:
            block, size = TENSOR_TYPES[kind]
            count = math.prod(shape) // block * size
        else:
            count = max(0, following.get(offset, room) - offset)
        tensors.append(Tensor(name, shape, kind, offset, count))
    return tuple(tensors)


def _string(data: mmap.mmap, offset: int) -> tuple[str, int]:
    length = _U64(data, offset)[0]
    end = offset + 8 + length
    if end > len(data):
        raise IndexError(end)
    return data[offset + 8 : end].decode(errors="replace"), end


def _value(data: mmap.mmap, offset: int, kind: int, key: str) -> tuple[Any, int]:
    if kind == _STRING:
        return _string(data, offset)
    if kind == _ARRAY:
        return _array(data, offset, key)
    scalar = _SCALARS.get(kind)
    if scalar is None:
        raise GgufError(f"it is damaged: key {key!r} has the unknown type {kind}")
    return scalar.unpack_from(data, offset)[0], offset + scalar.size


def _array(data: mmap.mmap, offset: int, key: str) -> tuple[Any, int]:
    """Short arrays of numbers are read, all others skipped (``None``)."""
    kind, count = _U32(data, offset)[0], _U64(data, offset + 4)[0]
    offset += 12
    if kind == _STRING:
        return None, _skip_strings(data, offset, count)
    if kind == _ARRAY:
        for _ in range(count):
            _, offset = _array(data, offset, key)
        return None, offset
    scalar = _SCALARS.get(kind)
    if scalar is None:
        raise GgufError(f"it is damaged: the array {key!r} has elements of the unknown type {kind}")
    end = offset + count * scalar.size
    if end > len(data):
        raise IndexError(end)
    if count > _KEPT:
        return None, end
    return tuple(value for (value,) in scalar.iter_unpack(data[offset:end])), end


def _skip_strings(data: mmap.mmap, offset: int, count: int) -> int:
    read = _U64
    for _ in range(count):
        offset += 8 + read(data, offset)[0]
    if offset > len(data):
        raise IndexError(offset)
    return offset
