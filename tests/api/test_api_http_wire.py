"""What only a raw connection can send."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from fake_api_service import LIMIT, FakeService

from pool_managerd.api.auth import Auth
from pool_managerd.api.http_edge import LINGER_S
from pool_managerd.api.http_facade import start_http
from pool_managerd.api.http_protocol import Timeouts


async def exchange(port: int, *parts: bytes, until: bytes | None = None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(5):
            return await (reader.readuntil(until) if until else reader.read())
    finally:
        writer.close()


def problem_of(answer: bytes) -> dict:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return json.loads(body)


HEAD = b"POST /v2/pools/chat/drain HTTP/1.1\r\nHost: localhost\r\ncontent-type: application/json\r\n"


async def test_a_large_body_is_refused_by_its_announced_length_alone(daemon):
    answer = await exchange(
        daemon.http_server.port, HEAD + b"content-length: 10000000\r\n\r\n{", until=b'REQUEST_TOO_LARGE"'
    )
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_large_body_sent_whole_still_gets_its_answer(daemon):
    body = b"x" * 10_000_000
    answer = await exchange(daemon.http_server.port, HEAD + b"content-length: 10000000\r\n\r\n", body)
    assert problem_of(answer)["code"] == "REQUEST_TOO_LARGE"
    assert b"connection: close" in answer
    assert daemon.service.calls == []


async def test_a_large_chunked_body_is_refused_while_it_is_sent(daemon):
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    count = LIMIT // 0x2000 + 1
    answer = await exchange(
        daemon.http_server.port,
        HEAD + b"transfer-encoding: chunked\r\n\r\n",
        *[chunk] * count,
        until=b'REQUEST_TOO_LARGE"',
    )
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_a_problem_document(daemon, garbage):
    answer = await exchange(daemon.http_server.port, garbage)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert problem_of(answer)["code"] == "INVALID_REQUEST"
    assert (await daemon.http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\n" + b"x: " + b"a" * 8_000_000,
        b"GET /" + b"a" * 8_000_000,
        b"GET /health HTTP/1.1\r\n" + b"x: y\r\n" * 2_000_000,
    ],
)
async def test_a_head_that_does_not_end_is_refused(daemon, head):
    answer = await exchange(daemon.http_server.port, head, until=b'REQUEST_TOO_LARGE"')
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_head_after_a_large_body_on_the_same_connection_is_small(daemon):
    body = b" " * 60_000 + b"{}"
    first = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    last = b"GET /health HTTP/1.1\r\nHost: localhost\r\nconnection: close\r\n\r\n"
    answer = await exchange(daemon.http_server.port, first * 3 + last[:20], last[20:])
    assert answer.count(b"HTTP/1.1 ") == 4
    assert b"REQUEST_TOO_LARGE" not in answer


async def test_head_has_the_headers_and_no_body(daemon):
    for path in ("/v2/pools", "/v2/events", "/"):
        response = await daemon.http.head(path)
        assert (response.status_code, response.content) == (200, b"")


async def test_a_request_that_outlasts_the_grace_is_told_that_the_daemon_ends(daemon):
    body = b'{"holder":"slow"}'
    head = b"POST /v2/pools/chat/leases HTTP/1.1\r\nHost: localhost\r\ncontent-type: application/json\r\n"
    call = asyncio.create_task(
        exchange(daemon.http_server.port, head + b"content-length: %d\r\n\r\n" % len(body) + body)
    )
    async with asyncio.timeout(5):
        while not daemon.service.calls:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0.01)
    await daemon.http_server.stop()
    answer = await call
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert problem_of(answer)["code"] == "SHUTTING_DOWN"
    daemon.service.gate.set()


# clients that take their time ----------------------------------------------------------------------------------------

HASTY = Timeouts(head_s=0.3, body_s=0.3, idle_s=0.3)


@pytest.fixture
async def hasty():
    server = await start_http(
        FakeService(), address="127.0.0.1:0", auth=Auth(), metrics=no_metrics, max_request_bytes=LIMIT, timeouts=HASTY
    )
    yield server
    await server.stop()


async def no_metrics() -> bytes:
    return b""


async def dribble(port: int, *first: bytes, every: bytes) -> tuple[bytes, float]:
    """Send something, then a little more again and again, until the server has had enough: what it said, and when."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = asyncio.get_running_loop().time()

    async def go_on() -> None:
        with contextlib.suppress(ConnectionError):
            for part in first:
                writer.write(part)
                await writer.drain()
            while True:
                await asyncio.sleep(0.05)
                writer.write(every)
                await writer.drain()

    sending = asyncio.ensure_future(go_on())
    try:
        async with asyncio.timeout(8):
            said = b""
            while part := await reader.read(65536):
                said += part
                if b'"correlation_id"' in said:
                    break
            return said, asyncio.get_running_loop().time() - began
    except ConnectionResetError:
        return said, asyncio.get_running_loop().time() - began
    finally:
        sending.cancel()
        writer.close()


async def test_a_head_that_comes_byte_by_byte_is_refused_in_time(hasty):
    said, took = await dribble(hasty.port, b"GET /health HTTP/1.1\r\nx-a: ", every=b"b")
    problem = problem_of(said)
    assert (said[:12], problem["code"]) == (b"HTTP/1.1 400", "INVALID_REQUEST")
    assert "within 0.3 s" in problem["message"]
    assert 0.3 <= took < 2


async def test_a_body_that_comes_byte_by_byte_is_refused_in_time(hasty):
    said, took = await dribble(hasty.port, HEAD + b"content-length: 5000\r\n\r\n{", every=b" ")
    problem = problem_of(said)
    assert (problem["code"], problem["details"]["field"]) == ("INVALID_REQUEST", "body")
    assert 0.3 <= took < 2


async def test_a_body_that_nobody_reads_does_not_keep_the_connection(hasty):
    answered = b"GET /health HTTP/1.1\r\nHost: localhost\r\ncontent-length: 5000\r\n\r\n"
    said, took = await dribble(hasty.port, answered, every=b" ")
    assert said.startswith(b"HTTP/1.1 200")
    assert took < HASTY.body_s + LINGER_S + 2


@pytest.mark.parametrize("first", [b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"])
async def test_empty_lines_do_not_keep_a_connection(hasty, first):
    said, took = await dribble(hasty.port, first, every=b"\r\n")
    assert said.startswith(b"HTTP/1.1 200") if first else said == b""
    assert took < 3


@pytest.mark.parametrize("first", [b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"])
async def test_a_silent_connection_is_closed(hasty, first):
    began = asyncio.get_running_loop().time()
    said = await exchange(hasty.port, first)
    assert said.startswith(b"HTTP/1.1 200") if first else said == b""
    assert 0.3 <= asyncio.get_running_loop().time() - began < 2


async def test_whoever_is_quick_keeps_the_connection_for_as_long_as_it_asks(hasty):
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    for _ in range(8):  # 0.8 s in all, with a timer of 0.3 s each time
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(5):
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.1)
    writer.close()


async def test_a_long_answer_is_no_slow_request(hasty):
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    writer.write(b"GET /v2/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(5):
        await reader.readuntil(b"\r\n\r\n")
    ended = asyncio.ensure_future(reader.read(-1))
    done, _ = await asyncio.wait([ended], timeout=HASTY.body_s + LINGER_S + 0.5)
    assert not done
    ended.cancel()
    writer.close()
