"""Metrics looked at again and again while something happens."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, PoolManagerLibraryError, UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.metrics import PREFIX, MetricKeywords
from PoolManagerLibrary.sampling import Sample, Sampler
from PoolManagerLibrary.units import seconds, show_time
from PoolManagerLibrary.waiting import wait_until

#: Event times are rounded to the millisecond, and a projection follows its event within the same millisecond.
_ROUNDING_S = 0.002
#: Gauges of a pool, and the fields of its status that they show.
_GAUGES = {
    f"{PREFIX}slots": "slots_total",
    f"{PREFIX}slots_free": "slots_free",
    f"{PREFIX}active_leases": "active_leases",
    f"{PREFIX}pool_ready": "ready",
}
_ATTEMPTS = 10


class MetricSampleKeywords(Keywords):
    """Keywords about metrics over time."""

    @keyword
    def start_sampling_metric(self, metric: str, every: timedelta = timedelta(milliseconds=20), **labels: str) -> None:
        """Reads a metric (see `Get Metric`) again and again in the background, until it is judged or the test ends.

        Example:
        | Start Sampling Metric | restart_total | pool=the pool |
        """
        metrics = MetricKeywords(self.world)
        metrics.values_of(metric, labels)
        sampled = _Sampled(lambda: sum(metrics.values_of(metric, labels)), seconds(every))
        self.scenario.memory[f"sampled {metric}"] = sampled
        self.scenario.cleanups.append((f"the sampling of {metric}", sampled.stop))

    @keyword
    def sampled_metric_should_never_have_fallen(self, metric: str, at_least: int = 5) -> None:
        """Ends the sampling of a metric, and checks that no value was below the one before it.

        Example:
        | Sampled Metric Should Never Have Fallen | restart_total |
        """
        sampled: _Sampled | None = self.scenario.memory.get(f"sampled {metric}")
        if sampled is None:
            raise UsageError(f"{metric} is not being sampled: say Start Sampling Metric before the act.")
        values = sampled.stop()
        if len(values) < at_least:
            raise ExpectationFailed(f"{metric} was read {len(values)} times only, {at_least} are needed.")
        for before, after in itertools.pairwise(values):
            if after < before:
                raise ExpectationFailed(f"{metric} fell from {before:g} to {after:g}.")

    @keyword
    def gauges_should_agree_with_status(self, name: str = "the pool") -> dict[str, Any]:
        """Checks slots, slots_free, active_leases and pool_ready of one scrape against the pool's status; returns that.

        The status is asked before and after the scrape; if it changed meanwhile, all is asked again.

        Example:
        | Gauges Should Agree With Status | chat |
        """
        pool_id = self.scenario.pool_id(name)
        for _ in range(_ATTEMPTS):
            before = self.status(pool_id)
            samples = MetricKeywords(self.world).samples()
            after = self.status(pool_id)
            if all(before[field] == after[field] for field in _GAUGES.values()):
                break
        else:
            raise ExpectationFailed(f"The status of {name} changed during each of {_ATTEMPTS} scrapes.")
        for gauge, field in _GAUGES.items():
            shown = [value for metric, labels, value in samples if metric == gauge and labels == {"pool_id": pool_id}]
            if shown != [float(after[field])]:
                raise ExpectationFailed(f"{gauge} of {name} is {shown}, {field} in the status is {after[field]}.")
        return after

    @keyword
    def wait_for_samples(self, name: str = "the pool", count: int = 2) -> None:
        """Waits until each surface in `Start Sampling Surfaces` has been looked at some more times.

        Example:
        | Wait For Samples | the pool |
        """
        sampler: Sampler = self.scenario.memory["samplers"][self.scenario.pool(name).pool_id]
        begin = time.time()
        wait_until(
            lambda: [
                sum(sample.surface == surface and sample.asked > begin for sample in list(sampler.samples))
                for surface in sampler.surfaces
            ],
            lambda counts: min(counts) >= count,
            timeout=5,
            expected=f"{count} more samples of {', '.join(sampler.surfaces)}",
        )

    @keyword
    def samples_should_fit_the_readiness_events(self, name: str = "the pool") -> int:
        """Ends the sampling of a pool's surfaces, and checks each sample against pool_ready and pool_unready.

        What a sample says must have been so at some moment between its question and its answer. Returns how many
        samples there were.

        Example:
        | Start Sampling Surfaces | the pool | metrics | HTTP status |
        | Samples Should Fit The Readiness Events |
        """
        pool = self.scenario.pool(name)
        sampler: Sampler | None = self.scenario.memory.get("samplers", {}).get(pool.pool_id)
        if sampler is None:
            raise UsageError("Nothing was sampled: say Start Sampling Surfaces before the act.")
        samples = sampler.stop()
        self.world.sync_events()
        changes = [
            (event.at, event.kind == "pool_ready")
            for event in self.pool_events(pool)
            if event.kind in {"pool_ready", "pool_unready"}
        ]
        for surface in sampler.surfaces:
            if {sample.ready for sample in samples if sample.surface == surface} != {True, False}:
                raise ExpectationFailed(f"{surface} was not seen both ready and not ready.")
        for sample in samples:
            if sample.ready not in _states(changes, sample):
                said = "ready" if sample.ready else "not ready"
                raise ExpectationFailed(
                    f"{sample.surface} said {said} at {show_time(sample.answered)}, "
                    f"when the events say otherwise: {sample.value}\n{self.explain(pool)}"
                )
        return len(samples)


def _states(changes: list[tuple[float, bool]], sample: Sample) -> set[bool]:
    """What the events say of the time from a sample's question to its answer."""
    begin, end = sample.asked - _ROUNDING_S, sample.answered + _ROUNDING_S
    before = [ready for at, ready in changes if at <= begin]
    return {before[-1] if before else False} | {ready for at, ready in changes if begin < at <= end}


class _Sampled:
    """A thread that reads a value until told to stop."""

    def __init__(self, read: Callable[[], float], every_s: float) -> None:
        self._read = read
        self._every_s = every_s
        self._values: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metric-samples", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(PoolManagerLibraryError):
                self._values.append(self._read())
            self._over.wait(self._every_s)

    def stop(self) -> list[float]:
        """End, and say what was read."""
        self._over.set()
        self._thread.join(10)
        return self._values
