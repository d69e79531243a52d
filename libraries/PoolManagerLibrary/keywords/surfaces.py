"""Sampling all surfaces while something happens: the proof of "never" and "always"."""

from __future__ import annotations

from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.expressions import over_status
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.faults import FaultKeywords
from PoolManagerLibrary.sampling import SURFACES, Sample, Sampler, invariant_breaks
from PoolManagerLibrary.units import show_time


class SurfaceKeywords(Keywords):
    """Keywords about all surfaces at once."""

    @keyword
    def start_sampling_surfaces(self, name: str = "the pool", *surfaces: str) -> None:
        """Looks at a pool on every surface, again and again, in the background.

        Surfaces: HTTP status, HTTP list, gRPC status, gRPC health, ready, metrics, handoff file, CLI. Name
        some of them to
        look at these only.

        Example:
        | Start Sampling Surfaces | the pool |
        | Start Sampling Surfaces | the pool | HTTP status | gRPC status |
        """
        unknown = set(surfaces) - set(SURFACES)
        if unknown:
            raise UsageError(f"No such surface: {', '.join(unknown)}; there are {', '.join(SURFACES)}.")
        daemon = self.daemon
        pool = self.scenario.pool(name)
        handoff = daemon.handoff_path(pool.pool_id)
        sampler = Sampler(daemon, pool.pool_id, handoff, tuple(surfaces) or SURFACES).start()
        self.scenario.memory.setdefault("samplers", {})[pool.pool_id] = sampler
        self.scenario.cleanups.append(("the sampling", sampler.stop))

    @keyword
    def stop_sampling_surfaces(self, name: str = "the pool") -> list[Sample]:
        """Ends the sampling and returns all samples.

        Example:
        | ${samples} = | Stop Sampling Surfaces |
        """
        return self._stop(name)

    def _stop(self, name: str) -> list[Sample]:
        pool = self.scenario.pool(name)
        sampler: Sampler | None = self.scenario.memory.get("samplers", {}).get(pool.pool_id)
        if sampler is None:
            raise UsageError("No surface is being sampled: say 'all surfaces are watched' before the act.")
        samples = sampler.stop()
        counts: dict[str, int] = {}
        for sample in samples:
            counts[sample.surface] = counts.get(sample.surface, 0) + 1
        logger.info(f"Samples: {counts}; errors: {sampler.errors[:3]}")
        missing = [surface for surface in sampler.surfaces if surface not in counts]
        if missing:
            raise ExpectationFailed(f"No sample could be taken of {', '.join(missing)}: {sampler.errors[:3]}")
        return samples

    @keyword
    def no_surface_should_say_ready_before_engine(self, name: str = "the pool", path: str = "/health") -> None:
        """Ends the sampling and checks that no sample and no event says ready before the engine's first 200.

        The engine's own request log says when that was. An engine that never gave one must not be called ready at all.

        Example:
        | No Surface Should Say Ready Before Engine | the pool |
        """
        pool = self.scenario.pool(name)
        faults = FaultKeywords(self.world)
        good = [one for one in faults.get_engine_requests(f"{pool.alias}/r0", path) if one["status"] == 200]
        first = float(good[0]["at"]) / 1000 if good else float("inf")
        samples = self._stop(name)
        early = [sample for sample in samples if sample.answered < first - 0.001]
        quick = {sample.surface for sample in samples} - {"CLI"}
        unproven = quick - {sample.surface for sample in early}
        if unproven:
            raise ExpectationFailed(
                f"No sample of {', '.join(sorted(unproven))} was taken before the engine's first good answer."
            )
        lies = [sample for sample in early if sample.ready]
        if lies:
            raise ExpectationFailed(
                f"{lies[0].surface} said ready at {show_time(lies[0].answered)}, the engine's first good answer was "
                f"{'never' if first == float('inf') else 'at ' + show_time(first)}: {lies[0].value}"
            )
        self.world.sync_events()
        for event in self.pool_events(pool):
            if (event.kind == "pool_ready" or event.to == "ready") and event.at < first - 0.001:
                raise ExpectationFailed(
                    f"The event stream said ready before the engine's first good answer: {event.describe()}"
                )

    @keyword
    def no_sample_should_say_ready(self, name: str = "the pool") -> None:
        """Ends the sampling and checks that no surface has said ready at any time.

        Example:
        | No Sample Should Say Ready | the pool |
        """
        lies = [sample for sample in self._stop(name) if sample.ready]
        if lies:
            raise ExpectationFailed(f"{lies[0].surface} said ready at {show_time(lies[0].answered)}: {lies[0].value}")

    @keyword
    def every_sample_should_say_ready(self, name: str = "the pool") -> None:
        """Ends the sampling and checks that every surface has said ready all the time.

        Example:
        | Every Sample Should Say Ready | the pool |
        """
        lies = [sample for sample in self._stop(name) if not sample.ready]
        if lies:
            raise ExpectationFailed(
                f"{lies[0].surface} did not say ready at {show_time(lies[0].answered)}: {lies[0].value}"
            )

    @keyword
    def surfaces_should_agree(self, name: str, state: str, *surfaces: str) -> None:
        """Looks once at each surface of a pool (without the CLI), which must say ``ready`` or ``not ready``.

        Example:
        | Surfaces Should Agree | the pool | not ready |
        """
        pool = self.scenario.pool(name)
        daemon = self.daemon
        chosen = tuple(surfaces) or tuple(surface for surface in SURFACES if surface != "CLI")
        handoff = daemon.handoff_path(pool.pool_id)
        samples = Sampler(daemon, pool.pool_id, handoff, chosen).once()
        wrong = [sample for sample in samples if sample.ready != (state == "ready")]
        if wrong:
            raise ExpectationFailed(
                f"{wrong[0].surface} should say {state}, it says: {wrong[0].value}\n{self.explain(pool)}"
            )

    @keyword
    def every_sample_should_satisfy(self, expression: str, name: str = "the pool") -> None:
        """Ends the sampling and checks a Python expression over every status document that was seen (as ``status``).

        Example:
        | Every Sample Should Satisfy | 0 <= status['slots_free'] <= status['slots_total'] |
        """
        samples = self._stop(name)
        broken = invariant_breaks(samples, over_status(expression))
        if broken:
            raise ExpectationFailed(f"'{expression}' should always hold; {broken[0].surface} showed: {broken[0].value}")
