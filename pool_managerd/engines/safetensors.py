"""Checking a model folder of the Hugging Face form, as vLLM and TGI load it: headers only."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from pool_managerd.engines.base import bad_model

_LENGTH = struct.Struct("<Q")
#: The format's own limit for its header, in bytes.
_MAX_HEADER = 100_000_000
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")


def check_model_folder(path: Path) -> None:
    """Refuse a folder without configuration or weights, and a safetensors file that is not whole.

    :raises PoolManagerError: MODEL_NOT_FOUND with the path and what is wrong with it.
    """
    try:
        if not path.is_dir():
            raise bad_model(path, "is a file; this engine loads a folder" if path.exists() else "does not exist")
        if not (path / "config.json").is_file():
            raise bad_model(path, "has no config.json")
        files = sorted(file for pattern in _WEIGHTS for file in path.glob(pattern))
        if not files:
            raise bad_model(path, f"has no weights ({', '.join(_WEIGHTS)})")
        for file in files:
            if file.suffix == ".safetensors":
                _check_safetensors(file)
    except OSError as error:
        raise bad_model(path, f"cannot be read ({error.strerror})") from error


def _check_safetensors(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else _MAX_HEADER + 1
        if length > _MAX_HEADER:
            raise bad_model(path, "is no safetensors file")
        text = file.read(length)
    if len(text) < length:
        raise bad_model(path, f"is truncated: its header of {length} bytes is not complete")
    try:
        tensors = json.loads(text)
        end = max((value["data_offsets"][1] for name, value in tensors.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise bad_model(path, f"has a header that is no safetensors header ({error})") from error
    needed = _LENGTH.size + length + end
    if size < needed:
        raise bad_model(path, f"is truncated: {size} bytes, and its header speaks of {needed}")
