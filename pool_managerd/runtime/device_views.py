"""How the devices look from outside."""

from __future__ import annotations

from collections.abc import Mapping

from pool_managerd.core.status import DeviceList, DeviceStatus, HolderStatus
from pool_managerd.core.times import rfc3339
from pool_managerd.devices.snapshot import Device
from pool_managerd.runtime.gpu_processes import gpu_processes
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.pool import Pool


def device_list(host: Host, pools: Mapping[str, Pool]) -> DeviceList:
    """All GPUs of the last snapshot, with who holds memory on them."""
    snapshot = host.inventory.snapshot
    replicas = [replica for pool in pools.values() for replica in pool.replicas.values()]
    runs = [replica.run for replica in replicas if replica.run is not None]
    owners = {pid: key[0] for pid, key in gpu_processes(runs, snapshot, host.reservations).items()}
    for replica in replicas:
        if replica.releasing is not None:  # of an engine that has ended, and is listed until its memory is given back
            owners.update({pid: replica.pool_id for pid in replica.releasing.pids if pid not in owners})
    devices = [
        DeviceStatus(
            uuid=device.uuid,
            index=device.index,
            name=device.name,
            memory_total_bytes=device.total,
            memory_free_bytes=device.free,
            memory_used_bytes=device.used,
            memory_reserved_bytes=host.reservations.reserved(device.uuid),
            health=health_of(host, device),
            residency=snapshot.residency,
            stale=snapshot.stale,
            holders=[
                HolderStatus(pid=process.pid, used_bytes=process.used, pool_id=owners.get(process.pid))
                for process in device.processes
            ],
            pci_bus_id=device.pci_bus_id,
            compute_capability=None
            if device.compute_capability is None
            else "{}.{}".format(*device.compute_capability),
            memory_driver_bytes=device.reserved,
            utilization_percent=device.utilization,
            temperature_celsius=device.temperature,
            ecc_uncorrected_errors=device.ecc_errors,
            recovery_action=device.recovery_action,
            mig=device.mig,
            parent=device.parent,
        )
        for device in sorted(snapshot.devices, key=lambda one: one.index)
    ]
    return DeviceList(
        devices=devices,
        source=host.inventory.source,
        stale=snapshot.stale,
        taken_at=rfc3339(snapshot.taken_at),
        driver_version=snapshot.driver_version,
        cuda_version=snapshot.cuda_version,
    )


def health_of(host: Host, device: Device) -> str:
    """``ok``, ``quarantined`` or ``lost``. A device that can't be read is as good as lost."""
    if device.health in {"lost", "unreadable"} or device.uuid in host.lost:
        return "lost"
    if device.health == "reset_required" or device.uuid in host.quarantined:
        return "quarantined"
    return "ok"
