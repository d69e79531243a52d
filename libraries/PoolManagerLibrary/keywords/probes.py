"""When engines are probed while they come up, and how soon Ready is reported then."""

from __future__ import annotations

import itertools
from datetime import timedelta

from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.event_log import ROUNDING_S
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.faults import FaultKeywords
from PoolManagerLibrary.units import seconds, show_seconds

#: SPEC, "How soon": Ready is reported so long after the engine's first good answer, or this share of its load time.
REPORT_LIMIT_S = 0.1
REPORT_SHARE = 0.1


class ProbeKeywords(Keywords):
    """Keywords about readiness probes."""

    @keyword
    def get_probe_times(self, engine: str = "the engine", path: str = "/health") -> list[float]:
        """Returns when the engine's latest process was probed, in seconds since its spawn, from its own request log.

        Example:
        | ${times} = | Get Probe Times |
        """
        event = self.phases_of(engine, "loading")[-1]
        requests = FaultKeywords(self.world).get_engine_requests(engine, path)
        return [
            round(float(one["at"]) / 1000 - event.at, 4) for one in requests if one["pid"] == event.details.get("pid")
        ]

    @keyword
    def first_probe_should_come_after(self, spawn_to_probe: timedelta, engine: str = "the engine") -> None:
        """Checks that the engine was not probed before a time after its spawn, and soon then.

        Example:
        | First Probe Should Come After | 300 ms |
        """
        times, limit = self.get_probe_times(engine), seconds(spawn_to_probe)
        if not times:
            raise ExpectationFailed("The engine has never been probed.")
        if not limit - 0.01 <= times[0] <= limit + 0.25:
            raise ExpectationFailed(
                f"The first probe should come {show_seconds(limit)} after the spawn, "
                f"it came after {show_seconds(times[0])}."
            )

    @keyword
    def probes_should_be_apart(
        self,
        at_least: timedelta,
        after: timedelta = timedelta(0),
        until: timedelta = timedelta(days=1),
        at_most: timedelta | None = None,
        engine: str = "the engine",
    ) -> None:
        """Checks how far apart the readiness probes are that came between ``after`` and ``until`` after the spawn.

        Three quarters of the pauses must be ``at_least`` long, and half of them ``at_most``: on a busy machine a
        single pause proves nothing.

        Example:
        | Probes Should Be Apart | at_least=5 ms | until=200 ms | at_most=20 ms |
        | Probes Should Be Apart | at_least=30 ms | after=1 s |
        """
        begin, end = seconds(after), seconds(until)
        times = [one for one in self.get_probe_times(engine) if begin <= one <= end]
        pauses = sorted(second - first for first, second in itertools.pairwise(times))
        if len(pauses) < 3:
            raise ExpectationFailed(f"Too few probes came between {after} and {until} to prove anything: {times}")
        logger.info(
            f"Pauses between {show_seconds(begin)} and {show_seconds(end)}: {[round(one, 4) for one in pauses]}"
        )
        # The engine notes when it has answered, so that a pause may look a little shorter than it was.
        if pauses[len(pauses) // 4] < seconds(at_least) - 0.002:
            raise ExpectationFailed(f"Probes should be {at_least} apart, the pauses are {pauses}.")
        if at_most is not None and pauses[len(pauses) // 2] > seconds(at_most):
            raise ExpectationFailed(f"Probes should be at most {at_most} apart, the pauses are {pauses}.")

    @keyword
    def ready_should_be_reported_in_time(self, engine: str = "the engine", path: str = "/health") -> None:
        """Checks that Ready was reported at most max(100 ms, 10 % of the load time) after the engine could answer 200.

        Counted from its last answer that was not 200, or from the first 200 where there was no other.

        Example:
        | Ready Should Be Reported In Time |
        """
        loading = self.phases_of(engine, "loading")[-1]
        ready = self.phases_of(engine, "ready")[-1]
        requests = FaultKeywords(self.world).get_engine_requests(engine, path)
        before = [
            one
            for one in requests
            if one["pid"] == ready.details.get("pid") and float(one["at"]) / 1000 <= ready.at + ROUNDING_S
        ]
        if not before or before[-1]["status"] != 200:
            raise ExpectationFailed(f"No good answer of the engine is behind {ready.describe()}: {before[-3:]}")
        bad = [one for one in before if one["status"] != 200]
        since = float((bad[-1] if bad else before[0])["at"]) / 1000
        limit = max(REPORT_LIMIT_S, REPORT_SHARE * (ready.at - loading.at))
        took = ready.at - since
        logger.info(f"Ready {show_seconds(took)} after the engine could say so; {show_seconds(limit)} are allowed.")
        if took > limit:
            raise ExpectationFailed(
                f"Ready was reported {show_seconds(took)} after the engine could answer 200; "
                f"{show_seconds(limit)} are allowed."
            )
