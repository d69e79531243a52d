"""Fixtures: a place for a daemon, its supervision in the loop, and whole daemons."""

from collections.abc import Callable

import pytest
from supervisor_world import DaemonProcess, Place, World, pool


@pytest.fixture
def place(tmp_path) -> Callable[..., Place]:
    """Make the folder of a daemon; pools as made by :func:`supervisor_world.pool`."""
    made = []

    def make(*pools: str, server: str = "") -> Place:
        made.append(Place(tmp_path, *(pools or (pool(),)), server=server))
        return made[-1]

    yield make
    for one in made:
        one.kill_engines()


@pytest.fixture
def world(place) -> Callable[..., World]:
    """The supervision of a daemon, to be entered with ``async with``."""

    def make(*pools: str, server: str = "") -> World:
        return World(place(*pools, server=server))

    return make


@pytest.fixture
def daemon(place):
    """A daemon as a process, not started yet."""
    made = []

    def make(*pools: str, server: str = "") -> DaemonProcess:
        made.append(DaemonProcess(place(*pools, server=server)))
        return made[-1]

    yield make
    for one in made:
        one.close()
