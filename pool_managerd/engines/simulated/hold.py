"""A real llama.cpp engine on simulated GPUs: holds the simulated memory that it would hold on real ones.

Installed as ``pool-managerd-simulated-llama-server`` (extra ``[test]``). It takes llama-server's flags, writes an
allocation under its own pid into the folder of simulated devices, and then is the launcher of
:mod:`pool_managerd.engines.llama_server`, in the same process. The launcher knows nothing of it.

llama.cpp itself has no GPU here. From verbosity 4 on it would say so, truly: ``CPU KV buffer size = …``. Where its
buffers lie is exactly what this wrapper plays, so it does not let llama.cpp log at that verbosity. It changes no line
and adds none: all evidence of residency that is left is the simulated NVML's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from pool_managerd.devices.need import llamacpp_need
from pool_managerd.devices.simulated_folder import SimulatedFolder
from pool_managerd.engines import llama_server

#: llama-server's own default: start, requests and errors, but not where buffers lie.
_VERBOSITY = ("--log-verbosity", "3")


def shares(argv: Sequence[str], environ: Mapping[str, str]) -> dict[str, int]:
    """Bytes by GPU UUID that llama-server with these flags would hold on the GPUs that it can see.

    :raises ValueError: if the model is no GGUF model.
    :raises OSError: if the model can't be read.
    """
    flags = llama_server.parser().parse_args(argv)
    devices = [name for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if not devices or not flags.model:
        return {}
    need = llamacpp_need(
        Path(flags.model),
        context=flags.ctx_size // max(1, flags.parallel),
        slots=flags.parallel,
        kv_type=flags.cache_type_k,
    )
    weights = flags.tensor_split if len(flags.tensor_split) == len(devices) else [1.0] * len(devices)
    divided = need.weights + need.kv
    return {
        uuid: round(divided * weight / sum(weights)) + need.compute
        for uuid, weight in zip(devices, weights, strict=True)
    }


def main() -> NoReturn:
    """Hold the memory, then be llama-server."""
    argv = sys.argv[1:]
    folder = os.environ.get("POOL_MANAGERD_SIMULATED_DIR")
    if folder and "--version" not in argv:
        try:
            held = shares(argv, os.environ)
        except (OSError, ValueError):
            held = {}  # llama.cpp itself will say what is wrong with the model
        if held:
            SimulatedFolder(folder).allocate(os.getpid(), held)
    llama_server.main([*argv, *_VERBOSITY])


if __name__ == "__main__":
    main()
