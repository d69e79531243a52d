"""What the devices do to the pools: lost, quarantined and returned GPUs, memory that became free. XIDs: ``xids.py``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.core.failures import Failure, FailureClass
from pool_managerd.core.phases import Phase
from pool_managerd.core.replica_state import Input, Signal
from pool_managerd.devices.inventory import HealthEvent
from pool_managerd.devices.snapshot import Device, DevicesSnapshot
from pool_managerd.runtime import preflight
from pool_managerd.runtime.end_watch import EndWatch
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.identity import read_stat
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.replica import Replica
from pool_managerd.runtime.spillover import fail_strayed
from pool_managerd.runtime.store import Delete, Put
from pool_managerd.runtime.xids import Xids

#: While a replica waits for memory, the fit is looked at again at least this often, in seconds.
RECHECK_S = 0.5
#: What comes back by itself, such as a GPU, is announced; this is for what that might miss, in seconds.
SELDOM_S = 5.0
_log = logging.getLogger(__name__)


class DeviceEvents:
    """Brings what happens to devices to the replicas on them.

    :param pools: the daemon's pools by id; the mapping changes with the config.
    """

    def __init__(self, host: Host, pools: Mapping[str, Pool]) -> None:
        self.host = host
        self.pools = pools
        self.xids = Xids(self)
        self._stale = False
        self._told_residency = False
        self._to_reboot: set[str] = set()
        self._holders = EndWatch(self.look_again)

    def connect(self) -> None:
        """Listen to the inventory and keep looking after those who wait."""
        inventory = self.host.inventory
        inventory.on_xid = self.xids.on_xid
        inventory.on_health = self.on_health
        inventory.on_forgotten = self.on_forgotten
        inventory.on_change = self.on_change
        self.host.start_task(self._look_after_waiting(), "waiting replicas")
        self.on_change(inventory.snapshot)

    def on_change(self, snapshot: DevicesSnapshot) -> None:
        """The devices look different from before."""
        if snapshot.stale is not self._stale:
            self._stale = snapshot.stale
            reason = "the device library answers again"
            if snapshot.stale:
                reason = f"the device library fails ({snapshot.error}): the last known values are shown"
            self.host.bus.publish(EventKind.DEVICE, to="stale" if snapshot.stale else "fresh", reason=reason)
            if not snapshot.stale:
                self._find_again(snapshot)
        if snapshot.residency == "device" and not self._told_residency:
            self._told_residency = True
            self.host.bus.publish(
                EventKind.DEVICE,
                to="residency_device",
                reason="NVML's processes can't be matched to ours or carry no bytes: residency is judged by each "
                "device's used memory before and after a load",
            )
        for device in snapshot.devices:
            if device.uuid in self._to_reboot and device.recovery_action == 0 and device.health == "ok":
                self._to_reboot.discard(device.uuid)
                self.host.lost.discard(device.uuid)
                self._publish(device, "lost", "ok", "NVML no longer advises a reboot for the GPU")
        fail_strayed(self._replicas(), snapshot, self.host.reservations)
        self.look_again()

    def _find_again(self, snapshot: DevicesSnapshot) -> None:
        """NVML failed as a whole and is back, as with a driver that was loaded anew: a GPU that it shows well is well.

        While it failed it could not say that a GPU, which an XID called lost, is lost and then well again.
        """
        for uuid in sorted(self.host.lost):
            device = snapshot.by_uuid.get(uuid)
            if device is not None and device.health == "ok":
                self.host.lost.discard(uuid)
                self._publish(device, "lost", "ok", "the device library answers again and shows the GPU well")

    def look_again(self) -> None:
        """Memory, a port or a device may be free by now."""
        self.host.look_again.set()

    # -- replicas that wait ----------------------------------------------------------------------------------------

    def _replicas(self) -> list[Replica]:
        return [replica for pool in self.pools.values() for replica in pool.replicas.values()]

    def _waiting(self) -> list[Replica]:
        waits = {FailureClass.MEMORY, FailureClass.DEVICE}
        return [replica for replica in self._replicas() if replica.state.waits_for in waits]

    async def _look_after_waiting(self) -> None:
        """Runs as long as the daemon. Sleeps without a timer while nobody waits."""
        while True:
            try:
                async with asyncio.timeout(self._pause_s()):
                    await self.host.look_again.wait()
            except TimeoutError:
                pass
            self.host.look_again.clear()
            if self.host.shutting_down:
                self._holders.follow(())
                return
            if self.host.quarantined:
                await self._retest()
            for replica in self._waiting():
                try:
                    await self._try(replica)
                except Exception:  # noqa: BLE001 - one replica's trouble must not end the watch over the others
                    _log.exception("looking after %s failed", replica.name, extra=replica.log_fields)
            self._holders.follow(self._named_holders())

    def _named_holders(self) -> set[int]:
        """The processes that stand in the way of those who wait for memory, by the refusals' own words."""
        if self.host.inventory.snapshot.residency != "process":
            return set()
        failures = [one.state.failure for one in self._waiting() if one.state.waits_for is FailureClass.MEMORY]
        details = [failure.details for failure in failures if failure is not None]
        named = [holder.get("pid") for one in details for holder in one.get("holders", ())]
        return {pid for pid in [*named, *(one.get("holder_pid") for one in details)] if isinstance(pid, int)}

    def _pause_s(self) -> float | None:
        """How long to wait for news. Short only where something may become free without any."""
        waiting = {replica.state.waits_for for replica in self._waiting()}
        snapshot = self.host.inventory.snapshot
        well = any(device.health == "ok" for device in snapshot.devices if device.uuid in self.host.quarantined)
        if FailureClass.MEMORY in waiting or well:
            return RECHECK_S
        return SELDOM_S if waiting or self.host.quarantined else None

    async def _try(self, replica: Replica) -> None:
        since = replica.state.since
        if replica.releasing is not None and replica.releasing.holder(await self.host.inventory.refresh()) is not None:
            return
        try:
            await preflight.check(self.host, replica.target, reserve=False)
        except PoolManagerError:
            return
        if replica.state.since == since and replica.state.waits_for is not None:
            replica.trigger = "restart"
            replica.signal(Input(Signal.RECHECK))

    async def _retest(self) -> None:
        """Let a quarantined device go once it is enumerated, its memory readable and no process left on it."""
        snapshot = await self.host.inventory.refresh()
        if snapshot.stale:
            return
        for uuid in sorted(self.host.quarantined):
            device = snapshot.by_uuid.get(uuid)
            if device is None or device.health != "ok" or device.recovery_action:
                continue
            if running := self.on_device(uuid):
                for replica in running:  # one that was just being started when the device failed
                    self.driver_error(replica, device, f"GPU {device.index} ({uuid}) is quarantined")
                continue
            if not self._left_on(device, snapshot):
                self.host.quarantined.discard(uuid)
                self._remember(uuid, "")
                self._publish(device, "quarantined", "ok", "the re-test of the device passed")

    def _left_on(self, device: Device, snapshot: DevicesSnapshot) -> bool:
        """Whether NVML still lists a process of an engine that has ended, or of any that is no more."""
        if snapshot.residency != "process":
            return False
        ended = {pid for replica in self._replicas() if replica.releasing is not None for pid in replica.releasing.pids}
        return any(process.pid in ended or read_stat(process.pid) is None for process in device.processes)

    # -- health ----------------------------------------------------------------------------------------------------

    def on_health(self, event: HealthEvent) -> None:
        """NVML says that a device is lost, needs a reset, can't be read, or is well again."""
        device = self.host.inventory.snapshot.by_uuid.get(event.uuid)
        if device is None:
            return
        if event.after == "lost":
            if device.uuid not in self.host.lost:
                self._publish(device, event.before, "lost", "NVML says that the GPU is lost")
            self.lose(device, f"GPU {device.index} ({device.uuid}) is lost")
        elif event.after == "reset_required":
            self.quarantine(device, "NVML says that the GPU needs a reset")
        elif event.after == "unreadable":
            self._publish(device, event.before, "lost", "the device cannot be read")
            self.lose(device, f"GPU {device.index} ({device.uuid}) cannot be read")
        else:
            self.host.lost.discard(device.uuid)
        if event.after == "ok" and device.uuid not in self.host.quarantined:
            self._publish(device, event.before, "ok", "the device is usable again")
        self.look_again()

    def forget_absent(self, named: Collection[str]) -> None:
        """Forget the GPUs that are out of the host, but for those that a pool names or has an engine on.

        One that waits for its re-test or for a restart of the host is kept, too: it has to pass it when it is back.

        :param named: the UUIDs that the config in force names.
        """
        kept = {*named, *self.host.quarantined, *self._to_reboot}
        absent = {
            device.uuid
            for device in self.host.inventory.snapshot.devices
            if device.health == "lost" and device.uuid not in kept and not self.on_device(device.uuid)
        }
        if absent:
            self.host.inventory.forget(absent)

    def on_forgotten(self, device: Device) -> None:
        """A GPU that was lost is spoken of no more."""
        self.host.lost.discard(device.uuid)
        reason = "NVML no longer enumerates it, and no pool of the config names it"
        self._publish(device, "lost", "forgotten", reason)

    def quarantine(self, device: Device, reason: str) -> None:
        """Start nothing on the device until a re-test has passed; its pools restart then.

        A GPU is reset as a whole: with one of its MIG instances all of them are concerned.
        """
        for one in self._whole(device):
            if one.uuid in self.host.quarantined:
                continue
            self.host.quarantined.add(one.uuid)
            self._remember(one.uuid, reason)
            self._publish(one, "ok", "quarantined", reason)
            for replica in self.on_device(one.uuid):
                self.driver_error(replica, one, reason)

    def _whole(self, device: Device) -> tuple[Device, ...]:
        return self.host.inventory.snapshot.family(device.uuid) or (device,)

    def lose_by_xid(self, device: Device, reason: str, *, until_advised: bool = False) -> None:
        """Call a device lost whatever NVML says of it now.

        :param until_advised: until NVML's recovery action is none; else until it has said that the device is well.
        """
        for one in self._whole(device):
            self.host.lost.add(one.uuid)
            if until_advised:
                self._to_reboot.add(one.uuid)
            self._publish(one, "ok", "lost", reason)
            self.lose(one, reason)

    def _remember(self, uuid: str, reason: str) -> None:
        """Store what is wrong with a device, for the next daemon."""
        if uuid in self.host.quarantined:
            self.host.store.post([Put("device", uuid, {"quarantined_at": self.host.clock(), "reason": reason})])
        else:
            self.host.store.post([Delete("device", uuid)])

    def restore(self, documents: Iterable[str]) -> None:
        """The devices that an earlier daemon had put into quarantine. Whether one is lost, NVML says by now."""
        self.host.quarantined.update(documents)

    def lose(self, device: Device, reason: str) -> None:
        """Fail every pool on the device until it is back."""
        for replica in self.on_device(device.uuid):
            if replica.run is None:
                continue
            replica.fail(
                Failure(
                    Code.GPU_UNAVAILABLE,
                    f"{reason}: pool {replica.pool_id} replica {replica.replica_id} cannot go on",
                    "a lost GPU is back after a restart of the host as a rule; the pool starts by itself then",
                    FailureClass.DEVICE,
                    "driver_error",
                    {"device": device.uuid},
                )
            )

    def _publish(self, device: Device, old: str | None, new: str, reason: str) -> None:
        self.host.bus.publish(
            EventKind.DEVICE,
            device=device.uuid,
            from_=old,
            to=new,
            reason=reason,
            details={
                "index": device.index,
                "name": device.name,
                "pools": sorted({one.pool_id for one in self.on_device(device.uuid)}),
                "recovery_action": device.recovery_action,
            },
        )

    def on_device(self, uuid: str) -> list[Replica]:
        """The replicas that run on a device; on a GPU that is divided, those on its MIG instances."""
        uuids = self.parts_of(uuid)
        return [one for one in self._replicas() if one.run is not None and not uuids.isdisjoint(one.run.spec.devices)]

    def parts_of(self, uuid: str) -> set[str]:
        """The device itself and, if it is a GPU, its MIG instances."""
        return {uuid, *(one.uuid for one in self.host.inventory.snapshot.devices if one.parent == uuid)}

    def driver_error(self, replica: Replica, device: Device, reason: str) -> None:
        """Drain a running replica and restart it with the driver's backoff."""
        if replica.state.phase not in {Phase.LOADING, Phase.READY, Phase.DRAINING} or replica.state.after_stop:
            return
        replica.fail(
            Failure(
                Code.DRIVER_ERROR,
                f"{reason}: pool {replica.pool_id} replica {replica.replica_id} is drained and restarted",
                "look at the kernel log for the driver's own message",
                FailureClass.DRIVER,
                "driver_error",
                {"device": device.uuid},
            ),
            let_leases_end=True,
        )
