"""What would fit instead: the largest context and the largest number of slots, for a refusal's hint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.need import Need, PoolLike, need_of

#: Steps in which a context is looked for: llama.cpp rounds up to as many tokens anyway.
CONTEXT_STEP = 256


@dataclass(frozen=True, slots=True)
class _Variation:
    """A pool with another context or number of slots."""

    engine: str
    context: int
    slots: int
    kv_type: str
    vram_bytes: int | None = None
    ram_bytes: int | None = None
    simulated: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest values that fit, each with the other as it is; ``None`` where none does."""

    context: int | None
    slots: int | None


def largest_that_fits(
    pool: PoolLike, model: Path | None, devices: Sequence[str], split: Sequence[float], rooms: Mapping[str, int]
) -> Largest | None:
    """Look for the largest context and number of slots with which each GPU holds its share.

    :param rooms: bytes that each GPU has for this pool, by UUID.
    :returns: ``None`` where the need does not depend on them: it is configured, or not known.
    """
    if pool.vram_bytes is not None or pool.engine == "simulated" or model is None:
        return None

    def fits(context: int, slots: int) -> bool:
        varied = _Variation(pool.engine, context, slots, pool.kv_type)
        need = need_of(varied, model, devices, split)
        return all(share.total <= rooms.get(share.uuid, 0) for share in need.shares)

    context = _largest(lambda steps: fits(steps * CONTEXT_STEP, pool.slots), (pool.context - 1) // CONTEXT_STEP)
    slots = _largest(lambda count: fits(pool.context, count), pool.slots - 1)
    return Largest(None if context is None else context * CONTEXT_STEP, slots)


def advise(
    error: PoolManagerError,
    pool: PoolLike,
    model: Path | None,
    need: Need,
) -> None:
    """Add to a refusal for short memory what would fit: ``details.largest_context`` and ``largest_slots``, and words.

    Reads the model's header again, which the cache has: for a thread all the same. A model that cannot be read any
    more is left to the next attempt.
    """
    rooms = error.details.get("rooms")
    if error.code not in {Code.INVALID_SPLIT, Code.INSUFFICIENT_VRAM} or not isinstance(rooms, Mapping):
        return
    uuids, split = [share.uuid for share in need.shares], [share.ratio for share in need.shares]
    try:
        largest = largest_that_fits(pool, model, uuids, split, rooms)
    except PoolManagerError:
        return
    if largest is None:
        return
    error.details |= {"largest_context": largest.context, "largest_slots": largest.slots}
    ways = [
        f"{key} = {value}"
        for key, value in (("context", largest.context), ("slots", largest.slots))
        if value is not None
    ]
    if ways:
        error.hint = f"{error.hint}; with all else as it is, {' or '.join(ways)} would fit"
    else:
        error.hint = f"{error.hint}; no context and no number of slots is small enough"


def _largest(fits: Callable[[int], bool], most: int) -> int | None:
    """The largest number from 1 to ``most`` that fits, where every smaller one fits, too."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low or None
