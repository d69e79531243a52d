"""What pools become and stay: Ready, unready, in a phase, failed."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any

from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.enums import Phase
from PoolManagerLibrary.errors import ExpectationFailed, UsageError, WaitTimeout
from PoolManagerLibrary.event_log import SeenEvent
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.scenario import Pool
from PoolManagerLibrary.units import seconds, show_seconds
from PoolManagerLibrary.waiting import LOAD_LIMIT, wait_until

#: How much longer than the scenario's own limit a wait looks: a late event is reported as late, not as missing.
PATIENCE = 1.0


class PoolStateKeywords(Keywords):
    """Keywords that wait for pools."""

    @keyword
    def wait_until_pool_is_ready(self, name: str = "the pool", timeout: timedelta = LOAD_LIMIT) -> None:
        """Waits until a pool (or every one of several) is Ready; at once if it is. Woken by events, not by polling.

        Example:
        | Wait Until Pool Is Ready | chat | timeout=3 s |
        """
        for pool_id in self.pool_ids(name):
            self._wait_status(pool_id, lambda status: status["ready"], "be ready", seconds(timeout))

    @keyword
    def wait_until_pool_is_unready(self, name: str = "the pool", timeout: timedelta = LOAD_LIMIT) -> None:
        """Waits until a pool is not Ready; at once if it is not.

        Example:
        | Wait Until Pool Is Unready | chat | timeout=1 s |
        """
        for pool_id in self.pool_ids(name):
            self._wait_status(pool_id, lambda status: not status["ready"], "be unready", seconds(timeout))

    @keyword
    def wait_until_pool_phase(self, name: str, phase: Phase, timeout: timedelta = LOAD_LIMIT) -> None:
        """Waits until a pool shows a phase; at once if it does.

        Example:
        | Wait Until Pool Phase | chat | loading | timeout=1 s |
        """
        for pool_id in self.pool_ids(name):
            self._wait_status(
                pool_id, lambda status: status["phase"] == phase.value, f"be in phase {phase.value}", seconds(timeout)
            )

    def _wait_status(self, pool_id: str, accept: Any, wish: str, limit: float) -> None:
        daemon = self.daemon
        known = 0

        def look() -> dict[str, Any]:
            nonlocal known
            known = len(daemon.events)
            return self.status(pool_id)

        wait_until(
            look,
            accept,
            timeout=limit,
            expected=f"pool {pool_id} to {wish}",
            show=lambda status: f"phase {status['phase']}, ready {status['ready']}, live {status['live']}",
            context=lambda: self.explain(pool_id),
            pause=lambda remaining: daemon.events.pause(known, min(remaining, 0.25)),
        )

    @keyword
    def pool_should_become(self, name: str, state: str, within: timedelta = LOAD_LIMIT) -> SeenEvent | None:
        """Waits for the *event* that makes a pool ``ready``, ``unready`` or ``in phase X`` after the last act.

        The time is checked against the event's own: it must lie within ``within`` of the act. A state that a
        pool has had all
        along does not count; say `Wait Until Pool Is Ready` for that. Each call goes on after the event of
        the last one, so
        that ``unready`` then ``ready`` is a sequence.

        Example:
        | Kill Engine | the engine | SIGKILL |
        | Pool Should Become | the pool | unready | within=100 ms |
        | Pool Should Become | the pool | ready | within=3 s |
        """
        event = None
        for pool in self.scenario.pools_named(name):
            event = self._become(pool, state, seconds(within))
        return event

    def _become(self, pool: Pool, state: str, limit: float) -> SeenEvent:
        daemon = self.daemon
        cursor = self.world.cursor(pool)
        accept = _event_for(state)
        found = self.scenario.found.get(pool.pool_id)
        known = 0

        def look() -> SeenEvent | None:
            nonlocal known
            known = len(daemon.events)
            for event in daemon.events.of_pool(pool.pool_id):
                late_enough = event.revision > cursor.after_revision and event.at >= cursor.after_time
                if late_enough and event != found and accept(event):
                    return event
            return None

        elapsed = time.time() - self.scenario.act_at
        waited = wait_until(
            look,
            lambda event: event is not None,
            timeout=max(limit - elapsed, 0) + PATIENCE,
            expected=f"pool {pool.pool_id} to become {state}",
            limit=f"{show_seconds(limit)} of {self.scenario.act_name}",
            show=lambda _: "no such event",
            context=lambda: self.explain(pool),
            pause=lambda remaining: daemon.events.pause(known, remaining),
        )
        event = waited.value
        assert event is not None  # noqa: S101  # the wait accepted it
        cursor.after_revision = event.revision
        self.scenario.found[pool.pool_id] = event
        took = event.at - self.scenario.act_at
        self.scenario.memory["event"] = event
        logger.info(f"{event.describe()}: {show_seconds(max(took, 0))} after {self.scenario.act_name}")
        if took > limit:
            raise WaitTimeout(
                f"Pool {pool.pool_id} became {state} {show_seconds(took)} after {self.scenario.act_name}; "
                f"{show_seconds(limit)} are allowed.\n{self.explain(pool)}"
            )
        return event

    @keyword
    def pool_should_stay(self, name: str, state: str, duration: timedelta = timedelta(milliseconds=500)) -> None:
        """Checks that a pool is ``ready``, ``unready`` or ``in phase X``, and stays so for a while.

        Example:
        | Pool Should Stay | the pool | ready | 500 ms |
        """
        pools = self.scenario.pools_named(name)
        accept_status = _status_for(state)
        began = time.time() - 0.002
        for pool in pools:
            status = self.status(pool.pool_id)
            if not accept_status(status):
                raise ExpectationFailed(
                    f"Pool {pool.pool_id} should be {state}, it shows phase {status['phase']}, "
                    f"ready {status['ready']}.\n"
                    f"{self.explain(pool)}"
                )
        time.sleep(seconds(duration))
        self.world.sync_events()
        for pool in pools:
            against = [event for event in self.pool_events(pool) if event.at >= began and _contradicts(event, state)]
            if against or not accept_status(self.status(pool.pool_id)):
                raise ExpectationFailed(
                    f"Pool {pool.pool_id} should have stayed {state} for {show_seconds(seconds(duration))}, but: "
                    f"{against[0].describe() if against else 'its status says otherwise'}\n{self.explain(pool)}"
                )

    @keyword
    def load_should_fail(self, name: str, code: str, within: timedelta = LOAD_LIMIT) -> SeenEvent:
        """Waits for the first event of a pool after the last act that carries an error code, which must be ``code``.

        The pool must not be Ready before. Its last error is then what `Error Should Name` looks at.

        Example:
        | Preload Pool | the pool |
        | Load Should Fail | the pool | INSUFFICIENT_VRAM | within=100 ms |
        """
        pool = self.scenario.pool(name)
        event = self._become(pool, "failed with a code", seconds(within))
        if event.code != code:
            raise ExpectationFailed(
                f"Pool {pool.pool_id} should fail with {code}, it failed with {event.code}: {event.reason}\n"
                f"{self.explain(pool)}"
            )
        for refusal in self.scenario.refusals:
            if refusal.code == code:
                refusal.examined = True
        status = self.status(pool.pool_id)
        if status["ready"]:
            raise ExpectationFailed(
                f"Pool {pool.pool_id} failed with {code}, and yet it is ready.\n{self.explain(pool)}"
            )
        self.scenario.memory["error"] = status["last_error"] or {"code": event.code, "message": event.reason}
        return event


def _phase_in(state: str) -> str:
    match = re.fullmatch(r"(?:in )?(?:phase )?([a-z_]+)", state.strip().lower())
    if match is None or match[1] not in {phase.value for phase in Phase}:
        raise UsageError(
            f"'{state}' is no state: write ready, unready, or in phase {'|'.join(p.value for p in Phase)}."
        )
    return match[1]


def _event_for(state: str) -> Any:
    text = state.strip().lower()
    if text == "ready":
        return lambda event: event.kind == "pool_ready"
    if text in {"unready", "not ready"}:
        return lambda event: event.kind == "pool_unready"
    if text == "failed with a code":
        return lambda event: event.code is not None and event.kind != "lease"
    phase = _phase_in(state)
    return lambda event: event.kind == "phase" and event.to == phase


def _status_for(state: str) -> Any:
    text = state.strip().lower()
    if text == "ready":
        return lambda status: status["ready"]
    if text in {"unready", "not ready"}:
        return lambda status: not status["ready"]
    phase = _phase_in(state)
    return lambda status: status["phase"] == phase


def _contradicts(event: SeenEvent, state: str) -> bool:
    text = state.strip().lower()
    if text == "ready":
        return event.kind == "pool_unready"
    if text in {"unready", "not ready"}:
        return event.kind == "pool_ready"
    return event.kind == "phase" and event.to not in text.split()
