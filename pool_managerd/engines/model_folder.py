"""Checking a model folder of the Hugging Face form, as vLLM and TGI load it: headers only."""

from __future__ import annotations

from pathlib import Path

from pool_managerd.devices import safetensors
from pool_managerd.engines.base import bad_model

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
        if any(file.suffix == ".safetensors" for file in files):
            safetensors.model_bytes(path)
    except safetensors.SafetensorsError as error:
        raise bad_model(path, str(error), hint="check whether the download was complete") from error
    except OSError as error:
        raise bad_model(path, f"cannot be read ({error.strerror})") from error
