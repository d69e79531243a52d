"""MIG instances in the document of a simulated GPU: which there are, and how NVML names them in an event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_NONE = 0xFFFFFFFF
#: The ids of GPU instance and compute instance where the GPU is meant as a whole.
WHOLE_GPU = (_NONE, _NONE)


def instances_of(gpu: dict[str, Any]) -> list[dict[str, Any]]:
    """The MIG instances that a GPU's document describes."""
    return [one for one in gpu.get("mig") or () if isinstance(one, dict) and "uuid" in one and "memory_total" in one]


def ids_of(instance: dict[str, Any]) -> tuple[int, int]:
    """The ids of an instance: of its GPU instance and of its compute instance."""
    return int(instance.get("gpu_instance_id", 0)), int(instance.get("compute_instance_id", 0))


def parent_of(gpus: Iterable[dict[str, Any]], uuid: str) -> tuple[str, tuple[int, int]]:
    """The GPU that an XID is reported for, and the ids of its MIG instance or of the whole."""
    for gpu in gpus:
        for instance in instances_of(gpu):
            if instance["uuid"] == uuid:
                return str(gpu["uuid"]), ids_of(instance)
    return uuid, WHOLE_GPU
