"""The weights' bytes of a safetensors model, from the files' headers alone.

Format: https://huggingface.co/docs/safetensors: eight bytes of header length (little endian), the header as JSON
(tensor name: dtype, shape, data_offsets), the data.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path

_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.safetensors")
_LONGEST_HEADER = 100_000_000  # the reference implementation's own limit


class SafetensorsError(ValueError):
    """No whole safetensors model; the message says what is wrong, naming the file where there are several."""


def is_safetensors(path: Path) -> bool:
    """Whether a model is one: such a file, or a folder that holds such files."""
    if path.is_dir():
        return any(path.glob("*.safetensors"))
    return path.suffix == ".safetensors"


def model_bytes(path: Path) -> int:
    """The bytes of all tensors over all shards.

    :param path: a file (one of several shards stands for all), or the model's folder.
    :raises SafetensorsError: if a file is missing, truncated or of another format.
    :raises OSError: if one cannot be read.
    """
    return sum(_file_bytes(file) for file in shards(path))


def shards(path: Path) -> tuple[Path, ...]:
    """The files of a model, whether they exist or not.

    :raises SafetensorsError: if the folder holds no model, or its index is no index.
    """
    if not path.is_dir():
        match = _SHARD.fullmatch(path.name)
        if match is None:
            return (path,)
        count = int(match[3])
        return tuple(path.with_name(f"{match[1]}-{n:05d}-of-{match[3]}.safetensors") for n in range(1, count + 1))
    index = path / "model.safetensors.index.json"
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SafetensorsError(f"{index.name} is no index of a safetensors model") from error
        return tuple(path / name for name in names)
    found = tuple(sorted(path.glob("*.safetensors")))
    if not found:
        raise SafetensorsError("the folder holds no *.safetensors file")
    return found


def _file_bytes(path: Path) -> int:
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise SafetensorsError(f"the shard {path.name} is missing") from error
    return _read(str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _read(path: str, _inode: int, size: int, _mtime_ns: int) -> int:
    name = Path(path).name
    with Path(path).open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8:
            raise SafetensorsError(f"{name} is truncated: {size} bytes, not even a header")
        if length > min(size - 8, _LONGEST_HEADER):
            raise SafetensorsError(f"{name} is truncated or no safetensors file: its header would take {length} bytes")
        text = file.read(length)
    try:
        header = json.loads(text)
        spans = [entry["data_offsets"] for key, entry in header.items() if key != "__metadata__"]
        total = sum(int(end) - int(begin) for begin, end in spans)
        last = max((int(end) for _, end in spans), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SafetensorsError(f"{name} is no safetensors file: its header cannot be read") from error
    if 8 + length + last > size:
        raise SafetensorsError(f"{name} is truncated: it has {size} bytes, and its tensors end at {8 + length + last}")
    return total
