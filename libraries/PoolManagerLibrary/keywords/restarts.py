"""Restarts by the supervisor: when they are announced, when they come, and what the circuit breaker makes of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.event_log import ROUNDING_S, SeenEvent
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.events import EventKeywords
from PoolManagerLibrary.keywords.pool_statuses import dig_or_none, field_and_value, is_same
from PoolManagerLibrary.units import epoch, milliseconds, seconds, show_seconds
from PoolManagerLibrary.waiting import LOAD_LIMIT, wait_until

#: How late or early a restart may be (behaviour B-SUPER-015).
PUNCTUAL_S = 0.1


class RestartKeywords(Keywords):
    """Keywords about restarts."""

    @keyword
    def restart_delays_should_be(
        self, name: str, *delays: str, jitter: float = 0.1, within: timedelta = LOAD_LIMIT
    ) -> list[int]:
        """Waits until so many restarts of a pool have been scheduled since the last act, and checks their delays.

        Each may differ by ``jitter`` (a share) from what is given. Returns the delays in milliseconds.

        Example:
        | Restart Delays Should Be | the pool | 1 s | 2 s | 4 s | 8 s |
        """
        wanted = [milliseconds(delay) for delay in delays]
        scheduled = self._scheduled(name, len(wanted), within)[: len(wanted)]
        seen = [int(event.details["backoff_ms"]) for event in scheduled]
        for found, base in zip(seen, wanted, strict=True):
            # A delay is a whole number of milliseconds.
            if not base * (1 - jitter) - 0.5 <= found <= base * (1 + jitter) + 0.5:
                raise ExpectationFailed(
                    f"The restarts of {name} should wait {', '.join(delays)}, ±{jitter:.0%} each; it is {seen} ms.\n"
                    f"{self.explain(self.scenario.pool(name))}"
                )
        return seen

    @keyword
    def get_restart_delays(
        self, name: str = "the pool", at_least: int = 0, within: timedelta = LOAD_LIMIT
    ) -> list[int]:
        """Returns the delays of all restarts of a pool that were scheduled since the last act, in milliseconds.

        Example:
        | ${delays} = | Get Restart Delays | the pool | at_least=3 |
        """
        return [int(event.details["backoff_ms"]) for event in self._scheduled(name, at_least, within)]

    @keyword
    def restarts_should_be_punctual(self, name: str = "the pool", at_least: int = 1) -> None:
        """Checks that each restart that was scheduled since the last act came within 100 ms of its announced time, and
        that this time is the failure's (or the end of its process) plus the delay. The last one may be still to come.

        Example:
        | Restarts Should Be Punctual | the pool | at_least=3 |
        """  # noqa: D205  # one sentence
        pool = self.scenario.pool(name)
        scheduled = self._scheduled(name, at_least, LOAD_LIMIT)
        came = 0
        for event in scheduled:
            due = epoch(event.details["next_restart_at"])
            phases = [one for one in self.pool_events(pool) if _is_phase(one, event.replica_id)]
            before = [one for one in phases if one.revision < event.revision]
            if abs(before[-1].at + event.details["backoff_ms"] / 1000 - due) > 2 * ROUNDING_S:
                raise ExpectationFailed(
                    f"{event.details['backoff_ms']} ms after {before[-1].describe()} is not "
                    f"{event.details['next_restart_at']}."
                )
            start = next((one for one in phases if one.revision > event.revision and one.to == "preflight"), None)
            if start is None:
                continue
            came += 1
            if abs(start.at - due) > PUNCTUAL_S:
                raise ExpectationFailed(
                    f"The restart was due at {event.details['next_restart_at']}, it came {start.at - due:+.3f} s from "
                    f"then: {start.describe()}"
                )
        if came < at_least:
            raise ExpectationFailed(f"Only {came} restarts of {name} have come.\n{self.explain(pool)}")

    @keyword
    def restarts_should_keep_to_rate(self, name: str, rate: int, window: timedelta, delay: timedelta) -> None:
        """Checks every restart that a pool (one replica, no jitter) ever scheduled against a sliding window.

        Each waits ``delay`` after its failure or, where the window held ``rate`` restarts by then, until its oldest
        leaves. There must have been some of both.

        Example:
        | Restarts Should Keep To Rate | the pool | rate=3 | window=1500 ms | delay=20 ms |
        """
        pool = self.scenario.pool(name)
        self.world.sync_events()
        restarts: list[float] = []
        failed_at = 0.0
        limited: list[bool] = []
        for event in self.pool_events(pool):
            if event.kind == "phase" and event.details.get("restart"):
                restarts.append(event.at)
            if event.kind == "phase" and event.to == "backoff":
                failed_at = event.at
            if event.kind != "restart_scheduled":
                continue
            within = [at for at in restarts if at > failed_at - seconds(window)]
            due = failed_at + seconds(delay)
            if len(within) >= rate:
                due = max(due, within[-rate] + seconds(window))
            limited.append(len(within) >= rate)
            announced = epoch(event.details["next_restart_at"])
            # A restart is announced a moment after the time at which it is counted.
            if not due - 0.05 <= announced <= due + 0.005:
                raise ExpectationFailed(
                    f"With {len(within)} restarts within {show_seconds(seconds(window))} the next should come "
                    f"{due - failed_at:.3f} s after the failure, not {announced - failed_at:.3f} s: {event.describe()}"
                )
        if set(limited) != {True, False}:
            raise ExpectationFailed(
                f"Some restarts should be held back by the rate and some not; of {len(limited)} there were "
                f"{sum(limited)} held back.\n{self.explain(pool)}"
            )

    @keyword
    def restart_should_be_shown_as_announced(self, name: str = "the pool", engine: str = "r0") -> None:
        """Checks that status (pool and replica) and log show the ``next_restart_at`` of *the event* of kind
        restart_scheduled, the log with its delay and count, and that the last error says what follows.

        Example:
        | Wait For Event | the pool | kind=restart_scheduled |
        | Restart Should Be Shown As Announced | the pool |
        """  # noqa: D205  # one sentence
        event: SeenEvent = self.scenario.memory["event"]
        status = self.status(self.scenario.pool_id(name))
        replica = next(one for one in status["replicas"] if one["replica_id"] == engine)
        wanted = event.details["next_restart_at"]
        shown = {"event": wanted, "pool": status["next_restart_at"], "replica": replica["next_restart_at"]}
        if set(shown.values()) != {wanted} or wanted is None:
            raise ExpectationFailed(f"The next start should be the same everywhere: {shown}")
        verdict = (replica["last_error"] or {}).get("details", {}).get("verdict")
        if f"{event.details['backoff_ms']} ms" not in str(verdict) or "Ready" not in str(verdict):
            raise ExpectationFailed(f"The last error should say the delay and what resets it: {replica['last_error']}")

    @keyword
    def breaker_should_have_gone_through(
        self, states: str, engine: str = "the engine", within: timedelta = LOAD_LIMIT
    ) -> None:
        """Waits until the breaker of a replica has gone through these states since the last act, and through no other.

        Example:
        | Breaker Should Have Gone Through | open, half_open, closed | engine r0 of pool chat |
        """
        wanted = re.split(r",\s*", states.strip())
        pool, replica = self.scenario.replica(engine)
        wait_until(
            lambda: [str(event.to) for event in self._breaker_events(pool.alias, replica)],
            lambda seen: seen == wanted,
            timeout=seconds(within),
            expected=f"the breaker of {engine} to go through {states}",
            show=lambda seen: ", ".join(seen) or "no change",
            context=lambda: self.explain(pool),
            pause=self._until_news(),
        )

    @keyword
    def get_breaker_events(self, engine: str = "the engine", since_act: bool = True) -> list[dict[str, Any]]:
        """Returns the events of kind breaker of a replica.

        Example:
        | ${changes} = | Get Breaker Events | r0 |
        """
        pool, replica = self.scenario.replica(engine)
        return [event.document for event in self._breaker_events(pool.alias, replica, since_act=since_act)]

    @keyword
    def get_start_count(self, engine: str = "the engine") -> int:
        """Returns how many processes were made for a replica since the last act.

        Example:
        | ${starts} = | Get Start Count | the engine |
        """
        pool, replica = self.scenario.replica(engine)
        loading = EventKeywords(self.world).seen(
            pool.alias, since_act=True, kind="phase", replica_id=replica, to="loading"
        )
        return len([event for event in loading if event.from_ == "starting"])

    @keyword
    def replica_should_show(self, engine: str, *fields: str, within: timedelta = timedelta(0)) -> None:
        """Checks fields of one replica's status, each as ``field value``, at once or ``within`` a time.

        Example:
        | Replica Should Show | engine r0 | phase circuit_open | breaker.state open | within=2 s |
        """
        pool, replica = self.scenario.replica(engine)
        pairs = [field_and_value(field) for field in fields]

        def look() -> dict[str, Any]:
            replicas = self.status(pool.pool_id)["replicas"]
            document = next(one for one in replicas if one["replica_id"] == replica)
            return {path: dig_or_none(document, path) for path, _ in pairs}

        wait_until(
            look,
            lambda seen: all(is_same(seen[path], value) for path, value in pairs),
            timeout=seconds(within),
            expected=f"{engine} to show " + ", ".join(f"{path} {value!r}" for path, value in pairs),
            show=lambda seen: ", ".join(f"{path} {value!r}" for path, value in seen.items()),
            context=lambda: self.explain(pool),
        )

    def _scheduled(self, name: str, at_least: int, within: timedelta) -> Sequence[SeenEvent]:
        if not at_least:
            return EventKeywords(self.world).seen(name, since_act=True, kind="restart_scheduled")
        return wait_until(
            lambda: EventKeywords(self.world).arrived(name, since_act=True, fields={"kind": "restart_scheduled"}),
            lambda seen: len(seen) >= at_least,
            timeout=seconds(within),
            expected=f"{at_least} restarts of {name} to be scheduled",
            show=lambda seen: f"{len(seen)} of them",
            context=lambda: self.explain(self.scenario.pool(name)),
            pause=self._until_news(),
        ).value

    def _breaker_events(self, name: str, replica: str, *, since_act: bool = True) -> list[SeenEvent]:
        return EventKeywords(self.world).seen(name, since_act=since_act, kind="breaker", replica_id=replica)

    def _until_news(self) -> Any:
        events = self.daemon.events
        return lambda remaining: events.pause(len(events.events()), min(remaining, 0.1))


def _is_phase(event: SeenEvent, replica: str | None) -> bool:
    return event.kind == "phase" and event.replica_id == replica
