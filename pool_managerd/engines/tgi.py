"""Hugging Face's text-generation-inference, started by its launcher.

Where its facts are from, all in its own documentation unless another source is named:

======================================================= ============================================================
the launcher's options and their variables              *Text-generation-launcher arguments*
``--num-shard`` with ``CUDA_VISIBLE_DEVICES``           the same
router, launcher and model servers, one for each shard  *Architecture*
``/health``, ``/info`` (``version``, ``model_id``)      *HTTP API*
``tgi_batch_current_size``, ``tgi_queue_size``,         *Metrics*
``tgi_batch_inference_success``, ``tgi_request_…``
``error: …``, exit code 2                               Rust's clap, which it uses
lines of its log                                        public reports: ``tests/engines/log_lines/tgi.tsv``
======================================================= ============================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pool_managerd.core.errors import Code
from pool_managerd.engines import torch_log
from pool_managerd.engines.base import (
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
    "--hostname": "host",
    "--port": "port",
    "-p": "port",
    "--model-id": "model",
    "--num-shard": "devices",
    "--sharded": "devices",
    "--max-concurrent-requests": "slots",
    "--max-total-tokens": "context",
    "--cuda-memory-fraction": "vram_bytes",
}
_NO_CUDA = re.compile(r"^--(?:no|disable)-(?:cuda|gpu)|^--cpu(?:-|$)")
#: Ports beside the HTTP port, so that several replicas of one host don't meet; engines' ports lie below 45536.
_MASTER_OFFSET, _METRICS_OFFSET = 10_000, 20_000
_LAST_PORT = 65_535
_BAD_ARGUMENTS = re.compile(
    r"^error: (?:unexpected argument|invalid value|the argument|a value is required|the following required arguments)"
)
#: ``2023-12-22T00:21:35.318928Z ERROR batch{batch_size=1}:prefill{id=1 size=1}: text_generation_client: lib.rs:33: ``:
#: time, level, spans with their fields, module and place. What a caller sent stands in quotation marks, if at all.
_ERROR = r"^\d{4}-\d\d-\d\dT[\d:.]+Z +ERROR [^\"]{0,400}?: "
_WARMUP = LogPattern(
    re.compile(
        rf"(?:{_ERROR}(?:Server error: )?|^RuntimeError: )(?:CUDA out of memory|Not enough memory to handle \d+ )"
    ),
    Code.OUT_OF_MEMORY,
    "out_of_memory",
    "critical",
)
#: The router's own last words.
_PORT_IN_USE = re.compile(r"^Error: \w+\(.*\bAddrInUse\b")


class Tgi(Engine):
    """TGI: one shard for each GPU of the mask."""

    kind: ClassVar[str] = "tgi"
    default_binary: ClassVar[str | None] = "text-generation-launcher"
    readiness_path: ClassVar[str] = "/health"
    even_split_only: ClassVar[bool] = True
    takes_share: ClassVar[bool] = True
    socket_variable: ClassVar[str | None] = "SHARD_UDS_PATH"
    slots_path: ClassVar[str | None] = "/metrics"
    version_path: ClassVar[str | None] = "/info"
    progress_path: ClassVar[str | None] = "/metrics"
    log_patterns: ClassVar[tuple[LogPattern, ...]] = (*torch_log.PATTERNS, _WARMUP)
    canary: ClassVar[CanaryRequest | None] = completion_canary(model="tgi")

    def check_args(self, pool: PoolLike) -> None:
        """Refuse what would leave the GPUs, and what the daemon sets itself."""
        super().check_args(pool)
        for argument in arguments(pool.args):
            if _NO_CUDA.match(argument.name) or (argument.name == "--device" and argument.value == "cpu"):
                raise spillover(argument.text, "turns the GPUs off")
            if argument.name in _MANAGED:
                raise managed(argument.name, _MANAGED[argument.name])

    def check_model(self, path: Path) -> None:
        """Refuse a folder that is no whole model."""
        check_model_folder(path)

    def command_line(self, spec: EngineSpec) -> tuple[str, ...]:
        """The launcher's flags."""
        argv = [str(spec.binary)]
        if spec.model is not None:
            argv += ["--model-id", str(spec.model)]
        argv += ["--hostname", spec.host, "--port", str(spec.port), "--num-shard", str(max(1, len(spec.devices)))]
        argv += ["--max-concurrent-requests", str(spec.slots), "--max-total-tokens", str(spec.context)]
        return (*argv, *spec.args)

    def environment(self, spec: EngineSpec) -> Mapping[str, str]:
        """What else has to differ between two launchers on one host, as variables that old versions pass over."""
        environment: dict[str, str] = {}
        for name, offset in (("MASTER_PORT", _MASTER_OFFSET), ("PROMETHEUS_PORT", _METRICS_OFFSET)):
            port = spec.port + offset
            environment[name] = str(port if port <= _LAST_PORT else port - 2 * offset)
        return environment

    def parse_slots(self, body: bytes) -> SlotsReport | None:
        """Read running and queued requests from ``/metrics``."""
        running = prometheus_sum(body, "tgi_batch_current_size")
        if running is None:
            return None
        return SlotsReport(None, int(running + (prometheus_sum(body, "tgi_queue_size") or 0)))

    def parse_version(self, body: bytes) -> str | None:
        """Read ``version`` of ``/info``."""
        return _text(body, "version")

    def parse_progress(self, body: bytes) -> float | None:
        """Read the steps of batches from ``/metrics``; tokens are counted at the end of a request only."""
        return progress_of(body, "tgi_batch_inference_success", "tgi_request_generated_tokens_sum")

    def version_command(self, binary: Path) -> tuple[str, ...] | None:
        """``text-generation-launcher --version``."""
        return (str(binary), "--version")

    def usage_error(self, code: int, lines: Sequence[str]) -> ExitClass | None:
        """The launcher's argument parser ends with 2 and ``error:``."""
        if any(torch_log.PORT_IN_USE.match(line) or _PORT_IN_USE.match(line) for line in lines):
            return "port_in_use"
        if code == 2 and any(_BAD_ARGUMENTS.match(line) for line in lines):
            return "bad_arguments"
        return None


def _text(body: bytes, key: str) -> str | None:
    answer = json_or_none(body)
    value = answer.get(key) if isinstance(answer, dict) else None
    return value if isinstance(value, str) else None
