from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from engine_tools import Pool, spec

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.engines import ENGINE_KINDS, get_engine
from pool_managerd.engines.base import arguments, prometheus_sum, redact
from pool_managerd.engines.simulated.options import OPTIONS, convert, flags, parse_size
from pool_managerd.engines.simulated.settings import parse


def refused(check, *args) -> PoolManagerError:
    with pytest.raises(PoolManagerError) as caught:
        check(*args)
    return caught.value


def value_after(argv, flag: str) -> str:
    return argv[argv.index(flag) + 1]


@pytest.mark.parametrize("kind", ENGINE_KINDS)
def test_every_kind_has_an_adapter_of_its_own_name(kind):
    assert get_engine(kind).kind == kind
    assert get_engine(kind) is get_engine(kind)


def test_an_unknown_kind_is_refused_with_the_list():
    error = refused(get_engine, "ollama")
    assert error.code is Code.ENGINE_NOT_FOUND
    assert "llamacpp, vllm, tgi, triton, command, simulated" in error.message


@pytest.mark.parametrize("kind", [kind for kind in ENGINE_KINDS if kind != "command"])
def test_a_command_line_begins_with_the_binary_and_ends_with_the_operators_arguments(kind):
    own = ("--alias", 'a "b" $c é', "")
    argv = get_engine(kind).command_line(spec(kind, args=own, host="10.1.2.3"))
    assert argv[0] == "/opt/engine"
    assert argv[-3:] == own
    text = " ".join(argv)
    assert "10.1.2.3" in text
    assert "20001" in text


def test_programs_have_usual_names():
    own = Pool(binary=Path("/x/y"))
    assert [get_engine(kind).program(own) for kind in ("llamacpp", "simulated")] == ["/x/y", "/x/y"]
    usual = {kind: get_engine(kind).program(Pool()) for kind in ENGINE_KINDS}
    assert usual["llamacpp"] == "llama-server"
    assert usual["command"] is None
    assert Path(usual["simulated"]).is_absolute()
    assert get_engine("command").program(Pool(command=("/a/b", "c"))) == "/a/b"


def test_secrets_are_left_out_and_nothing_else():
    argv = ["--api-key", "s1", "--api-key=s2", "--hf-token", "s3", "--max-tokens", "5", "--tokenizer", "t"]
    argv += ["--header", "Authorization: Bearer s4", "--admin-password=s5", "--ssl-key-file", "k.pem", "-c", "4"]
    hidden = ["--api-key", "***", "--api-key=***", "--hf-token", "***", "--max-tokens", "5", "--tokenizer", "t"]
    hidden += ["--header", "***", "--admin-password=***", "--ssl-key-file", "k.pem", "-c", "4"]
    assert redact(argv) == hidden


def test_each_of_several_keys_is_left_out_and_what_follows_them_is_not():
    argv = ["--api-key", "-s1", "s2", "s3", "--seed", "7", "s4", "--api-key", "s5"]
    assert redact(argv) == ["--api-key", "***", "***", "***", "--seed", "7", "s4", "--api-key", "***"]
    assert redact(["--api-key=s1", "word"]) == ["--api-key=***", "word"]
    for cut in ("--api-k", "--api-ke", "--api_ke", "--api-key.x"):
        assert redact([cut, "s1", "--api-server-count", "2"]) == [cut, "***", "--api-server-count", "2"]


def test_arguments_are_read_whichever_way_values_are_attached():
    found = [(item.name, item.value) for item in arguments(["-a", "1", "--b=2", "--c"])]
    assert found == [("-a", "1"), ("--b", "2"), ("--c", None)]


def test_a_metric_is_summed_over_its_series():
    body = b'# TYPE a:x gauge\na:x{m="1"} 2.0\na:x{m="2"} 3\na:xy 9\na:y nan_\n'
    assert (prometheus_sum(body, "a:x"), prometheus_sum(body, "a:z"), prometheus_sum(body, "a:y")) == (5.0, None, None)


# vLLM, TGI, Triton, command -----------------------------------------------------------------------------------------


def test_vllm_offloads_nothing_and_spans_the_mask():
    argv = get_engine("vllm").command_line(spec("vllm", devices=("a", "b"), split=(0.5, 0.5), slots=7))
    assert argv[1:3] == ("serve", "/models/m.gguf")
    assert value_after(argv, "--cpu-offload-gb") == value_after(argv, "--swap-space") == "0"
    assert value_after(argv, "--tensor-parallel-size") == "2"
    assert (value_after(argv, "--max-num-seqs"), value_after(argv, "--max-model-len")) == ("7", "2048")


@pytest.mark.parametrize(
    "args",
    [
        ("--cpu-offload-gb", "4"),
        ("--swap_space=2",),
        ("--kv-transfer-config", "{}"),
        ("--kv-transfer-config.kv_connector", "OffloadingConnector"),
        ("--kv_transfer_config.kv_connector=OffloadingConnector",),
        ("--kv-tr.kv_connector", "OffloadingConnector"),
        ("--swap-spac", "10"),
        ("--swap_spa=10",),
        ("--cpu-offload-g", "10"),
        ("--dev", "cpu"),
    ],
)
def test_vllm_refuses_what_offloads(args):
    error = refused(get_engine("vllm").check_args, Pool(args))
    assert error.code is Code.CPU_SPILLOVER
    assert args[0].partition("=")[0] in error.message


def test_vllm_refuses_a_parallel_size_beside_the_masks():
    error = refused(get_engine("vllm").check_args, Pool(("-tp", "1")))
    assert (error.code, error.details["key"]) == (Code.INVALID_REQUEST, "devices")
    get_engine("vllm").check_args(Pool(("--cpu-offload-gb", "0", "--enforce-eager")))


@pytest.mark.parametrize(
    ("argument", "key"),
    [
        ("--tensor-parallel-siz", "devices"),
        ("--tensor_parallel", "devices"),
        ("--pipeline-p=2", "devices"),
        ("--data-parallel-siz", "replicas"),
        ("--max-model-le", "context"),
        ("--ho", "host"),
        ("-t", "devices"),
    ],
)
def test_vllm_refuses_beginnings_of_what_the_daemon_sets(argument, key):
    error = refused(get_engine("vllm").check_args, Pool((argument, "4")))
    assert (error.code, error.details["key"]) == (Code.INVALID_REQUEST, key)
    assert argument.partition("=")[0] in error.message
    assert key in error.hint


@pytest.mark.parametrize("argument", ["--config", "--conf"])
def test_vllm_reads_no_options_from_a_file_that_nobody_checks(argument):
    error = refused(get_engine("vllm").check_args, Pool((argument, "x.yaml")))
    assert (error.code, error.details["field"]) == (Code.INVALID_REQUEST, "args")
    assert f"{argument} x.yaml" in error.message
    assert "args" in error.hint


def test_vllm_says_what_a_beginning_is_short_for():
    assert "short for --swap-space" in refused(get_engine("vllm").check_args, Pool(("--swap-spac", "10"))).message


@pytest.mark.parametrize(
    "args",
    [
        ("--swap-space", "0"),
        ("--config-format", "hf"),
        ("--model-impl", "vllm"),
        ("--data-parallel-size-local", "1"),
        ("--compilation-config.level", "3"),
        ("-O.level=3",),
        ("--", "x"),
        ("--max-num-batched-tokens", "8192"),
    ],
)
def test_vllm_lets_pass_what_only_looks_alike(args):
    get_engine("vllm").check_args(Pool(args))


def test_vllm_says_what_runs_and_waits():
    body = b'vllm:num_requests_running{m="x"} 2.0\nvllm:num_requests_waiting{m="x"} 1.0\n'
    assert get_engine("vllm").parse_slots(body).busy == 3
    assert get_engine("vllm").parse_slots(b"") is None
    assert get_engine("vllm").parse_version(b'{"version":"0.11.0"}') == "0.11.0"


def test_tgi_has_a_shard_per_gpu_and_never_disables_cuda():
    engine = get_engine("tgi")
    argv = engine.command_line(spec("tgi", devices=("a", "b", "c"), split=(0.3, 0.3, 0.3)))
    assert value_after(argv, "--num-shard") == "3"
    assert not [arg for arg in argv if "cuda" in arg or "cpu" in arg]
    assert refused(engine.check_args, Pool(("--disable-cuda",))).code is Code.CPU_SPILLOVER
    assert refused(engine.check_args, Pool(("--num-shard=1",))).code is Code.INVALID_REQUEST
    ports = [engine.environment(spec("tgi", port=port)) for port in (20001, 20002, 60000)]
    assert len({value for environment in ports for value in environment.values() if value.isdigit()}) == 6


def test_tgi_is_asked_in_its_own_way():
    engine = get_engine("tgi")
    assert engine.parse_slots(b"tgi_batch_current_size 2\ntgi_queue_size 3\n").busy == 5
    assert engine.parse_version(b'{"version":"3.3.6","model_id":"m"}') == "3.3.6"
    assert engine.exit_class(2, ["error: unexpected argument '--x' found"]) == "bad_arguments"


def test_triton_is_started_with_its_repository_alone():
    argv = get_engine("triton").command_line(spec("triton"))
    assert "--model-repository=/models/m.gguf" in argv
    assert "--allow-metrics=false" in argv
    assert refused(get_engine("triton").check_args, Pool(("--http-port=1",))).code is Code.INVALID_REQUEST
    in_use = (
        """E1102 10:00:00.123456 42 main.cc:9] "failed to start HTTP service: Socket '127.0.0.1:8' already in use" """
    )
    assert get_engine("triton").exit_class(1, [in_use]) == "port_in_use"
    assert get_engine("triton").parse_version(b'{"name":"triton","version":"2.51.0"}') == "2.51.0"


#: The last lines of a tritonserver 2.51 that ended with exit code 1, by what was wrong.
TRITON_ENDS = {
    "/opt/tritonserver/bin/tritonserver: unrecognized option '--nonsense'": "bad_arguments",
    "/opt/tritonserver/bin/tritonserver: option '--log-verbose' requires an argument": "bad_arguments",
    'Bad option: "--http-port".': "bad_arguments",
    "invalid argument for --rate-limit": "bad_arguments",
    "error: creating server: Invalid argument - --model-repository must be specified": "bad_arguments",
    "\tonly log the trace output to <trace-file> when shutting down.": "bad_arguments",
    "error: creating server: Internal - failed to load all models": None,
    "E1127 16:23:10.925739 1271 main.cc:257] \"failed to start HTTP service: Unavailable - Socket '127.0.0.1:18123' "
    'already in use "': "port_in_use",
}


@pytest.mark.parametrize(("line", "said"), TRITON_ENDS.items())
def test_what_a_real_triton_said_last_is_understood(line, said):
    assert get_engine("triton").exit_class(1, ['I1127 16:23:09.1 1 x.cc:1] "up"', line, ""]) == said


def test_triton_refuses_a_model_on_the_cpu(tmp_path):
    model = tmp_path / "repository" / "resnet"
    check = get_engine("triton").check_model
    assert refused(check, model.parent).code is Code.MODEL_NOT_FOUND
    (model / "1").mkdir(parents=True)
    config = model / "config.pbtxt"
    config.write_text('name: "KIND_CPU # no" # kind: KIND_CPU\ninstance_group [ { kind: KIND_GPU } ]')
    check(model.parent)
    config.write_text('name: "a # b"\ninstance_group [\n {\n count: 1\n kind : KIND_CPU } ]')
    error = refused(check, model.parent)
    assert error.code is Code.CPU_SPILLOVER
    assert "resnet" in error.message


def test_a_command_gets_its_placeholders_filled_in_and_nothing_else():
    words = ("prog", "{model}", "--port={port}", "{host}:{port}", '{"json": 1}', "{other}", "--gpus", "{devices}")
    argv = get_engine("command").command_line(
        spec("command", command=words, devices=("a", "b"), model=Path("/m/{port}.bin"), binary=Path("/bin/prog"))
    )
    assert argv[0:3] == ("/bin/prog", "/m/{port}.bin", "--port=20001")
    assert argv[3:] == ("127.0.0.1:20001", '{"json": 1}', "{other}", "--gpus", "a,b")


def safetensors(path: Path, *, cut: int = 0) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    data = struct.pack("<Q", len(header)) + header + bytes(16)
    path.write_bytes(data[: len(data) - cut])


@pytest.mark.parametrize("kind", ["vllm", "tgi"])
def test_a_model_folder_must_be_whole(kind, tmp_path):
    check, folder = get_engine(kind).check_model, tmp_path / "model"
    assert "does not exist" in refused(check, folder).message
    folder.mkdir()
    assert "no config.json" in refused(check, folder).message
    (folder / "config.json").write_text("{}")
    assert "no weights" in refused(check, folder).message
    safetensors(folder / "model.safetensors")
    check(folder)
    safetensors(folder / "model.safetensors", cut=3)
    error = refused(check, folder)
    assert error.code is Code.MODEL_NOT_FOUND
    assert "truncated" in error.message


# the stand-in's settings --------------------------------------------------------------------------------------------


def test_every_setting_goes_through_its_flag_unchanged():
    examples = {"int": 7, "float": 2.5, "bool": True, "str": "a b", "size": 1 << 40, "list": ["x", "[y"]}
    told = {option.name: examples[option.type] for option in OPTIONS if option.name != "reject_unknown"}
    assert {name: parse(flags(told)).values[name] for name in told} == told


@pytest.mark.parametrize(("text", "size"), [("6GiB", 6 << 30), (17, 17), ("1.5 MB", 1_500_000), ("42", 42)])
def test_sizes_are_read_as_in_the_configuration(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("name", "value"), [("load_ms", "soon"), ("hang", 2), ("vram_bytes", "6 apples"), ("signal", True)]
)
def test_a_value_of_the_wrong_type_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        convert(next(option for option in OPTIONS if option.name == name), value)


def test_an_unknown_key_of_the_stand_in_is_refused_with_the_nearest():
    error = refused(get_engine("simulated").check_args, Pool(simulated={"load": 5}))
    assert (error.details["field"], error.hint) == ("simulated.load", "did you mean 'load_ms'?")


def test_it_understands_the_engines_that_it_plays():
    llama = get_engine("llamacpp").command_line(spec("llamacpp", devices=("a", "b"), split=(0.75, 0.25)))
    found = parse(list(llama[1:]))
    assert (found.port, found.slots, found.context, found.split) == (20001, 4, 2048, (0.75, 0.25))
    for kind in ("vllm", "tgi"):
        found = parse(list(get_engine(kind).command_line(spec(kind))[1:]))
        assert (found.host, found.port, found.slots, found.model) == ("127.0.0.1", 20001, 4, "/models/m.gguf")
    assert parse(list(get_engine("triton").command_line(spec("triton"))[1:])).port == 20001


# does it generate ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENGINE_KINDS)
def test_every_kind_can_be_asked_for_a_token(kind, tmp_path):
    (tmp_path / "words").mkdir()
    asked = get_engine(kind).canary_for(spec(kind, model=tmp_path))
    assert asked.method == "POST"
    assert json.loads(asked.body)["max_tokens"] == 1
    assert not asked.is_success(200, b"{}")
    assert not asked.is_success(500, b"")


def test_triton_is_asked_by_its_ensemble_or_its_first_model(tmp_path):
    engine, asked = get_engine("triton"), spec("triton", model=tmp_path)
    assert engine.canary_for(asked) is None
    for name in ("words", "a b", ".git"):
        (tmp_path / name).mkdir()
    canary = engine.canary_for(asked)
    assert canary.path == "/v2/models/a%20b/generate_stream"
    (tmp_path / "ensemble").mkdir()
    assert engine.canary_for(asked).path == "/v2/models/ensemble/generate_stream"
    # As 2.51 streams it.
    assert canary.is_success(200, b'data: {"model_name":"words","model_version":"1","text_output":"1"}\n\n')
    assert not canary.is_success(200, b'data: {"error":"CUDA error"}\n\n')
    assert not canary.is_success(200, b"")


def test_the_work_of_an_engine_shows_while_its_requests_run():
    vllm = b'vllm:iteration_tokens_total_count{m="x"} 7.0\nvllm:generation_tokens_total{m="x"} 5.0\n'
    tgi = b'tgi_batch_inference_success{method="decode"} 4\ntgi_batch_inference_success{method="prefill"} 1\n'
    triton = b"""{"model_stats":[{"name":"words","inference_count":4,"execution_count":4,"response_stats":{}},
        {"name":"x","inference_count":1,"response_stats":{"0":{"success":{"count":9,"ns":1}}}}]}"""
    found = [get_engine(kind).parse_progress(body) for kind, body in (("vllm", vllm), ("tgi", tgi), ("triton", triton))]
    assert found == [12, 5, 14]
    assert [get_engine(kind).parse_progress(b"") for kind in ("vllm", "tgi", "triton", "command")] == [None] * 4
