"""A small client of the daemon's HTTP facade on the standard library: quick to import, no proxies."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

from pool_managerd.cli.errors import NoDaemonError, RefusedError, WrongUsageError

DEFAULT_ADDRESS = "127.0.0.1:9200"
#: Seconds for connecting, and for an answer that waits for nothing.
TIMEOUT_S = 10.0
#: Seconds without a byte after which a stream counts as dead; the daemon sends a comment every 15 s.
STREAM_TIMEOUT_S = 60.0
#: A daemon that listens on every interface is reached on the loopback one.
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - nothing is bound here


def parse_address(text: str) -> tuple[str, int]:
    """Read ``host:port``, ``[v6]:port`` or ``http://host:port``.

    :raises WrongUsageError: naming the text.
    """
    problem = WrongUsageError(
        f"{text!r} is not an address", hint="write host:port, such as 127.0.0.1:9200 (--address or POOL_MANAGERD_ADDR)"
    )
    try:
        parts = urlsplit(text if "//" in text else f"http://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise problem from error
    if parts.scheme != "http" or not port or parts.path.strip("/") or parts.query or parts.username:
        raise problem
    return _WILDCARDS.get(host, host), port


class Client:
    """Calls one daemon. Every method raises NoDaemonError if none answers, and RefusedError if it says no."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.host, self.port = parse_address(address)
        self._token = token

    @property
    def address(self) -> str:
        """Where the daemon is asked, as ``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def get(self, path: str, **query: Any) -> Any:
        """GET a JSON document."""
        return self.call("GET", path, query=query)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Any:
        """Make a call and return its JSON document, ``None`` for none. Query values of ``None`` are left out."""
        return self.answer(method, path, query=query, body=body, timeout_s=timeout_s)[1]

    def answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout_s: float = TIMEOUT_S,
    ) -> tuple[int, Any]:
        """Like :meth:`call`, with the HTTP status."""
        connection = self._connect()
        connection.sock.settimeout(timeout_s)
        response = self._send(connection, method, path, query, body)
        try:
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoDaemonError(self.address, error) from error
        finally:
            connection.close()
        return response.status, _parse(data) if data else None

    def stream(self, path: str, **query: Any) -> Stream:
        """GET an answer that may go on for ever."""
        connection = self._connect()
        sock = connection.sock
        response = self._send(connection, "GET", path, query, None)
        return Stream(self.address, connection, sock, response)

    def events(self, since: int | None = None) -> EventStream:
        """Follow the events; without ``since`` the first one is of kind ``daemon``."""
        return EventStream(self.stream("/v2/events", since=since))

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        try:
            connection.connect()
        except OSError as error:
            raise NoDaemonError(self.address, error) from error
        return connection

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
    ) -> http.client.HTTPResponse:
        given = {key: _text(value) for key, value in (query or {}).items() if value is not None}
        headers = {"Accept": "application/json"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, f"{path}?{urlencode(given)}" if given else path, body=data, headers=headers)
            response = connection.getresponse()
            if response.status < http.HTTPStatus.BAD_REQUEST:
                return response
            refusal = _refusal(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise NoDaemonError(self.address, error) from error
        connection.close()
        raise refusal


class Stream:
    """An answer that is read as it comes; a context manager that ends it."""

    def __init__(
        self,
        address: str,
        connection: http.client.HTTPConnection,
        sock: socket.socket,
        response: http.client.HTTPResponse,
    ) -> None:
        self._address = address
        self._connection = connection
        self._socket = sock
        self._response = response
        self._closed = False
        self.settimeout(None)

    def chunks(self) -> Iterator[bytes]:
        """What has come, as soon as it has. Ends when the daemon ends the stream, or it is closed here."""
        return self._read(lambda: self._response.read1(65536))

    def lines(self) -> Iterator[bytes]:
        """The same line by line, line ends included."""
        return self._read(self._response.readline)

    def settimeout(self, seconds: float | None) -> None:
        """Say after how long without a byte reading raises TimeoutError; ``None``: never."""
        self._socket.settimeout(seconds)

    def interrupt(self) -> None:
        """End a reader, also one in another thread."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the stream; not while another thread reads it."""
        self.interrupt()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, read: Callable[[], bytes]) -> Iterator[bytes]:
        try:
            while data := read():
                yield data
        except TimeoutError:
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            # An interrupted reader may see any of these.
            if not self._closed:
                raise NoDaemonError(self._address, error) from error


class EventStream:
    """Server-sent events as documents; comments are skipped."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        stream.settimeout(STREAM_TIMEOUT_S)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        data: list[str] = []
        for raw in self.stream.lines():
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif not line and data:
                yield json.loads("\n".join(data))
                data.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


def pool_path(pool: str, *more: str) -> str:
    """The path of a pool, or of what belongs to it."""
    return "/".join(["/v2/pools", *(quote(part, safe="") for part in (pool, *more))])


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise RefusedError(
            "INTERNAL", f"the answer is no JSON: {data[:80]!r}", hint="does pool-managerd listen at this address?"
        ) from error


def _refusal(status: int, data: bytes) -> RefusedError:
    try:
        problem = json.loads(data)
        code, message = problem["code"], problem["message"]
    except (ValueError, KeyError, TypeError):
        text = data[:200].decode("utf-8", "replace").strip()
        return RefusedError(
            f"HTTP_{status}",
            text or http.client.responses.get(status, "refused"),
            hint="does pool-managerd listen at this address?",
        )
    return RefusedError(code, message, hint=problem.get("hint"), details=problem.get("details") or {})
