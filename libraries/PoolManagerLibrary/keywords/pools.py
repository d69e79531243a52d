"""Pools: define, preload, drain, reload, look at, wait for."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from assertionengine import AssertionOperator
from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.behaviours import parse_behaviour
from PoolManagerLibrary.enums import Phase
from PoolManagerLibrary.errors import ExpectationFailed, UsageError, WaitTimeout
from PoolManagerLibrary.event_log import SeenEvent
from PoolManagerLibrary.keywords.base import Keywords, check, dig, says
from PoolManagerLibrary.operations import call, protocol_of
from PoolManagerLibrary.outcome import Outcome
from PoolManagerLibrary.scenario import Pool
from PoolManagerLibrary.settings import merge, nest, parse_rows
from PoolManagerLibrary.units import parse_size, seconds, show_seconds
from PoolManagerLibrary.waiting import wait_until

#: How much longer than the scenario's own limit a wait looks: a late event is reported as late, not as missing.
PATIENCE = 1.0
LOAD_LIMIT = timedelta(seconds=10)


class PoolKeywords(Keywords):
    """Keywords about pools."""

    # -- definition ---------------------------------------------------------------------------------------------

    @keyword
    def define_pool(self, name: str = "pool", behaviour: str = "", **settings: Any) -> str:
        """Defines a pool of this scenario and makes it *the pool*. Returns its id in the daemon, which is unique.

        ``settings`` are keys of ``[[pool]]``; keys of its tables have a dot. Besides, ``gpu=NAME`` (or
        ``gpu=a+b``) names GPUs
        of the scenario, ``gpus=N`` asks for N new ones per replica, ``devices=none`` leaves the mask out.
        Without any of
        these the pool gets the scenario's next GPU that no pool has yet, or a new one of 8 GiB. Pools are not preloaded
        unless ``preload=True``. ``behaviour`` says in words what the stand-in engine does, see `Engine Behaviours`.

        The daemon hears of the pool with the next step that needs it, so several definitions cost one config reload.

        Example:
        | Define Pool | chat | slots=2 | readiness.timeout_ms=2 s |
        | Define Pool | slow | needs 2 s to load | gpu=big |
        """
        options = {f"simulated.{key}": value for key, value in self._options(behaviour).items()}
        for key in list(settings):
            if key in SIMULATED_SHORTHANDS:
                settings[f"simulated.{key}"] = settings.pop(key)
        if "needs" in settings:
            size = parse_size(settings.pop("needs"))
            settings = {"vram_bytes": size, "simulated.vram_bytes": size, **settings}
        return self.world.define_pool(name, options | settings).pool_id

    def _options(self, behaviour: str) -> dict[str, Any]:
        options = parse_behaviour(behaviour) if behaviour else {}
        if "wrong_device" in options:
            options["wrong_device"] = self.scenario.gpu(options["wrong_device"]).uuid
        return options

    @keyword
    def define_pools(self, *rows: str) -> list[str]:
        """Defines a pool per row of a table, whose first row names the columns: ``name`` and any settings.

        An empty cell or ``-`` leaves a setting out.

        Example (the bars within a cell are written as bars in a suite):
        | Define Pools | name/slots/behaviour | chat/2/- | code/4/needs 2 s to load |
        """
        ids = []
        for row in parse_rows(rows):
            name = row.pop("name", None) or row.pop("pool", None)
            if name is None:
                raise UsageError("The table of pools needs a column 'name'.")
            ids.append(self.define_pool(name, row.pop("behaviour", ""), **row))
        return ids

    @keyword
    def define_many_pools(self, count: int, prefix: str = "p", **settings: Any) -> list[str]:
        """Defines ``count`` equal pools named ``p1``, ``p2``, … Returns their ids.

        Example:
        | Define Many Pools | 20 | load_ms=200 ms |
        """
        return [self.define_pool(f"{prefix}{number}", **settings) for number in range(1, count + 1)]

    @keyword
    def change_pool(self, name: str = "the pool", **settings: Any) -> None:
        """Changes settings of a pool in the config file, which the daemon reads at the next config reload or start.

        ``None`` removes a key. Example:
        | Change Pool | the pool | slots=2 | liveness.interval_ms=200 ms |
        | Reload Config |
        """
        pool = self.scenario.pool(name)
        changed = {
            (f"simulated.{key}" if key in SIMULATED_SHORTHANDS else key): (None if value in {None, "None"} else value)
            for key, value in settings.items()
        }
        table = merge(pool.settings, nest(changed))
        pool.settings.clear()
        pool.settings.update(table)
        self.world.selected.pools[pool.pool_id] = pool.settings
        self.world.materialise()

    @keyword
    def remove_pool(self, name: str = "the pool") -> None:
        """Takes a pool out of the config file; the daemon learns of it at the next config reload or start.

        Example:
        | Remove Pool | chat |
        | Reload Config |
        """
        pool = self.scenario.pool(name)
        self.world.selected.pools.pop(pool.pool_id, None)
        pool.removed = True
        self.world.materialise()

    @keyword
    def use_pool(self, name: str) -> str:
        """Makes a pool of the scenario *the pool* of the following steps. Returns its id.

        Example:
        | Use Pool | chat |
        """
        self.scenario.current_pool = self.scenario.pool(name)
        return self.scenario.current_pool.pool_id

    @keyword
    def get_pool_id(self, name: str = "the pool") -> str:
        """Returns the id that the daemon knows a pool of the scenario by.

        Example:
        | ${id} = | Get Pool Id | chat |
        """
        return self.scenario.pool(name).pool_id

    # -- acts ---------------------------------------------------------------------------------------------------

    @keyword
    def preload_pool(
        self,
        name: str = "the pool",
        wait: timedelta | None = None,
        protocol: str = "HTTP",
        correlation_id: str | None = None,
    ) -> Outcome:
        """Preloads a pool, or several (``every pool``), and notes the answer without judging it.

        With ``wait`` the daemon is asked to answer when the pool is Ready, or the load has failed.

        Example:
        | Preload Pool | chat | wait=5 s | protocol=gRPC |
        | Answer Should Be | 200 |
        """
        self.scenario.act(f"preload of {name}")
        return self._each("preload", name, wait=wait, protocol=protocol, correlation_id=correlation_id)

    @keyword
    def drain_pool(
        self,
        name: str = "the pool",
        deadline: timedelta | None = None,
        wait: timedelta | None = None,
        protocol: str = "HTTP",
    ) -> Outcome:
        """Drains a pool, or several, and notes the answer without judging it.

        Example:
        | Drain Pool | chat | deadline=500 ms | wait=2 s |
        | Answer Field | outcome | == | forced |
        """
        self.scenario.act(f"drain of {name}")
        deadline_ms = None if deadline is None else round(seconds(deadline) * 1000)
        return self._each("drain", name, wait=wait, protocol=protocol, deadline_ms=deadline_ms)

    @keyword
    def stop_pool(self, name: str = "the pool", wait: timedelta = LOAD_LIMIT, protocol: str = "HTTP") -> Outcome:
        """Drains a pool with deadline 0 and waits for the end of it.

        Example:
        | Stop Pool | chat |
        """
        self.scenario.act(f"stop of {name}")
        return self._each("drain", name, wait=wait, protocol=protocol, deadline_ms=0)

    @keyword
    def cancel_drain(self, name: str = "the pool", protocol: str = "HTTP") -> Outcome:
        """Cancels a drain that still waits.

        Example:
        | Cancel Drain | chat |
        """
        self.scenario.act(f"cancelling the drain of {name}")
        return self._each("cancel_drain", name, protocol=protocol)

    @keyword
    def reload_pool(
        self,
        model: str,
        name: str = "the pool",
        drain_deadline: timedelta | None = None,
        wait: timedelta | None = None,
        protocol: str = "HTTP",
    ) -> Outcome:
        """Reloads a pool to another model (see `Create Model File`) and notes the answer without judging it.

        Example:
        | Create Model File | other.gguf |
        | Reload Pool | other.gguf | chat | wait=5 s |
        """
        self.scenario.act(f"reload of {name} to {model}")
        deadline_ms = None if drain_deadline is None else round(seconds(drain_deadline) * 1000)
        return self._each(
            "reload", name, wait=wait, protocol=protocol, new_model_ref=model, drain_deadline_ms=deadline_ms
        )

    @keyword
    def reset_circuit(self, name: str = "the pool", protocol: str = "HTTP") -> Outcome:
        """Closes the circuit breakers of a pool.

        Example:
        | Reset Circuit | chat |
        """
        self.scenario.act(f"circuit reset of {name}")
        return self._each("reset_circuit", name, protocol=protocol)

    def _each(self, operation: str, name: str, *, wait: timedelta | None = None, protocol: str, **more: Any) -> Outcome:
        way = protocol_of(protocol)
        limit = None if wait is None else seconds(wait)
        ids = self._ids(name)
        if len(ids) > 1:
            return self._side_by_side(operation, ids, wait=limit, protocol=protocol, **more)
        return self.operate(operation, protocol=way, pool_id=ids[0], wait=limit, **more)

    def _ids(self, name: str) -> list[str]:
        try:
            return [pool.pool_id for pool in self.scenario.pools_named(name)]
        except UsageError:
            # A pool that nobody defined is a fair thing to ask for: the daemon shall say no.
            return [self.scenario.pool_id(re.sub(r"^(the )?(unknown )?pool (?=\S)", "", name))]

    def _side_by_side(self, operation: str, ids: list[str], *, protocol: str, **more: Any) -> Outcome:
        daemon, way = self.daemon, protocol_of(protocol)
        with ThreadPoolExecutor(max_workers=min(32, len(ids))) as executor:
            outcomes = list(
                executor.map(lambda pool_id: call(daemon, operation, protocol=way, pool_id=pool_id, **more), ids)
            )
        for outcome in outcomes:
            self.scenario.answered(outcome)
        return next((outcome for outcome in outcomes if not outcome.ok), outcomes[-1])

    # -- looks --------------------------------------------------------------------------------------------------

    @keyword
    def get_pool(self, name: str = "the pool", protocol: str = "HTTP") -> dict[str, Any]:
        """Returns a pool's whole status document, as the given protocol shows it.

        Example:
        | ${status} = | Get Pool | chat | gRPC |
        """
        pool_id = self._ids(name)[0]
        return self.status(pool_id, protocol_of(protocol))

    @keyword
    def get_pool_field(
        self,
        name: str,
        field: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        protocol: str = "HTTP",
    ) -> Any:
        """Returns one field of a pool's status, by its dotted path, and checks it if an operator is given.

        Example:
        | Get Pool Field | chat | slots_free | == | 3 |
        | Get Pool Field | chat | replicas.0.breaker.state | == | closed |
        """
        value = dig(self.get_pool(name, protocol), field)
        return check(value, assertion_operator, assertion_expected, f"{field} of {name}")

    @keyword
    def get_pool_state(
        self,
        name: str = "the pool",
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        protocol: str = "HTTP",
    ) -> str:
        """Returns a pool's phase. Upper and lower case are the same.

        Example:
        | Get Pool State | chat | == | READY |
        """
        phase = str(self.get_pool(name, protocol)["phase"])
        expected = assertion_expected.lower() if isinstance(assertion_expected, str) else assertion_expected
        check(phase, assertion_operator, expected, f"The phase of {name}")
        return phase

    @keyword
    def get_replica_field(
        self,
        replica: str,
        field: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> Any:
        """Returns one field of a replica's status: ``r0``, ``chat/r1``, ``engine r1 of pool chat``.

        Example:
        | ${pid} = | Get Replica Field | chat/r0 | pid | > | 0 |
        """
        pool, replica_id = self.scenario.replica(replica)
        replicas = self.status(pool.pool_id)["replicas"]
        document = next((one for one in replicas if one["replica_id"] == replica_id), None)
        if document is None:
            raise ExpectationFailed(
                f"Pool {pool.pool_id} shows no replica {replica_id}: {[one['replica_id'] for one in replicas]}"
            )
        return check(dig(document, field), assertion_operator, assertion_expected, f"{field} of {replica}")

    @keyword
    def get_last_error(
        self,
        name: str = "the pool",
        field: str = "code",
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> Any:
        """Returns a field of a pool's last error (``code``, ``message``, ``details.exit_code`` …), None if it has none.

        Example:
        | Get Last Error | chat | code | == | ENGINE_EXITED |
        """
        error = self.get_pool(name)["last_error"]
        value = None if error is None else dig(error, field)
        return check(value, assertion_operator, assertion_expected, f"{field} of the last error of {name}")

    @keyword
    def get_pool_list(self, protocol: str = "HTTP") -> dict[str, Any]:
        """Returns the list of all pools of the daemon, with its revision.

        Example:
        | ${list} = | Get Pool List |
        | Should Be True | $list['revision'] > 0 |
        """
        return dict(self.must(self.operate("list", protocol=protocol_of(protocol))).body)

    @keyword
    def pool_should_show(self, name: str, *fields: str, within: timedelta = timedelta(0)) -> None:
        """Checks fields of a pool's status, each as ``field value``, at once or ``within`` a time.

        ``null``, ``true``, numbers and words mean what they look like. For several pools each must show them.

        Example:
        | Pool Should Show | the pool | desired stopped | live false | last_error.code null | within=500 ms |
        """
        pairs = [_pair(field) for field in fields]
        for pool_id in self._ids(name):
            self._show(pool_id, pairs, seconds(within))

    def _show(self, pool_id: str, pairs: list[tuple[str, Any]], limit: float) -> None:
        def look() -> dict[str, Any]:
            document = self.status(pool_id)
            return {path: _dig_or_none(document, path) for path, _ in pairs}

        wanted = dict(pairs)
        wait_until(
            look,
            lambda seen: all(_same(seen[path], value) for path, value in wanted.items()),
            timeout=limit,
            expected=f"pool {pool_id} to show " + ", ".join(f"{path} {value!r}" for path, value in pairs),
            show=lambda seen: ", ".join(f"{path} {value!r}" for path, value in seen.items()),
            context=lambda: self.explain(pool_id),
        )

    # -- waits --------------------------------------------------------------------------------------------------

    @keyword
    def wait_until_pool_is_ready(self, name: str = "the pool", timeout: timedelta = LOAD_LIMIT) -> None:
        """Waits until a pool (or every one of several) is Ready; at once if it is. Woken by events, not by polling.

        Example:
        | Wait Until Pool Is Ready | chat | timeout=3 s |
        """
        for pool_id in self._ids(name):
            self._wait_status(pool_id, lambda status: status["ready"], "be ready", seconds(timeout))

    @keyword
    def wait_until_pool_is_unready(self, name: str = "the pool", timeout: timedelta = LOAD_LIMIT) -> None:
        """Waits until a pool is not Ready; at once if it is not.

        Example:
        | Wait Until Pool Is Unready | chat | timeout=1 s |
        """
        for pool_id in self._ids(name):
            self._wait_status(pool_id, lambda status: not status["ready"], "be unready", seconds(timeout))

    @keyword
    def wait_until_pool_phase(self, name: str, phase: Phase, timeout: timedelta = LOAD_LIMIT) -> None:
        """Waits until a pool shows a phase; at once if it does.

        Example:
        | Wait Until Pool Phase | chat | loading | timeout=1 s |
        """
        for pool_id in self._ids(name):
            self._wait_status(
                pool_id, lambda status: status["phase"] == phase.value, f"be in phase {phase.value}", seconds(timeout)
            )

    def _wait_status(self, pool_id: str, accept: Any, wish: str, limit: float) -> None:
        daemon = self.daemon
        known = 0

        def look() -> dict[str, Any]:
            nonlocal known
            known = len(daemon.events.events())
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
        known = 0

        def look() -> SeenEvent | None:
            nonlocal known
            events = daemon.events.events()
            known = len(events)
            for event in events:
                if event.pool_id != pool.pool_id or event.revision <= cursor.after_revision:
                    continue
                if event.at >= cursor.after_time and accept(event):
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


#: Keys of ``[pool.simulated]`` that are often used in tables and no keys of ``[[pool]]``.
SIMULATED_SHORTHANDS = {"load_ms", "tokens_per_s", "term_ms", "sticky_ms", "version"}


def _pair(text: str) -> tuple[str, Any]:
    path, _, value = text.strip().partition(" ")
    value = value.strip().removeprefix("is ").removeprefix("= ")
    return path, says(value)


def _dig_or_none(document: Any, path: str) -> Any:
    place = document
    for part in path.split("."):
        if isinstance(place, dict):
            if part not in place:
                raise ExpectationFailed(f"The status has no field '{part}' (of '{path}'); it has {', '.join(place)}.")
            place = place[part]
        elif isinstance(place, list) and part.isdigit() and int(part) < len(place):
            place = place[int(part)]
        else:
            return None
    return place


def _same(seen: Any, wanted: Any) -> bool:
    if isinstance(seen, bool) or isinstance(wanted, bool):
        return seen is wanted
    return bool(seen == wanted) or (seen is not None and str(seen) == str(wanted))


def _phase_in(state: str) -> str | None:
    match = re.fullmatch(r"(?:in )?(?:phase )?([a-z_]+)", state.strip().lower())
    return match[1] if match and match[1] in {phase.value for phase in Phase} else None


def _event_for(state: str) -> Any:
    text = state.strip().lower()
    if text == "ready":
        return lambda event: event.kind == "pool_ready"
    if text in {"unready", "not ready"}:
        return lambda event: event.kind == "pool_unready"
    if text == "failed with a code":
        return lambda event: event.code is not None and event.kind != "lease"
    phase = _phase_in(text)
    if phase is None:
        raise UsageError(
            f"'{state}' is no state: write ready, unready, or in phase {'|'.join(p.value for p in Phase)}."
        )
    return lambda event: event.kind == "phase" and event.to == phase


def _status_for(state: str) -> Any:
    text = state.strip().lower()
    if text == "ready":
        return lambda status: status["ready"]
    if text in {"unready", "not ready"}:
        return lambda status: not status["ready"]
    phase = _phase_in(text)
    if phase is None:
        raise UsageError(
            f"'{state}' is no state: write ready, unready, or in phase {'|'.join(p.value for p in Phase)}."
        )
    return lambda status: status["phase"] == phase


def _contradicts(event: SeenEvent, state: str) -> bool:
    text = state.strip().lower()
    if text == "ready":
        return event.kind == "pool_unready"
    if text in {"unready", "not ready"}:
        return event.kind == "pool_ready"
    return event.kind == "phase"
