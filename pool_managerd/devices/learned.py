"""Needs learned from what engines were measured to hold: remembered by model, engine version, flags and GPUs' sizes.

Where the model file tells the need, a measured peak above it counts instead, GPU by GPU; where nothing tells it, the
peak is the need. A figure that was said, by the operator or by the stand-in engine's settings, is never replaced.

A peak never makes a need that the GPU could not meet if it were empty: what ran there once may be started there again.
Nothing is learned of engines that take a share of whatever GPU they are on (:attr:`Engine.takes_share`): what they hold
says nothing of what they need.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pool_managerd.devices.capacity import capacity
from pool_managerd.devices.need import DeviceShare, Need
from pool_managerd.devices.snapshot import Device


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that a replica was seen to hold.

    :param held: bytes on each GPU, in mask order.
    :param version: of the engine; ``None`` where it does not say.
    :param at: wall time in seconds when it was seen.
    """

    held: tuple[int, ...]
    version: str | None
    at: float

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Peak:
        """The inverse of :meth:`as_json`."""
        return cls(tuple(int(held) for held in document["held"]), document["version"], float(document["at"]))

    def as_json(self) -> dict[str, Any]:
        """For the store."""
        return {"held": list(self.held), "version": self.version, "at": self.at}


def need_key(
    *,
    engine: str,
    model: Path | None,
    args: Sequence[str],
    command: Sequence[str],
    context: int,
    slots: int,
    kv_type: str,
    split: Sequence[float],
    simulated: Mapping[str, Any],
    sizes: Sequence[int],
) -> str:
    """What the memory of an engine depends on, its version apart: model file, kind, flags. One look at the file.

    :param sizes: bytes of memory of its GPUs, in mask order: an engine may make use of what there is.
    """
    seen = None
    if model is not None:
        try:
            stat = model.stat()
            seen = [str(model), stat.st_size, stat.st_mtime_ns]
        except OSError:
            seen = [str(model)]
    facts = [engine, seen, list(args), list(command), context, slots, kv_type, [f"{one:.6f}" for one in split]]
    text = json.dumps([*facts, dict(simulated), list(sizes)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def chosen(peaks: Iterable[Peak], version: str | None) -> Peak | None:
    """The peak of this engine version; of a version that is not known yet, the newest of any."""
    found = list(peaks)
    own = [peak for peak in found if peak.version == version]
    return max(own or found, key=lambda peak: peak.at, default=None)


def with_peak(need: Need, peak: Peak | None, devices: Sequence[Device], split: Sequence[float], overhead: int) -> Need:
    """The need, or what was measured where that is more or nothing else is known.

    :param devices: its GPUs, in mask order.
    :param overhead: bytes that stay free on each of them.
    """
    if peak is None or need.basis in {"configured", "simulated"} or len(peak.held) != len(devices):
        return need
    most = [min(held, capacity(device, overhead)) for device, held in zip(devices, peak.held, strict=True)]
    if not need.shares:
        shares = tuple(
            DeviceShare(device.uuid, ratio, held, 0, 0, 0)
            for device, ratio, held in zip(devices, split, most, strict=True)
        )
        return replace(need, shares=shares, basis="measured")
    shares = tuple(replace(share, measured=held) for share, held in zip(need.shares, most, strict=True))
    larger = any(share.measured > share.estimated for share in shares)
    return replace(need, shares=shares, basis="measured") if larger else need
