"""What only a raw connection can send."""

from __future__ import annotations

import asyncio
import json

import pytest
from fake_api_service import LIMIT


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


HEAD = b"POST /v2/pools/chat/drain HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


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
        b"GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n",
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
    last = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    answer = await exchange(daemon.http_server.port, first * 3 + last[:20], last[20:])
    assert answer.count(b"HTTP/1.1 ") == 4
    assert b"REQUEST_TOO_LARGE" not in answer


async def test_head_has_the_headers_and_no_body(daemon):
    for path in ("/v2/pools", "/v2/events", "/"):
        response = await daemon.http.head(path)
        assert (response.status_code, response.content) == (200, b"")


async def test_a_request_that_outlasts_the_grace_is_told_that_the_daemon_ends(daemon):
    body = b'{"holder":"slow"}'
    head = b"POST /v2/pools/chat/leases HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
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
