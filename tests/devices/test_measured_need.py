"""The need that is estimated from a real model's file against what the real llama.cpp holds with it.

There is no GPU in CI, so the resident memory of an engine that computes on the CPU stands in for it: weights, KV cache
and compute buffer lie there, and what a process needs beside them.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import socket
import subprocess
import sys
import time

import psutil
import pytest
from test_gguf import real_model

from pool_managerd.devices.need import _PROCESS_RAM, llamacpp_need

TOLERANCE = 0.15


@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="the package xllamacpp is not installed")
@pytest.mark.parametrize(("context", "slots", "kv_type"), [(2048, 1, "f16"), (4096, 4, "q8_0")])
def test_the_estimate_is_within_15_percent_of_what_the_real_engine_holds(tmp_path, context, slots, kv_type):
    model = real_model()
    need = llamacpp_need(model, context=context, slots=slots, kv_type=kv_type)
    # The input embedding is the output layer, too: on the CPU it is there once, and counted as a weight.
    estimated = need.weights + need.kv + need.compute + _PROCESS_RAM["llamacpp"]
    held = measured(tmp_path, model, context, slots, kv_type)
    assert abs(estimated - held) <= TOLERANCE * held, f"estimated {estimated >> 20} MiB, measured {held >> 20} MiB"


def measured(folder, model, context, slots, kv_type):
    """Resident bytes once every slot has been at work."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = {
        "-m": model, "--port": port, "-c": context * slots, "-np": slots, "-ctk": kv_type, "-ctv": kv_type, "-t": 1,
        "-fa": "on", "-cram": 0,
    }  # fmt: skip
    words = [str(word) for pair in flags.items() for word in pair]
    with (folder / "engine.log").open("wb") as log:
        engine = subprocess.Popen(
            [sys.executable, "-m", "pool_managerd.engines.llama_server", *words], stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + 60
            while ask(port, "GET", "/health") != 200:
                assert engine.poll() is None, (folder / "engine.log").read_text()[-2000:]
                assert time.monotonic() < deadline
                time.sleep(0.05)
            for slot in range(slots):
                prompt = {"prompt": "word " * 30, "max_tokens": 2, "id_slot": slot}
                assert ask(port, "POST", "/completion", json.dumps(prompt)) == 200
            return psutil.Process(engine.pid).memory_info().rss
        finally:
            engine.kill()
            engine.wait(10)


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except OSError:
        return None
    finally:
        connection.close()
