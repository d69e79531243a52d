"""Engines that are healthy and do not generate, and those that do and must be left in peace."""

import asyncio
import contextlib
import json
import socket
import time

from supervisor_world import QUICK, pool, until

from pool_managerd.core.errors import Code
from pool_managerd.engines.simulated.control import read_requests

#: A look every 30 ms; a canary after 150 ms without progress, within 150 ms; the second failed look is a failure.
WATCHED = (
    QUICK.replace("interval_ms = 60", "interval_ms = 30\ncanary = true\ncanary_after_ms = 150")
    .replace("probe_timeout_ms = 200", "probe_timeout_ms = 150")
    .replace("initial_ms = 50", "initial_ms = 3600000\nmax_ms = 3600000")
)


def watched(more: str = "", simulated: str = "", quick: str = WATCHED) -> str:
    return pool(more=more, simulated=simulated, quick=quick)


def completions(w) -> list[dict]:
    return [one for one in read_requests(w.place.devices, "p", "r0") if one["path"] == "/v1/completions"]


@contextlib.contextmanager
def request(w, tokens: int):
    """A caller's completion, sent to the engine and not read."""
    body = json.dumps({"prompt": "p", "max_tokens": tokens, "stream": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: e\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", w.replica().run.spec.port)) as caller:
        caller.sendall(head + body)
        yield caller


async def looks(w, count: int) -> None:
    """Wait for so many more rounds of the watch."""
    seen = len([one for one in read_requests(w.place.devices, "p", "r0") if one["path"] == "/health"])
    await until(
        lambda: (
            len([one for one in read_requests(w.place.devices, "p", "r0") if one["path"] == "/health"]) >= seen + count
        )
    )


async def failure(w):
    await w.phase("backoff")
    return w.replica().state.failure


async def test_a_quiet_engine_that_gives_no_token_fails_at_the_second_look(world):
    async with world(watched(simulated="tokens_per_s = 0")) as w:
        await w.phase("ready")
        found = await failure(w)
        assert (found.code, found.cause) == (Code.HEALTH_CHECK_FAILED, "health_check")
        assert found.details["canary"] is True
        assert len(found.details["failed_probes"]) == 2
        assert "within 150 ms" in found.message
        assert len(completions(w)) == 2
        assert w.replica().failed_probes == 2


async def test_an_engine_that_answers_with_an_error_gives_no_token(world):
    async with world(watched(simulated="completion_status = 500")) as w:
        await w.phase("ready")
        assert "HTTP 500 without a token" in (await failure(w)).message


async def test_one_token_now_and_then_is_all_that_a_healthy_engine_is_asked_for(world):
    async with world(watched()) as w:
        await w.phase("ready")
        began = time.monotonic()
        await until(lambda: len(completions(w)) >= 3)
        assert time.monotonic() - began >= 0.4  # 150 ms of quiet before each
        assert all(one["status"] == 200 for one in completions(w))
        assert w.replica().state.phase == "ready"


async def test_an_engine_at_work_is_left_in_peace_though_its_request_is_long(world):
    # A minute at 50 tokens in a second, which the engine counts at the end only; looked at for 750 ms and more.
    async with world(watched(simulated="tokens_per_s = 50")) as w:
        await w.phase("ready")
        with request(w, 3000) as caller:
            await until(lambda: completions(w))
            await looks(w, 25)
            assert len(completions(w)) == 1
            assert w.replica().state.phase == "ready"
            caller.close()


async def test_the_last_free_slot_is_left_to_callers(world):
    async with world(watched("slots = 3")) as w:
        await w.phase("ready")
        await until(lambda: completions(w))
        lease = [await w.service.acquire_lease("p") for _ in range(2)]
        await looks(w, 3)  # one may just have been on its way
        seen = len(completions(w))
        await looks(w, 20)
        assert len(completions(w)) == seen
        assert w.replica().state.phase == "ready"
        await w.service.release_lease("p", lease[0].lease_id)
        await until(lambda: len(completions(w)) > seen)


async def test_the_only_slot_is_asked_only_while_nobody_has_it(world):
    async with world(watched("slots = 1")) as w:
        await w.phase("ready")
        await until(lambda: completions(w))
        await w.service.acquire_lease("p")
        await looks(w, 3)
        seen = len(completions(w))
        await looks(w, 15)
        assert len(completions(w)) == seen


async def test_an_engine_whose_slots_are_all_at_work_without_a_step_fails_unasked(world):
    async with world(watched("slots = 1", simulated="tokens_per_s = 0")) as w:
        await w.phase("ready")
        with request(w, 5):
            found = await failure(w)
        assert "1 of its 1 slots are at work" in found.message
        assert len(completions(w)) == 1  # the caller's own


async def test_an_engine_that_knows_no_such_request_is_no_worse_for_it(world):
    async with world(watched(simulated="completion_status = 404")) as w:
        await w.phase("ready")
        await until(lambda: len(completions(w)) >= 2)
        assert w.replica().state.phase == "ready"
        told = [event for event in w.of("daemon", to="warning") if event.pool_id == "p"]
        assert len(told) == 1
        assert "HTTP 404" in told[0].reason


async def test_one_bad_look_is_forgotten_with_the_next_good_one(world):
    three = WATCHED.replace("failures = 2", "failures = 3")
    async with world(watched(quick=three)) as w:
        await w.phase("ready")
        for _ in range(3):
            w.place.control(completion_status=500)
            bad = len(completions(w))
            await until(lambda bad=bad: any(one["status"] == 500 for one in completions(w)[bad:]))
            w.place.control()
            good = len(completions(w))
            await until(lambda good=good: any(one["status"] == 200 for one in completions(w)[good:]))
        assert w.replica().state.phase == "ready"


async def test_without_the_key_nothing_is_ever_asked_for(world):
    silent = WATCHED.replace("canary = true\n", "")
    async with world(watched(simulated="tokens_per_s = 0", quick=silent)) as w:
        await w.phase("ready")
        await looks(w, 15)
        assert (completions(w), w.replica().state.phase) == ([], "ready")


async def test_a_draining_engine_is_not_asked(world):
    async with world(watched()) as w:
        await w.phase("ready")
        await w.service.acquire_lease("p", ttl_ms=60_000)
        await w.service.drain("p", deadline_ms=5000)
        await asyncio.sleep(0)
        await looks(w, 3)
        seen = len(completions(w))
        await looks(w, 10)
        assert len(completions(w)) == seen
