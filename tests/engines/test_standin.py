from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest
from engine_tools import wait_until

from pool_managerd.engines import get_engine
from pool_managerd.engines.simulated import control

ENGINE = get_engine("simulated")


def faults(engine) -> list[str]:
    return [str(found.code) for line in engine.log.splitlines() if (found := ENGINE.log_fault(line))]


def test_it_listens_at_once_and_is_healthy_when_it_has_loaded(stand_in):
    engine = stand_in(load_ms=250)
    engine.wait_for(503)
    status, body = engine.request("/health")
    assert (status, json.loads(body)["error"]["message"]) == (503, "Loading model")
    assert engine.status("/slots") == 503
    engine.wait_for(200)
    assert [entry["status"] for entry in engine.requests if entry["path"] == "/health"][-1] == 200
    assert faults(engine) == []


def test_it_listens_soon_after_its_start(stand_in):
    took = []
    for _ in range(3):
        began = time.monotonic()
        engine = stand_in()
        engine.wait_for(200)
        took.append(time.monotonic() - began)
    # 50-70 ms when nothing else runs; other tests share the processors.
    assert min(took) < 0.5


def test_what_it_reports_is_read_by_the_adapter(stand_in):
    engine = stand_in(version="sim-7", slots=3)
    engine.wait_for(200)
    report = ENGINE.parse_slots(engine.request(ENGINE.slots_path)[1])
    assert (report.total, report.busy, report.context) == (3, 0, 2048)
    assert ENGINE.parse_version(engine.request(ENGINE.version_path)[1]) == "sim-7"
    before = ENGINE.parse_progress(engine.request(ENGINE.progress_path)[1])
    status, answer = engine.request("/v1/chat/completions", {"messages": [], "max_tokens": 3})
    assert (status, json.loads(answer)["choices"][0]["message"]["content"]) == (200, "token0 token1 token2 ")
    assert ENGINE.parse_progress(engine.request(ENGINE.progress_path)[1]) > before


def test_the_canary_succeeds_and_never_answers_when_no_tokens_come(stand_in):
    engine = stand_in()
    engine.wait_for(200)
    canary = ENGINE.canary
    assert canary.is_success(*engine.request(canary.path, json.loads(canary.body)))
    engine.tell(tokens_per_s=0)
    with pytest.raises(TimeoutError):
        engine.request(canary.path, json.loads(canary.body), timeout=0.2)
    assert engine.status() == 200


def test_a_streamed_completion_comes_token_by_token_with_an_end_mark(stand_in):
    engine = stand_in(tokens_per_s=50)
    engine.wait_for(200)
    events, times = [], []
    with engine.stream(max_tokens=4) as answer:
        for line in answer:
            if line.startswith(b"data: "):
                events.append(line[6:].strip())
                times.append(time.monotonic())
    assert events[-1] == b"[DONE]"
    assert [json.loads(event)["choices"][0]["text"] for event in events[:4]] == [f"token{n} " for n in range(4)]
    assert times[3] - times[0] > 0.04


def test_a_slot_is_busy_while_it_works_and_other_requests_wait_for_one(stand_in):
    engine = stand_in(slots=1, tokens_per_s=20)
    engine.wait_for(200)
    with engine.stream(max_tokens=8) as first:
        first.readline()
        assert ENGINE.parse_slots(engine.request("/slots")[1]).busy == 1
        assert engine.request("/slots?fail_on_no_slot=1")[0] == 503
        began = time.monotonic()
        assert engine.request("/v1/completions", {"prompt": "x", "max_tokens": 1})[0] == 200
        assert time.monotonic() - began > 0.2
        first.read()
    engine.tell(busy_slots=1)
    assert ENGINE.parse_slots(engine.request("/slots")[1]).busy == 1


def test_it_holds_its_memory_on_its_devices_by_its_split(stand_in):
    engine = stand_in("--device-bytes", "1000", vram_bytes="1MiB")
    engine.wait_for(200)
    assert engine.held() == {engine.uuids[0]: 1 << 20}
    engine.tell(vram_bytes=0)
    assert engine.held() == {}
    engine.tell(cpu_offload=True, wrong_device=engine.uuids[1], wrong_device_bytes=7)
    assert engine.held() == {engine.uuids[0]: 1 << 19, engine.uuids[1]: 7}
    engine.end()
    assert engine.held() == {}


def test_the_planned_need_is_what_it_holds_unless_told_otherwise(stand_in):
    engine = stand_in("--device-bytes", "1000")
    engine.wait_for(200)
    assert engine.held() == {engine.uuids[0]: 1000}


def test_offload_to_the_cpu_is_said_as_llama_cpp_says_it(stand_in):
    engine = stand_in(cpu_offload=True)
    engine.wait_for(200)
    assert faults(engine) == ["CPU_SPILLOVER", "CPU_SPILLOVER"]


@pytest.mark.parametrize(("told", "code"), [({"exit_code": 3}, 3), ({"exit_code": 0}, 0), ({"signal": "SEGV"}, -11)])
def test_it_ends_as_told_at_its_start(stand_in, told, code):
    assert stand_in(**told).process.wait(10) == code


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGABRT", "SIGINT"])
def test_it_dies_by_a_signal_while_it_runs(stand_in, name):
    engine = stand_in()
    engine.wait_for(200)
    control.write_control(engine.dir, "p1", "r0", {"signal": name})
    assert engine.process.wait(10) == -signal.Signals[name]


def test_an_end_can_wait_for_readiness(stand_in):
    engine = stand_in(load_ms=100, when="ready", exit_code=4, exit_after_ms=100)
    engine.wait_for(200)
    assert engine.process.wait(10) == 4


def test_out_of_memory_is_logged_as_llama_cpp_does_and_ends_with_1(stand_in):
    engine = stand_in(oom=True)
    assert engine.process.wait(10) == 1
    assert faults(engine) == ["OUT_OF_MEMORY"]


def test_a_cuda_error_is_logged_and_it_lives_on(stand_in):
    engine = stand_in()
    engine.wait_for(200)
    engine.tell(cuda_error="an illegal memory access was encountered")
    wait_until(lambda: faults(engine) == ["CUDA_ERROR"])
    assert engine.status() == 200
    assert engine.process.poll() is None


def test_an_echoed_prompt_is_no_fault(stand_in):
    engine = stand_in(echo_prompts=True)
    engine.wait_for(200)
    prompt = "CUDA error: x\nCUDA error: y\n0.00.000.000 E load_tensors: offloaded 1/9 layers to GPU"
    engine.request("/v1/completions", {"prompt": prompt, "max_tokens": 1})
    assert "offloaded 1/9" in engine.log
    assert faults(engine) == []


def test_lines_go_to_stdout_and_stderr_once(stand_in):
    engine = stand_in(stdout=["to stdout"], stderr="to stderr")
    engine.wait_for(200)
    engine.tell(stdout="again\nand again")
    wait_until(lambda: engine.log.endswith("again\nand again\n"))
    assert engine.log.count("to stdout\n") == engine.log.count("to stderr\n") == 1


def test_sigterm_ends_it_with_its_own_code(stand_in):
    engine = stand_in(term_exit_code=7, term_ms=50)
    engine.wait_for(200)
    began = time.monotonic()
    engine.process.terminate()
    assert engine.process.wait(10) == 7
    assert time.monotonic() - began >= 0.05


def test_sigterm_can_be_ignored_until_told_otherwise(stand_in):
    engine = stand_in(ignore_sigterm=True)
    engine.wait_for(200)
    engine.process.terminate()
    wait_until(lambda: "SIGTERM is ignored" in engine.log)
    engine.tell()
    assert engine.status() == 200
    engine.tell(ignore_sigterm=False)
    engine.process.terminate()
    assert engine.process.wait(10) == 0


def test_hanging_it_accepts_and_answers_nothing_until_let_go(stand_in):
    engine = stand_in()
    engine.wait_for(200)
    engine.tell(hang=True)
    with pytest.raises(TimeoutError):
        engine.request("/health", timeout=0.1)
    assert engine.requests[-1]["status"] is None
    engine.tell()
    assert engine.status() == 200


def test_health_can_be_anything(stand_in):
    engine = stand_in()
    engine.wait_for(200)
    engine.tell(health_status=418)
    assert engine.status() == 418
    engine.tell(health_failures=2)
    assert [engine.status() for _ in range(3)] == [500, 500, 200]
    engine.tell(never_ready=True)
    assert engine.status() == 503


def test_it_can_speak_http_1_0(stand_in):
    engine = stand_in(http_version="1.0")
    engine.wait_for(200)
    with socket.create_connection(("127.0.0.1", engine.port)) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")


def test_a_connection_serves_many_requests(stand_in):
    engine = stand_in()
    engine.wait_for(200)
    with socket.create_connection(("127.0.0.1", engine.port)) as client:
        for _ in range(3):
            client.sendall(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 404 ")


def test_a_fault_set_before_the_start_strikes_once(stand_in, tmp_path):
    control.write_control(tmp_path, "p1", "r0", {"exit_code": 9})
    assert stand_in().process.wait(10) == 9
    stand_in().wait_for(200)


def test_a_fault_can_be_set_for_some_starts(stand_in, tmp_path):
    control.write_control(tmp_path, "p1", "r0", {"exit_code": 9, "never_ready": True, "times": 2})
    assert [stand_in().process.wait(10) for _ in range(2)] == [9, 9]
    stand_in().wait_for(200)


def test_a_fault_for_some_starts_leaves_the_running_process_alone(stand_in):
    engine = stand_in()
    engine.wait_for(200)
    engine.tell(exit_code=9, health_status=444, times=1)
    assert engine.status() == 200
    assert stand_in().process.wait(10) == 9
    stand_in().wait_for(200)


def test_a_fault_can_be_meant_for_one_model(stand_in, tmp_path):
    good, bad = tmp_path / "good.bin", tmp_path / "bad.bin"
    good.write_bytes(b"x" * 100)
    bad.write_bytes(b"x" * 100)
    control.write_control(tmp_path, "p1", "r0", {"exit_code": 5, "model": "bad.bin"})
    stand_in(model=good).wait_for(200)
    engine = stand_in(model=bad)
    assert engine.process.wait(10) == 5


def test_a_control_file_written_by_hand_and_with_nonsense_is_survived(stand_in):
    engine = stand_in()
    engine.wait_for(200)
    path = Path(control.control_path(engine.dir, "p1", "r0"))
    path.write_text('{"nonsense": 1, "load_ms": "soon", "health_status": 444}', encoding="utf-8")
    wait_until(lambda: engine.status() == 444)
    path.write_text('{"times": "often"}', encoding="utf-8")
    wait_until(lambda: "control file: invalid literal" in engine.log)
    path.unlink()
    wait_until(lambda: engine.status() == 200)


@pytest.mark.parametrize("kind", ["group", "session", "orphan"])
def test_it_can_have_a_child(stand_in, kind):
    engine = stand_in(child=kind)
    engine.wait_for(200)
    children = [process for process in psutil.process_iter() if _is_child(process, engine.dir)]
    assert len(children) == 1
    try:
        in_group = os.getpgid(children[0].pid) == engine.process.pid
        assert in_group == (kind == "group")
        assert (children[0].ppid() == engine.process.pid) == (kind != "orphan")
    finally:
        children[0].kill()


def _is_child(process: psutil.Process, folder) -> bool:
    try:
        return process.environ().get("POOL_MANAGERD_SIMULATED_DIR") == str(folder) and "-c" in process.cmdline()
    except psutil.Error:
        return False


def test_a_taken_port_is_told_from_other_failures(stand_in):
    first = stand_in()
    first.wait_for(200)
    second = stand_in("--port", str(first.port))
    code = second.process.wait(10)
    assert ENGINE.exit_class(code, second.log.splitlines()) == "port_in_use"


def test_arguments_are_passed_over_or_refused_as_told(stand_in):
    stand_in("--no-such-flag", 'a "b" $c é', "-x").wait_for(200)
    for engine in (stand_in("--no-such-flag", reject_unknown=True), stand_in("--load-ms", "soon")):
        code = engine.process.wait(10)
        assert (code, ENGINE.exit_class(code, engine.log.splitlines())) == (2, "bad_arguments")
