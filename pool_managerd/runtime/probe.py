"""A readiness probe's HTTP: one request, one answer, HTTP/1.0 or 1.1, no proxy, no redirect, no connection kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

#: Bytes of an answer's body that are read; what comes after is cut off.
MAX_BODY_BYTES = 256 * 1024
#: Bytes of one header line, which is also the limit of one line of a chunked body.
_MAX_LINE_BYTES = 64 * 1024
_MAX_HEADERS = 200
#: A probe may come late by this part of the time the load has taken. 10 % are promised; the rest is for the probe
#: itself, for verifying residency and for a busy host.
_SPACING = 1 / 32
_BODYLESS = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What came back. ``body`` holds at most :data:`MAX_BODY_BYTES`."""

    status: int
    body: bytes


class ProbeFailed(Exception):  # noqa: N818 - an outcome, not an error
    """No answer. ``reason`` is a sentence; ``kind`` is refused, timeout, closed, unreachable or malformed."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def probe_host(host: str) -> str:
    """Where an engine that listens on ``host`` is asked: a wildcard address is reached through loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - nothing is bound


def next_delay(elapsed_s: float, *, first_ms: float, max_ms: float) -> float:
    """Seconds until the next readiness probe, ``elapsed_s`` after the spawn.

    A thirty-second of the time gone by, so that a quick engine is Ready at once and a slow one is not hammered:
    with 5 and 500 ms the spacing leaves 5 ms after 160 ms and has grown to 500 ms after 16 s.
    """
    return max(min(elapsed_s * _SPACING, max_ms / 1000), min(first_ms, max_ms) / 1000)


async def http_request(
    host: str,
    port: int,
    method: str = "GET",
    path: str = "/",
    body: bytes | None = None,
    *,
    timeout_s: float,
    content_type: str = "application/json",
) -> ProbeAnswer:
    """Ask once.

    :param timeout_s: seconds for all of it: connecting, asking, and reading the whole answer.
    :raises ProbeFailed: if there was no complete and well-formed answer in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(host, port, _request(host, port, method, path, body, content_type), method)
    except TimeoutError:
        raise ProbeFailed("timeout", f"no answer from {host}:{port} within {timeout_s * 1000:.0f} ms") from None
    except ConnectionRefusedError:
        raise ProbeFailed("refused", f"connection to {host}:{port} refused") from None
    except (asyncio.IncompleteReadError, ConnectionError):
        raise ProbeFailed("closed", f"{host}:{port} closed the connection before its answer was complete") from None
    except (ValueError, asyncio.LimitOverrunError) as error:
        raise ProbeFailed("malformed", f"{host}:{port} answered with something that is not HTTP: {error}") from None
    except OSError as error:
        raise ProbeFailed("unreachable", f"{host}:{port} cannot be reached: {error.strerror or error}") from None


def _request(host: str, port: int, method: str, path: str, body: bytes | None, content_type: str) -> bytes:
    name = f"[{host}]" if ":" in host else host
    lines = [f"{method} {path} HTTP/1.1", f"Host: {name}:{port}", "Connection: close", "Accept: */*"]
    if body is not None:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


async def _exchange(host: str, port: int, request: bytes, method: str) -> ProbeAnswer:
    reader, writer = await asyncio.open_connection(host, port, limit=_MAX_LINE_BYTES)
    try:
        writer.write(request)
        await writer.drain()
        status, headers = await _read_head(reader)
        while 100 <= status < 200:
            status, headers = await _read_head(reader)
        if method == "HEAD" or status in _BODYLESS:
            return ProbeAnswer(status, b"")
        return ProbeAnswer(status, await _read_body(reader, headers))
    finally:
        writer.transport.abort()


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    line = await _read_line(reader)
    version, _, rest = line.partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/") or len(code) != 3 or not (code.isascii() and code.isdigit()):
        raise ValueError(f"status line {line[:80]!r}")
    headers: dict[str, str] = {}
    for _ in range(_MAX_HEADERS):
        line = await _read_line(reader)
        if not line:
            return int(code), headers
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"header line {line[:80]!r}")
        headers[name.strip().lower()] = value.strip()
    raise ValueError(f"more than {_MAX_HEADERS} header lines")


async def _read_line(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\n")).rstrip(b"\r\n").decode("latin-1")


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _read_chunked(reader)
    if (length := headers.get("content-length")) is not None:
        if not (length.isascii() and length.isdigit()):
            raise ValueError(f"Content-Length {length[:80]!r}")
        return await reader.readexactly(min(int(length), MAX_BODY_BYTES))
    body = bytearray()
    while len(body) < MAX_BODY_BYTES and (part := await reader.read(MAX_BODY_BYTES - len(body))):
        body += part
    return bytes(body)


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while len(body) < MAX_BODY_BYTES:
        size = int((await _read_line(reader)).partition(";")[0], 16)
        if size < 0:
            raise ValueError(f"chunk of {size} bytes")
        if size == 0:
            break
        body += await reader.readexactly(min(size, MAX_BODY_BYTES - len(body)))
        if len(body) < MAX_BODY_BYTES:
            await reader.readuntil(b"\n")
    return bytes(body)
