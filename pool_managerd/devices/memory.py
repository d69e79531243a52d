"""GPU and host memory: what an engine needs, what others were promised, and whether it fits."""

from __future__ import annotations

from pool_managerd.devices.advice import Largest, advise, largest_that_fits
from pool_managerd.devices.capacity import capacity, check_split, largest_ratio
from pool_managerd.devices.need import (
    KV_TYPES,
    SIMULATED_VRAM_BYTES,
    DeviceShare,
    ModelNeed,
    Need,
    llamacpp_need,
    need_of,
)
from pool_managerd.devices.ram import HostRam, fit_ram, host_ram_available
from pool_managerd.devices.reservations import Key, Reservation, Reservations, check_usable, fit, free_for
from pool_managerd.devices.sizes import human

__all__ = [
    "KV_TYPES",
    "SIMULATED_VRAM_BYTES",
    "DeviceShare",
    "HostRam",
    "Key",
    "Largest",
    "ModelNeed",
    "Need",
    "Reservation",
    "Reservations",
    "advise",
    "capacity",
    "check_split",
    "check_usable",
    "fit",
    "fit_ram",
    "free_for",
    "host_ram_available",
    "human",
    "largest_ratio",
    "largest_that_fits",
    "llamacpp_need",
    "need_of",
]
