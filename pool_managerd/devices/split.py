"""Tensor splits: explicit shares of a model over several GPUs. Nothing is ever split by default or reduced."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from pool_managerd.core.errors import Code, PoolManagerError


def parse_weights(weights: Iterable[Any]) -> tuple[float, ...]:
    """Check each weight for itself, without knowing the devices.

    :raises PoolManagerError: INVALID_SPLIT for a weight that is zero, negative, not finite or not a number.
    """
    written = list(weights)
    for number, weight in enumerate(written, start=1):
        why = _fault(weight)
        if why:
            raise _invalid(f"tensor_split {written}: weight {number} is {weight!r}, {why}", written)
    return tuple(float(weight) for weight in written)


def normalise_split(weights: Iterable[Any], n_devices: int, *, even_only: str | None = None) -> tuple[float, ...]:
    """The ratios of the devices, in mask order, with a sum of 1.0.

    :param weights: any positive numbers; for one device none are needed.
    :param even_only: the engine kind's name, where it can only split evenly.
    :raises PoolManagerError: INVALID_SPLIT for bad weights, for none with several devices, for a number of weights
        that is not the number of devices, and for unequal ones where ``even_only`` is given.
    """
    written = parse_weights(weights)
    if not written and n_devices == 1:
        return (1.0,)
    if not written:
        raise PoolManagerError(
            Code.INVALID_SPLIT,
            f"the mask has {n_devices} GPUs and tensor_split is not set; nothing is ever split by default",
            hint=f"set tensor_split with {n_devices} weights in mask order, for instance {[1] * n_devices}",
            details={"tensor_split": [], "weights": 0, "devices": n_devices},
        )
    if len(written) != n_devices:
        raise PoolManagerError(
            Code.INVALID_SPLIT,
            f"tensor_split has {len(written)} weights and the mask has {n_devices} GPUs",
            hint="give one weight for each device of the mask, in its order",
            details={"tensor_split": list(written), "weights": len(written), "devices": n_devices},
        )
    if even_only is not None and not _even(written):
        raise PoolManagerError(
            Code.INVALID_SPLIT,
            f"engine kind {even_only!r} can only split evenly, and tensor_split is {list(written)}",
            hint="give equal weights, or choose an engine that splits by ratio (llamacpp)",
            details={"tensor_split": list(written), "engine": even_only},
        )
    largest = max(written)  # scaled first: the sum of huge weights would overflow
    total = math.fsum(weight / largest for weight in written)
    ratios = tuple(weight / largest / total for weight in written)
    if min(ratios) <= 0:
        raise _invalid(f"tensor_split {list(written)}: beside the largest weight the smallest is nothing", written)
    return ratios


def _even(weights: Sequence[float]) -> bool:
    return math.isclose(min(weights), max(weights), rel_tol=1e-9)


def _fault(weight: Any) -> str | None:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        return "not a number"
    try:
        value = float(weight)
    except OverflowError:
        return "not finite"
    if not math.isfinite(value):
        return "not finite"
    if value <= 0:
        return "not above zero"
    return None


def _invalid(message: str, written: Sequence[Any]) -> PoolManagerError:
    shown = [weight if _fault(weight) in (None, "not above zero") else str(weight) for weight in written]
    return PoolManagerError(
        Code.INVALID_SPLIT,
        message,
        hint="weights are positive finite numbers, one for each device of the mask",
        details={"tensor_split": shown},
    )
