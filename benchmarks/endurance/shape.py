"""The pools that the faults strike: engine kinds, GPUs, replicas, and times short enough for a soak.

All that is not random; a plan made of a seed means the same pools at each replay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MIB = 1 << 20
#: Simulated GPUs; the first two carry one pool each, the others are shared.
GPUS = 6
GPU_BYTES = 4096 * MIB
#: What each replica needs and holds; a split one divides it.
NEED_BYTES = 256 * MIB
#: Ports of the range beside one for each replica: a port that leaks is missed soon.
SPARE_PORTS = 6

#: Milliseconds. Each is short enough that every rule of the policy is met within a few seconds.
RESTART: dict[str, Any] = {
    "initial_ms": 40,
    "factor": 2.0,
    "max_ms": 400,
    "floor_ms": 25,
    "jitter": 0.1,
    "stable_ms": 1500,
    "rate": 8,
    "rate_window_ms": 3000,
    "storm_warn": 5,
    "storm_open": 7,
    "storm_open_window_ms": 2000,
}
BREAKER: dict[str, Any] = {"failures": 4, "driver_failures": 4, "open_ms": 500, "max_open_ms": 1500, "stable_ms": 300}
TIMES: dict[str, Any] = {
    "restart": RESTART,
    "breaker": BREAKER,
    "readiness": {"timeout_ms": 4000, "first_ms": 5, "max_interval_ms": 100, "probe_timeout_ms": 1000},
    "liveness": {"interval_ms": 300, "failures": 2, "probe_timeout_ms": 1000},
    "stop": {"grace_ms": 300, "vram_release_ms": 3000},
    "drain": {"deadline_ms": 800},
    "lease": {"ttl_ms": 2000},
}
SERVER: dict[str, Any] = {"max_parallel_loads": 4, "shutdown_drain_ms": 300}


@dataclass(frozen=True, slots=True)
class PoolShape:
    """One pool as the plan knows it.

    :param masks: GPU numbers of each replica.
    :param engine: ``simulated``, or a kind whose program is the stand-in under a file of the pool's own.
    :param fixed_port: whether a port is configured.
    :param simulated: what the stand-in does from its start.
    """

    pool_id: str
    masks: tuple[tuple[int, ...], ...]
    engine: str = "simulated"
    min_ready: int = 1
    slots: int = 3
    share: bool = True
    preload: bool = True
    fixed_port: bool = False
    on_exit_zero: str = "stop"
    simulated: dict[str, Any] = field(default_factory=dict)

    @property
    def replica_ids(self) -> tuple[str, ...]:
        """The ids of its replicas."""
        return tuple(f"r{number}" for number in range(len(self.masks)))

    @property
    def gpus(self) -> frozenset[int]:
        """All GPUs that it uses."""
        return frozenset(gpu for mask in self.masks for gpu in mask)

    @property
    def has_program(self) -> bool:
        """Whether its engine's program is a file of its own, that can be taken away."""
        return self.engine != "simulated"


def _plain(number: int) -> PoolShape:
    return PoolShape(f"plain-{number}", ((2 + number % 4,),))


#: Twenty pools with 27 replicas: alone and side by side, split, slow, stubborn, of several engine kinds.
POOLS: tuple[PoolShape, ...] = (
    PoolShape("alone-a", ((0,),), share=False),
    PoolShape("alone-b", ((1,),), share=False, engine="llamacpp"),
    PoolShape("pair-a", ((2,), (3,))),
    PoolShape("pair-b", ((4,), (5,)), min_ready=2),
    PoolShape("trio", ((2,), (3,), (4,)), min_ready=2),
    PoolShape("split", ((4, 5),)),
    PoolShape("llama", ((2,),), engine="llamacpp"),
    PoolShape("llama-pair", ((3,), (5,)), engine="llamacpp"),
    PoolShape("own-command", ((4,),), engine="command"),
    PoolShape("own-port", ((2,),), fixed_port=True),
    PoolShape("ends-well", ((3,),), on_exit_zero="restart"),
    PoolShape("slow", ((4,),), simulated={"load_ms": 150}),
    PoolShape("stubborn", ((5,),), simulated={"ignore_sigterm": True}),
    PoolShape("sticky", ((2,),), simulated={"sticky_ms": 120}),
    PoolShape("on-demand", ((3,),), preload=False),
    PoolShape("busy", ((5,), (2,)), slots=8, simulated={"term_ms": 50}),
    *(_plain(number) for number in range(4)),
)
BY_ID = {pool.pool_id: pool for pool in POOLS}
REPLICAS = sum(len(pool.masks) for pool in POOLS)


def on_gpu(number: int, pools: tuple[PoolShape, ...] = POOLS) -> tuple[str, ...]:
    """The pools that use a GPU."""
    return tuple(pool.pool_id for pool in pools if number in pool.gpus)
