"""Heartbeats: when each engine last answered a probe well, by the metrics and by the engine's own notes."""

from __future__ import annotations

import time
from datetime import timedelta

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.faults import FaultKeywords
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
        sample = f'{METRIC}{{pool_id="{pool.pool_id}",replica_id="{replica}"}} '
        # A page of metrics is long, and this is asked often: only the one line is read.
        text = self.must(self.daemon.http.request("GET", "/metrics")).text
        values = [float(line.removeprefix(sample)) for line in text.splitlines() if line.startswith(sample)]
        if len(values) > 1:
            raise ExpectationFailed(f"{METRIC} should have one sample for {engine}, it has {len(values)}.")
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
        lag: timedelta = timedelta(milliseconds=250),
        timeout: timedelta = timedelta(seconds=10),
        path: str = "/health",
    ) -> None:
        """Scrapes the metrics until the heartbeat has moved some times, and holds that against what the engine noted.

        Each scrape must show the time of a good answer of the engine, at most ``lag`` after it, and none may show an
        older one than the last good answer before ``lag``. Example:
        | Heartbeat Should Follow Probes | the engine | 3 |
        """
        scrapes: list[tuple[float, float]] = []
        deadline = time.monotonic() + seconds(timeout)
        while len({beat for _, beat in scrapes}) <= probes:
            if time.monotonic() > deadline:
                raise ExpectationFailed(f"The heartbeat of {engine} should move {probes} times: {scrapes[-3:]}")
            asked = time.time()
            beat = self.get_heartbeat(engine)
            if beat is None:
                raise ExpectationFailed(f"{engine} should have a heartbeat, there is no sample.")
            scrapes.append((asked, beat))
            time.sleep(PAUSE_S)
        requests = FaultKeywords(self.world).get_engine_requests(engine, path)
        answers = [float(one["at"]) / 1000 for one in requests if one["status"] == 200]
        for asked, beat in scrapes:
            # The engine notes milliseconds.
            its_own = max((at for at in answers if at <= beat + 0.002), default=0.0)
            due = max((at for at in answers if at <= asked - seconds(lag)), default=0.0)
            if beat - its_own > seconds(lag) or beat < due - 0.002:
                raise ExpectationFailed(
                    f"At {asked} the heartbeat of {engine} should be that of its last good answer, it is {beat}; "
                    f"the answers came at {answers}."
                )
