"""The daemon's log compared with what happened: the event stream, the metrics, and itself."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.event_log import SeenEvent
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.daemon_log import DaemonLogKeywords
from PoolManagerLibrary.keywords.metrics import MetricKeywords
from PoolManagerLibrary.units import epoch, seconds
from PoolManagerLibrary.waiting import wait_until

#: Kinds whose one line may concern several pools: those are listed in it.
_OF_SEVERAL_POOLS = frozenset({"config", "device", "xid"})
_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})


class LogLineKeywords(Keywords):
    """Keywords about the lines of the daemon's log."""

    @keyword
    def log_lines_that_name_a_pool_should_have_its_id(self, name: str = "the pool") -> int:
        """Checks that each line in which the pool's id stands, wherever, has it as ``pool_id``. Returns how many.

        Lines about the config, a device or an XID may concern several pools, and list them.

        Example:
        | Log Lines That Name A Pool Should Have Its Id | chat |
        """
        pool_id = self.scenario.pool_id(name)
        lines = [record for record in self._records() if pool_id in json.dumps(record)]
        for record in lines:
            if record.get("pool_id") != pool_id and record.get("kind") not in _OF_SEVERAL_POOLS:
                raise ExpectationFailed(f"A line that concerns {name} lacks its pool_id {pool_id}: {record}")
        return len(lines)

    @keyword
    def every_log_line_should_be_one_json_object(self) -> int:
        """Checks that each line of the daemon's output is one JSON object with a UTC time, a level and an event.

        Returns how many there are.

        Example:
        | Every Log Line Should Be One Json Object |
        """
        lines = self.world.selected.output(self.scenario.log_offset).split("\n")
        if lines[-1]:
            raise ExpectationFailed(f"The last line has no end: {lines[-1]!r}")
        for line in lines[:-1]:
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ExpectationFailed(f"A line is no JSON ({error}): {line!r}") from error
            good = (
                isinstance(record, dict)
                and _UTC.fullmatch(str(record.get("time")))
                and record.get("level") in _LEVELS
                and isinstance(record.get("event"), str)
                and record["event"]
            )
            if not good:
                raise ExpectationFailed(f"A line lacks time, level or event: {line!r}")
        return len(lines) - 1

    @keyword
    def backoffs_should_have_lasted_as_logged(
        self, name: str = "the pool", tolerance: timedelta = timedelta(milliseconds=100)
    ) -> int:
        """Checks for each line with ``backoff_ms`` that so much time passed until the next start. Returns the backoffs.

        The lines are those of the change to phase backoff and of the restart that was scheduled; time counts from each
        line's own to that of the next change to preflight.

        Example:
        | Backoffs Should Have Lasted As Logged | the pool |
        """
        # A line is written a moment after its event was told.
        records = wait_until(
            lambda: DaemonLogKeywords(self.world).get_daemon_log(pool=name),
            lambda found: (
                (_starts(found) or [0.0])[-1] > max((epoch(one["time"]) for one in _delayed(found)), default=0)
            ),
            timeout=2,
            expected="the log to show the start after the last backoff",
            show=lambda found: f"{len(found)} lines",
        ).value
        starts, delayed = _starts(records), _delayed(records)
        for record in delayed:
            begin = epoch(record["time"])
            following = [start for start in starts if start > begin]
            if not following:
                raise ExpectationFailed(f"No start followed this backoff: {record['human']}")
            took = (min(following) - begin) * 1000
            if abs(took - record["backoff_ms"]) > seconds(tolerance) * 1000:
                raise ExpectationFailed(
                    f"The {record['event']} line says {record['backoff_ms']} ms, it took {took:.0f} ms: "
                    f"{record['human']}"
                )
        phases = [one for one in delayed if one["event"] == "phase"]
        scheduled = [one for one in delayed if one["event"] == "restart_scheduled"]
        if len(phases) != len(scheduled):
            raise ExpectationFailed(f"{len(phases)} backoffs, but {len(scheduled)} scheduled restarts were logged.")
        return len(phases)

    @keyword
    def failures_should_be_logged_with_their_error(self, name: str = "the pool") -> list[str]:
        """Checks that each event with a code has a line whose ``last_error`` has that code and the event's text.

        Returns the codes of the changes of phase, each once, in order.

        Example:
        | Failures Should Be Logged With Their Error | the pool |
        """
        self.world.sync_events()
        failures = [event for event in self.pool_events(self.scenario.pool(name)) if event.code]
        lines = self._lines_of(failures)
        for event in failures:
            error = lines[event.revision].get("last_error")
            if not error or error["code"] != event.code or not error["message"] or error["message"] != event.reason:
                raise ExpectationFailed(f"The line of {event.describe()} has the last_error {error}")
        return list(dict.fromkeys(str(event.code) for event in failures if event.kind == "phase"))

    @keyword
    def log_should_agree_with_metrics(self, name: str = "the pool", gpu: str = "the GPU") -> dict[str, int]:
        """Checks that lines of loads, restarts and driver resets are as many as the metrics count. Returns the numbers.

        For a daemon of the scenario's own, whose counters and log begin at the same time.

        Example:
        | Log Should Agree With Metrics | the pool |
        """
        self.own_daemon()
        self.world.sync_events()
        metrics, logs = MetricKeywords(self.world), DaemonLogKeywords(self.world)
        pool, device = {"pool": name}, self.scenario.gpu(gpu).uuid
        counted = {
            "preload_success_total": (pool, {"event": "preload", "to": "ready", **pool}),
            "preload_failure_total": (pool, {"event": "preload", "to": "failed", **pool}),
            "restart_total": (pool, {"event": "phase", "restart": "true", **pool}),
            "driver_reset_total": ({"device": device}, {"event": "xid", "needs_reset": "true", "device": device}),
        }
        found: dict[str, int] = {}
        for metric, (labels, fields) in counted.items():
            value = round(sum(metrics.values_of(metric, labels)))
            found[metric] = self._count(logs, fields, value, metric)
        return found

    @staticmethod
    def _count(logs: DaemonLogKeywords, fields: dict[str, str], wanted: int, metric: str) -> int:
        return wait_until(
            lambda: len(logs.get_daemon_log(**fields)),
            lambda lines: lines == wanted,
            timeout=1,
            expected=f"{wanted} lines with {fields}, as {metric} counts",
        ).value

    def _records(self) -> list[dict[str, Any]]:
        return self.world.selected.log_records(self.scenario.log_offset)

    def _lines_of(self, events: list[SeenEvent]) -> dict[int, dict[str, Any]]:
        """The lines of these events by revision, waited for: the log is written by a thread of its own."""
        wanted = {event.revision for event in events}
        return wait_until(
            lambda: {
                one["revision"]: one
                for one in self._records()
                if one.get("revision") in wanted and one.get("kind") != "gap"
            },
            lambda lines: lines.keys() == wanted,
            timeout=2,
            expected=f"lines of {len(wanted)} events",
            show=lambda lines: f"none of {sorted(wanted - lines.keys())}",
        ).value


def _starts(records: list[dict[str, Any]]) -> list[float]:
    return [epoch(one["time"]) for one in records if one["event"] == "phase" and one["to"] == "preflight"]


def _delayed(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in records if one.get("backoff_ms") is not None]
