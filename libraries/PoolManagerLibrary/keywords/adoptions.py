"""Engines that a daemon took over from the one before it."""

from __future__ import annotations

from datetime import timedelta

from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.event_log import ROUNDING_S, SeenEvent
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.engines import EngineKeywords
from PoolManagerLibrary.keywords.events import EventKeywords
from PoolManagerLibrary.keywords.faults import FaultKeywords
from PoolManagerLibrary.keywords.pool_states import PoolStateKeywords
from PoolManagerLibrary.keywords.pool_statuses import PoolStatusKeywords
from PoolManagerLibrary.units import seconds, show_seconds


class AdoptionKeywords(Keywords):
    """Keywords about adopted engines."""

    @keyword
    def engine_should_have_been_adopted(
        self, engine: str = "the engine", within: timedelta = timedelta(seconds=2), path: str = "/health"
    ) -> None:
        """Checks that an engine, whose pid was remembered before, was adopted by the daemon that was started last.

        The same process is Ready within a time after the daemon began to serve, after an answer on ``path`` to a check
        by this daemon; one event of kind ``adopted`` has its pool, replica and pid; nothing was started.

        Example:
        | Remember Engine | chat/r1 |
        | Restart Daemon |
        | Engine Should Have Been Adopted | chat/r1 |
        """
        pool, replica = self.scenario.replica(engine)
        PoolStateKeywords(self.world).wait_until_pool_is_ready(pool.alias)
        EngineKeywords(self.world).engine_should_be_the_same(engine)
        pid = EngineKeywords(self.world).get_engine_pid(engine)
        if PoolStatusKeywords(self.world).get_replica_field(engine, "adopted") is not True:
            raise ExpectationFailed(f"The status of {engine} should say adopted true.\n{self.explain(pool)}")
        serves = EventKeywords(self.world).seen(None, kind="daemon", to="started")[-1]
        since = self.world.selected.started_at - ROUNDING_S
        mine = [one for one in self.pool_events(pool) if one.replica_id == replica and one.at >= since]
        adopted = [one for one in mine if one.kind == "adopted"]
        if [one.details.get("pid") for one in adopted] != [pid]:
            raise ExpectationFailed(
                f"There should be one event of kind adopted with pid {pid}: {[one.document for one in adopted]}"
            )
        self._nothing_started(mine)
        ready = next((one for one in mine if one.kind == "phase" and one.to == "ready"), None)
        if ready is None:
            raise ExpectationFailed(f"{engine} has no event of being ready.\n{self.explain(pool)}")
        took = ready.at - serves.at
        logger.info(
            f"Ready {show_seconds(took)} after the daemon served, {show_seconds(ready.at - since)} from its start."
        )
        if took > seconds(within):
            raise ExpectationFailed(f"{engine} should be Ready within {within}, it took {show_seconds(took)}.")
        checks = [
            one["at"] / 1000
            for one in FaultKeywords(self.world).get_engine_requests(engine, path)
            if one["status"] == 200 and since <= one["at"] / 1000 <= ready.at + ROUNDING_S
        ]
        if not checks:
            raise ExpectationFailed(f"{engine} was shown as Ready before the new daemon had asked it on {path}.")

    def _nothing_started(self, events: list[SeenEvent]) -> None:
        started = [one for one in events if one.kind == "phase" and one.to in {"preflight", "starting"}]
        if started:
            raise ExpectationFailed(f"Something was started: {started[0].describe()}")
