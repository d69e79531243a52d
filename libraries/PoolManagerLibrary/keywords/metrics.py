"""Prometheus metrics, read as a scraper reads them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from assertionengine import AssertionOperator
from prometheus_client.parser import text_string_to_metric_families
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.units import parse_size, seconds
from PoolManagerLibrary.waiting import wait_until

PREFIX = "pool_managerd_"


class MetricKeywords(Keywords):
    """Keywords about metrics."""

    def samples(self) -> list[tuple[str, dict[str, str], float]]:
        """All samples of one scrape."""
        outcome = self.must(self.daemon.http.request("GET", "/metrics"))
        return [
            (sample.name, dict(sample.labels), float(sample.value))
            for family in text_string_to_metric_families(outcome.text)
            for sample in family.samples
        ]

    def values_of(self, metric: str, labels: dict[str, str]) -> list[float]:
        """The values of all series of a metric that have these labels; see `Get Metric`."""
        name = metric if metric.startswith(PREFIX) else PREFIX + metric
        wanted = dict(labels)
        if "pool" in wanted:
            wanted["pool_id"] = self.scenario.pool_id(wanted.pop("pool"))
        if "gpu" in wanted:
            wanted["device"] = self.scenario.gpu(wanted.pop("gpu")).uuid
        return [value for found, has, value in self.samples() if found == name and wanted.items() <= has.items()]

    @keyword
    def get_metric(
        self,
        metric: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        within: timedelta = timedelta(0),
        **labels: str,
    ) -> float | None:
        """Returns a metric's value, summed over all series that have these labels; None if there is none.

        The prefix may be left out; ``pool=chat`` and ``gpu=big`` stand for the ids; what a metric of bytes is compared
        with may be written like ``6 GiB``. With ``within`` it is asked until it holds.

        Example:
        | Get Metric | pool_ready | equals | 1 | pool=chat |
        | Get Metric | lease_expired_total | equals | 1 | pool=chat | within=1 s |
        | Get Metric | vram_free_bytes | equals | 5 GiB | gpu=big |
        """
        expected = assertion_expected
        if isinstance(expected, str) and metric.endswith("_bytes"):
            expected = parse_size(expected)

        def look() -> tuple[float | None, Exception | None]:
            values = self.values_of(metric, labels)
            value = sum(values) if values else None
            try:
                check(value, assertion_operator, expected, f"{metric} with {labels}")
            except ExpectationFailed as error:
                return value, error
            return value, None

        value, error = wait_until(
            look,
            lambda seen: seen[1] is None or seconds(within) == 0,
            timeout=seconds(within),
            expected=f"{metric} {labels} {assertion_operator.name if assertion_operator else ''} {expected}",
            show=lambda seen: str(seen[0]),
        ).value
        if error is not None:
            raise error
        return value

    @keyword
    def get_series_count(
        self,
        metric: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        **labels: str,
    ) -> int:
        """Returns how many series of a metric have these labels (see `Get Metric`).

        Example:
        | Get Series Count | vram_used_bytes | == | 2 | pool=chat |
        """
        count = len(self.values_of(metric, labels))
        check(count, assertion_operator, assertion_expected, f"Series of {metric} with {labels}")
        return count

    @keyword
    def metric_should_not_exist(self, metric: str, **labels: str) -> None:
        """Checks that no series of a metric has these labels.

        Example:
        | Metric Should Not Exist | last_heartbeat_timestamp_seconds | pool=chat |
        """
        values = self.values_of(metric, labels)
        if values:
            raise ExpectationFailed(f"{metric} should have no series with {labels}, it has {len(values)}: {values}")

    @keyword
    def remember_metric(self, metric: str, **labels: str) -> float:
        """Remembers a metric's value (0 if there is none) for `Metric Should Have Risen By`.

        Example:
        | Remember Metric | reload_success_total | pool=chat |
        """
        value = sum(self.values_of(metric, labels))
        self.scenario.memory[_key(metric, labels)] = value
        return value

    @keyword
    def metric_should_have_risen_by(
        self, metric: str, amount: float, within: timedelta = timedelta(seconds=1), **labels: str
    ) -> None:
        """Checks how much a metric has risen since `Remember Metric` with the same labels.

        Example:
        | Metric Should Have Risen By | reload_success_total | 1 | pool=chat |
        """
        before = float(self.scenario.memory.get(_key(metric, labels), 0.0))
        wait_until(
            lambda: sum(self.values_of(metric, labels)) - before,
            lambda rise: abs(rise - amount) < 1e-9,
            timeout=seconds(within),
            expected=f"{metric} {labels} to have risen by {amount:g}",
            show=lambda rise: f"by {rise:g}",
        )


def _key(metric: str, labels: dict[str, str]) -> str:
    return f"metric {metric} {sorted(labels.items())}"
