from __future__ import annotations

import asyncio
import json
import time

import jsonschema
import pytest

from pool_managerd.api import http_streams
from pool_managerd.api.openapi import schemas
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind


class Frames:
    """Server-sent events of a response, one at a time."""

    def __init__(self, response):
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, str]:
        frame: dict[str, str] = {}
        async with asyncio.timeout(5):
            async for line in self._lines:
                if not line:
                    return frame
                name, _, value = line.partition(": ")
                frame[name] = value
        raise EOFError


async def test_events_start_with_the_daemon_and_go_on_with_what_happens(daemon):
    async with daemon.http.stream("GET", "/v2/events") as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        frames = Frames(response)
        first = await frames.next()
        assert first["event"] == "daemon"
        published = daemon.service.bus.publish(
            EventKind.PHASE, pool_id="chat", replica_id="r0", from_="loading", to="ready", reason="a\nb"
        )
        frame = await frames.next()
        assert (frame["id"], frame["event"]) == (str(published.revision), "phase")
        assert json.loads(frame["data"]) == published.as_json()
        jsonschema.validate(json.loads(frame["data"]), schemas()["Event"])


@pytest.mark.parametrize("by", ["query", "header"])
async def test_a_watcher_resumes_after_the_last_revision_it_saw(daemon, by):
    seen, *later = [daemon.service.bus.publish(EventKind.LEASE, pool_id="chat") for _ in range(4)]
    url, headers = (f"/v2/events?since={seen.revision}", {})
    if by == "header":
        url, headers = "/v2/events?since=0", {"last-event-id": str(seen.revision)}
    async with daemon.http.stream("GET", url, headers=headers) as response:
        frames = Frames(response)
        assert [int((await frames.next())["id"]) for _ in later] == [event.revision for event in later]


async def test_a_watcher_whose_past_cannot_be_read_is_refused_before_the_head(daemon):
    daemon.service.fault = PoolManagerError(Code.STORE_UNAVAILABLE, "the disk is gone")
    answer = await daemon.http.get("/v2/events?since=1")
    assert (answer.status_code, answer.json()["code"]) == (503, "STORE_UNAVAILABLE")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_silent_stream_has_a_heartbeat(daemon, monkeypatch):
    monkeypatch.setattr(http_streams, "HEARTBEAT_S", 0.05)
    async with daemon.http.stream("GET", "/v2/events") as response:
        frames = Frames(response)
        await frames.next()
        assert await frames.next() == {"": "heartbeat"}
        event = daemon.service.bus.publish(EventKind.LEASE)
        while not (frame := await frames.next()).get("id"):
            pass
        assert frame["id"] == str(event.revision)


async def test_logs_come_as_they_are_and_followed_ones_go_on(daemon):
    whole = await daemon.http.get("/v2/pools/chat/logs")
    assert whole.content == b"one\ntwo \xff\n"
    async with daemon.http.stream("GET", "/v2/pools/chat/logs?follow=true") as response:
        chunks = response.aiter_raw()
        got = b""
        while b"two" not in got:
            got += await anext(chunks)
        daemon.service.gate.set()
        async for chunk in chunks:
            got += chunk
    assert got == b"one\ntwo \xff\nthree\n"


async def test_a_stream_whose_client_left_is_closed(daemon):
    async with daemon.http.stream("GET", "/v2/pools/chat/logs?follow=true") as response:
        await anext(response.aiter_raw())
        assert daemon.service.followers == 1
    async with asyncio.timeout(5):
        while daemon.service.followers:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0.01)


async def test_a_client_that_stops_reading_delays_nobody_and_the_end_is_quick(daemon):
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.http_server.port, limit=1024)
    writer.write(b"GET /v2/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await reader.readuntil(b"event: daemon")
    async with daemon.http.stream("GET", "/v2/events") as response:
        frames = Frames(response)
        await frames.next()
        for _ in range(20):
            for _ in range(200):
                last = daemon.service.bus.publish(EventKind.LEASE, details={"filler": "x" * 5_000})
            while (await frames.next())["id"] != str(last.revision):
                pass
        began = time.monotonic()
        await daemon.http_server.stop()
        assert time.monotonic() - began < 4
        # The well-behaved stream ends whole.
        with pytest.raises(EOFError):
            await frames.next()
    writer.close()


async def test_open_streams_do_not_hold_the_exit(daemon):
    async with daemon.http.stream("GET", "/v2/events") as events:
        await Frames(events).next()
        async with daemon.http.stream("GET", "/v2/pools/chat/logs?follow=true") as logs:
            chunks = logs.aiter_raw()
            got = b""
            while b"two" not in got:
                got += await anext(chunks)
            began = time.monotonic()
            await daemon.http_server.stop()
            assert time.monotonic() - began < 1
            assert [chunk async for chunk in chunks] == []
    assert daemon.service.followers == 0
