"""Waiting for an outcome, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def wait_at_most(work: Awaitable[T], seconds: float) -> T | None:
    """The outcome of ``work``, or ``None`` if the time is over first. Faults of ``work`` are raised."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        return None
