"""NVIDIA XID errors by what has to be done about them.

Source of the table: NVIDIA's XID catalogue ("XID Errors", resolution buckets), condensed to five reactions.
"""

from __future__ import annotations

from enum import StrEnum


class XidClass(StrEnum):
    """What an XID calls for."""

    LOST = "lost"
    """The GPU has fallen off the bus: unavailable until the host restarts."""
    RESET = "reset"
    """The GPU must be reset: every pool on it is affected, the device is quarantined until a re-test has passed."""
    RECOVERY_ACTION = "recovery_action"
    """NVML's recovery action changed: read it and follow it."""
    APPLICATION = "application"
    """Some process on the GPU failed: only an engine that shows it, or is alone on the device, is restarted."""
    IGNORE = "ignore"
    """Information, or the clean-up after a killed process: counted and logged."""
    UNKNOWN = "unknown"
    """Not in the table: counted, and logged as a warning."""


#: 48 (double-bit ECC) and 74 (NVLink) depend on NVIDIA's workflow; they are taken for the graver class.
_RESET = frozenset({46, 48, 62, 64, 74, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158})
_APPLICATION = frozenset({8, 11, 13, 25, 31, 32, 39, 40, 41, 60, *range(68, 73), 75, 76, 77, 80, 94})
_IGNORE = frozenset({37, 38, 43, 44, 45, 63, 66, 67, 92, 93, 121, 137, 141})

XID_CLASSES: dict[int, XidClass] = {
    79: XidClass.LOST,
    154: XidClass.RECOVERY_ACTION,
    **dict.fromkeys(_RESET, XidClass.RESET),
    **dict.fromkeys(_APPLICATION, XidClass.APPLICATION),
    **dict.fromkeys(_IGNORE, XidClass.IGNORE),
}


def classify(xid: int) -> XidClass:
    """The class of an XID number."""
    return XID_CLASSES.get(xid, XidClass.UNKNOWN)


def class_of_recovery_action(action: int | None) -> XidClass:
    """What NVML's recovery action (field 230) means for the pools on the device.

    0 is nothing to do; 2 and 7 (a reboot) make the GPU as good as lost until then; every other one is a reset.
    ``None``, where NVML does not say, is taken for a reset: the driver said that something must be done.
    """
    if action == 0:
        return XidClass.IGNORE
    if action in (2, 7):
        return XidClass.LOST
    return XidClass.RESET
