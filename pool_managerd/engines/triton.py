"""NVIDIA's Triton Inference Server: its model is a repository, a folder of models.

What stands here was seen on a real tritonserver 2.51 (from the package nvidia-pytriton 0.7, on a host without a GPU):
``/v2/health/ready`` is refused until all models are loaded and answers 200 from then on; ``/v2`` tells the version;
every failure ends with exit code 1; SIGTERM lets requests in flight end, unloads the models and exits with 0 about
two seconds later (it looks once a second); a model of KIND_GPU is refused without a GPU. A Python model's stub that
died leaves the server ready, and its requests fail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.engines.base import (
    CPU_HINT,
    CanaryRequest,
    Engine,
    EngineSpec,
    PoolLike,
    arguments,
    bad_model,
    json_or_none,
    managed,
)
from pool_managerd.engines.log_lines import ExitClass, LogPattern

_MANAGED = {
    "--model-repository": "model",
    "--model-store": "model",
    "--http-port": "port",
    "--http-address": "host",
    "--allow-http": "port",
}
_COMMENT = re.compile(r"#[^\n]*")
_TEXT = re.compile(r'"(?:\\.|[^"\\])*"')
_KIND_CPU = re.compile(r"\bkind\s*:\s*KIND_CPU\b")
#: ``E1102 10:00:00.123456 42 model.cc:88] "``
_ERROR = r"^E\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [\w.-]+:\d+\] \"?"
#: What backends write straight to stderr: ``2021-06-08 19:37:14.328145061 [E:onnxruntime:log, cuda_call.cc:9 Call] ``.
_ONNX = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \[E:onnxruntime:[^\]]*\] "
_TENSORRT_LLM = r"^\[TensorRT-LLM\]\[ERROR\] (?:Encountered an error in \w+ function: \[TensorRT-LLM\]\[ERROR\] )?"
_LOG = (
    LogPattern(
        re.compile(
            _ERROR + r"(?:CUDA error: )?(?:CUDA )?(?:[Oo]ut of memory|cudaMalloc failed)"
            rf"|{_ONNX}CUDA failure 2: |{_TENSORRT_LLM}CUDA runtime error in .{{0,200}}?: out of memory"
        ),
        Code.OUT_OF_MEMORY,
        "out_of_memory",
        "critical",
    ),
    LogPattern(
        re.compile(
            _ERROR + r"(?:CUDA error|CUDA driver error|cudaError|.{0,200}?Error Code \d+: Cuda (?:Runtime|Driver) \()"
            rf"|{_ONNX}(?:CUDA failure \d+: |CUBLAS failure \d+: |CUDNN failure \d+: )"
            rf"|{_TENSORRT_LLM}CUDA (?:runtime|driver) error in "
        ),
        Code.CUDA_ERROR,
        "cuda_error",
    ),
)
_PORT_IN_USE = re.compile(_ERROR + r"failed to start HTTP service: .*already in use")
#: What 2.51 says of an argument that it can't use, after or before its whole usage text. A model that fails to load
#: ("error: creating server: Internal - failed to load all models") is no such thing.
_BAD_ARGUMENTS = re.compile(
    r"^\S*tritonserver: (?:unrecognized|invalid) option"
    r"|^\S*tritonserver: option '.*' requires an argument"
    r"|^Bad option: "
    r"|^Error: .*--"
    r"|^Invalid option value\. Got "
    r"|^invalid argument for --"
    r"|^error: creating server: Invalid argument - --"
    r"|^\t(?:DEPRECATED: Please use --trace-config|only log the trace output to <trace-file> when shutting down\.)"
)


class Triton(Engine):
    """Triton, with every model of its repository on GPUs."""

    kind: ClassVar[str] = "triton"
    default_binary: ClassVar[str | None] = "tritonserver"
    readiness_path: ClassVar[str] = "/v2/health/ready"
    even_split_only: ClassVar[bool] = True
    version_path: ClassVar[str | None] = "/v2"
    progress_path: ClassVar[str | None] = "/v2/models/stats"
    log_patterns: ClassVar[tuple[LogPattern, ...]] = _LOG

    def check_args(self, pool: PoolLike) -> None:
        """Refuse what the daemon sets itself."""
        super().check_args(pool)
        for argument in arguments(pool.args):
            if argument.name in _MANAGED:
                raise managed(argument.name, _MANAGED[argument.name])

    def check_model(self, path: Path) -> None:
        """Refuse a folder without models, and a model that asks for a CPU instance.

        :raises PoolManagerError: MODEL_NOT_FOUND; CPU_SPILLOVER naming the model and its configuration file.
        """
        try:
            if not path.is_dir():
                raise bad_model(path, "is a file, not a repository" if path.exists() else "does not exist")
            models = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
            if not models:
                raise bad_model(path, "holds no model: a repository has a folder for each")
            for model in models:
                for config in sorted([*model.glob("*.pbtxt"), *model.glob("configs/*.pbtxt")]):
                    _check_config(model.name, config)
        except OSError as error:
            raise bad_model(path, f"cannot be read ({error.strerror})") from error

    def command_line(self, spec: EngineSpec) -> tuple[str, ...]:
        """The server's flags. gRPC and metrics would listen on ports of their own, and are off."""
        argv = [str(spec.binary)]
        if spec.model is not None:
            argv.append(f"--model-repository={spec.model}")
        argv += [f"--http-address={spec.host}", f"--http-port={spec.port}"]
        for option in ("--allow-grpc", "--allow-metrics"):
            if not any(argument.name == option for argument in arguments(spec.args)):
                argv.append(f"{option}=false")
        argv += ["--exit-on-error=true"]
        return (*argv, *spec.args)

    def parse_version(self, body: bytes) -> str | None:
        """Read ``version`` of ``/v2``."""
        answer = json_or_none(body)
        version = answer.get("version") if isinstance(answer, dict) else None
        return version if isinstance(version, str) else None

    def parse_progress(self, body: bytes) -> float | None:
        """Sum what all models have answered: inferences, and the single responses of those that stream."""
        answer = json_or_none(body)
        models = answer.get("model_stats") if isinstance(answer, dict) else None
        return None if not isinstance(models, list) else float(sum(_answers(model) for model in models))

    def canary_for(self, spec: EngineSpec) -> CanaryRequest | None:
        """One token of the repository's language model: the ensemble of TensorRT-LLM, or the first model there is.

        A model without a text input refuses the request, and so says that it is alive.
        """
        try:
            names = [] if spec.model is None else sorted(one.name for one in spec.model.iterdir() if one.is_dir())
        except OSError:
            return None
        names = [name for name in names if not name.startswith(".")]
        if not names:
            return None
        model = "ensemble" if "ensemble" in names else names[0]
        body = {"text_input": "1", "max_tokens": 1, "temperature": 0.0}
        return CanaryRequest(
            "POST", f"/v2/models/{quote(model, safe='')}/generate_stream", json.dumps(body).encode(), _streamed
        )

    def usage_error(self, code: int, lines: Sequence[str]) -> ExitClass | None:  # noqa: ARG002  # the lines tell all
        """Triton ends with 1 for everything; its lines tell, the first ones above a long usage text."""
        if any(_PORT_IN_USE.match(line) for line in lines):
            return "port_in_use"
        if any(_BAD_ARGUMENTS.match(line) for line in lines):
            return "bad_arguments"
        return None


def _answers(model: Any) -> int:
    """How often one model of ``/v2/models/stats`` has answered."""
    if not isinstance(model, dict):
        return 0
    responses = model.get("response_stats")
    parts = [one.get("success", {}) for one in responses.values()] if isinstance(responses, dict) else []
    counts = [model.get("inference_count", 0), *(part.get("count", 0) for part in parts)]
    return sum(count for count in counts if isinstance(count, int))


def _streamed(status: int, body: bytes) -> bool:
    """Whether at least one response of a stream came, and no error with it."""
    events = [json_or_none(line[5:]) for line in body.splitlines() if line.startswith(b"data:")]
    return status == 200 and bool(events) and all(isinstance(one, dict) and "error" not in one for one in events)


def _check_config(model: str, config: Path) -> None:
    # Strings first: a '#' inside of one starts no comment.
    text = _COMMENT.sub("", _TEXT.sub('""', config.read_text(encoding="utf-8", errors="replace")))
    if _KIND_CPU.search(text):
        raise PoolManagerError(
            Code.CPU_SPILLOVER,
            f"model {model!r} asks for a CPU instance (KIND_CPU) in {str(config)!r}",
            hint=CPU_HINT.replace("remove the argument", "use KIND_GPU in its instance_group"),
            details={"field": "model", "path": str(config), "model": model},
        )
