"""What a scrape of /metrics looks like as a whole: its form, and which series it has."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from datetime import timedelta
from typing import Any

from robot.api import SkipExecution
from robot.api.deco import keyword

from PoolManagerLibrary import exposition
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.metrics import PREFIX, MetricKeywords
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.outcome import Protocol
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until

Series = tuple[str, tuple[tuple[str, str], ...]]
_DEBIAN_PACKAGE = "prometheus"


class ExpositionKeywords(Keywords):
    """Keywords about scrapes as a whole."""

    @keyword
    def metrics_should_be_well_formed(self) -> int:
        """Checks a scrape by a strict reader: form, content type, HELP and TYPE, names and units. Returns its series.

        The rules about names are those of ``promtool check metrics``.

        Example:
        | Metrics Should Be Well Formed |
        """
        outcome = self.must(self.daemon.http.request("GET", "/metrics"))
        found = exposition.faults(outcome.text, prefix=PREFIX)
        seen = {name.lower(): value for name, value in outcome.headers.items()}.get("content-type")
        if seen != exposition.CONTENT_TYPE:
            found.insert(0, f"the content type is {seen}, not {exposition.CONTENT_TYPE}")
        if found:
            raise ExpectationFailed(f"/metrics has {len(found)} faults: " + "\n".join(found[:20]))
        return len(self._series())

    @keyword
    def promtool_should_accept_the_metrics(self) -> None:
        """Checks that ``promtool check metrics`` has nothing to say. Skips the test where there is no promtool.

        Example:
        | Promtool Should Accept The Metrics |
        """
        outcome = self.must(self.daemon.http.request("GET", "/metrics"))
        done = subprocess.run(
            [program("promtool"), "check", "metrics"], input=outcome.text.encode(), capture_output=True, check=False
        )
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        if done.returncode or said:
            raise ExpectationFailed(f"promtool check metrics says ({done.returncode}):\n{said}")

    @keyword
    def remember_series(self) -> int:
        """Remembers which time series there are, for `Series Should Be Those Remembered`. Returns how many.

        Example:
        | Remember Series |
        """
        series = self._series()
        self.scenario.memory["series"] = series
        return len(series)

    @keyword
    def series_should_be_those_remembered(self) -> None:
        """Checks that since `Remember Series` no time series has been added and none is gone.

        Example:
        | Series Should Be Those Remembered |
        """
        before: set[Series] | None = self.scenario.memory.get("series")
        if before is None:
            raise UsageError("No series were remembered: say Remember Series first.")
        now = self._series()
        if now != before:
            raise ExpectationFailed(
                f"{len(now - before)} time series were added: {sorted(now - before)[:10]}, "
                f"{len(before - now)} are gone: {sorted(before - now)[:10]}"
            )

    @keyword
    def labels_should_be_among(self, *labels: str) -> None:
        """Checks that no time series has a label of another name.

        Example:
        | Labels Should Be Among | pool_id | replica_id | device |
        """
        others = {name for _, pairs in self._series() for name, _ in pairs} - set(labels)
        if others:
            raise ExpectationFailed(f"There are labels beside {', '.join(labels)}: {', '.join(sorted(others))}")

    @keyword
    def series_of_pool_should_be_gone(self, name: str = "the pool", within: timedelta = timedelta(seconds=1)) -> None:
        """Checks that no time series has the pool's id in any label.

        Example:
        | Series Of Pool Should Be Gone | chat |
        """
        pool_id = self.scenario.pool_id(name)
        wait_until(
            lambda: self._of(pool_id),
            lambda series: not series,
            timeout=seconds(within),
            expected=f"no series of pool {pool_id}",
            show=lambda series: f"{len(series)}: {sorted(series)[:5]}",
        )

    @keyword
    def series_of_pool_should_exist(self, name: str = "the pool") -> int:
        """Checks that there are time series with the pool's id, and returns how many.

        Example:
        | Series Of Pool Should Exist | chat |
        """
        count = len(self._of(self.scenario.pool_id(name)))
        if not count:
            raise ExpectationFailed(f"/metrics has no series of {name}.")
        return count

    @keyword
    def ask_for_what_is_not_there(self, count: int, name: str = "the pool") -> None:
        """Makes so many requests that name pools, leases and correlation ids that nobody knows, each of its own.

        They go over HTTP and gRPC; the lease ids are asked for on a pool that is there. Each must be refused.

        Example:
        | Ask For What Is Not There | 100 |
        """
        pool_id = self.scenario.pool_id(name)
        for number in range(count):
            unknown = f"nobody-{number}-{uuid.uuid4().hex[:8]}"
            cases: tuple[tuple[str, dict[str, Any]], ...] = (
                ("status", {"pool_id": unknown}),
                ("acquire", {"pool_id": unknown, "holder": unknown}),
                ("renew", {"pool_id": pool_id, "lease_id": unknown}),
                ("renew", {"pool_id": unknown, "lease_id": unknown}),
                ("preload", {"pool_id": unknown}),
                ("drain", {"pool_id": unknown}),
            )
            operation, arguments = cases[number % len(cases)]
            protocol = Protocol.GRPC if number // len(cases) % 2 else Protocol.HTTP
            outcome = call(self.daemon, operation, protocol=protocol, correlation_id=unknown, **arguments)
            if outcome.code not in {"POOL_NOT_FOUND", "LEASE_NOT_FOUND"}:
                raise ExpectationFailed(f"It should not be found: {outcome.describe()}")

    def _of(self, pool_id: str) -> set[Series]:
        return {series for series in self._series() if any(value == pool_id for _, value in series[1])}

    def _series(self) -> set[Series]:
        return {(name, tuple(sorted(labels.items()))) for name, labels, _ in MetricKeywords(self.world).samples()}


def program(name: str) -> str:
    """The path of a program of Debian's package ``prometheus``.

    :raises SkipExecution: where it is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise SkipExecution(f"{name} (Debian's package {_DEBIAN_PACKAGE}) is not installed.")
    return found
