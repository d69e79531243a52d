"""Telling systemd how the daemon is (``Type=notify``, ``WatchdogSec=``); nothing happens where nobody listens."""

from __future__ import annotations

import asyncio
import os
import socket
import time


def notify(*states: str) -> bool:
    """Send states such as ``READY=1``, together; whether somebody listens. See sd_notify(3). Never blocks."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto("\n".join(states).encode(), address)
        except OSError:
            return False
    return True


def notify_ready(status: str) -> bool:
    """The daemon serves, or has read its config again; ``status`` stands in ``systemctl status``."""
    return notify("READY=1", f"MAINPID={os.getpid()}", f"STATUS={status}")


def notify_reloading() -> bool:
    """The config is being read again; :func:`notify_ready` follows, whatever comes of it."""
    return notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_s() -> float | None:
    """After how many seconds of silence systemd takes the daemon for hung; ``None`` if it does not watch it.

    See sd_watchdog_enabled(3). A value that is no positive number is taken as none.
    """
    if (os.environ.get("WATCHDOG_PID") or str(os.getpid())) != str(os.getpid()):
        return None
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if text.isdecimal() and int(text) > 0 else None


class Watchdog:
    """Says twice in each watchdog time that the event loop still turns. Made and closed inside that loop.

    It is the loop itself that speaks, so that a loop which hangs is silent, and systemd ends and restarts the daemon.
    """

    def __init__(self) -> None:
        self._every_s = watchdog_s()
        self._timer: asyncio.TimerHandle | None = None
        self._ping()

    def _ping(self) -> None:
        if self._every_s is None:
            return
        notify("WATCHDOG=1")
        self._timer = asyncio.get_running_loop().call_later(self._every_s / 2, self._ping)

    def close(self) -> None:
        """Say nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
