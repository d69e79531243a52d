"""Engines that use a GPU outside their mask: found as soon as NVML shows it, while they load and at any time later."""

from __future__ import annotations

from collections.abc import Iterable

from pool_managerd.core.phases import Phase
from pool_managerd.devices.reservations import Key, Reservations
from pool_managerd.devices.residency import cross_mask
from pool_managerd.devices.snapshot import DevicesSnapshot
from pool_managerd.runtime.gpu_processes import gpu_processes
from pool_managerd.runtime.replica import Replica

_JUDGED = {Phase.LOADING, Phase.READY, Phase.DRAINING}


def fail_strayed(replicas: Iterable[Replica], snapshot: DevicesSnapshot, known: Reservations) -> None:
    """Fail every replica of which a process holds memory outside its mask."""
    runs = {replica.key: replica.run for replica in replicas if replica.run is not None}
    pids: dict[Key, set[int]] = {}
    for pid, key in gpu_processes(runs.values(), snapshot, known).items():
        pids.setdefault(key, set()).add(pid)
    for replica in replicas:
        run = replica.run
        if run is None or replica.state.phase not in _JUDGED or replica.state.after_stop is not None:
            continue
        error = cross_mask(pids.get(replica.key, ()), run.spec.devices, snapshot)
        if error is not None:
            replica.fail(error)
