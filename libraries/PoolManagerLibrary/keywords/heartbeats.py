"""Heartbeats: when each engine last answered a probe well, by the metrics and by the engine's own notes."""

from __future__ import annotations

import time
from datetime import timedelta

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.faults import FaultKeywords
from PoolManagerLibrary.keywords.metrics import MetricKeywords
from PoolManagerLibrary.units import seconds, show_seconds

METRIC = "pool_managerd_last_heartbeat_timestamp_seconds"
#: Between two scrapes.
PAUSE_S = 0.02


class HeartbeatKeywords(Keywords):
    """Keywords about heartbeats."""

    @keyword
    def get_heartbeat(self, engine: str = "the engine") -> float | None:
        """Returns when an engine last answered well, as the metrics tell, in seconds since the epoch.

        None if there is no sample. Example:
        | ${at} = | Get Heartbeat | engine r1 |
        """
        pool, replica = self.scenario.replica(engine)
        labels = {"pool_id": pool.pool_id, "replica_id": replica}
        values = [
            value for name, has, value in MetricKeywords(self.world).samples() if name == METRIC and has == labels
        ]
        if len(values) > 1:
            raise ExpectationFailed(f"{METRIC} should have one sample for {labels}, it has {len(values)}.")
        return values[0] if values else None

    @keyword
    def heartbeat_should_be_recent(
        self, engine: str = "the engine", limit: timedelta = timedelta(seconds=1), during: timedelta = timedelta(0)
    ) -> None:
        """Checks that an engine's heartbeat is at most ``limit`` old, and stays so for a while in every scrape.

        Example:
        | Heartbeat Should Be Recent | the engine | 1300 ms | during=1 s |
        """
        end = time.monotonic() + seconds(during)
        while True:
            asked = time.time()
            beat = self.get_heartbeat(engine)
            if beat is None:
                raise ExpectationFailed(f"{engine} should have a heartbeat, there is no sample.")
            # A beat within the scrape itself may be newer than the question.
            if asked - beat > seconds(limit) or beat > time.time() + 0.001:
                raise ExpectationFailed(
                    f"The heartbeat of {engine} should be at most {show_seconds(seconds(limit))} old, "
                    f"it is {show_seconds(asked - beat)}."
                )
            if time.monotonic() >= end:
                return
            time.sleep(PAUSE_S)

    @keyword
    def heartbeat_should_follow_probes(
        self,
        engine: str = "the engine",
        probes: int = 3,
        timeout: timedelta = timedelta(seconds=10),
        path: str = "/health",
    ) -> None:
        """Watches the metrics over some liveness probes: each good answer that the engine noted must move its beat.

        To a time between that answer and the next one; nothing else may move it. Example:
        | Heartbeat Should Follow Probes | the engine | 3 |
        """
        first = self.get_heartbeat(engine)
        if first is None:
            raise ExpectationFailed(f"{engine} should have a heartbeat, there is no sample.")
        beats = [first]
        deadline = time.monotonic() + seconds(timeout)
        while len(beats) <= probes:
            if time.monotonic() > deadline:
                raise ExpectationFailed(
                    f"{engine} should be probed {probes} times, the heartbeat moved {len(beats) - 1} times."
                )
            beat = self.get_heartbeat(engine)
            if beat is not None and beat != beats[-1]:
                beats.append(beat)
            time.sleep(PAUSE_S)
        requests = FaultKeywords(self.world).get_engine_requests(engine, path)
        answers = [float(one["at"]) / 1000 for one in requests if one["status"] == 200]
        # The engine notes milliseconds.
        seen = [max(place for place, at in enumerate(answers) if at <= beat + 0.002) for beat in beats]
        if seen != list(range(seen[0], seen[0] + len(beats))):
            raise ExpectationFailed(
                f"Each good answer of {engine} should move its heartbeat once; the answers came at {answers}, "
                f"it showed {beats}."
            )
