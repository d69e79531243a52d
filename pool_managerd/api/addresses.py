"""Listening addresses: reading them, and taking them before anything else is started."""

from __future__ import annotations

import errno
import socket

#: How many connections may wait to be accepted (the kernel caps it at net.core.somaxconn).
BACKLOG = 2048


def parse_address(text: str) -> tuple[str, int]:
    """Split ``host:port``, ``[v6]:port`` or ``:port`` (all interfaces). Port 0 means any free one.

    :raises ValueError: naming the text.
    """
    host, separator, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"not an address: {text!r} (an IPv6 address stands in brackets, as in [::1]:9200)")
    if not separator or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"not an address: {text!r} (expected host:port)")
    return host or "0.0.0.0", int(port)  # noqa: S104 - an empty host means all interfaces, as it is written


def format_address(host: str, port: int) -> str:
    """Join what :func:`parse_address` split."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind_sockets(address: str) -> socket.socket:
    """Take a TCP address for listening. Nothing is accepted before the socket is handed to a server.

    :raises OSError: with the address in its text, if it is taken or not this host's.
    :raises ValueError: if the text is no address.
    """
    host, port = parse_address(address)
    problem: OSError | None = None
    try:
        candidates = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise address_error(address, error) from error
    for family, kind, protocol, _, target in candidates:
        listener = socket.socket(family, kind, protocol)
        try:
            # A port whose last connections are in TIME_WAIT is free; one with a listener is not.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(target)
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            problem = error
        else:
            return listener
    raise address_error(address, problem)


def address_error(address: str, cause: OSError | None) -> OSError:
    """Make the error that names the address and the system's reason."""
    number = (cause.errno if cause else None) or errno.EADDRNOTAVAIL
    reason = (cause.strerror if cause else None) or "cannot be used"
    return OSError(number, f"cannot listen on {address}: {reason}")
