"""Whether the memory of an engine that was stopped is really free again, before its successor starts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.snapshot import Device, DevicesSnapshot
from pool_managerd.runtime.gpu_processes import gpu_pids_of, key_of
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.run import Run

#: The longest time between two looks, in seconds; a change that the devices announce is looked at sooner.
LOOK_S = 0.05


def _held(host: Host, run: Run, device: Device) -> int:
    """What a run holds on a device, where only its used memory tells: what that has grown by, as planned at most.

    An engine that ended before it took anything has nothing to give back. Where nobody knows what was planned, the
    growth is the engine's own only if no other pool may use the device.
    """
    planned = run.need.per_device.get(device.uuid)
    before = None if run.before is None else run.before.by_uuid.get(device.uuid)
    grown = None if before is None else max(0, device.used - before.used)
    if planned is None:
        pool = host.config.pool(run.spec.pool_id)
        return grown if grown is not None and pool is not None and not pool.share_devices else 0
    return planned if grown is None else min(planned, grown)


@dataclass(frozen=True, slots=True)
class Releasing:
    """Memory that has to come back.

    :param pids: the old engine's processes that held memory when it was asked to stop, its main process among them.
    :param used_before: used bytes by UUID at that time.
    :param held: bytes the old engine held by UUID, as planned; what must come back where pids can't be matched.
    """

    pids: frozenset[int]
    used_before: dict[str, int]
    held: dict[str, int]

    @classmethod
    def of(cls, host: Host, run: Run) -> Releasing:
        """What a run holds now."""
        snapshot = host.inventory.snapshot
        promise = host.reservations.get(key_of(run))
        devices = [snapshot.by_uuid[uuid] for uuid in run.spec.devices if uuid in snapshot.by_uuid]
        return cls(
            # Children that have ended by now are known from the last health check.
            pids=frozenset(gpu_pids_of(host, run, snapshot)) | (frozenset() if promise is None else promise.pids),
            used_before={device.uuid: device.used for device in devices},
            held={device.uuid: _held(host, run, device) for device in devices},
        )

    def holder(self, snapshot: DevicesSnapshot) -> tuple[str, int, int | None] | None:
        """A device that is not free yet: its UUID, the bytes and, where it can be told, the pid."""
        for uuid in self.used_before:
            device = snapshot.by_uuid.get(uuid)
            if device is None:
                continue
            if snapshot.residency == "process":
                for process in device.processes:
                    if process.pid in self.pids:
                        return uuid, process.used or 0, process.pid
            elif self.held[uuid] and device.used > self.used_before[uuid] - self.held[uuid] * 9 // 10:
                return uuid, device.used, None
        return None

    async def verified(self, host: Host, timeout_s: float) -> None:
        """Wait until the memory is free.

        :raises PoolManagerError: INSUFFICIENT_VRAM naming device, bytes and, where it can be told, the pid.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            snapshot = await host.inventory.refresh()
            found = self.holder(snapshot)
            if found is None:
                return
            if loop.time() >= deadline:
                break
            await asyncio.sleep(LOOK_S)
        uuid, size, pid = found
        who = f" by pid {pid}, which was stopped" if pid is not None else ""
        raise PoolManagerError(
            Code.INSUFFICIENT_VRAM,
            f"{size} bytes on device {uuid} are still held{who} after {timeout_s:g} s",
            hint="see what holds the device's memory; the pool starts by itself once it is free",
            details={"device": uuid, "held_bytes": size, "holder_pid": pid, "waited_ms": round(timeout_s * 1000)},
        )
