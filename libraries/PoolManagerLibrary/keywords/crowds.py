"""Many watchers at once."""

from __future__ import annotations

import json
import time
from datetime import timedelta

from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.crowd import Crowd
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.units import seconds, show_seconds
from PoolManagerLibrary.waiting import wait_until

#: How often a batch of events is made, in seconds.
_TICK_S = 0.005
#: An XID of a class that changes nothing: it is one event.
_XID = 43


class CrowdKeywords(Keywords):
    """Keywords about many watchers at once."""

    @keyword
    def start_crowd_of_watchers(self, count: int = 20) -> None:
        """Lets so many watchers follow the event stream over HTTP from now on, until the scenario ends.

        Example:
        | Start Crowd Of Watchers | 20 |
        """
        since = self._revision()
        crowd = Crowd(self.daemon.http_address or "", count, since)
        self.scenario.memory["crowd"] = (crowd, since)
        self.scenario.cleanups.append(("the crowd of watchers", crowd.stop))

    @keyword
    def make_events_at_a_rate(self, per_second: int, duration: timedelta, gpu: str = "the GPU") -> int:
        """Makes events at a steady rate, by XIDs of a class that changes nothing. Returns how many.

        Example:
        | Make Events At A Rate | 2000 | 1 s |
        """
        count = round(per_second * seconds(duration))
        line = json.dumps({"uuid": self.scenario.gpu(gpu).uuid, "xid": _XID}) + "\n"
        self.scenario.act(f"{count} XIDs")
        began, written = time.monotonic(), 0
        with (self.world.selected.simulated_dir / "xids.jsonl").open("a", encoding="utf-8") as file:
            while written < count:
                due = min(count, int((time.monotonic() - began) * per_second) + 1)
                file.write(line * (due - written))
                file.flush()
                written = due
                time.sleep(_TICK_S)
        return count

    @keyword
    def crowd_should_have_seen_every_event(self, at_least: int, within: timedelta = timedelta(seconds=10)) -> float:
        """Checks that each of the crowd was given every event since it began, once and in order, and no gap.

        ``at_least`` is how many there must have been. Returns the longest time from event to arrival, in seconds.

        Example:
        | Crowd Should Have Seen Every Event | 2000 |
        """
        found: tuple[Crowd, int] | None = self.scenario.memory.get("crowd")
        if found is None:
            raise UsageError("No crowd watches: say Start Crowd Of Watchers first.")
        crowd, since = found
        last = wait_until(
            self._revision,
            lambda revision: revision >= since + at_least,
            timeout=seconds(within),
            expected=f"{at_least} events",
            show=lambda revision: f"{revision - since} events",
        ).value
        wait_until(
            lambda: crowd.have_seen(last),
            bool,
            timeout=seconds(within),
            expected=f"each of {len(crowd.watchers)} watchers to be given revision {last}",
            show=lambda _: str([len(watcher.revisions) for watcher in crowd.watchers]),
        )
        crowd.stop()
        for number, watcher in enumerate(crowd.watchers):
            expected = list(range(since + 1, watcher.revisions[-1] + 1))
            if watcher.gaps or watcher.revisions != expected:
                lost = sorted(set(expected) - set(watcher.revisions))
                raise ExpectationFailed(
                    f"Watcher {number} lost {len(lost)} events ({lost[:5]}), was given {len(watcher.revisions)} "
                    f"and {watcher.gaps} gaps, in order: {watcher.revisions == sorted(watcher.revisions)}."
                )
        latest = max(watcher.latest_s for watcher in crowd.watchers)
        logger.info(f"{last - since} events to {len(crowd.watchers)} watchers, the latest after {show_seconds(latest)}")
        return latest

    def _revision(self) -> int:
        return int(self.must(self.daemon.http.request("GET", "/v2/pools")).body["revision"])
