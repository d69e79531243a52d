from __future__ import annotations

from pathlib import Path

import pytest
from engine_tools import Pool, spec

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.engines import get_engine

ENGINE = get_engine("llamacpp")


def command(**changes) -> tuple[str, ...]:
    return ENGINE.command_line(spec("llamacpp", **changes))


def after(argv: tuple[str, ...], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_everything_is_on_the_gpu_and_stays_there():
    argv = command()
    assert (after(argv, "-ngl"), after(argv, "--fit")) == ("all", "off")
    ENGINE.check_args(Pool(tuple(arg for arg in ("-ngl", after(argv, "-ngl"), "--fit", after(argv, "--fit")))))


def test_context_is_per_slot():
    argv = command(slots=3, context=1000, kv_type="q8_0")
    assert (after(argv, "-c"), after(argv, "-np")) == ("3000", "3")
    assert (after(argv, "-ctk"), after(argv, "-ctv")) == ("q8_0", "q8_0")
    assert {"--slots", "--metrics"} <= set(argv)


def test_one_gpu_gets_no_split():
    assert not {"-sm", "-ts", "-mg"} & set(command())


def test_several_get_their_ratios_in_mask_order():
    argv = command(devices=("b", "a"), split=(0.75, 0.25))
    assert (after(argv, "-sm"), after(argv, "-ts"), after(argv, "-mg")) == ("layer", "0.75,0.25", "0")
    by_row = command(devices=("b", "a"), split=(0.75, 0.25), args=("--split-mode", "row"))
    assert "-sm" not in by_row


def test_the_log_says_where_everything_lies_unless_the_operator_chose_otherwise():
    assert after(command(), "-lv") == "4"
    assert "-lv" not in command(args=("--verbosity", "5"))


@pytest.mark.parametrize(
    "args",
    [
        ("-ngl", "0"),
        ("-ngl", "20"),
        ("--n-gpu-layers=31",),
        ("--gpu-layers", "auto"),
        ("-ngl",),
        ("--no-kv-offload",),
        ("-nkvo",),
        ("--cpu-moe",),
        ("-cmoe",),
        ("--n-cpu-moe", "3"),
        ("-ncmoe=3",),
        ("-ot", "exps=CPU"),
        ("--override-tensor=.*ffn.*=cpu",),
        ("--device", "none"),
        ("-dev", "none"),
        ("--fit", "on"),
        ("-fit", "on"),
        ("--fit=on",),
        ("--no-mmproj-offload",),
        ("--no_kv_offload",),
        ("--n_gpu_layers", "3"),
    ],
)
@pytest.mark.parametrize("kind", ["llamacpp", "simulated"])
def test_what_leaves_the_gpu_is_refused_by_name(kind, args):
    with pytest.raises(PoolManagerError) as caught:
        get_engine(kind).check_args(Pool(("--alias", "x", *args)))
    assert caught.value.code is Code.CPU_SPILLOVER
    assert args[0] in caught.value.message
    assert caught.value.details["field"] == "args"


@pytest.mark.parametrize(
    "args",
    [("-ngl", "all"), ("-ngl=999",), ("--n-cpu-moe", "0"), ("-ot", "x=CUDA1"), ("--lora", "a.gguf"), ("-fa", "on")],
)
def test_what_stays_there_is_not(args):
    ENGINE.check_args(Pool(args))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLAMA_ARG_NO_KV_OFFLOAD", "1"),
        ("LLAMA_ARG_NO_MMPROJ_OFFLOAD", "1"),
        ("LLAMA_ARG_MMPROJ_OFFLOAD", "0"),
    ],
)
def test_llama_cpps_own_variables_cannot_do_it_either(name, value):
    with pytest.raises(PoolManagerError) as caught:
        ENGINE.check_args(Pool(env={name: value}))
    assert caught.value.code is Code.CPU_SPILLOVER
    assert name in caught.value.message


@pytest.mark.parametrize(
    ("pool", "field", "named"),
    [
        (Pool(("--rpc", "10.0.0.2:50052")), "args", "--rpc 10.0.0.2:50052"),
        (Pool(("--rpc=10.0.0.2:50052",)), "args", "--rpc=10.0.0.2:50052"),
        (Pool(env={"LLAMA_ARG_RPC": "10.0.0.2:50052"}), "env", "LLAMA_ARG_RPC"),
    ],
)
def test_devices_of_another_server_are_in_no_mask(pool, field, named):
    with pytest.raises(PoolManagerError) as caught:
        ENGINE.check_args(pool)
    assert (caught.value.code, caught.value.details["field"]) == (Code.INVALID_DEVICE_MASK, field)
    assert named in caught.value.message
    assert "devices" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("args", "key"),
    [
        (("--port", "1"), "port"),
        (("-c=5",), "context"),
        (("-ts", "1,1"), "tensor_split"),
        (("--ctx_size", "5"), "context"),
    ],
)
def test_what_the_daemon_sets_is_refused_with_its_key(args, key):
    with pytest.raises(PoolManagerError) as caught:
        ENGINE.check_args(Pool(args))
    assert (caught.value.code, caught.value.details["key"]) == (Code.INVALID_REQUEST, key)


def test_no_split_at_all_is_refused():
    with pytest.raises(PoolManagerError) as caught:
        ENGINE.check_args(Pool(("-sm", "none")))
    assert caught.value.code is Code.INVALID_SPLIT


def test_a_model_must_be_a_whole_gguf_file(tmp_path):
    path = tmp_path / "m.gguf"
    cases = [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"hello, I am text", "not a GGUF"),
        (b"GGUF\x03\0\0\0", "truncated"),
    ]
    for content, problem in cases:
        if content is not None:
            path.write_bytes(content)
        for kind in ("llamacpp", "simulated"):
            with pytest.raises(PoolManagerError) as caught:
                get_engine(kind).check_model(path)
            assert caught.value.code is Code.MODEL_NOT_FOUND
            assert problem in caught.value.message
            assert str(path) in caught.value.message
    with pytest.raises(PoolManagerError, match="folder"):
        ENGINE.check_model(tmp_path)


def test_the_stand_in_is_content_with_an_empty_model_and_with_other_files(tmp_path):
    for name, content in (("a.gguf", b"GGUF\x03\x00\x00\x00" + bytes(16)), ("b.bin", b"anything")):
        path = tmp_path / name
        path.write_bytes(content)
        get_engine("simulated").check_model(path)


def test_answers_that_make_no_sense_are_none():
    for read in (ENGINE.parse_slots, ENGINE.parse_version, ENGINE.parse_progress):
        for body in (b"", b"{", b"[1]", b'"x"', b"null"):
            assert read(body) is None


def test_a_build_that_does_not_know_its_version_says_none():
    assert ENGINE.parse_version(b'{"build_info":"b6527-0d9e1e6"}') == "b6527-0d9e1e6"
    assert ENGINE.parse_version(b'{"build_info":"b0-unknown"}') is None
    assert ENGINE.version_command(Path("/x/llama-server")) == ("/x/llama-server", "--version")
    assert ENGINE.parse_version_output("version: 2026.10.11549 (xllamacpp)\n") == "2026.10.11549"
    assert ENGINE.parse_version_output("version: 6527 (0d9e1e6)\nbuilt with cc\n") == "6527"


# Lines as llama.cpp and ggml print them.
STAMP = "0.00.591.989 "
LINES = [
    (STAMP + "E CUDA error: an illegal memory access was encountered", "CUDA_ERROR"),
    (STAMP + "E ggml_backend_cuda_synchronize: CUDA error: unspecified launch failure", "CUDA_ERROR"),
    ("/src/ggml/src/ggml-cuda/ggml-cuda.cu:88: CUDA error", "CUDA_ERROR"),
    (STAMP + "E CUDA error: out of memory", "OUT_OF_MEMORY"),
    (
        STAMP
        + "E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9.00 MiB on device 0: "
        + "cudaMalloc failed: out of memory",
        "OUT_OF_MEMORY",
    ),
    (STAMP + "E ggml_gallocr_reserve_n: failed to allocate CUDA0 buffer of size 9", "OUT_OF_MEMORY"),
    (STAMP + "I load_tensors: offloaded 30/31 layers to GPU", "CPU_SPILLOVER"),
    (STAMP + "I load_tensors: offloaded 0/31 layers to GPU", "CPU_SPILLOVER"),
    (STAMP + "I llama_kv_cache:        CPU KV buffer size =    90.00 MiB", "CPU_SPILLOVER"),
    (STAMP + "I llama_kv_cache_unified:        CPU KV buffer size =    90.00 MiB", "CPU_SPILLOVER"),
    (STAMP + "I load_tensors: offloaded 31/31 layers to GPU", None),
    (STAMP + "I load_tensors:   CPU_Mapped model buffer size =    92.10 MiB", None),
    (STAMP + "I llama_context:        CPU  output buffer size =     0.38 MiB", None),
    (STAMP + "I llama_kv_cache:      CUDA0 KV buffer size =    90.00 MiB", None),
    (STAMP + "I sched_reserve:        CPU compute buffer size =    16.64 MiB", None),
    (STAMP + "I srv  log_server_r: request: CUDA error: out of memory", None),
    (STAMP + "I slot launch_slot_: prompt: 'load_tensors: offloaded 1/9 layers to GPU'", None),
    ("CUDA error: the second line of somebody's prompt", None),
    ("load_tensors: offloaded 1/9 layers to GPU", None),
    (" 0.00.000.001 E CUDA error: x", None),
]


@pytest.mark.parametrize(("line", "code"), LINES)
def test_lines_of_the_log_are_judged_by_llama_cpps_own_prefix(line, code):
    found = ENGINE.log_fault(line)
    assert (None if found is None else str(found.code)) == code
    if code == "OUT_OF_MEMORY":
        assert (found.cause, found.level) == ("out_of_memory", "critical")


@pytest.mark.parametrize("kind", ["simulated", "command"])
def test_where_lines_have_no_time_they_count_from_their_first_character(kind):
    engine = get_engine(kind)
    assert engine.log_fault("CUDA error: x").code is Code.CUDA_ERROR
    assert engine.log_fault("load_tensors: offloaded 1/9 layers to GPU").code is Code.CPU_SPILLOVER
    assert engine.log_fault("he said: CUDA error: x") is None


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (
            "(EngineCore_DP0 pid=42) ERROR 11-02 10:00:00 [core.py:710] torch.AcceleratorError: CUDA error: x",
            "CUDA_ERROR",
        ),
        ("RuntimeError: CUDA error: device-side assert triggered", "CUDA_ERROR"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "OUT_OF_MEMORY"),
        ("INFO 11-02 10:00:00 [__init__.py:216] Automatically detected platform cpu.", "CPU_SPILLOVER"),
        ("INFO 11-02 10:00:00 [logger.py:43] Received request: prompt: 'RuntimeError: CUDA error: x'", None),
    ],
)
def test_lines_of_vllm_are_judged_by_its_own_prefix(line, code):
    found = get_engine("vllm").log_fault(line)
    assert (None if found is None else str(found.code)) == code


def test_exits_are_told_apart_by_the_last_lines():
    taken = STAMP + "E srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 18114"
    assert ENGINE.exit_class(1, ["x", taken]) == "port_in_use"
    assert ENGINE.exit_class(1, ["error: invalid argument: --foo"]) == "bad_arguments"
    assert ENGINE.exit_class(1, [STAMP + "E srv    load_model: failed to load model, '/nope.gguf'"]) is None
    assert ENGINE.exit_class(None, [taken]) is None


class Vanishing(type(Path())):
    """A file that is gone once it was opened, as one that is replaced by another program."""

    def open(self, *arguments, **options):
        file = super().open(*arguments, **options)
        self.unlink()
        return file


@pytest.mark.parametrize("kind", ["simulated", "llamacpp"])
def test_a_model_that_vanishes_while_it_is_looked_at_is_a_model_that_is_missing(tmp_path, kind):
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(8) + b"x" * 20)
    with pytest.raises(PoolManagerError) as caught:
        get_engine(kind).check_model(Vanishing(tmp_path / "model.gguf"))
    assert caught.value.code is Code.MODEL_NOT_FOUND


def test_the_stand_in_looks_once_at_a_model_without_tensors(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(16))
    get_engine("simulated").check_model(Vanishing(tmp_path / "model.gguf"))
