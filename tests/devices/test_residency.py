from __future__ import annotations

import pytest
from test_fit import G0, G1, GIB, gpu, need, snap

from pool_managerd.core.errors import Code
from pool_managerd.devices.residency import cross_mask, judge, still_held

EMPTY = snap(gpu(G0), gpu(G1))
ASKED = need(GPU_0=4 * GIB)


def code(*args):
    error = judge(*args)
    return None if error is None else error.code


def test_an_engine_where_it_should_be():
    assert judge({7}, [G0], EMPTY, snap(gpu(G0, p7=4 * GIB, p9=GIB), gpu(G1, p9=GIB)), ASKED, 0.1) is None
    assert judge({7, 8}, [G0], EMPTY, snap(gpu(G0, p7=3 * GIB, p8=GIB), gpu(G1)), ASKED, 0.1) is None


@pytest.mark.parametrize(
    ("part", "verdict"), [(1.0, None), (0.9, None), (0.89, Code.CPU_SPILLOVER), (0, Code.CPU_SPILLOVER)]
)
def test_the_tolerance(part, verdict):
    assert code({7}, [G0], EMPTY, snap(gpu(G0, p7=int(4 * GIB * part)), gpu(G1)), need(GPU_0=4 * GIB), 0.1) == verdict


def test_nothing_on_one_gpu_of_the_mask():
    error = judge({7}, [G0, G1], EMPTY, snap(gpu(G0, p7=4 * GIB), gpu(G1, p9=GIB)), None, 0.1)
    assert error is not None
    assert (error.code, error.details["device"]) == (Code.CPU_SPILLOVER, G1)
    assert "CPU" in (error.hint or "")


def test_memory_outside_the_mask_names_pid_device_and_bytes():
    error = judge({7, 8}, [G0], EMPTY, snap(gpu(G0, p7=4 * GIB), gpu(G1, p8=GIB, p9=2 * GIB)), ASKED, 0.1)
    assert error is not None
    assert error.code == Code.CROSS_MASK_SPILLOVER
    assert {key: error.details[key] for key in ("pid", "device", "used_bytes")} == {
        "pid": 8,
        "device": G1,
        "used_bytes": GIB,
    }
    assert cross_mask({9}, [G0, G1], snap(gpu(G0), gpu(G1, p9=1))) is None
    assert cross_mask({9}, [G0], snap(gpu(G0), gpu(G1, p9=1), residency="device")) is None


def test_by_device_each_gpu_must_show_the_load():
    def after(*used):
        return snap(*(gpu(u, other=n) for u, n in zip((G0, G1), used, strict=True)), residency="device")

    before = after(GIB, GIB)
    assert code({7}, [G0], before, after(5 * GIB, GIB), ASKED, 0.1) is None
    assert code({7}, [G0], before, after(GIB + GIB, GIB), ASKED, 0.1) == Code.CPU_SPILLOVER
    assert code({7}, [G0, G1], before, after(5 * GIB, GIB), None, 0.1) == Code.CPU_SPILLOVER
    assert code({7}, [G0], None, after(0, 0), ASKED, 0.1) is None


def test_a_gpu_that_cannot_be_read_gives_no_verdict_but_unavailable():
    assert code({7}, [G0], EMPTY, snap(gpu(G0, health="lost")), ASKED, 0.1) == Code.GPU_UNAVAILABLE
    assert code({7}, [G0], EMPTY, snap(gpu(G0), stale=True), ASKED, 0.1) == Code.GPU_UNAVAILABLE


def test_what_processes_still_hold():
    assert [one.pid for one in still_held({9}, snap(gpu(G0, p7=1, p9=1)))] == [9]
    assert still_held({9}, snap(gpu(G0, p9=0))) == ()
    assert still_held({9}, snap(gpu(G0, p9=1), residency="device")) == ()
