"""Lines of engines built on PyTorch that mean a failure: the last line of a traceback, at the line's beginning.

vLLM puts the name and pid of a process, the level, the time and the place in front of it; torch itself the rank.
"""

from __future__ import annotations

import re

from pool_managerd.core.errors import Code
from pool_managerd.engines.log_lines import LogPattern

#: ``(EngineCore_DP0 pid=42) `` of vLLM and ``(RayWorkerWrapper pid=7, ip=10.0.0.2) `` of Ray; may be missing.
PROCESS = r"^(?:\([\w ]+ pid=\d+(?:, ip=[\d.]+)?\) )?"
#: ``ERROR 11-02 10:00:00 [v1/engine/core.py:710] `` (before vLLM 0.8 without the first bracket) and ``[rank0]: ``: each
#: part may be missing.
PLACE = PROCESS + r"(?:ERROR \d\d-\d\d \d\d:\d\d:\d\d \[?[\w./]+:\d+\] )?(?:\[rank\d+\]: ?)?"
#: NCCL's watchdog ends the process: ``[rank0]:[E424 10:10:10.123456789 ProcessGroupNCCL.cpp:1895] [PG ID 2 …] ``.
_WATCHDOG = (
    PROCESS + r"(?:\[rank\d+\]:)?\[E[ \d][^\]]*ProcessGroupNCCL\.cpp:\d+\] (?:\[[^\]]*\] ?)*"
    r"(?:NCCL|Process group) watchdog thread terminated with exception: "
)

OUT_OF_MEMORY = LogPattern(
    re.compile(PLACE + r"(?:torch\.(?:cuda\.)?OutOfMemoryError|RuntimeError): CUDA (?:error: )?out of memory"),
    Code.OUT_OF_MEMORY,
    "out_of_memory",
    "critical",
)
CUDA_ERROR = LogPattern(
    re.compile(
        PLACE + r"(?:torch\.(?:\w+\.)*\w+Error|RuntimeError): (?:CUDA error|cuDNN error|NCCL error)"
        rf"|{_WATCHDOG}(?:CUDA error|NCCL error)"
    ),
    Code.CUDA_ERROR,
    "cuda_error",
)
PATTERNS = (OUT_OF_MEMORY, CUDA_ERROR)

#: The HTTP port of uvicorn, and the port by which the processes of a group meet.
PORT_IN_USE = re.compile(
    PLACE + r"(?:(?:OSError: |ERROR: +)\[Errno 98\] (?:Address already in use|error while attempting to bind)"
    r"|(?:torch\.distributed\.DistNetworkError|RuntimeError): The server socket has failed to listen on any local "
    r"network address\..*(?:errno: 98\b|EADDRINUSE))"
)
