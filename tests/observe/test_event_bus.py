"""The event stream: one order, nothing lost silently, memory bounded."""

import asyncio
import tracemalloc
from contextlib import aclosing

import pytest

from pool_managerd.core.events import Event, EventKind
from pool_managerd.observe.bus import MOST_AT_ONCE, EventBus
from pool_managerd.observe.correlation import CORRELATION_ID, accept_correlation_id


class Stored:
    """A list of events with the store's shape; ``lag`` newest events are not yet written."""

    def __init__(self, *, lag: int = 0):
        self.events: list[Event] = []
        self.lag = lag
        self.calls = 0

    def append(self, event: Event) -> None:
        self.events.append(event)

    async def history(self, since: int, limit: int) -> list[Event]:
        self.calls += 1
        await asyncio.sleep(0)
        written = self.events[: len(self.events) - self.lag]
        return [event for event in written if event.revision > since][:limit]

    def oldest(self) -> int:
        return self.events[0].revision if self.events else 1


def make_bus(stored: Stored, *, first: int = 1, **options) -> EventBus:
    return EventBus(lambda: 1_700_000_000.0, first, stored.append, **options)


def publish(bus: EventBus, count: int) -> None:
    for _ in range(count):
        bus.publish(EventKind.PHASE, pool_id="chat", replica_id="r0", from_="loading", to="ready")


async def take(stream, count: int) -> list[Event]:
    """The next events of a stream; they must come in lists that end just there."""
    events = []
    async with asyncio.timeout(5):
        while len(events) < count:
            events += await anext(stream)
    assert len(events) == count
    return events


def revisions(events: list[Event]) -> list[int]:
    return [event.revision for event in events]


async def test_revisions_rise_by_one_from_the_first():
    stored = Stored()
    bus = make_bus(stored, first=1001)
    assert bus.revision == 1000
    publish(bus, 3)
    assert revisions(stored.events) == [1001, 1002, 1003]
    assert bus.revision == 1003


async def test_an_event_carries_the_correlation_id_of_its_request():
    bus = make_bus(Stored())
    reset = CORRELATION_ID.set("caller-7")
    try:
        assert bus.publish(EventKind.CONFIG).correlation_id == "caller-7"
    finally:
        CORRELATION_ID.reset(reset)
    assert bus.publish(EventKind.CONFIG).correlation_id is None


async def test_a_failing_projection_keeps_nobody_from_the_event(caplog):
    stored, seen = Stored(), []
    bus = make_bus(stored)

    def broken(event: Event) -> None:
        raise ValueError(event.revision)

    bus.add_projection(broken)
    bus.add_projection(seen.append)
    publish(bus, 2)
    assert revisions(seen) == revisions(stored.events) == [1, 2]
    assert "projection failed" in caplog.text


async def test_without_since_the_first_frame_is_the_daemon_with_the_present_revision():
    stored = Stored()
    bus = make_bus(stored)
    publish(bus, 4)
    async with aclosing(bus.watch(None, stored.history, stored.oldest)) as stream:
        (first,) = await anext(stream)
        publish(bus, 2)
        assert (first.kind, first.revision) == (EventKind.DAEMON, 4)
        assert revisions(await take(stream, 2)) == [5, 6]


async def test_a_revision_that_was_never_handed_out_starts_from_now():
    stored = Stored()
    bus = make_bus(stored)
    publish(bus, 2)
    async with aclosing(bus.watch(99, stored.history, stored.oldest)) as stream:
        (first,) = await anext(stream)
        assert (first.kind, first.revision) == (EventKind.DAEMON, 2)
        assert "99" in first.reason


async def test_a_quick_resume_needs_no_store():
    stored = Stored()
    bus = make_bus(stored)
    publish(bus, 10)
    async with aclosing(bus.watch(3, stored.history, stored.oldest)) as stream:
        assert revisions(await take(stream, 7)) == [4, 5, 6, 7, 8, 9, 10]
    assert stored.calls == 0


@pytest.mark.parametrize("lag", [0, 40])
async def test_stored_and_live_events_join_without_hole_or_double(lag):
    stored = Stored(lag=lag)
    bus = make_bus(stored, ring_size=50)
    publish(bus, 3_000)
    async with aclosing(bus.watch(0, stored.history, stored.oldest)) as stream:
        got = await take(stream, 1_500)
        publish(bus, 30)
        got += await take(stream, 1_530)
    assert revisions(got) == list(range(1, 3_031))
    assert bus.subscribers == 0


async def test_events_published_while_the_store_is_read_are_not_lost():
    stored = Stored()
    bus = make_bus(stored, ring_size=20)
    publish(bus, 100)
    read = stored.history

    async def slow(since: int, limit: int) -> list[Event]:
        page = await read(since, min(limit, 10))
        publish(bus, 5)
        return page

    async with aclosing(bus.watch(0, slow, stored.oldest)) as stream:
        assert revisions(await take(stream, 150)) == list(range(1, 151))


async def test_the_leap_of_revisions_over_a_restart_is_no_gap():
    stored = Stored()
    publish(make_bus(stored), 5)
    bus = make_bus(stored, first=1001)
    publish(bus, 3)
    async with aclosing(bus.watch(2, stored.history, stored.oldest)) as stream:
        assert revisions(await take(stream, 6)) == [3, 4, 5, 1001, 1002, 1003]


async def test_what_retention_dropped_is_told_first():
    stored = Stored()
    bus = make_bus(stored, ring_size=20)
    publish(bus, 100)
    del stored.events[:60]
    async with aclosing(bus.watch(10, stored.history, stored.oldest)) as stream:
        got = await take(stream, 41)
    assert got[0].kind == EventKind.GAP
    assert got[0].details == {"missed_from": 11, "missed_to": 60}
    assert got[0].revision == 60
    assert revisions(got[1:]) == list(range(61, 101))


async def test_retention_counts_also_for_what_is_still_in_memory():
    stored = Stored()
    bus = make_bus(stored, retention=20)
    publish(bus, 100)
    async with aclosing(bus.watch(10, stored.history, stored.oldest)) as stream:
        got = await take(stream, 21)
    assert got[0].details == {"missed_from": 11, "missed_to": 80}
    assert revisions(got[1:]) == list(range(81, 101))


async def test_what_the_store_never_took_is_a_gap_and_not_a_silent_hole():
    stored = Stored(lag=100)
    bus = make_bus(stored, ring_size=20)
    publish(bus, 100)
    async with aclosing(bus.watch(0, stored.history, lambda: 1)) as stream:
        got = await take(stream, 21)
    assert got[0].details == {"missed_from": 1, "missed_to": 80}
    assert revisions(got[1:]) == list(range(81, 101))


async def test_a_slow_watcher_is_told_of_its_gap_and_goes_on():
    stored = Stored()
    bus = make_bus(stored, ring_size=20)
    async with bus.subscribe() as slow:
        publish(bus, 50)
        got = await take(slow, 21)
    assert got[0].details == {"missed_from": 1, "missed_to": 30}
    assert revisions(got[1:]) == list(range(31, 51))
    assert bus.gaps == 1


async def test_a_gap_is_logged_and_counted_but_not_stored():
    stored, projected = Stored(), []
    bus = make_bus(stored, ring_size=20)
    bus.add_projection(projected.append)
    async with bus.subscribe() as slow:
        publish(bus, 50)
        gap, *_ = await anext(slow)
    assert projected[-1] is gap
    assert gap not in stored.events
    assert bus.revision == 50


async def test_a_watcher_is_never_given_more_than_some_events_at_a_time():
    stored = Stored()
    bus = make_bus(stored, ring_size=500)
    publish(bus, 1_000)
    async with aclosing(bus.watch(0, stored.history, stored.oldest)) as stream:
        sizes = [len(await anext(stream)) for _ in range(10)]
    assert sizes == [MOST_AT_ONCE] * 10


async def test_twenty_watchers_follow_two_thousand_events_in_a_second_in_order():
    stored = Stored()
    bus = make_bus(stored, ring_size=2_000)

    async def follow() -> list[int]:
        async with bus.subscribe() as subscription:
            seen = []
            while len(seen) < 4_000:
                seen += revisions(await anext(subscription))
                await asyncio.sleep(0)
            return seen

    async with bus.subscribe() as stopped, asyncio.timeout(20):
        tasks = [asyncio.create_task(follow()) for _ in range(20)]
        await asyncio.sleep(0)
        for _ in range(40):
            publish(bus, 100)
            await asyncio.sleep(0.02)
        assert await asyncio.gather(*tasks) == [list(range(1, 4_001))] * 20
        assert (await anext(stopped))[0].kind == EventKind.GAP


async def test_a_watcher_that_stops_reading_costs_no_memory():
    bus = make_bus(Stored(), ring_size=100)
    bus._append = lambda _: None
    async with bus.subscribe():
        publish(bus, 1_000)
        tracemalloc.start()
        publish(bus, 20_000)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert grown < 500_000


async def test_closing_ends_the_streams_after_their_last_event():
    stored = Stored()
    bus = make_bus(stored)
    subscription = bus.subscribe()
    publish(bus, 2)
    bus.close()
    assert [revisions(events) async for events in subscription] == [[1, 2]]
    assert bus.subscribers == 0
    assert [events async for events in bus.subscribe()] == []


async def test_closing_wakes_a_watcher_that_waits():
    bus = make_bus(Stored())

    async def follow() -> list[list[Event]]:
        return [events async for events in bus.subscribe()]

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    bus.close()
    async with asyncio.timeout(1):
        assert await task == []


@pytest.mark.parametrize("text", ["abc", "x" * 128, "a b:c/ö"[:5]])
def test_a_callers_correlation_id_is_kept(text):
    assert accept_correlation_id(text) == text


@pytest.mark.parametrize("text", [None, "", " ", "x" * 129, "a\nb", "ö", "a\x00"])
def test_any_other_correlation_id_is_replaced(text):
    made = accept_correlation_id(text)
    assert made != text
    assert len(made) == 36
