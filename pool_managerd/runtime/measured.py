"""What is measured beside the status, for the gauges of /metrics. Everything from what is known: nothing is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import psutil

from pool_managerd.core.restart import recent
from pool_managerd.core.status import DeviceStatus, PoolStatus
from pool_managerd.devices.reservations import Key
from pool_managerd.observe.gauges import ReplicaGauges
from pool_managerd.runtime.device_views import device_list
from pool_managerd.runtime.gpu_processes import gpu_processes
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.replica import Replica


class Measured:
    """The state as :class:`pool_managerd.observe.gauges.StateSource` wants it."""

    def __init__(self, host: Host, pools: Mapping[str, Pool]) -> None:
        self._host = host
        self._pools = pools

    def pools(self) -> Sequence[PoolStatus]:
        """Every configured pool."""
        return [pool.status() for pool in self._pools.values()]

    def devices(self) -> Sequence[DeviceStatus]:
        """Every known GPU."""
        return device_list(self._host, self._pools).devices

    def replica_gauges(self) -> Iterable[ReplicaGauges]:
        """What is measured of each configured replica."""
        replicas = [replica for pool in self._pools.values() for replica in pool.replicas.values()]
        runs = [replica.run for replica in replicas if replica.run is not None]
        pids: dict[Key, set[int]] = {}
        for pid, key in gpu_processes(runs, self._host.inventory.snapshot, self._host.reservations).items():
            pids.setdefault(key, set()).add(pid)
        return [self._of(replica, pids.get(replica.key, set())) for replica in replicas]

    def _of(self, replica: Replica, pids: set[int]) -> ReplicaGauges:
        run = replica.run
        if run is None:
            return ReplicaGauges(replica.pool_id, replica.replica_id)
        snapshot = self._host.inventory.snapshot
        vram = {uuid: snapshot.by_uuid[uuid].held_by(pids) for uuid in run.spec.devices if uuid in snapshot.by_uuid}
        return ReplicaGauges(
            replica.pool_id,
            replica.replica_id,
            last_heartbeat=run.heartbeat,
            probe_failures=run.probe_failures,
            vram_used=vram if snapshot.residency == "process" else {},
            ram_used=_resident_bytes(pids),
        )

    def restart_rates(self) -> Mapping[str, int]:
        """Restarts in the current window, by pool."""
        now = self._host.clock()
        return {
            pool.id: sum(
                len(recent(one.state.history.restarts, now, pool.config.restart.rate_window_ms))
                for one in pool.replicas.values()
            )
            for pool in self._pools.values()
        }

    def host_ram(self) -> tuple[int, int] | None:
        """Total and available bytes of host memory."""
        memory = psutil.virtual_memory()
        return memory.total, memory.available

    def store_available(self) -> bool:
        """Whether the state store takes writes."""
        return self._host.store.available


def _resident_bytes(pids: Iterable[int]) -> int | None:
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.Error:
            continue
    return total or None
