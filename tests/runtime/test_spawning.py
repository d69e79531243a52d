from __future__ import annotations

from pool_managerd.runtime.spawning import overruled


def test_a_pools_environment_cannot_say_what_the_daemon_says():
    env = {
        "CUDA_VISIBLE_DEVICES": "0,1",
        "CUDA_DEVICE_ORDER": "x",
        "POOL_MANAGERD_MARKER": "y",
        "CUDA_CACHE_PATH": "/z",
    }
    assert overruled(env) == ["CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "POOL_MANAGERD_MARKER"]
    assert overruled({}) == []
