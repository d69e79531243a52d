"""Lines of llama.cpp's log that mean a failure.

Each pattern starts at the line's first character with what llama.cpp itself puts there: time and level (when it
writes them), then the name of the function that speaks. A prompt or a completion is only ever part of such a line.
"""

from __future__ import annotations

import re

from pool_managerd.core.errors import Code
from pool_managerd.engines.base import LogPattern

#: ``0.01.234.567 E ``: minutes, seconds, milliseconds, microseconds since the start, and the level's letter.
_STAMP = r"^(?:\d+\.\d{2}\.\d{3}\.\d{3} [A-Z] )?"
_ALLOCATORS = r"(?:ggml_backend_cuda_\w+|ggml_cuda_\w+|ggml_gallocr_\w+|ggml_backend_alloc_\w+|alloc_tensor_range)"

OUT_OF_MEMORY = LogPattern(
    re.compile(
        _STAMP + rf"(?:{_ALLOCATORS}: (?:.*cudaMalloc failed: out of memory|failed to allocate CUDA\d* buffer)"
        r"|(?:\S+\.cu:\d+: )?CUDA error: out of memory)"
    ),
    Code.OUT_OF_MEMORY,
    "out_of_memory",
    "critical",
)
CUDA_ERROR = LogPattern(
    re.compile(_STAMP + r"(?:ggml_cuda_\w+: |ggml_backend_cuda_\w+: |\S+\.cuh?:\d+: )?CUDA error(?:$|:| )"),
    Code.CUDA_ERROR,
    "cuda_error",
)
LAYERS_ON_CPU = LogPattern(
    re.compile(_STAMP + r"(?:llm_)?load_tensors: +offloaded (\d+)/(\d+) layers to GPU"),
    Code.CPU_SPILLOVER,
    "cpu_spillover",
    applies=lambda found: int(found[1]) < int(found[2]),
)
KV_ON_CPU = LogPattern(
    re.compile(_STAMP + r"llama_(?:kv_cache|memory)\w*: +CPU\w* (?:KV|RS) buffer size = +([\d.]+) MiB"),
    Code.CPU_SPILLOVER,
    "cpu_spillover",
    applies=lambda found: float(found[1]) > 0,
)
#: Out of memory stands first: it is a CUDA error, too.
PATTERNS = (OUT_OF_MEMORY, CUDA_ERROR, LAYERS_ON_CPU, KV_ON_CPU)

PORT_IN_USE = re.compile(_STAMP + r"(?:srv +)?\w+(?:\(\))?: couldn't bind HTTP server socket")
BAD_ARGUMENTS = re.compile(
    _STAMP + r"(?:error: (?:invalid argument|unknown argument|unrecognized arguments|argument )"
    r"|error while handling argument )"
)
