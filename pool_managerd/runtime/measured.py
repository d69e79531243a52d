"""What is measured beside the status, for the gauges of /metrics. Everything from what is known: no engine is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pool_managerd.core.restart import recent
from pool_managerd.core.status import DeviceStatus, PoolStatus
from pool_managerd.devices.ram import host_ram_available, host_ram_total
from pool_managerd.devices.reservations import Key
from pool_managerd.observe.gauges import ReplicaGauges
from pool_managerd.runtime.descendants import FoundProcess, fresh_table, select_descendants
from pool_managerd.runtime.device_views import device_list
from pool_managerd.runtime.gpu_processes import gpu_processes
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.identity import read_resident_bytes
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.replica import Replica
from pool_managerd.runtime.run import Run


class Measured:
    """The state as :class:`pool_managerd.observe.gauges.StateSource` wants it."""

    def __init__(self, host: Host, pools: Mapping[str, Pool]) -> None:
        self._host = host
        self._pools = pools
        self._resident: dict[int, int] = {}

    async def look(self) -> None:
        """Read how much host memory each engine's process tree holds. The process table is read in a thread."""
        runs = [replica.run for replica in self._replicas() if replica.run is not None]
        table = await fresh_table() if runs else []
        self._resident = {run.process.pid: _resident_bytes(_tree(run, table)) for run in runs}

    def pools(self) -> Sequence[PoolStatus]:
        """Every configured pool."""
        return [pool.status() for pool in self._pools.values()]

    def devices(self) -> Sequence[DeviceStatus]:
        """Every known GPU."""
        return device_list(self._host, self._pools).devices

    def replica_gauges(self) -> Iterable[ReplicaGauges]:
        """What is measured of each configured replica."""
        runs = [replica.run for replica in self._replicas() if replica.run is not None]
        pids: dict[Key, set[int]] = {}
        for pid, key in gpu_processes(runs, self._host.inventory.snapshot, self._host.reservations).items():
            pids.setdefault(key, set()).add(pid)
        return [self._of(replica, pids.get(replica.key, set())) for replica in self._replicas()]

    def _replicas(self) -> list[Replica]:
        return [replica for pool in self._pools.values() for replica in pool.replicas.values()]

    def _of(self, replica: Replica, pids: set[int]) -> ReplicaGauges:
        run = replica.run
        known = ReplicaGauges(
            replica.pool_id,
            replica.replica_id,
            engine=replica.owner.config.engine,
            engine_version=replica.version,
            devices=tuple(replica.devices),
            probe_failures=replica.failed_probes,
            next_restart=replica.state.next_restart_at,
        )
        if run is None:
            return known
        snapshot = self._host.inventory.snapshot
        vram = {uuid: snapshot.by_uuid[uuid].held_by(pids) for uuid in run.spec.devices if uuid in snapshot.by_uuid}
        return replace(
            known,
            last_heartbeat=run.heartbeat,
            vram_used=vram if snapshot.residency == "process" else {},
            ram_used=self._resident.get(run.process.pid),
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
        """Total and available bytes of host memory, or of the cgroup that leaves the daemon less."""
        ram = host_ram_available()
        return ram.limit_bytes or host_ram_total(), ram.available

    def store_available(self) -> bool:
        """Whether the state store takes writes."""
        return self._host.store.available


def _tree(run: Run, table: list[FoundProcess]) -> set[int]:
    return {run.process.pid, *select_descendants(table, run.process.identity, run.process.marker)}


def _resident_bytes(pids: Iterable[int]) -> int:
    return sum(read_resident_bytes(pid) for pid in pids)
