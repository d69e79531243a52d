"""A ``llama-server`` for hosts without one: llama.cpp's own HTTP server from the package xllamacpp.

It takes llama-server's own flags, so that a real ``llama-server`` is a drop-in. Installed as
``pool-managerd-llama-server``; needs the extra ``[llamacpp]``.

SIGTERM lets running requests finish and then ends with 0; a second one ends at once.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

_DONE = signal.SIGUSR1
_ENDS = {signal.SIGTERM, signal.SIGINT}
#: How often a server that is to end is asked whether its slots are idle, in seconds.
_IDLE_CHECK_S = 0.02
#: What the last bytes of an answer get to leave the process after its slot has become idle, in seconds.
_FLUSH_S = 0.05
#: What llama.cpp's own clean end gets, in seconds.
_CLOSE_S = 1.0
_LAYERS = {"all": -2, "auto": -1}
_SWITCH = {"on": True, "off": False}


class _Parser(argparse.ArgumentParser):
    """Says what llama-server says about arguments it does not know, and ends as it does."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"error: invalid argument: {message}\n")
        sys.stderr.flush()
        raise SystemExit(1)


def _layers(text: str) -> int:
    return _LAYERS[text] if text in _LAYERS else int(text)


def _weights(text: str) -> list[float]:
    return [float(part) for part in text.replace("/", ",").split(",")]


def parser() -> argparse.ArgumentParser:
    """The flags of llama-server that the launcher takes, by their own names."""
    flags = _Parser(prog="pool-managerd-llama-server", allow_abbrev=False, description="llama.cpp's HTTP server")
    add = flags.add_argument
    add("--version", action="store_true", help="print the version and end")
    add("-m", "--model", default="", help="GGUF file")
    add("-a", "--alias", default="", help="model name in answers")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8080)
    add("-c", "--ctx-size", type=int, default=0, help="tokens of all slots together; 0: the model's own")
    add("-np", "--parallel", type=int, default=1, help="slots")
    add("-ngl", "--gpu-layers", "--n-gpu-layers", type=_layers, default=-1, help="all, auto or a number")
    add("-fit", "--fit", choices=tuple(_SWITCH), default="on", help="lower the offload if memory is short")
    add("-ctk", "--cache-type-k", default="f16")
    add("-ctv", "--cache-type-v", default="f16")
    add("-sm", "--split-mode", choices=("none", "layer", "row"), default="layer")
    add("-ts", "--tensor-split", type=_weights, default=[])
    add("-mg", "--main-gpu", type=int, default=0)
    add("-b", "--batch-size", type=int)
    add("-ub", "--ubatch-size", type=int)
    add("-fa", "--flash-attn", choices=("on", "off", "auto"), default="auto")
    add("-t", "--threads", type=int)
    add("-tb", "--threads-batch", type=int)
    add("--threads-http", type=int)
    add("-n", "--predict", "--n-predict", type=int)
    add("-to", "--timeout", type=int, help="seconds")
    add("--api-key", action="append", default=[])
    add("--api-key-file")
    add("--metrics", action="store_true")
    add("--props", action="store_true")
    add("--slots", action=argparse.BooleanOptionalAction, default=True)
    add("--warmup", action=argparse.BooleanOptionalAction, default=True)
    add("--jinja", action=argparse.BooleanOptionalAction, default=True)
    add("--chat-template", default="")
    add("-cram", "--cache-ram", type=int, help="MiB")
    add("--embedding", "--embeddings", action="store_true")
    add("-lv", "--verbosity", "--log-verbosity", type=int)
    add("-v", "--verbose", action="store_true")
    add("--log-prefix", action="store_true", help="always on")
    add("--log-timestamps", action="store_true", help="always on")
    return flags


def params(flags: argparse.Namespace) -> Any:
    """llama.cpp's own parameters for these flags.

    :raises ValueError: if llama.cpp knows no such cache type.
    """
    import xllamacpp  # noqa: PLC0415  # 100 MB that --help and --version can do without

    made = xllamacpp.CommonParams()
    made.model.path = flags.model
    if flags.alias:
        made.model_alias = {flags.alias}
    made.hostnames, made.port = [flags.host], flags.port
    made.n_ctx, made.n_parallel = flags.ctx_size, flags.parallel
    made.n_gpu_layers, made.fit_params = flags.gpu_layers, _SWITCH[flags.fit]
    made.cache_type_k = _cache_type(xllamacpp, flags.cache_type_k)
    made.cache_type_v = _cache_type(xllamacpp, flags.cache_type_v)
    made.split_mode = getattr(xllamacpp.llama_split_mode, f"LLAMA_SPLIT_MODE_{flags.split_mode.upper()}")
    if flags.tensor_split:
        made.tensor_split = flags.tensor_split + [0.0] * (len(made.tensor_split) - len(flags.tensor_split))
    made.main_gpu = flags.main_gpu
    attention = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}[flags.flash_attn]
    made.flash_attn_type = getattr(xllamacpp.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{attention}")
    made.endpoint_metrics, made.endpoint_props, made.endpoint_slots = flags.metrics, flags.props, flags.slots
    made.warmup, made.use_jinja, made.embedding = flags.warmup, flags.jinja, flags.embedding
    if flags.chat_template:
        made.chat_template = flags.chat_template
    made.api_keys = [*flags.api_key, *_keys(flags.api_key_file)]
    if flags.threads is not None:
        made.cpuparams.n_threads = flags.threads
    if flags.threads_batch is not None:
        made.cpuparams_batch.n_threads = flags.threads_batch
    given = {
        "n_batch": flags.batch_size,
        "n_ubatch": flags.ubatch_size,
        "n_threads_http": flags.threads_http,
        "n_predict": flags.predict,
        "timeout_read": flags.timeout,
        "timeout_write": flags.timeout,
        "cache_ram_mib": flags.cache_ram,
        "verbosity": 5 if flags.verbose else flags.verbosity,
    }
    for name, value in given.items():
        if value is not None:
            setattr(made, name, value)
    return made


def _cache_type(xllamacpp: Any, name: str) -> Any:
    try:
        return getattr(xllamacpp.ggml_type, f"GGML_TYPE_{name.upper()}")
    except AttributeError as error:
        raise ValueError(f"unsupported cache type: {name}") from error


def _keys(path: str | None) -> list[str]:
    return [] if path is None else [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line]


class _Server:
    """The server in a thread, because its constructor blocks until the model is loaded."""

    def __init__(self, flags: argparse.Namespace, made: Any) -> None:
        self.flags = flags
        self.params = made
        self.server: Any = None
        self.loaded = False
        self.thread = threading.Thread(target=self._load, daemon=True)

    def _load(self) -> None:
        import xllamacpp  # noqa: PLC0415  # imported already

        try:
            self.server = xllamacpp.Server(self.params)
            self.loaded = True
        except RuntimeError as error:
            sys.stderr.write(f"error: {error}\n")
            sys.stderr.flush()
            os.kill(os.getpid(), _DONE)

    def run(self) -> int:
        """Serve until a signal; the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDS, _DONE})
        self.thread.start()
        if signal.sigwait({*_ENDS, _DONE}) == _DONE:
            return 1
        if not self.loaded:
            return 0  # nothing is being served yet
        while self._is_busy():
            if signal.sigtimedwait(_ENDS, _IDLE_CHECK_S) is not None:
                return 0
        time.sleep(_FLUSH_S)
        # llama.cpp's destructor closes the listener and joins its threads. It was seen to wait for ever where a
        # request had just come in, so it gets a thread of its own and a limit.
        closing = threading.Thread(target=self._close, daemon=True)
        closing.start()
        closing.join(_CLOSE_S)
        return 0

    def _close(self) -> None:
        self.server = None

    def _is_busy(self) -> bool:
        """Whether a slot is at work. Where that can't be asked, a request may be cut short, as llama-server does."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.flags.host, self.flags.host)  # noqa: S104  # compared only
        headers = {"Authorization": f"Bearer {self.params.api_keys[0]}"} if self.params.api_keys else {}
        connection = http.client.HTTPConnection(host, self.flags.port, timeout=5)
        try:
            connection.request("GET", "/slots", headers=headers)
            answer = connection.getresponse()
            slots = json.loads(answer.read())
            return answer.status == http.HTTPStatus.OK and any(slot.get("is_processing") for slot in slots)
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the launcher with llama-server's flags (default: this program's own arguments)."""
    flags = parser().parse_args(argv)
    if flags.version:
        from importlib.metadata import version  # noqa: PLC0415  # for this one flag

        sys.stdout.write(f"version: {version('xllamacpp')} (xllamacpp)\n")
        raise SystemExit(0)
    try:
        made = params(flags)
    except ImportError as error:
        sys.stderr.write(f"error: {error}; install pool-managerd-bdd[llamacpp]\n")
        raise SystemExit(1) from error
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: invalid argument: {error}\n")
        raise SystemExit(1) from error
    server = _Server(flags, made)
    code = server.run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the interpreter's own end, which would wait for llama.cpp's threads if it has not loaded yet.
    os._exit(code)


if __name__ == "__main__":
    main()
