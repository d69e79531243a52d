"""What a drain waits for, and when it is over. Pure: the time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DrainVerdict(StrEnum):
    """What to do about a drain now."""

    WAIT = "wait"
    DRAINED = "drained"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class DrainDecision:
    """A verdict with its reason in words."""

    verdict: DrainVerdict
    reason: str


def judge_drain(*, active_leases: int, busy_slots: int | None, now: float, deadline: float) -> DrainDecision:
    """Whether a drain has to wait longer.

    :param busy_slots: the engine's own slots at work, also those without a lease; ``None`` where the engine does
        not say, and then only leases count.
    :param now: like ``deadline``, wall-clock seconds since the epoch.
    """
    if active_leases == 0 and not busy_slots:
        return DrainDecision(DrainVerdict.DRAINED, "no lease is active and no slot is busy")
    busy = f"{active_leases} leases active, {busy_slots or 0} slots busy"
    if now >= deadline:
        return DrainDecision(DrainVerdict.DEADLINE, f"the deadline has passed with {busy}")
    return DrainDecision(DrainVerdict.WAIT, f"{busy}, {max(0.0, deadline - now):.1f} s left")
