"""The outermost layer of the HTTP facade: what holds for every request, whatever its route.

Correlation id, path, token, origin, body size, headers of every answer, and the last resort for faults.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pool_managerd.api import correlation
from pool_managerd.api.auth import Auth
from pool_managerd.api.http_errors import fault_response
from pool_managerd.api.http_request import too_large
from pool_managerd.api.openapi import guarded
from pool_managerd.core.errors import Code, PoolManagerError

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: After a 413, what a client still sends is thrown away for so many seconds and bytes, so that it can read
#: the answer: a connection that is closed on unread data is reset, and the answer lost.
LINGER_S = 2.0
LINGER_BYTES = 64 * 1024 * 1024


class Edge:
    """An ASGI application around another one.

    :param max_request_bytes: the largest body.
    """

    def __init__(self, app: ASGIApp, *, auth: Auth, max_request_bytes: int) -> None:
        self._app = app
        self._auth = auth
        self._limit = max_request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        headers = _Headers(scope)
        answer = _Answer(send, correlation.begin(headers.only("x-correlation-id")))
        scope["path"] = plain_path(scope["raw_path"].decode("latin-1"))
        try:
            self._admit(scope, headers)
            await self._app(scope, receive, answer.send)
        except (Exception, asyncio.CancelledError) as fault:  # noqa: BLE001 - whatever it is, the caller is told
            # Nothing but the server's own end cancels a request, after its time of grace.
            told = _shutting_down() if isinstance(fault, asyncio.CancelledError) else fault
            response = fault_response(told, method=scope["method"], path=scope["path"])
            if not answer.started:
                await response(scope, receive, answer.send)
        if answer.held:
            await _linger(receive)
            await answer.release()

    def _admit(self, scope: Scope, headers: _Headers) -> None:
        changes = scope["method"] not in _SAFE_METHODS
        if guarded(scope["path"]):
            self._auth.authorize(headers.only("authorization"), changes=changes)
            if not self._auth.required:
                _check_host(headers.only("host"))
        if changes:
            _check_origin(headers, any_name=self._auth.required)
        length = headers.only("content-length")
        if length is not None and length.isdigit() and int(length[:19]) > self._limit:
            raise too_large(self._limit, int(length[:19]))


class _Headers:
    def __init__(self, scope: Scope) -> None:
        self._pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]

    def only(self, name: str) -> str | None:
        return correlation.first(self._pairs, name)


class _Answer:
    """Adds to every answer what all of them have, and holds back the end of one that has to linger."""

    def __init__(self, send: Send, correlation_id: str) -> None:
        self._send = send
        self._correlation_id = correlation_id.encode("ascii")
        self.started = False
        self.held = False
        self._too_large = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._too_large = message["status"] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            message = {**message, "headers": self._with_common(message.get("headers", []))}
        elif self._too_large and not message.get("more_body", False):
            self.held = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def release(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _with_common(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        result = [
            *headers,
            (b"x-correlation-id", self._correlation_id),
            (b"x-content-type-options", b"nosniff"),
            (b"date", _date()),
        ]
        if not any(name == b"cache-control" for name, _ in headers):
            result.append((b"cache-control", b"no-store"))
        if self._too_large:
            result.append((b"connection", b"close"))
        return result


def plain_path(raw_path: str) -> str:
    """Decode what a path may as well have plain, and nothing else: an encoded slash stays within its segment."""

    def decode(match: re.Match[str]) -> str:
        char = chr(int(match.group(1), 16))
        return char if char in _UNRESERVED else match.group(0)

    return _ESCAPE.sub(decode, raw_path)


def _shutting_down() -> PoolManagerError:
    return PoolManagerError(
        Code.SHUTTING_DOWN, "the daemon ended before the answer was there", hint="ask again once it is back"
    )


def _check_origin(headers: _Headers, *, any_name: bool) -> None:
    # A web page on another site may send simple requests to a daemon on the reader's own host. Browsers say
    # where such a request comes from; programs send no Origin. A site can also let its own name lead to the reader's
    # host (DNS rebinding): then both are the same, and only a token, or a host that no site can be named like, tells
    # its page from ours.
    origin = headers.only("origin")
    if origin is None:
        return
    parts = urlsplit(origin)
    own = parts.netloc.lower() == (headers.only("host") or "").lower()
    if own and (any_name or _is_no_site(parts.hostname or "")):
        return
    raise PoolManagerError(
        Code.FORBIDDEN,
        "a web page of another site may not change anything here",
        hint="open the dashboard by its IP address or as localhost, or configure a token"
        if own
        else "send the request from a program, without an Origin header",
        details={"origin": origin[:200]},
    )


def _check_host(host: str | None) -> None:
    # Without a token, a page of a site whose name leads to the reader's host would read what is guarded: to its browser
    # it is the same site, and no Origin is sent.
    if host is None or _is_no_site(_hostname(host)):
        return
    raise PoolManagerError(
        Code.FORBIDDEN,
        f"without a token the daemon answers to addresses and to localhost only, not to the name {host[:200]!r}",
        hint="call it by its IP address or as localhost, or configure a token",
        details={"host": host[:200]},
    )


def _hostname(host: str) -> str:
    with suppress(ValueError):
        return urlsplit(f"//{host}").hostname or ""
    return ""


def _is_no_site(host: str) -> bool:
    """Whether a host is given in a way that nobody else's name can lead to it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


async def _linger(receive: Receive) -> None:
    taken = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while taken < LINGER_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                taken += len(message.get("body", b""))


_second = (0, b"")


def _date() -> bytes:
    global _second  # noqa: PLW0603 - one rendering per second for the whole process
    now = int(time.time())
    if now != _second[0]:
        _second = (now, formatdate(now, usegmt=True).encode("ascii"))
    return _second[1]
