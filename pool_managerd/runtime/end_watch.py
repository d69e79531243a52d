"""Waking up when one of some foreign processes ends: the kernel tells by pidfd, whoever their parent is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable


class EndWatch:
    """Follows processes that are none of ours.

    :param on_end: called on the loop when one of them has ended.
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._followed: dict[int, int] = {}

    def follow(self, pids: Iterable[int]) -> None:
        """Follow these from now on, and no others. One that cannot be followed is left to who looks now and then."""
        wanted = set(pids)
        for pid in self._followed.keys() - wanted:
            self._forget(pid)
        for pid in wanted - self._followed.keys():
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                self._on_end()  # it has just ended
                continue
            except OSError:
                continue
            self._followed[pid] = descriptor
            asyncio.get_running_loop().add_reader(descriptor, self._ended, pid)

    def _ended(self, pid: int) -> None:
        self._forget(pid)
        self._on_end()

    def _forget(self, pid: int) -> None:
        descriptor = self._followed.pop(pid)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
