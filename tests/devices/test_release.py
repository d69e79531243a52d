"""Whether the memory of a stopped engine is free again: judged by its processes, or by each GPU's used memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from test_fit import G0, G1, GIB, gpu, snap

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.runtime.release import Releasing

HELD = Releasing(pids=frozenset({7}), used_before={G0: 5 * GIB, G1: 0}, held={G0: 4 * GIB, G1: 0})


@pytest.mark.parametrize(
    ("now", "holder"),
    [
        (snap(gpu(G0, p7=GIB, p9=1), gpu(G1)), (G0, GIB, 7)),
        (snap(gpu(G0, p9=GIB), gpu(G1, p7=2)), (G1, 2, 7)),
        (snap(gpu(G0, p9=GIB), gpu(G1)), None),
        (snap(gpu(G0, other=5 * GIB), gpu(G1), residency="device"), (G0, 5 * GIB, None)),
        (snap(gpu(G0, other=GIB), gpu(G1, other=GIB), residency="device"), None),
        (snap(gpu(G1), residency="device"), None),
    ],
)
def test_who_still_holds_memory_of_a_stopped_engine(now, holder):
    assert HELD.holder(now) == holder


async def test_memory_that_does_not_come_back_is_told_with_device_bytes_and_pid():
    async def refresh():
        return snap(gpu(G0, p7=GIB), gpu(G1))

    with pytest.raises(PoolManagerError) as caught:
        await HELD.verified(SimpleNamespace(inventory=SimpleNamespace(refresh=refresh)), 0)
    assert caught.value.code is Code.INSUFFICIENT_VRAM
    assert caught.value.details == {"device": G0, "held_bytes": GIB, "holder_pid": 7, "waited_ms": 0}
    assert "pid 7" in caught.value.message


async def test_memory_that_is_back_lets_the_successor_start():
    looks = iter([snap(gpu(G0, p7=GIB), gpu(G1)), snap(gpu(G0), gpu(G1))])

    async def refresh():
        return next(looks)

    await HELD.verified(SimpleNamespace(inventory=SimpleNamespace(refresh=refresh)), 10)
    assert next(looks, None) is None
