"""llama.cpp's own server, ``llama-server``, or any program that takes its flags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices import gguf
from pool_managerd.engines import llamacpp_log
from pool_managerd.engines.base import (
    Argument,
    CanaryRequest,
    Engine,
    EngineSpec,
    PoolLike,
    SlotsReport,
    arguments,
    bad_model,
    completion_canary,
    json_or_none,
    managed,
    progress_of,
    read_start,
    spillover,
)
from pool_managerd.engines.log_lines import ExitClass, LogPattern

_ALL_LAYERS = 999
_GGUF_HINT = "llama.cpp needs a whole GGUF file; check whether the download was complete"
#: Options of llama-server that the daemon sets itself, and the pool's key for each.
_MANAGED = {
    "-m": "model",
    "--model": "model",
    "--host": "host",
    "--port": "port",
    "-c": "context",
    "--ctx-size": "context",
    "-np": "slots",
    "--parallel": "slots",
    "-ctk": "kv_type",
    "--cache-type-k": "kv_type",
    "-ctv": "kv_type",
    "--cache-type-v": "kv_type",
    "-ts": "tensor_split",
    "--tensor-split": "tensor_split",
    "-hf": "model",
    "-hfr": "model",
    "--hf-repo": "model",
    "-mu": "model",
    "--model-url": "model",
}
#: Switches that leave something on the CPU by themselves.
_SWITCHES = {
    "--no-kv-offload": "keeps the KV cache in host memory",
    "-nkvo": "keeps the KV cache in host memory",
    "--cpu-moe": "keeps the experts on the CPU",
    "-cmoe": "keeps the experts on the CPU",
    "--no-op-offload": "keeps operations of the host on the CPU",
    "--cpu-moe-draft": "keeps the draft model's experts on the CPU",
    "-cmoed": "keeps the draft model's experts on the CPU",
    "--no-mmproj-offload": "keeps the projector of images and sound on the CPU",
}
_LAYERS = ("-ngl", "--gpu-layers", "--n-gpu-layers", "-ngld", "--gpu-layers-draft", "--n-gpu-layers-draft")
_MOE = ("--n-cpu-moe", "-ncmoe", "--n-cpu-moe-draft", "-ncmoed")
_DEVICE = ("-dev", "--device", "-devd", "--device-draft")
_OVERRIDE = ("-ot", "--override-tensor", "-otd", "--override-tensor-draft")
_FIT = ("-fit", "--fit")
_SPLIT_MODE = ("-sm", "--split-mode")
#: llama-server reads its options from the environment, too.
_ENVIRONMENT = {
    f"LLAMA_ARG_{name}"
    for name in (
        "N_GPU_LAYERS",
        "NO_KV_OFFLOAD",
        "KV_OFFLOAD",
        "CPU_MOE",
        "N_CPU_MOE",
        "OVERRIDE_TENSOR",
        "DEVICE",
        "FIT",
        "N_GPU_LAYERS_DRAFT",
        "CPU_MOE_DRAFT",
        "N_CPU_MOE_DRAFT",
        "NO_MMPROJ_OFFLOAD",
        "MMPROJ_OFFLOAD",
    )
}
#: Adds devices of another server, and the variable that does.
_RPC, _RPC_VARIABLE = "--rpc", "LLAMA_ARG_RPC"
_VERBOSITY = ("-lv", "--verbosity", "--log-verbosity", "-v", "--verbose", "--log-verbose")
_NUMBER = re.compile(r"-?\d+$")


def check_gpu_only(args: Sequence[str]) -> None:
    """Refuse llama-server's arguments that would leave layers, KV cache or experts on the CPU.

    :raises PoolManagerError: CPU_SPILLOVER naming the argument.
    """
    for argument in arguments(args):
        switch = _SWITCHES.get(_dashed(argument))
        reason = switch or _spills(argument)
        if reason is not None:
            raise spillover(argument.text if switch is None else argument.name, reason)


def _dashed(argument: Argument) -> str:
    """The option's name with dashes: llama-server takes underscores for them in long names, too."""
    return argument.name.replace("_", "-") if argument.name.startswith("--") else argument.name


def _spills(argument: Argument) -> str | None:
    name, value = _dashed(argument), (argument.value or "").strip()
    if name in _LAYERS and not (value == "all" or (_NUMBER.match(value) and int(value) >= _ALL_LAYERS)):
        return f"only 'all' (or at least {_ALL_LAYERS}) keeps every layer on the GPUs"
    if name in _MOE and value != "0":
        return "keeps experts on the CPU"
    if name in _DEVICE and _names_cpu(value):
        return "the devices come from the pool's mask"
    if name in _OVERRIDE and "cpu" in value.lower():
        return "puts tensors into host memory"
    if name in _FIT and value != "off":
        return "lets the engine lower its offload by itself"
    return None


def _other_host(what: str, field: str, text: str) -> PoolManagerError:
    return PoolManagerError(
        Code.INVALID_DEVICE_MASK,
        f"{what}: adds devices of an RPC server, which no mask holds and whose memory nobody plans",
        hint="remove it; a pool runs on the GPUs of its own 'devices' only",
        details={"field": field, "argument": text},
    )


def _names_cpu(value: str) -> bool:
    return any(part.strip().lower() in ("none", "cpu", "blas") for part in value.split(","))


def check_gguf(path: Path) -> None:
    """Refuse a file that is missing, unreadable, truncated or no GGUF file.

    :raises PoolManagerError: MODEL_NOT_FOUND with the path and what is wrong with it.
    """
    read_start(path, 1)
    try:
        gguf.read_model(path)
    except gguf.GgufError as error:
        raise bad_model(path, str(error), hint=_GGUF_HINT) from error
    except OSError as error:
        raise bad_model(path, f"cannot be read ({error.strerror})") from error


class LlamaCpp(Engine):
    """llama-server: everything on the GPUs, or not at all."""

    kind: ClassVar[str] = "llamacpp"
    default_binary: ClassVar[str | None] = "llama-server"
    readiness_path: ClassVar[str] = "/health"
    slots_path: ClassVar[str | None] = "/slots"
    version_path: ClassVar[str | None] = "/props"
    progress_path: ClassVar[str | None] = "/metrics"
    log_patterns: ClassVar[tuple[LogPattern, ...]] = llamacpp_log.patterns(stamped=True)
    canary: ClassVar[CanaryRequest | None] = completion_canary()

    def check_args(self, pool: PoolLike) -> None:
        """Refuse what would leave the GPUs, and what the daemon sets itself."""
        super().check_args(pool)
        check_gpu_only(pool.args)
        for name in getattr(pool, "env", ()):
            if name in _ENVIRONMENT:
                raise spillover(name, "it moves parts of the model to the CPU", field="env")
            if name == _RPC_VARIABLE:
                raise _other_host(f"variable {name!r}", "env", name)
        for argument in arguments(pool.args):
            name = _dashed(argument)
            if name in _MANAGED:
                raise managed(argument.name, _MANAGED[name])
            if name == _RPC:
                raise _other_host(f"argument {argument.text!r}", "args", argument.text)
            if name in _SPLIT_MODE and argument.value not in ("layer", "row"):
                raise PoolManagerError(
                    Code.INVALID_SPLIT,
                    f"argument {argument.text!r}: a split is by layer or by row",
                    hint="use -sm layer or -sm row, or leave it out: layer is the default",
                    details={"field": "args", "argument": argument.text},
                )

    def check_model(self, path: Path) -> None:
        """Refuse what is not a whole GGUF file."""
        with suppress(OSError):  # a folder on the way may not be entered: check_gguf says so
            if path.is_dir():
                raise bad_model(path, "is a folder; llama.cpp loads a GGUF file")
        check_gguf(path)

    def command_line(self, spec: EngineSpec) -> tuple[str, ...]:
        """llama-server's flags for a model that lies wholly on its GPUs."""
        argv = [str(spec.binary), "--host", spec.host, "--port", str(spec.port)]
        if spec.model is not None:
            argv += ["-m", str(spec.model)]
        argv += ["-ngl", "all", "--fit", "off"]
        argv += ["-c", str(spec.context * spec.slots), "-np", str(spec.slots)]
        argv += ["-ctk", spec.kv_type, "-ctv", spec.kv_type, "--slots", "--metrics"]
        # The prefix is what the log's patterns are anchored to, and llama.cpp says where it has put layers and KV
        # cache from verbosity 4 on only (seen in its own log of build 11549).
        argv += ["--log-prefix", "--log-timestamps"]
        if not any(argument.name in _VERBOSITY for argument in arguments(spec.args)):
            argv += ["-lv", "4"]
        if len(spec.devices) > 1:
            if not any(argument.name in _SPLIT_MODE for argument in arguments(spec.args)):
                argv += ["-sm", "layer"]
            argv += ["-ts", ",".join(format(weight, ".6g") for weight in spec.split), "-mg", "0"]
        return (*argv, *spec.args)

    def parse_slots(self, body: bytes) -> SlotsReport | None:
        """Read ``/slots``."""
        slots = json_or_none(body)
        if not isinstance(slots, list) or not all(isinstance(slot, dict) for slot in slots):
            return None
        busy = sum(bool(slot.get("is_processing")) for slot in slots)
        contexts = [slot["n_ctx"] for slot in slots if isinstance(slot.get("n_ctx"), int)]
        return SlotsReport(len(slots), busy, min(contexts) if contexts else None)

    def parse_version(self, body: bytes) -> str | None:
        """Read ``build_info`` of ``/props``."""
        props = json_or_none(body)
        version = props.get("build_info") if isinstance(props, dict) else None
        # "b0-unknown": built outside of its git repository, so it does not know.
        return version if isinstance(version, str) and version and not version.endswith("-unknown") else None

    def parse_progress(self, body: bytes) -> float | None:
        """Read the decoding steps from ``/metrics``; tokens are counted at the end of a request's phases only."""
        counters = ("n_decode_total", "prompt_tokens_total", "tokens_predicted_total")
        return progress_of(body, *(f"llamacpp:{name}" for name in counters))

    def version_command(self, binary: Path) -> tuple[str, ...] | None:
        """``llama-server --version``."""
        return (str(binary), "--version")

    def parse_version_output(self, output: str) -> str | None:
        """Read ``version: 6527 (0d9e1e6)``."""
        found = re.search(r"^version: (\S+)", output, re.MULTILINE)
        return found.group(1) if found else None

    def usage_error(self, code: int, lines: Sequence[str]) -> ExitClass | None:  # noqa: ARG002  # the lines tell all
        """llama-server ends with 1 for everything; its lines tell."""
        if any(llamacpp_log.PORT_IN_USE.match(line) for line in lines):
            return "port_in_use"
        if any(llamacpp_log.BAD_ARGUMENTS.match(line) for line in lines):
            return "bad_arguments"
        return None
