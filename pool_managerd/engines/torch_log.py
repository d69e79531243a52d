"""Lines of engines built on PyTorch that mean a failure: the last line of a traceback, at the line's beginning.

vLLM puts the name and pid of a process, the level, the time and the place in front of it.
"""

from __future__ import annotations

import re

from pool_managerd.core.errors import Code
from pool_managerd.engines.base import LogPattern

#: ``(EngineCore_DP0 pid=42) ERROR 11-02 10:00:00 [core.py:710] ``: each part may be missing.
_PLACE = r"^(?:\([\w ]+ pid=\d+\) )?(?:ERROR \d\d-\d\d \d\d:\d\d:\d\d \[[\w./]+:\d+\] )?"

OUT_OF_MEMORY = LogPattern(
    re.compile(_PLACE + r"(?:torch\.(?:cuda\.)?OutOfMemoryError|RuntimeError): CUDA (?:error: )?out of memory"),
    Code.OUT_OF_MEMORY,
    "out_of_memory",
    "critical",
)
CUDA_ERROR = LogPattern(
    re.compile(_PLACE + r"(?:torch\.(?:\w+\.)*\w+Error|RuntimeError): (?:CUDA error|cuDNN error|NCCL error)"),
    Code.CUDA_ERROR,
    "cuda_error",
)
PATTERNS = (OUT_OF_MEMORY, CUDA_ERROR)

PORT_IN_USE = re.compile(
    _PLACE + r"(?:OSError: |ERROR: +)\[Errno 98\] (?:Address already in use|error while attempting to bind)"
)
