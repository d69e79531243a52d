"""What NVIDIA's XID errors do to the pools, by the class of their number."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pool_managerd.core.errors import Code
from pool_managerd.core.events import EventKind
from pool_managerd.core.failures import Failure, FailureClass
from pool_managerd.core.phases import Phase
from pool_managerd.core.replica_state import Input, Signal
from pool_managerd.devices.inventory import XidEvent
from pool_managerd.devices.snapshot import RECOVERY_ACTIONS, Device
from pool_managerd.devices.xid import XidClass, class_of_recovery_action, classify
from pool_managerd.runtime.liveness import probe
from pool_managerd.runtime.loading import ENDING_S
from pool_managerd.runtime.replica import Replica
from pool_managerd.runtime.run import EXPLAINS_S, Run, XidSign

if TYPE_CHECKING:
    from pool_managerd.runtime.device_events import DeviceEvents


class Xids:
    """Judges each XID that the driver reports.

    :param devices: carries out what has to be done with a device.
    """

    def __init__(self, devices: DeviceEvents) -> None:
        self.devices = devices
        self.host = devices.host

    def on_xid(self, event: XidEvent) -> None:
        """React by the XID's class; each one is an event, whatever its class."""
        told = classify(event.xid)
        if told is XidClass.RECOVERY_ACTION:
            self.host.start_task(self._follow_advice(event), f"XID {event.xid}")
        else:
            self._judge(event, told, told, f"XID {event.xid} on {event.uuid} is of the class {told}")

    async def _follow_advice(self, event: XidEvent) -> None:
        """The driver's advice for the device has changed: ask NVML what it is now."""
        device = (await self.host.inventory.refresh()).by_uuid.get(event.uuid)
        action = None if device is None else device.recovery_action
        words = "does not say what" if action is None else f"advises: {RECOVERY_ACTIONS.get(action, str(action))}"
        reason = f"XID {event.xid} on {event.uuid}: the recovery action has changed, NVML {words}"
        self._judge(event, XidClass.RECOVERY_ACTION, class_of_recovery_action(action), reason)

    def _judge(self, event: XidEvent, told: XidClass, meant: XidClass, reason: str) -> None:
        concerned = self.devices.on_device(event.uuid)
        device = self.host.inventory.snapshot.by_uuid.get(event.uuid)
        self.host.bus.publish(
            EventKind.XID,
            device=event.uuid,
            reason=reason,
            details={
                "xid": event.xid,
                "xid_class": str(told),
                "pools": sorted({replica.pool_id for replica in concerned}),
                "needs_reset": meant in {XidClass.RESET, XidClass.LOST},
                "recovery_action": None if device is None else device.recovery_action,
            },
        )
        if device is None:
            return
        what = f"XID {event.xid} on GPU {device.index} ({device.uuid})"
        died = self._died_just_now(device.uuid)
        if meant in {XidClass.APPLICATION, XidClass.RESET, XidClass.LOST}:
            self._note(died, concerned, device, what)
        match meant:
            case XidClass.RESET:
                self.devices.quarantine(device, f"{what} calls for a reset")
            case XidClass.LOST:
                by_advice = told is XidClass.RECOVERY_ACTION
                why = "NVML advises a reboot" if by_advice else "the GPU has fallen off the bus"
                self.devices.lose_by_xid(device, f"{what}: {why}", until_advised=by_advice)
            case XidClass.APPLICATION if len(concerned) == 1 and not died:
                self.devices.driver_error(concerned[0], device, f"{what}, where it is alone")
            case XidClass.APPLICATION:
                for replica in concerned:
                    if replica.run is not None:
                        self.host.start_task(self._look_closer(replica, replica.run, device, what), f"XID {event.xid}")
            case _:
                return

    def _note(self, died: list[Replica], concerned: list[Replica], device: Device, what: str) -> None:
        """It says why those ended who did so just now, and why one will have ended who does so in a moment."""
        for replica in died:
            self._explain(replica, device, what)
        for replica in concerned:
            # One that was started anew meanwhile had no part in it.
            if replica.run is not None and replica not in died:
                replica.run.xid = XidSign(what, device.uuid, self.host.clock())

    async def _look_closer(self, replica: Replica, run: Run, device: Device, what: str) -> None:
        """Several share the device: whose error it was shows by who fails a probe, or ends within a moment."""
        problem = f"{run.probe_failures} failed in a row" if run.probe_failures else None
        if problem is None and replica.state.phase is Phase.READY:
            problem = await probe(replica.owner.config, run)
        if problem is not None:
            # A process that ends fails its probe, too: then its end says more.
            await asyncio.wait([run.process.exited], timeout=ENDING_S)
            if replica.run is run and run.process.running:
                self.devices.driver_error(replica, device, f"{what}, and a health check failed ({problem})")
                return
        await asyncio.wait([run.process.exited], timeout=EXPLAINS_S)
        if replica in self._died_just_now(device.uuid):
            self._explain(replica, device, what)

    def _died_just_now(self, uuid: str) -> list[Replica]:
        """The replicas whose engine ended on a device a moment ago, with nothing more known than how."""
        since = self.host.clock() - EXPLAINS_S
        uuids = self.devices.parts_of(uuid)
        return [
            replica
            for pool in self.devices.pools.values()
            for replica in pool.replicas.values()
            # What runs again by now may have caused it itself, and what is at rest is so for another reason.
            if replica.run is None
            and replica.state.phase in {Phase.BACKOFF, Phase.CIRCUIT_OPEN}
            and not uuids.isdisjoint(replica.devices)
            and replica.state.failure is not None
            and replica.state.failure.code is Code.ENGINE_EXITED
            and replica.state.failure.failure_class is not FailureClass.CONFIGURATION
            and (replica.state.failed_at or 0.0) >= since
        ]

    @staticmethod
    def _explain(replica: Replica, device: Device, reason: str) -> None:
        known = replica.state.failure
        failure = Failure(
            Code.DRIVER_ERROR,
            f"{reason}: it explains why the engine of pool {replica.pool_id} replica {replica.replica_id} ended",
            "look at the kernel log for the driver's own message",
            known.failure_class if known is not None else FailureClass.CRASH,
            "driver_error",
            {**(known.details if known is not None else {}), "device": device.uuid},
        )
        replica.signal(Input(Signal.EXPLAINED, failure=failure))
