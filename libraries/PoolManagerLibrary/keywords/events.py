"""The event stream: what happened, and when."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any

from assertionengine import AssertionOperator
from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError, WaitTimeout
from PoolManagerLibrary.event_log import SeenEvent
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
        return self.arrived(name, since_act=since_act, fields=fields)

    def arrived(self, name: str | None, *, since_act: bool, fields: dict[str, str]) -> list[SeenEvent]:
        """The same of those that have arrived so far."""
        pool_id = None if name in {None, "", "any pool", "the daemon"} else self.scenario.pool_id(str(name))
        begin = self.scenario.act_at - 0.002 if since_act else 0.0
        log = self.world.selected.events
        events = log.events() if pool_id is None else log.of_pool(pool_id)
        return [event for event in events if event.at >= begin and _matches(event, fields)]

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
            known = len(daemon.events)
            return self.arrived(name, since_act=after_act, fields=fields)

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
