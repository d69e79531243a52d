"""Lines of llama.cpp's log that mean a failure.

Each pattern starts at the line's first character with what llama.cpp itself puts there: time and level (when it
writes them), then the name of the function that speaks. A prompt or a completion is only ever part of such a line.
"""

from __future__ import annotations

import re

from pool_managerd.core.errors import Code
from pool_managerd.engines.log_lines import LogPattern

#: ``0.01.234.567 E ``: minutes, seconds, milliseconds, microseconds since the start, and the level's letter.
_STAMP = r"\d+\.\d{2}\.\d{3}\.\d{3} [A-Z] "
_ALLOCATORS = r"(?:ggml_backend_cuda_\w+|ggml_cuda_\w+|ggml_gallocr_\w+|ggml_backend_alloc_\w+|alloc_tensor_range)"
#: What ggml writes straight to stderr when it gives up, without any stamp: ``/src/ggml-cuda.cu:88: ``.
_SOURCE = r"\S+\.cuh?:\d+: "


def patterns(*, stamped: bool) -> tuple[LogPattern, ...]:
    """llama.cpp's lines that mean a failure.

    :param stamped: whether every line is known to begin with time and level. If so, nothing else is taken for a
        line of llama.cpp's, not even where text with line breaks of its own gets into the log.
    """
    stamp = f"^{_STAMP}" if stamped else f"^(?:{_STAMP})?"
    start = f"^(?:{_SOURCE}|{_STAMP})" if stamped else f"^(?:{_STAMP})?(?:{_SOURCE})?"
    out_of_memory = LogPattern(
        # The second and third are cuBLAS' words for the same, of CUDA 12 and before.
        re.compile(rf"{start}CUDA error: (?:out of memory|the resource allocation failed|CUBLAS_STATUS_ALLOC_FAILED)"),
        Code.OUT_OF_MEMORY,
        "out_of_memory",
        "critical",
    )
    # Not the end of a load yet: "compute buffer allocation failed, retrying without pipeline parallelism" may follow.
    allocation = LogPattern(
        re.compile(rf"{stamp}{_ALLOCATORS}: (?:.*cudaMalloc failed: out of memory|failed to allocate CUDA\d* buffer)"),
        Code.OUT_OF_MEMORY,
        "out_of_memory",
        "critical",
        when="ready",
    )
    # Written before the options for time and level are read. llama.cpp would go on without any GPU.
    no_cuda = LogPattern(
        re.compile(rf"^(?:{_STAMP})?ggml_cuda_init: failed to initialize CUDA: "),
        Code.CUDA_ERROR,
        "cuda_error",
        when="loading",
    )
    cuda_error = LogPattern(
        re.compile(rf"{start}(?:ggml_(?:backend_)?cuda_\w+: )?CUDA error(?:$|:| )"), Code.CUDA_ERROR, "cuda_error"
    )
    layers_on_cpu = LogPattern(
        re.compile(rf"{stamp}(?:llm_)?load_tensors: +offloaded (\d+)/(\d+) layers to GPU"),
        Code.CPU_SPILLOVER,
        "cpu_spillover",
        applies=lambda found: int(found[1]) < int(found[2]),
    )
    kv_on_cpu = LogPattern(
        re.compile(rf"{stamp}llama_(?:kv_cache|memory)\w*: +CPU\w* (?:KV|RS) buffer size = +([\d.]+) MiB"),
        Code.CPU_SPILLOVER,
        "cpu_spillover",
        applies=lambda found: float(found[1]) > 0,
    )
    # Out of memory stands first: it is a CUDA error, too.
    return (out_of_memory, allocation, no_cuda, cuda_error, layers_on_cpu, kv_on_cpu)


PORT_IN_USE = re.compile(rf"^(?:{_STAMP})?(?:srv +)?\w+(?:\(\))?: couldn't bind HTTP server socket")
BAD_ARGUMENTS = re.compile(
    rf"^(?:{_STAMP})?(?:error: (?:invalid argument|unknown argument|unrecognized arguments|argument )"
    r"|error while handling (?:argument|environment variable) )"
)
