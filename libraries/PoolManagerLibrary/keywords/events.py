"""The event stream: what happened, in which order, and when."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

from assertionengine import AssertionOperator
from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.enums import Phase
from PoolManagerLibrary.errors import ExpectationFailed, UsageError, WaitTimeout
from PoolManagerLibrary.event_log import EventStream, SeenEvent
from PoolManagerLibrary.keywords.base import Keywords, check, dig, says
from PoolManagerLibrary.units import seconds, show_seconds
from PoolManagerLibrary.waiting import wait_until


class EventKeywords(Keywords):
    """Keywords about events."""

    @keyword
    def get_events(self, name: str | None = None, since_act: bool = False, **fields: str) -> list[dict[str, Any]]:
        """Returns the events of a pool (or of the whole daemon) as documents, oldest first, complete up to now.

        ``fields`` filter: ``kind=phase``, ``to=ready``, ``code=~CUDA`` (regular expression),
        ``details.action=granted``.

        Example:
        | ${events} = | Get Events | chat | kind=lease | details.action=expired |
        """
        return [event.document for event in self.seen(name, since_act=since_act, **fields)]

    def seen(self, name: str | None = None, *, since_act: bool = False, **fields: str) -> list[SeenEvent]:
        """Like `Get Events`, as objects."""
        self.world.sync_events()
        return self._filtered(name, since_act=since_act, fields=fields)

    def _filtered(self, name: str | None, *, since_act: bool, fields: dict[str, str]) -> list[SeenEvent]:
        pool_id = None if name in {None, "", "any pool", "the daemon"} else self.scenario.pool_id(str(name))
        begin = self.scenario.act_at - 0.002 if since_act else 0.0
        return [
            event
            for event in self.world.selected.events.events()
            if (pool_id is None or event.pool_id == pool_id) and event.at >= begin and _matches(event, fields)
        ]

    @keyword
    def get_event_count(
        self,
        name: str | None = None,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        since_act: bool = False,
        **fields: str,
    ) -> int:
        """Returns how many events match (see `Get Events`).

        Example:
        | Get Event Count | chat | should be | 0 | kind=restart_scheduled |
        """
        count = len(self.seen(name, since_act=since_act, **fields))
        check(count, assertion_operator, assertion_expected, f"Events of {name} with {fields}")
        return count

    @keyword
    def get_phases(self, name: str = "the pool", replica: str | None = None, since_act: bool = False) -> list[str]:
        """Returns the phases that a pool's replica went through, from the events' ``to``. Several replicas: name one.

        Example:
        | ${phases} = | Get Phases | chat |
        """
        fields = {"kind": "phase"} | ({"replica_id": replica} if replica else {})
        return [str(event.to) for event in self.seen(name, since_act=since_act, **fields)]

    @keyword
    def phases_should_be(self, name: str, *phases: str, replica: str | None = None, since_act: bool = False) -> None:
        """Checks the exact sequence of phases of a pool's replica since its definition, none missing between.

        Example:
        | Phases Should Be | chat | preflight | starting | loading | ready |
        """
        wanted = [word for part in phases for word in re.split(r",\s*|\s+then\s+|\s+and\s+|\s+", part.strip()) if word]
        _check_phases(wanted)
        seen = self.get_phases(name, replica, since_act)
        if seen != wanted:
            raise ExpectationFailed(
                f"The phases of {name} should be {', '.join(wanted)}; they are {', '.join(seen) or 'none'}.\n"
                f"{self.explain(self.scenario.pool_id(name))}"
            )
        self._no_jumps(name)

    @keyword
    def phases_should_begin_with(self, name: str, *phases: str, within: timedelta = timedelta(seconds=5)) -> None:
        """Waits until a pool has gone through these phases since the last act, first of all and in this order.

        Example:
        | Phases Should Begin With | chat | preflight | starting | loading | ready | within=2 s |
        """
        wanted = [word for part in phases for word in re.split(r",\s*|\s+then\s+|\s+and\s+|\s+", part.strip()) if word]
        _check_phases(wanted)
        daemon = self.daemon
        known = 0

        def look() -> list[str]:
            nonlocal known
            known = len(daemon.events.events())
            events = self._filtered(name, since_act=True, fields={"kind": "phase"})
            return [str(event.to) for event in events]

        wait_until(
            look,
            lambda seen: seen[: len(wanted)] == wanted,
            timeout=seconds(within),
            expected=f"{name} to go through {', '.join(wanted)} after {self.scenario.act_name}",
            show=lambda seen: ", ".join(seen) or "no phase",
            context=lambda: self.explain(self.scenario.pool_id(name)),
            pause=lambda remaining: daemon.events.pause(known, remaining),
        )

    @keyword
    def phase_should_never_be(self, name: str, phase: str, since_act: bool = False) -> None:
        """Checks over the whole event stream that a pool has never been in a phase.

        Example:
        | Phase Should Never Be | chat | ready |
        """
        _check_phases([phase])
        against = self.seen(name, since_act=since_act, kind="phase", to=phase)
        if against:
            raise ExpectationFailed(f"{name} should never be in phase {phase}: {against[0].describe()}")

    def _no_jumps(self, name: str | None) -> None:
        last: dict[tuple[str | None, str | None], str] = {}
        for event in self.seen(name, kind="phase"):
            key = (event.pool_id, event.replica_id)
            if key in last and event.from_ != last[key]:
                raise ExpectationFailed(
                    f"An event is missing before {event.describe()}: the replica was in phase {last[key]}."
                )
            last[key] = str(event.to)

    @keyword
    def event_stream_should_be_whole(self) -> None:
        """Checks that revisions rise by one (a restart may skip some), and that each phase follows from the last.

        Example:
        | Event Stream Should Be Whole |
        """
        self.world.sync_events()
        events = self.world.selected.events.events()
        for before, after in pairwise(events):
            if after.revision <= before.revision:
                raise ExpectationFailed(
                    f"Revisions should rise: {before.describe()} is followed by {after.describe()}."
                )
            if after.revision != before.revision + 1 and after.kind not in {"daemon", "gap"}:
                raise ExpectationFailed(f"Revisions are missing between {before.describe()} and {after.describe()}.")
        if any(event.kind == "gap" for event in events):
            raise ExpectationFailed("The stream has a gap.")
        self._no_jumps(None)

    @keyword
    def wait_for_event(
        self, name: str | None = None, within: timedelta = timedelta(seconds=5), after_act: bool = True, **fields: str
    ) -> dict[str, Any]:
        """Waits for an event after the last act; its own time must lie within the limit. Makes it *the event*.

        Example:
        | Wait For Event | chat | within=1 s | kind=restart_scheduled |
        """
        daemon = self.daemon
        known = 0

        def look() -> list[SeenEvent]:
            nonlocal known
            known = len(daemon.events.events())
            return self._filtered(name, since_act=after_act, fields=fields)

        limit = seconds(within)
        elapsed = time.time() - self.scenario.act_at if after_act else 0.0
        found = wait_until(
            look,
            bool,
            timeout=max(limit - elapsed, 0) + 1,
            expected=f"an event with {fields}",
            limit=f"{show_seconds(limit)} of {self.scenario.act_name}",
            show=lambda _: "no such event",
            context=lambda: self._tail(name),
            pause=lambda remaining: daemon.events.pause(known, remaining),
        ).value[0]
        self.scenario.memory["event"] = found
        took = found.at - self.scenario.act_at
        logger.info(f"{found.describe()}: {show_seconds(max(took, 0))} after {self.scenario.act_name}")
        if after_act and took > limit:
            raise WaitTimeout(
                f"The event came {show_seconds(took)} after {self.scenario.act_name}; "
                f"{show_seconds(limit)} are allowed: {found.describe()}"
            )
        return found.document

    @keyword
    def drain_should_end(self, outcome: str, name: str = "the pool", within: timedelta = timedelta(seconds=5)) -> None:
        """Waits for the event of kind drain that says how it ended, which must be ``drained`` or ``forced`` as given.

        Example:
        | Drain Pool | chat | deadline=500 ms |
        | Drain Should End | forced | chat | within=2 s |
        """
        self.wait_for_event(name, within, True, kind="drain", to="~^(drained|forced)$")
        event: SeenEvent = self.scenario.memory["event"]
        if event.to != outcome:
            raise ExpectationFailed(f"The drain should end as {outcome}, it ended as {event.to}: {event.describe()}")

    @keyword
    def no_event_should_come(self, name: str | None = None, during: timedelta = timedelta(0), **fields: str) -> None:
        """Checks that since the last act, and for a while from now on, no event matches.

        Example:
        | No Event Should Come | chat | during=300 ms | kind=restart_scheduled |
        """
        time.sleep(seconds(during))
        against = self.seen(name, since_act=True, **fields)
        if against:
            raise ExpectationFailed(
                f"No event with {fields} should come after {self.scenario.act_name}: {against[0].describe()}"
            )

    def _tail(self, name: str | None) -> str:
        if name not in {None, "", "any pool", "the daemon"}:
            return self.explain(self.scenario.pool_id(str(name)))
        events = self.world.selected.events.events()[-12:]
        return "Latest events:\n" + "\n".join(f"  {event.describe()}" for event in events)

    @keyword
    def get_event(
        self,
        field: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> Any:
        """Returns a field of *the event*: the one that the last wait found.

        Example:
        | Get Event | details.exit_code | == | 3 |
        """
        event: SeenEvent | None = self.scenario.memory.get("event")
        if event is None:
            raise UsageError("No event has been waited for yet.")
        return check(dig(event.document, field), assertion_operator, assertion_expected, f"{field} of the event")

    @keyword
    def time_between_phases(
        self,
        first: str,
        second: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: timedelta | None = None,
        name: str = "the pool",
    ) -> float:
        """Returns the seconds between the last event of phase ``second`` and the one of ``first`` before it.

        Example:
        | Time Between Phases | backoff | preflight | >= | 500 ms |
        """
        begin = end = None
        for event in self.seen(name, kind="phase"):
            if event.to == second and begin is not None:
                end = event.at - begin
            if event.to == first:
                begin = event.at
        if end is None:
            raise ExpectationFailed(
                f"{name} has not gone from {first} to {second}.\n{self.explain(self.scenario.pool_id(name))}"
            )
        expected = None if assertion_expected is None else seconds(assertion_expected)
        check(round(end, 3), assertion_operator, expected, f"Seconds from {first} to {second}")
        return end

    # -- watchers of the scenario's own -------------------------------------------------------------------------

    @keyword
    def start_watching(self, since: int | None = None, protocol: str = "HTTP", name: str = "watcher") -> None:
        """Starts a watcher of the scenario's own, over HTTP or gRPC, from a revision on or from now on.

        Example:
        | Start Watching | since=${list}[revision] | protocol=gRPC |
        """
        watcher = _Watcher(*self._source(since, protocol))
        self.scenario.memory.setdefault("watchers", {})[name] = watcher
        self.scenario.cleanups.append((f"the watcher {name}", watcher.stop))

    def _source(
        self, since: int | None, protocol: str
    ) -> tuple[Callable[[], Iterator[SeenEvent]], Callable[[], object]]:
        daemon = self.daemon
        if protocol.strip().lower() == "grpc":
            messages, cancel = daemon.grpc.stream("Watch", {"since": since}, timeout=120)
            return lambda: (SeenEvent.parse(message) for message in messages), cancel
        stream = EventStream(daemon.http_address or "", since=since, token=daemon.token)
        return lambda: iter(stream), stream.close

    @keyword
    def get_watched_events(
        self, name: str = "watcher", at_least: int = 0, within: timedelta = timedelta(seconds=2)
    ) -> list[dict[str, Any]]:
        """Returns what a watcher has received, after waiting for all that is published by now.

        Example:
        | ${events} = | Get Watched Events | at_least=3 |
        """
        watcher = self._watcher(name)
        if at_least and not watcher.wait(at_least, seconds(within)):
            raise WaitTimeout(
                f"The {name} should receive {at_least} events within {within}, it has {len(watcher.events)}."
            )
        outcome = self.world.daemon.http.request("GET", "/v2/pools")
        if outcome.ok:
            watcher.wait_revision(int(outcome.body["revision"]), 2.0)
        return [event.document for event in watcher.list()]

    @keyword
    def stop_watching(self, name: str = "watcher") -> list[dict[str, Any]]:
        """Ends a watcher and returns all that it received.

        Example:
        | ${events} = | Stop Watching |
        """
        watcher = self._watcher(name)
        watcher.stop()
        return [event.document for event in watcher.list()]

    @keyword
    def get_watched_frames(self, name: str = "watcher") -> list[dict[str, Any]]:
        """Returns the server-sent frames of an HTTP watcher: ``id``, ``event``, ``data``.

        Example:
        | ${frames} = | Get Watched Frames |
        """
        return [
            {"id": event.frame_id, "event": event.frame_event, "data": event.document}
            for event in self._watcher(name).list()
        ]

    def _watcher(self, name: str) -> _Watcher:
        watchers: dict[str, _Watcher] = self.scenario.memory.get("watchers", {})
        if name not in watchers:
            raise UsageError(f"There is no watcher '{name}': use Start Watching first.")
        return watchers[name]


class _Watcher:
    """A thread that reads one stream."""

    def __init__(self, source: Callable[[], Iterator[SeenEvent]], stop: Callable[[], object]) -> None:
        self.events: list[SeenEvent] = []
        self._condition = threading.Condition()
        self._stop = stop
        self._source = source
        threading.Thread(target=self._run, name="watcher", daemon=True).start()

    def _run(self) -> None:
        try:
            for event in self._source():
                with self._condition:
                    self.events.append(event)
                    self._condition.notify_all()
        except Exception:  # noqa: BLE001  # the end of a stream, whatever the protocol calls it
            return

    def list(self) -> list[SeenEvent]:
        with self._condition:
            return list(self.events)

    def wait(self, count: int, timeout: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: len(self.events) >= count, timeout)

    def wait_revision(self, revision: int, timeout: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: bool(self.events) and self.events[-1].revision >= revision, timeout)

    def stop(self) -> None:
        self._stop()


def _check_phases(words: list[str]) -> None:
    known = {phase.value for phase in Phase}
    for word in words:
        if word not in known:
            raise UsageError(f"'{word}' is no phase; phases are {', '.join(sorted(known))}.")


def _matches(event: SeenEvent, fields: dict[str, str]) -> bool:
    for path, wanted in fields.items():
        place: Any = event.document
        for part in path.split("."):
            place = place.get(part) if isinstance(place, dict) else None
        if isinstance(wanted, str) and wanted.startswith("~"):
            if place is None or not re.search(wanted[1:], str(place)):
                return False
        elif place != wanted and place != says(str(wanted)):
            return False
    return True
