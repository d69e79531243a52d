"""Lines as the engines print them, taken from reports of their users, and what they mean."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pool_managerd.engines import get_engine
from pool_managerd.engines.log_lines import plain

FOLDER = Path(__file__).parent / "log_lines"
#: vLLM and TGI run on torch, and have its lines too.
FILES = {"llamacpp": ("llamacpp",), "vllm": ("torch", "vllm"), "tgi": ("torch", "tgi"), "triton": ("triton",)}


def lines_of(name: str) -> list[tuple[str, str | None]]:
    """Each line of a file: a code, or ``-`` for what means nothing; a tab; the line, with ``\\x1b`` for escapes."""
    pairs = [line.split("\t", 1) for line in (FOLDER / f"{name}.tsv").read_text().splitlines()]
    return [(line.replace("\\x1b", "\x1b"), None if code == "-" else code) for code, line in pairs]


CASES = [(kind, line, code) for kind, names in FILES.items() for name in names for line, code in lines_of(name)]


@pytest.mark.parametrize(("kind", "line", "code"), CASES)
def test_a_line_from_a_real_log_is_judged_as_what_it_is(kind, line, code):
    found = get_engine(kind).log_fault(line)
    assert (None if found is None else str(found.code)) == code
    if found is not None:
        assert found.level == ("critical" if code == "OUT_OF_MEMORY" else "error")


@pytest.mark.parametrize(
    ("line", "loading", "ready"),
    [
        # A load may outlive it.
        ("1.06.520.084 E ggml_gallocr_reserve_n_impl: failed to allocate CUDA1 buffer of size 5", False, True),
        ("0.12.001.002 E CUDA error: out of memory", True, True),
        ("ggml_cuda_init: failed to initialize CUDA: unknown error", True, False),  # later it can be a prompt's
    ],
)
def test_a_line_of_llama_cpp_is_a_failure_in_its_time(line, loading, ready):
    found = get_engine("llamacpp").log_fault(line)
    assert (found.is_failure(loading=True), found.is_failure(loading=False)) == (loading, ready)
    # Whoever ends while loading has ended for it; whoever was Ready has not ended for what loading said.
    assert found.explains_end(was_ready=False)
    assert found.explains_end(was_ready=True) is ready


UNREACHABLE = "The server socket has failed to listen on any local network address."
USAGE = ["  --id <string>", "\tIdentifier for this server."] * 200
EXITS = [
    ("llamacpp", 1, ["error: invalid argument: -hf"], "bad_arguments"),
    ("llamacpp", 1, ['error while handling argument "-c": stoi', "", "usage:", "-c,  --ctx-size N"], "bad_arguments"),
    (
        "llamacpp",
        1,
        ['error while handling environment variable "LLAMA_ARG_CTX_SIZE": stoi'],
        "bad_arguments",
    ),
    ("vllm", 2, [*USAGE, "vllm: error: unrecognized arguments: --temperature 0.8"], "bad_arguments"),
    ("vllm", 2, ["api_server.py: error: unrecognized arguments: /srv/models/Qwen3-8B"], "bad_arguments"),
    ("vllm", 2, ["vllm serve: error: the following arguments are required: model_tag"], "bad_arguments"),
    (
        "vllm",
        1,
        [
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
            "  Value error, User-specified max_model_len (513) is greater than the derived max_model_len",
        ],
        "bad_arguments",
    ),
    ("vllm", 1, ["RuntimeError: Engine core initialization failed. See root cause above."], None),
    (
        "vllm",
        1,
        [f"torch.distributed.DistNetworkError: {UNREACHABLE} port: 29500, useIpv6: false, code: -98, name: EADDRINUSE"],
        "port_in_use",
    ),
    (
        "tgi",
        1,
        [f"RuntimeError: {UNREACHABLE} It has failed to bind to [::]:29500 (errno: 98 - Address already in use)."],
        "port_in_use",
    ),
    (
        "tgi",
        1,
        ['Error: WebServer(Axum(Os { code: 98, kind: AddrInUse, message: "Address already in use" }))'],
        "port_in_use",
    ),
    ("tgi", 1, ["Error: WebserverFailed"], None),
    # The reason stands above a long usage text.
    (
        "triton",
        1,
        ["tritonserver: unrecognized option '--t_exit_on_error=True'", "Usage: tritonserver [options]", *USAGE],
        "bad_arguments",
    ),
    (
        "triton",
        1,
        [*USAGE, "Error: Use of '--load-model' requires setting '--model-control-mode=explicit' as well."],
        "bad_arguments",
    ),
    ("triton", 1, ["error: creating server: Internal - failed to load all models"], None),
    (
        "command",
        127,
        ["/opt/e: error while loading shared libraries: libcudart.so.12: cannot open shared object file: No such file"],
        "missing_library",
    ),
    ("llamacpp", 127, ["/usr/bin/env: 'python3.99': No such file or directory"], "missing_library"),
    ("llamacpp", 1, ["/usr/bin/env: 'python3.99': No such file or directory"], None),
    ("command", 2, ["error: whatever"], None),
]


@pytest.mark.parametrize(("kind", "code", "lines", "meaning"), EXITS)
def test_an_exit_is_told_by_the_engines_own_words(kind, code, lines, meaning):
    engine = get_engine(kind)
    assert engine.exit_class(code, lines) == meaning
    assert engine.exit_class(0, lines) is None
    assert engine.exit_class(None, lines) is None


@pytest.mark.parametrize("kind", ["llamacpp", "vllm", "tgi", "triton", "command", "simulated"])
def test_no_line_takes_long_to_judge(kind):
    lines = ["ERROR " + "a:" * 30_000, "2023-12-22T00:21:35.3Z ERROR " + "a: " * 20_000, "[rank0]:[E" + "[" * 60_000]
    lines += ["(" + "a" * 60_000, "E0331 15:23:06.123456 1 logging.cc:43] " + "Error Code 1" * 5_000, "\x1b[" * 30_000]
    began = time.process_time()  # of this process alone: what else the machine does is no matter
    for line in lines:
        assert get_engine(kind).log_fault(line) is None
        assert get_engine(kind).exit_class(2, [line]) is None
    assert time.process_time() - began < 0.5


def test_colours_are_no_part_of_a_line():
    assert plain("\x1b[1;36m(E pid=1)\x1b[0;0m x[0m") == "(E pid=1) x[0m"
