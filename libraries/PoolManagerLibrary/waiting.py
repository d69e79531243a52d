"""The one wait helper: monotonic clock, attempts, elapsed, last value, and a message that explains a failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from PoolManagerLibrary.errors import WaitTimeout
from PoolManagerLibrary.units import show_seconds

T = TypeVar("T")

FIRST_PAUSE = 0.004
LONGEST_PAUSE = 0.05
#: How long a pool may take to become what a step waits for, unless the step says a time.
LOAD_LIMIT = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Waited(Generic[T]):
    """What a wait ended with; ``elapsed`` in seconds."""

    value: T
    elapsed: float
    attempts: int


def wait_until(
    look: Callable[[], T],
    accept: Callable[[T], object],
    *,
    timeout: float,
    expected: str,
    show: Callable[[T], str] = repr,
    context: Callable[[], str] | None = None,
    pause: Callable[[float], object] | None = None,
    limit: str = "",
) -> Waited[T]:
    """Look until what is seen is accepted.

    :param timeout: seconds; at least one look is taken.
    :param expected: what is waited for, as the end of the sentence "Expected …".
    :param show: how the last value is shown in the failure.
    :param context: asked on failure only, for what else helps (last error, latest events).
    :param pause: waits at most the given seconds for a reason to look again; default: a short, growing sleep.
    :param limit: the limit as the scenario says it, where it is not ``timeout``.
    :raises WaitTimeout: with expected, last value, elapsed, attempts and context.
    """
    started = time.monotonic()
    deadline = started + timeout
    attempts = 0
    sleep = FIRST_PAUSE
    while True:
        value = look()
        attempts += 1
        if accept(value):
            return Waited(value, time.monotonic() - started, attempts)
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        if pause is None:
            time.sleep(min(sleep, remaining))
            sleep = min(sleep * 1.5, LONGEST_PAUSE)
        else:
            pause(remaining)
    looks = "1 look" if attempts == 1 else f"{attempts} looks"
    lines = [
        (
            f"Expected {expected} within {limit or show_seconds(timeout)}, but not so after "
            f"{show_seconds(time.monotonic() - started)} and {looks}."
        ),
        f"Last seen: {show(value)}",
    ]
    if context is not None:
        lines.append(context())
    raise WaitTimeout("\n".join(line for line in lines if line))
