"""What the statuses say that are sampled while a pool comes up, and how they follow from its replicas."""

from __future__ import annotations

from datetime import timedelta

from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.event_log import ROUNDING_S
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.faults import FaultKeywords
from PoolManagerLibrary.keywords.surfaces import SurfaceKeywords
from PoolManagerLibrary.sampling import Sample, Sampler
from PoolManagerLibrary.units import seconds, show_seconds
from PoolManagerLibrary.waiting import wait_until

#: A pool that is not Ready shows the phase of the replica that comes first in this order (SPEC, "Phases").
PHASE_ORDER = (
    *("draining", "stopping", "loading", "starting", "preflight"),
    *("half_open", "backoff", "circuit_open", "failed", "stopped"),
)
BREAKER_ORDER = ("open", "half_open", "closed")


class SampledStatusKeywords(Keywords):
    """Keywords about sampled statuses."""

    @keyword
    def wait_until_surfaces_were_seen(
        self, slow: int, quick: int, name: str = "the pool", within: timedelta = timedelta(seconds=30)
    ) -> None:
        """Waits until each sampled surface was asked and answered after the last act: the slow command line ``slow``
        times, the others ``quick`` times.

        Example:
        | Wait Until Surfaces Were Seen | 3 | 20 |
        """  # noqa: D205  # one sentence
        sampler: Sampler = self.scenario.memory["samplers"][self.scenario.pool(name).pool_id]
        began = self.scenario.act_at

        def look() -> dict[str, int]:
            seen = [sample.surface for sample in list(sampler.samples) if sample.asked > began]
            return {surface: seen.count(surface) for surface in sampler.surfaces}

        wait_until(
            look,
            lambda seen: all(count >= (slow if surface == "CLI" else quick) for surface, count in seen.items()),
            timeout=seconds(within),
            expected=f"the command line to be seen {slow} times and all other surfaces {quick} times",
            show=str,
        )

    @keyword
    def status_should_have_shown_ready_within(self, within: timedelta, name: str = "the pool") -> None:
        """Waits for the first status with live, ready and phase ready; it must come soon after the engine's first 200.

        Example:
        | Start Sampling Surfaces | the pool | HTTP status | gRPC status |
        | Status Should Have Shown Ready Within | 500 ms |
        """
        pool = self.scenario.pool(name)
        good = FaultKeywords(self.world).get_first_good_answer(f"{pool.alias}/r0")
        for surface in ("HTTP status", "gRPC status"):
            took = self._first_shown(name, surface, seconds(within) + 1).asked - good
            logger.info(f"{surface} showed it {show_seconds(took)} after the engine's first good answer.")
            if took > seconds(within):
                raise ExpectationFailed(
                    f"{surface} should show the pool ready within {show_seconds(seconds(within))} of the engine's "
                    f"first good answer, it did so after {show_seconds(took)}."
                )

    def _first_shown(self, name: str, surface: str, patience: float) -> Sample:
        wanted = {"live": True, "ready": True, "phase": "ready"}
        sampler: Sampler = self.scenario.memory["samplers"][self.scenario.pool(name).pool_id]

        def look() -> list[Sample]:
            samples = [sample for sample in list(sampler.samples) if sample.surface == surface]
            return [one for one in samples if all(one.value[field] == value for field, value in wanted.items())]

        return wait_until(
            look, bool, timeout=patience, expected=f"{surface} to show live true, ready true, phase ready"
        ).value[0]

    @keyword
    def status_should_have_been_live_while_loading(self, name: str = "the pool") -> None:
        """Checks that each status that was seen between the spawn and Ready said live true and ready false.

        Example:
        | Status Should Have Been Live While Loading |
        """
        begin = self.phases_of("the engine", "loading")[0].at
        end = self.phases_of("the engine", "ready")[0].at
        during = [
            sample
            for sample in self._samples(name)
            if isinstance(sample.value, dict)
            and "live" in sample.value
            and sample.asked > begin + ROUNDING_S
            and sample.answered < end - ROUNDING_S
        ]
        if len(during) < 5:
            raise ExpectationFailed(f"The status was seen {len(during)} times only while it loaded: no proof.")
        for sample in during:
            if sample.value["live"] is not True or sample.value["ready"] is not False:
                raise ExpectationFailed(f"{sample.surface} should be live and not ready while it loads: {sample.value}")

    @keyword
    def every_status_should_follow_from_its_replicas(self, at_least: int, name: str = "the pool") -> None:
        """Ends the sampling and checks for each status that was seen that phase, live, ready, restart_count and breaker
        of the pool follow from those of its replicas. At least so many different combinations of phases must have
        been seen.

        Example:
        | Start Sampling Surfaces | the pool | HTTP status | gRPC status |
        | Every Status Should Follow From Its Replicas | at_least=5 |
        """  # noqa: D205  # one sentence
        least = int(self.scenario.pool(name).settings.get("min_ready", 1))
        combinations = set()
        for sample in self._samples(name):
            _check_follows(sample, least)
            combinations.add(tuple(sorted(one["phase"] for one in sample.value["replicas"])))
        logger.info(f"Seen: {sorted(combinations)}")
        if len(combinations) < at_least:
            raise ExpectationFailed(
                f"Only {len(combinations)} combinations were seen, that proves too little: {combinations}"
            )

    @keyword
    def every_status_should_count_up(self, field: str = "restart_count", name: str = "the pool") -> None:
        """Ends the sampling and checks that a number in the status has never gone down, on each surface.

        Example:
        | Every Status Should Count Up | restart_count |
        """
        last: dict[str, int] = {}
        for sample in sorted(self._samples(name), key=lambda one: one.asked):
            value = sample.value[field]
            if value < last.get(sample.surface, 0):
                raise ExpectationFailed(f"{field} went from {last[sample.surface]} to {value} on {sample.surface}.")
            last[sample.surface] = value

    def _samples(self, name: str) -> list[Sample]:
        return SurfaceKeywords(self.world).stop_sampling_surfaces(name)


def _check_follows(sample: Sample, min_ready: int) -> None:
    status = sample.value
    replicas = status["replicas"]
    phases = [one["phase"] for one in replicas]
    ready = phases.count("ready") >= min_ready
    expected = {
        "ready": ready,
        "phase": "ready" if ready else next(phase for phase in PHASE_ORDER if phase in phases),
        "live": any(one["live"] for one in replicas),
        "restart_count": sum(one["restart_count"] for one in replicas),
        "breaker": next(state for state in BREAKER_ORDER if any(one["breaker"]["state"] == state for one in replicas)),
    }
    seen = {field: status[field] for field in expected} | {"breaker": status["breaker"]["state"]}
    if seen != expected:
        raise ExpectationFailed(f"{sample.surface} showed {seen}; from its replicas follows {expected}: {replicas}")
