"""The daemon's HTTP facade as a caller sees it."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError

from PoolManagerLibrary.errors import DaemonError
from PoolManagerLibrary.outcome import Outcome, Protocol

DEFAULT_TIMEOUT = 10.0
#: How many connections are kept; more may be open at the same time.
KEPT_CONNECTIONS = 20
# A line per connection and request would bury what a report has to say.
logging.getLogger("urllib3").setLevel(logging.WARNING)


class HttpClient:
    """Calls over kept connections, from any thread. No proxy of the environment is ever used.

    :param base_url: asked at each call, because a restarted daemon has another port.
    """

    def __init__(self, base_url: Callable[[], str], token: Callable[[], str | None] = lambda: None) -> None:
        self._base_url = base_url
        self._token = token
        self._connections = urllib3.PoolManager(maxsize=KEPT_CONNECTIONS, retries=False)

    def request(
        self,
        method: str,
        path: str,
        *,
        json_body: Any = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Outcome:
        """One call. Whatever the daemon answers is an outcome, only no answer at all is an error.

        :raises DaemonError: if there is no answer within ``timeout`` seconds.
        """
        url = path if path.startswith("http") else self._base_url() + path
        sent = dict(headers or {})
        token = self._token()
        if token and "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {token}"
        body = data.encode() if isinstance(data, str) else data
        if json_body is not None:
            body = json.dumps(json_body).encode()
            sent.setdefault("Content-Type", "application/json")
        call = f"{method} {path}"
        at, started = time.time(), time.monotonic()
        try:
            response = self._send(method, url, body, sent, timeout)
        except HTTPError as error:
            raise DaemonError(f"{call}: no answer after {time.monotonic() - started:.3f} s: {error}") from error
        return outcome_of(
            response.status, response.headers, response.data, call, at=at, elapsed=time.monotonic() - started
        )

    def _send(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], timeout: float
    ) -> urllib3.BaseHTTPResponse:
        def send() -> urllib3.BaseHTTPResponse:
            return self._connections.request(
                method, url, body=body, headers=headers, timeout=timeout, redirect=False, retries=False
            )

        try:
            return send()
        except ProtocolError:
            # A kept connection that the other side closed meanwhile is no answer of the daemon: a fresh one, once.
            if method not in {"GET", "HEAD"}:
                raise
            self.forget_connections()
            return send()

    def forget_connections(self) -> None:
        """Close what is kept open, for instance because the daemon has been restarted."""
        self._connections.clear()


def outcome_of(
    status: int, headers: Mapping[str, str], content: bytes, call: str, *, at: float, elapsed: float
) -> Outcome:
    """The outcome of an HTTP exchange."""
    body: Any = None
    with contextlib.suppress(ValueError):
        body = json.loads(content) if content else None
    ok = 200 <= status < 300
    problem = body if not ok and isinstance(body, dict) and "code" in body else None
    return Outcome(
        protocol=Protocol.HTTP,
        call=call,
        ok=ok,
        status=status,
        body=body,
        text=content.decode(errors="replace") if len(content) < 1 << 20 else "",
        headers=dict(headers),
        problem=problem,
        at=at,
        elapsed=elapsed,
    )


def raw_exchange(address: str, payload: bytes, *, timeout: float = 5.0, limit: int = 1 << 20) -> bytes:
    """Send bytes as they are and read until the other side closes, ``limit`` bytes came, or nothing comes any more."""
    host, _, port = address.rpartition(":")
    answer = b""
    with socket.create_connection((host.strip("[]"), int(port)), timeout=timeout) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(payload)
        connection.settimeout(min(timeout, 1.0))
        with contextlib.suppress(OSError):
            while len(answer) < limit:
                chunk = connection.recv(65536)
                if not chunk:
                    break
                answer += chunk
    return answer
