"""Telling systemd how the daemon is (``Type=notify``); nothing happens where nobody listens."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> bool:
    """Send one state such as ``READY=1``; whether somebody listens. See sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(state.encode(), address)
        except OSError:
            return False
    return True
