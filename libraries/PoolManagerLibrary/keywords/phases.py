"""The order of events: which phase follows which, and that none is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.enums import Phase
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.keywords.events import EventKeywords
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until


class PhaseKeywords(Keywords):
    """Keywords about phases."""

    @keyword
    def get_phases(self, name: str = "the pool", replica: str | None = None, since_act: bool = False) -> list[str]:
        """Returns the phases that a pool's replica went through, from the events' ``to``. Several replicas: name one.

        Example:
        | ${phases} = | Get Phases | chat |
        """
        fields = {"kind": "phase"} | ({"replica_id": replica} if replica else {})
        return [str(event.to) for event in EventKeywords(self.world).seen(name, since_act=since_act, **fields)]

    @keyword
    def phases_should_be(self, name: str, *phases: str, replica: str | None = None, since_act: bool = False) -> None:
        """Checks the exact sequence of phases of a pool's replica since its definition, none missing between.

        Example:
        | Phases Should Be | chat | preflight | starting | loading | ready |
        """
        wanted = _phases_in(phases)
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
        wanted = _phases_in(phases)
        daemon = self.daemon
        known = 0

        def look() -> list[str]:
            nonlocal known
            known = len(daemon.events)
            events = EventKeywords(self.world).arrived(name, since_act=True, fields={"kind": "phase"})
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
        against = EventKeywords(self.world).seen(name, since_act=since_act, kind="phase", to=phase)
        if against:
            raise ExpectationFailed(f"{name} should never be in phase {phase}: {against[0].describe()}")

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

        Compared to hundredths, since the times of events are whole milliseconds.

        Example:
        | Time Between Phases | backoff | preflight | >= | 500 ms |
        """
        begin = end = None
        for event in EventKeywords(self.world).seen(name, kind="phase"):
            if event.to == second and begin is not None:
                end = event.at - begin
            if event.to == first:
                begin = event.at
        if end is None:
            raise ExpectationFailed(
                f"{name} has not gone from {first} to {second}.\n{self.explain(self.scenario.pool_id(name))}"
            )
        expected = None if assertion_expected is None else seconds(assertion_expected)
        check(round(end, 2), assertion_operator, expected, f"Seconds from {first} to {second}")
        return end

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

    def _no_jumps(self, name: str | None) -> None:
        wanted = None if name is None else self.scenario.pool_id(name)
        last: dict[tuple[str | None, str | None], str] = {}
        for event in EventKeywords(self.world).seen():
            if event.kind == "daemon" and event.to == "started":
                # Another life of the daemon: what it finds is where it begins.
                last.clear()
            if event.kind != "phase" or wanted not in {None, event.pool_id}:
                continue
            key = (event.pool_id, event.replica_id)
            if key in last and event.from_ != last[key]:
                raise ExpectationFailed(
                    f"An event is missing before {event.describe()}: the replica was in phase {last[key]}."
                )
            last[key] = str(event.to)


def _phases_in(parts: Iterable[str]) -> list[str]:
    words = [word for part in parts for word in re.split(r",\s*|\s+then\s+|\s+and\s+|\s+", part.strip()) if word]
    _check_phases(words)
    return words


def _check_phases(words: list[str]) -> None:
    known = {phase.value for phase in Phase}
    for word in words:
        if word not in known:
            raise UsageError(f"'{word}' is no phase; phases are {', '.join(sorted(known))}.")
