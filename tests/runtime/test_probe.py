from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pool_managerd.runtime.probe import (
    MAX_BODY_BYTES,
    ProbeAnswer,
    ProbeFailed,
    http_request,
    next_delay,
    probe_host,
)


@asynccontextmanager
async def server(answer: bytes, *, close: bool = True) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answers each request with these bytes; the requests are kept."""
    requests: list[bytes] = []
    release = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
            requests.append(head + body)
            writer.write(answer)
            await writer.drain()
            if not close:
                await release.wait()
        writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1], requests
    finally:
        release.set()
        listener.close()
        await listener.wait_closed()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokIGNORED", ProbeAnswer(200, b"ok")),
        (b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nall of it", ProbeAnswer(200, b"all of it")),
        (b"HTTP/1.0 200\n\nbare", ProbeAnswer(200, b"bare")),
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length:0\r\n\r\n", ProbeAnswer(503, b"")),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", ProbeAnswer(200, b"x")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ProbeAnswer(204, b"")),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
            ProbeAnswer(200, b"abc0123456789"),
        ),
    ],
)
async def test_an_answer_is_read(answer, expected):
    async with server(answer) as (port, requests):
        assert await http_request("127.0.0.1", port, path="/health", timeout_s=5) == expected
    assert requests[0].startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port)


async def test_an_answer_that_says_its_length_is_not_waited_on_longer():
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", close=False) as (port, _):
        assert (await http_request("127.0.0.1", port, timeout_s=5)).body == b"ok"


async def test_a_body_is_sent():
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (port, requests):
        await http_request("127.0.0.1", port, "POST", "/v1/completions", b'{"n":1}', timeout_s=5)
    assert requests[0].endswith(b'Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{"n":1}')


@pytest.mark.parametrize(
    "head", [b"Content-Length: 9000000\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n895440\r\n"]
)
async def test_a_body_is_cut_off(head):
    async with server(b"HTTP/1.1 200 OK\r\n" + head + b"x" * 9_000_000) as (port, _):
        answer = await http_request("127.0.0.1", port, timeout_s=5)
    assert len(answer.body) == MAX_BODY_BYTES


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "closed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "malformed"),
        (b"HTTP/1.1 abc\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n", "malformed"),
        (b"\0" * 200_000, "malformed"),
    ],
)
async def test_what_is_no_answer_says_why(answer, kind):
    async with server(answer) as (port, _):
        with pytest.raises(ProbeFailed) as caught:
            await http_request("127.0.0.1", port, timeout_s=5)
    assert caught.value.kind == kind
    assert str(port) in caught.value.reason


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
async def test_a_hanging_engine_is_given_up_in_time(answer):
    async with server(answer, close=False) as (port, _):
        began = asyncio.get_running_loop().time()
        with pytest.raises(ProbeFailed) as caught:
            await http_request("127.0.0.1", port, timeout_s=0.1)
        assert asyncio.get_running_loop().time() - began < 1
    assert caught.value.kind == "timeout"


async def test_a_refused_connection_says_so(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with server(b"") as (port, _):
        pass
    with pytest.raises(ProbeFailed) as caught:
        await http_request("127.0.0.1", port, timeout_s=5)
    assert caught.value.kind == "refused"


def test_a_wildcard_is_asked_through_loopback():
    assert [probe_host(host) for host in ("0.0.0.0", "::", "10.0.0.1")] == ["127.0.0.1", "::1", "10.0.0.1"]


def delays_of(first_ms: float, max_ms: float, count: int) -> list[float]:
    """The delays before the first probes, if probes took no time."""
    delays: list[float] = []
    for _ in range(count):
        delays.append(next_delay(sum(delays), first_ms=first_ms, max_ms=max_ms))
    return delays


def test_probes_begin_at_once_and_grow_to_two_a_second():
    delays = delays_of(5, 500, 400)
    assert delays[0] == 0.005
    assert delays == sorted(delays)
    assert delays[-1] == 0.5
    elapsed = 0.0
    for delay in delays:
        # An engine that is ready just after a probe is found ready by the next: at most 10 % or 100 ms later.
        assert delay <= max(0.1, 0.1 * elapsed)
        elapsed += delay
    assert sum(1 for _ in delays if _ < 0.5) < 200


def test_a_first_interval_above_the_largest_is_bounded():
    assert delays_of(900, 100, 3) == [0.1, 0.1, 0.1]
