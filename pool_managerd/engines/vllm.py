"""vLLM's OpenAI-compatible server.

Where its facts are from, all in vLLM's own documentation (docs.vllm.ai) unless another source is named:

======================================================= ============================================================
``vllm serve``, its options, their defaults and dashes  *Engine arguments* and ``vllm serve --help``
``/health`` answers 200, or 503 for a dead engine       *OpenAI-compatible server*, and the server's ``health`` route
``/version``, ``/v1/models``                            the same
``vllm:num_requests_running``, ``…_waiting``,           *Production metrics*
``vllm:iteration_tokens_total``, ``vllm:generation_…``
an even split over ``--tensor-parallel-size`` GPUs      *Distributed serving*
``usage: vllm …``, exit code 2                          Python's argparse, which it uses
lines of its log                                        public reports: ``tests/engines/log_lines/vllm.tsv``
======================================================= ============================================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.engines import torch_log
from pool_managerd.engines.base import (
    Argument,
    CanaryRequest,
    Engine,
    EngineSpec,
    PoolLike,
    SlotsReport,
    arguments,
    completion_canary,
    json_or_none,
    managed,
    progress_of,
    prometheus_sum,
    spillover,
)
from pool_managerd.engines.log_lines import ExitClass, LogPattern
from pool_managerd.engines.model_folder import check_model_folder

_MANAGED = {
    "--host": "host",
    "--port": "port",
    "--model": "model",
    "--tensor-parallel-size": "devices",
    "-tp": "devices",
    "--pipeline-parallel-size": "devices",
    "-pp": "devices",
    "--data-parallel-size": "replicas",
    "-dp": "replicas",
    "--max-model-len": "context",
    "--max-num-seqs": "slots",
    "--kv-cache-dtype": "kv_type",
}
#: Options that put weights or KV cache into host memory with any value but these.
_HARMLESS = {
    "--cpu-offload-gb": ("0", "0.0"),
    "--swap-space": ("0", "0.0"),
    "--device": ("cuda", "auto"),
    "--kv-offloading-size": ("0", "0.0"),
    "--kv-offloading-backend": (),
    "--kv-transfer-config": (),
    "--offload-backend": (),
    "--offload-group-size": ("0",),
    "--cpu-offload-params": (),
}
#: Reads options from a file, which may hold any of the above.
_CONFIG = "--config"
_KNOWN = (*_MANAGED, *_HARMLESS, _CONFIG)
_ON_CPU = LogPattern(
    re.compile(torch_log.PROCESS + r"INFO [\d-]+ [\d:]+ \[[\w./]+:\d+\] Automatically detected platform cpu\b"),
    Code.CPU_SPILLOVER,
    "cpu_spillover",
)
_USAGE = re.compile(r"^(?:vllm(?: \w+)?|\S*api_server\.py): error: |^usage: (?:vllm|\S*api_server\.py)\b")
#: Options that don't go together, or not with the model.
_BAD_CONFIG = re.compile(
    torch_log.PLACE
    + r"(?:pydantic_core\._pydantic_core\.ValidationError: \d+ validation errors? for \w+"
    + r"|ValueError: User-specified max_model_len )"
)
_TOO_LITTLE_MEMORY = LogPattern(
    re.compile(
        torch_log.PLACE
        + r"ValueError: (?:Free memory on device [^(]{0,20}\([\d.]+/[\d.]+ GiB\) on startup is less than desired"
        + r"|No available memory for the cache blocks"
        + r"|To serve at least one request with the models?'s max seq len )"
    ),
    Code.OUT_OF_MEMORY,
    "out_of_memory",
    "critical",
)


class Vllm(Engine):
    """vLLM: divides a model evenly over all GPUs of its mask, and keeps all of it there."""

    kind: ClassVar[str] = "vllm"
    default_binary: ClassVar[str | None] = "vllm"
    readiness_path: ClassVar[str] = "/health"
    even_split_only: ClassVar[bool] = True
    takes_share: ClassVar[bool] = True
    slots_path: ClassVar[str | None] = "/metrics"
    version_path: ClassVar[str | None] = "/version"
    progress_path: ClassVar[str | None] = "/metrics"
    log_patterns: ClassVar[tuple[LogPattern, ...]] = (*torch_log.PATTERNS, _TOO_LITTLE_MEMORY, _ON_CPU)
    canary: ClassVar[CanaryRequest | None] = completion_canary()

    def check_args(self, pool: PoolLike) -> None:
        """Refuse what would leave the GPUs, and what the daemon sets itself."""
        super().check_args(pool)
        for argument in arguments(pool.args):
            name = _option(argument)
            if name in _HARMLESS and (argument.value or "") not in _HARMLESS[name]:
                raise spillover(argument.text, f"{_short_for(argument, name)}moves weights or KV cache to host memory")
            if name in _MANAGED:
                raise managed(argument.name, _MANAGED[name])
            if name == _CONFIG:
                raise PoolManagerError(
                    Code.INVALID_REQUEST,
                    f"argument {argument.text!r}: options in a file of vLLM's own are not checked",
                    hint="remove it, and write its options into the pool's args",
                    details={"field": "args", "argument": argument.text},
                )

    def check_model(self, path: Path) -> None:
        """Refuse a folder that is no whole model."""
        check_model_folder(path)

    def command_line(self, spec: EngineSpec) -> tuple[str, ...]:
        """``vllm serve`` with all offloading turned off."""
        argv = [str(spec.binary), "serve"]
        if spec.model is not None:
            argv.append(str(spec.model))
        argv += ["--host", spec.host, "--port", str(spec.port)]
        argv += ["--tensor-parallel-size", str(max(1, len(spec.devices)))]
        argv += ["--cpu-offload-gb", "0", "--swap-space", "0"]
        argv += ["--max-model-len", str(spec.context), "--max-num-seqs", str(spec.slots)]
        if spec.kv_type not in ("f16", "bf16"):  # the default follows the model's own type
            argv += ["--kv-cache-dtype", spec.kv_type]
        return (*argv, *spec.args)

    def parse_slots(self, body: bytes) -> SlotsReport | None:
        """Read running and waiting requests from ``/metrics``; vLLM has no slots to count."""
        running = prometheus_sum(body, "vllm:num_requests_running")
        if running is None:
            return None
        return SlotsReport(None, int(running + (prometheus_sum(body, "vllm:num_requests_waiting") or 0)))

    def parse_version(self, body: bytes) -> str | None:
        """Read ``/version``."""
        answer = json_or_none(body)
        version = answer.get("version") if isinstance(answer, dict) else None
        return version if isinstance(version, str) else None

    def parse_progress(self, body: bytes) -> float | None:
        """Read the steps of the engine (a chunk of a long prompt is one) and its tokens from ``/metrics``."""
        return progress_of(body, "vllm:iteration_tokens_total_count", "vllm:generation_tokens_total")

    def version_command(self, binary: Path) -> tuple[str, ...] | None:
        """``vllm --version``."""
        return (str(binary), "--version")

    def usage_error(self, code: int, lines: Sequence[str]) -> ExitClass | None:
        """A taken port ends in Python's own words; a wrong argument in argparse's, with 2, or in pydantic's, with 1."""
        if any(torch_log.PORT_IN_USE.match(line) for line in lines):
            return "port_in_use"
        if code == 2 and any(_USAGE.match(line) for line in lines):
            return "bad_arguments"
        if any(_BAD_CONFIG.match(line) for line in lines):
            return "bad_arguments"
        return None


def _option(argument: Argument) -> str:
    """The option's whole name.

    vLLM takes underscores for dashes, a key of a JSON value after a dot (``--kv-transfer-config.kv_connector x``), and,
    as argparse does, any beginning that fits one option only. What fits several it refuses itself, so here a beginning
    is the first one that it fits.
    """
    name = _written(argument)
    if name in (*_KNOWN, "-", "--"):
        return name
    return next((known for known in _KNOWN if known.startswith(name)), name)


def _written(argument: Argument) -> str:
    return argument.name.partition(".")[0].replace("_", "-")


def _short_for(argument: Argument, name: str) -> str:
    return "" if _written(argument) == name else f"is short for {name}, which "
