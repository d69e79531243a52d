"""Which of a scenario's GPUs a pool gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from PoolManagerLibrary.scenario import Gpu, Pool, Scenario


def place(pool: Pool, given: Mapping[str, Any], scenario: Scenario, add_gpu: Callable[[], Gpu]) -> None:
    """Give the pool its mask: the GPUs it names, else the next unclaimed ones, else new ones."""
    table = pool.settings
    if "devices" in given:
        if given["devices"] in ("none", "all"):
            table.pop("devices", None)
        return
    replicas = int(table.get("replicas", 1))
    wanted = given.get("gpu", given.get("gpus"))
    if isinstance(wanted, str):
        names = [name for name in re.split(r",\s*|\s+and\s+|\s*\+\s*", wanted) if name]
        pool.gpus = [scenario.gpu(name) for name in names]
        per_replica = [[gpu.uuid for gpu in pool.gpus]] if replicas == 1 else [[gpu.uuid] for gpu in pool.gpus]
    else:
        each = int(wanted) if wanted is not None else 1
        if each == 0:
            return
        free = [gpu for gpu in scenario.gpus.values() if not gpu.claimed]
        needed = each * replicas
        pool.gpus = free[:needed]
        current = scenario.current_gpu
        while len(pool.gpus) < needed:
            pool.gpus.append(add_gpu())
        scenario.current_gpu = current or pool.gpus[0]
        per_replica = [
            [gpu.uuid for gpu in pool.gpus[number * each : (number + 1) * each]] for number in range(replicas)
        ]
    for gpu in pool.gpus:
        gpu.claimed = True
    table["devices"] = per_replica[0] if replicas == 1 else per_replica
