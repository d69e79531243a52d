"""The one event stream of the daemon: numbered, announced at once, followed by any number of watchers.

All of it runs on the event loop's thread. Publishing never waits: the newest events lie in one ring that
all watchers share, and each watcher is a cursor into it. So memory does not grow with slow watchers; one
that falls behind by more than the ring holds is told what it missed by an event of kind ``gap``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Self

from pool_managerd.core.events import Event, EventKind
from pool_managerd.observe.correlation import CORRELATION_ID

#: How many of the newest events stay in memory, and so how far a watcher may fall behind before it has a gap.
DEFAULT_RING_SIZE = 10_000
#: How many events are read from the store at a time while a watcher catches up.
HISTORY_PAGE = 1_000
#: How many events a watcher is given at once at most: what it does for each of them holds up the loop together.
MOST_AT_ONCE = 100

#: Reads stored events: ``history(since, limit)`` gives up to ``limit`` events above ``since``, in order.
History = Callable[[int, int], Awaitable[list[Event]]]
Projection = Callable[[Event], None]

_log = logging.getLogger(__name__)


class EventBus:
    """Numbers events, hands them to the projections at once and to watchers in their own time.

    :param clock: wall time in seconds since the epoch.
    :param first_revision: the revision of the first event; above all that were ever handed out.
    :param append: stores an event; called first, must not block nor raise.
    :param retention: how many events are kept for a watcher that resumes (``server.event_retention``).
    :param ring_size: how many events stay in memory (:data:`DEFAULT_RING_SIZE`).
    """

    def __init__(
        self,
        clock: Callable[[], float],
        first_revision: int,
        append: Callable[[Event], None],
        *,
        retention: int = 100_000,
        ring_size: int = DEFAULT_RING_SIZE,
    ) -> None:
        self._clock = clock
        self._first = first_revision
        self._next = first_revision
        self._append = append
        self._retention = retention
        self._ring: list[Event | None] = [None] * ring_size
        self._projections: list[Projection] = []
        self._subscriptions: set[Subscription] = set()
        self._closed = False
        self.gaps = 0
        """How many ``gap`` frames watchers were given since the daemon's start."""

    @property
    def revision(self) -> int:
        """The revision of the newest event (one below the first one, before there is any)."""
        return self._next - 1

    @property
    def subscribers(self) -> int:
        """How many watchers follow the stream now."""
        return len(self._subscriptions)

    def add_projection(self, project: Projection) -> None:
        """Call ``project`` with every event from now on, in order, before any watcher sees it."""
        self._projections.append(project)

    def publish(
        self,
        kind: EventKind,
        *,
        pool_id: str | None = None,
        replica_id: str | None = None,
        device: str | None = None,
        from_: str | None = None,
        to: str | None = None,
        code: str | None = None,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        at: float | None = None,
    ) -> Event:
        """Announce what happened. What each kind carries is said in ``docs/events.md``.

        The correlation id is that of the present request, unless one is given. A projection that fails
        is logged and keeps nobody else from the event.

        :param at: when it happened, where that is known, in seconds since the epoch; else it is now.
        """
        event = Event(
            revision=self._next,
            at=self._clock() if at is None else at,
            kind=kind,
            pool_id=pool_id,
            replica_id=replica_id,
            device=device,
            from_=from_,
            to=to,
            code=code,
            reason=reason,
            details=dict(details or {}),
            correlation_id=correlation_id if correlation_id is not None else CORRELATION_ID.get(),
        )
        self._next += 1
        self._ring[event.revision % len(self._ring)] = event
        self._project((self._append, *self._projections), event)
        for subscription in self._subscriptions:
            subscription.wake()
        return event

    @staticmethod
    def _project(projections: Iterable[Projection], event: Event) -> None:
        for project in projections:
            try:
                project(event)
            except Exception:  # noqa: BLE001 - whatever a projection does, the others and the caller go on
                _log.exception("an event's projection failed", extra={"revision": event.revision})

    def subscribe(self, after: int | None = None) -> Subscription:
        """Follow the stream from the event after revision ``after``; without it, from the next one.

        Close it when done (it is an async context manager, too).
        """
        subscription = Subscription(self, self.revision if after is None else after)
        if self._closed:
            subscription.wake()
        else:
            self._subscriptions.add(subscription)
        return subscription

    def is_past(self, since: int) -> bool:
        """Whether what comes next after revision ``since`` is no longer in memory."""
        return since + 1 < self.ring_start

    async def watch(self, since: int | None, history: History, oldest: Callable[[], int]) -> AsyncIterator[list[Event]]:
        """Give every event after ``since`` exactly once and in order: the stored ones, then the live ones.

        They come in lists, as many at a time as there are (:data:`MOST_AT_ONCE`), so that a watcher with much to
        catch up with can take it in few steps.

        :param since: the last revision that the watcher has seen. ``None``: from now on, and the first
            frame is one of kind ``daemon`` with the present revision. So it is for a revision that was
            never handed out (the watcher comes from another state directory).
        :param history: reads the store; asked only for what memory no longer holds.
        :param oldest: the revision from which on the store has lost nothing to retention.

        A frame of kind ``gap`` stands where events are missing; its revision is the last one missed.
        """
        if since is None or since > self.revision:
            async with self.subscribe() as subscription:
                yield [self._present(since)]
                async for events in subscription:
                    yield events
            return
        last = since
        async with aclosing(self._stored(since, history, oldest)) as stored:
            async for events in stored:
                last = events[-1].revision
                yield events
        async with self.subscribe(after=max(last, self.ring_start - 1)) as subscription:
            async for events in subscription:
                yield events

    async def _stored(
        self, last: int, history: History, oldest: Callable[[], int]
    ) -> AsyncGenerator[list[Event], None]:
        """Read what is older than the ring, page by page, with a gap frame where events are missing."""
        kept_from = self._kept_from(oldest())
        if last + 1 < kept_from:
            yield [self.gap(last + 1, kept_from - 1)]
            last = kept_from - 1
        while last + 1 < (ring_start := self.ring_start):
            page = [event for event in await history(last, HISTORY_PAGE) if event.revision > last]
            kept_from = oldest()
            if last + 1 < kept_from and not (page and page[0].revision < kept_from):
                yield [self.gap(last + 1, kept_from - 1)]
                last = kept_from - 1
            found: list[Event] = []
            for event in page:
                if hole := self._hole(last, event.revision):
                    found.append(hole)
                found.append(event)
                last = event.revision
            if not page:
                if hole := self._hole(last, ring_start):
                    found.append(hole)
                last = max(last, ring_start - 1)
            for start in range(0, len(found), MOST_AT_ONCE):
                yield found[start : start + MOST_AT_ONCE]

    def _hole(self, last: int, revision: int) -> Event | None:
        # Within one run of the daemon revisions have no holes of their own; between two runs they have.
        missing = max(last + 1, self._first)
        return self.gap(missing, revision - 1) if missing < revision else None

    def gap(self, missed_from: int, missed_to: int) -> Event:
        """Make the frame that says which revisions a watcher missed.

        It is that watcher's alone: neither stored nor given to others, but logged and counted.
        """
        self.gaps += 1
        frame = Event(
            revision=missed_to,
            at=self._clock(),
            kind=EventKind.GAP,
            reason=f"the events {missed_from} to {missed_to} are no longer kept for this watcher",
            details={"missed_from": missed_from, "missed_to": missed_to},
        )
        self._project(self._projections, frame)
        return frame

    def close(self) -> None:
        """End every watcher's stream after what it has not read yet. Publishing still works."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.wake()

    @property
    def closed(self) -> bool:
        """Whether streams end when they have caught up."""
        return self._closed

    @property
    def ring_start(self) -> int:
        """The oldest revision in memory (the next one, if there is none)."""
        return max(self._first, self._next - len(self._ring))

    def after(self, last: int) -> list[Event]:
        """The next events in memory above revision ``last``, a gap frame first where some of them are gone."""
        events: list[Event] = []
        if last + 1 < (start := self.ring_start):
            events.append(self.gap(last + 1, start - 1))
            last = start - 1
        for revision in range(last + 1, min(self._next, last + 1 + MOST_AT_ONCE)):
            event = self._ring[revision % len(self._ring)]
            if event is None or event.revision != revision:
                raise LookupError(revision)
            events.append(event)
        return events

    def discard(self, subscription: Subscription) -> None:
        """Forget a subscription; again: nothing happens."""
        self._subscriptions.discard(subscription)

    def _kept_from(self, stored_from: int) -> int:
        by_count = self._next - self._retention
        return max(stored_from, by_count) if by_count > self._first else stored_from

    def _present(self, since: int | None) -> Event:
        reason = f"watching from revision {self.revision}"
        if since is not None:
            reason += f"; revision {since}, which was asked for, was never handed out here"
        return Event(
            revision=self.revision,
            at=self._clock(),
            kind=EventKind.DAEMON,
            to="watching",
            reason=reason,
            details={"revision": self.revision},
        )


class Subscription:
    """One watcher's place in the stream: gives all news at a time, with a ``gap`` frame where it was too slow."""

    def __init__(self, bus: EventBus, last: int) -> None:
        self._bus = bus
        self._last = last
        self._news = asyncio.Event()
        self._done = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Event]:
        while self._last >= self._bus.revision:
            if self._done or self._bus.closed:
                self.close()
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        if self._done:
            raise StopAsyncIteration
        events = self._bus.after(self._last)
        self._last = events[-1].revision
        return events

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def wake(self) -> None:
        """Look for news (the bus calls this)."""
        self._news.set()

    def close(self) -> None:
        """Leave the stream; an iterator that waits ends."""
        self._done = True
        self._bus.discard(self)
        self._news.set()
