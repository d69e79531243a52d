"""What all keyword classes share."""

from __future__ import annotations

import json
import re
from typing import Any

from assertionengine import AssertionOperator, verify_assertion
from robot.api import logger

from PoolManagerLibrary.daemon_process import Daemon
from PoolManagerLibrary.errors import ExpectationFailed, Refused, UsageError
from PoolManagerLibrary.event_log import SeenEvent
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.outcome import Outcome, Protocol
from PoolManagerLibrary.scenario import Pool, Scenario
from PoolManagerLibrary.units import show_time
from PoolManagerLibrary.world import World


class Keywords:
    """Access to the world, and a few helpers."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def scenario(self) -> Scenario:
        """The present test's state."""
        return self.world.scenario

    @property
    def daemon(self) -> Daemon:
        """The daemon under test, running and knowing all pools of the scenario."""
        return self.world.daemon

    def own_daemon(self) -> Daemon:
        """The scenario's own daemon.

        :raises UsageError: if it has none.
        """
        daemon = self.scenario.daemon
        if daemon is None or daemon not in self.scenario.own_daemons:
            raise UsageError(
                "This would disturb other scenarios: begin with a step such as 'Given a daemon of its own'."
                if self.world.url is None
                else "A daemon that runs elsewhere is not this run's to change."
            )
        return daemon

    def operate(self, operation: str, *, protocol: Protocol = Protocol.HTTP, **arguments: Any) -> Outcome:
        """One use case, noted as the scenario's last answer."""
        daemon = self.daemon
        outcome = call(daemon, operation, protocol=protocol, **arguments)
        logger.debug(outcome.describe())
        return self.scenario.answered(outcome)

    def must(self, outcome: Outcome) -> Outcome:
        """The outcome, if it is no refusal.

        :raises Refused: otherwise.
        """
        outcome.examined = True
        if not outcome.ok:
            raise Refused(f"{outcome.describe()}\n{outcome.text[:1000]}".strip())
        return outcome

    def pool_ids(self, name: str) -> list[str]:
        """The daemon's ids of one pool or several."""
        try:
            return [pool.pool_id for pool in self.scenario.pools_named(name)]
        except UsageError:
            # A pool that nobody defined is a fair thing to ask for: the daemon shall say no.
            return [self.scenario.pool_id(re.sub(r"^(the )?(unknown )?pool (?=\S)", "", name))]

    def status(self, pool_id: str, protocol: Protocol = Protocol.HTTP) -> dict[str, Any]:
        """A pool's status document, outside the scenario's last answer."""
        document: dict[str, Any] = self.must(call(self.daemon, "status", protocol=protocol, pool_id=pool_id)).body
        return document

    def pool_events(self, pool: Pool | str) -> list[SeenEvent]:
        """All events of a pool that have arrived."""
        pool_id = pool.pool_id if isinstance(pool, Pool) else pool
        return self.daemon.events.of_pool(pool_id)

    def phases_of(self, engine: str, phase: str) -> list[SeenEvent]:
        """The events with which a replica came into a phase."""
        pool, replica = self.scenario.replica(engine)
        self.world.sync_events()
        return [
            event
            for event in self.pool_events(pool)
            if event.kind == "phase" and event.replica_id == replica and event.to == phase and event.from_ != phase
        ]

    def explain(self, pool: Pool | str, *, events: int = 12) -> str:
        """A pool's last phase, last error and latest events, for a failure's message."""
        pool_id = pool.pool_id if isinstance(pool, Pool) else pool
        lines = []
        try:
            outcome = call(self.daemon, "status", pool_id=pool_id, timeout=3)
            if outcome.ok:
                error = outcome.body["last_error"]
                lines.append(
                    f"Pool {pool_id}: phase {outcome.body['phase']}, ready {outcome.body['ready']}, live "
                    f"{outcome.body['live']}, desired {outcome.body['desired']}"
                )
                lines.append(
                    "Last error: " + (f"{error['code']} at {error['at']}: {error['message']}" if error else "none")
                )
            else:
                lines.append(f"Pool {pool_id}: {outcome.describe()}")
        except Exception as error:  # noqa: BLE001  # an explanation never hides the failure that it explains
            lines.append(f"Pool {pool_id}: its status could not be read: {error}")
        last = self.scenario.outcome
        if last is not None and not last.ok:
            lines.append(f"The last request was refused: {last.describe()}")
        mine = self.daemon.events.of_pool(pool_id)[-events:]
        lines.append(f"Latest events ({self.scenario.act_name} at {show_time(self.scenario.act_at)}):")
        lines += [f"  {event.describe()}" for event in mine] or ["  none"]
        return "\n".join(lines)


def check(value: Any, operator: AssertionOperator | None, expected: Any, what: str, message: str | None = None) -> Any:
    """Apply a getter's assertion operator, if one is given; texts that look like numbers compare as numbers."""
    if operator is None:
        return value
    if isinstance(expected, str) and not isinstance(value, str):
        try:
            expected = json.loads(expected)
        except ValueError:
            expected = {"none": None, "true": True, "false": False}.get(expected.strip().lower(), expected)
    try:
        return verify_assertion(value, operator, expected, what, message)
    except AssertionError as error:
        raise ExpectationFailed(str(error)) from None


def dig(document: Any, path: str) -> Any:
    """The member at a dotted path, such as ``replicas.0.breaker.state``.

    :raises ExpectationFailed: if there is none; the message names what there is.
    """
    place = document
    for part in path.split("."):
        if isinstance(place, list) and part.lstrip("-").isdigit() and -len(place) <= int(part) < len(place):
            place = place[int(part)]
        elif isinstance(place, dict) and part in place:
            place = place[part]
        else:
            there = (
                ", ".join(place)
                if isinstance(place, dict)
                else f"{len(place)} items"
                if isinstance(place, list)
                else place
            )
            raise ExpectationFailed(f"There is no '{part}' of '{path}': there is {there}.")
    return place


def says(text: str) -> Any:
    """The value that a phrase means by a word: ``true``, ``null``, ``4``, ``ready``."""
    stripped = text.strip()
    if stripped.lower() in {"none", "null", "nothing"}:
        return None
    try:
        return json.loads(stripped.lower() if stripped.lower() in {"true", "false"} else stripped)
    except ValueError:
        return stripped.strip('"')
