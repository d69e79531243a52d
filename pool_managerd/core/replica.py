"""The replica's state machine, as a table: (state, signal, now) -> (state, actions, reason).

::

    stopped → preflight → starting → loading → ready → draining → stopping → stopped
                  ▲            any failure: (stopping, if a process is left) → backoff | circuit_open | failed | stopped
                  └── backoff (time's up, or what was missing is there) · half_open (one trial) ← circuit_open

The shell delivers a :class:`Signal` with its :class:`Input` and carries out the returned actions.
A signal that has no row for the present phase changes nothing: late answers are harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from pool_managerd.core import restart
from pool_managerd.core.errors import Code
from pool_managerd.core.failures import REFUSALS, FailureClass
from pool_managerd.core.phases import Phase
from pool_managerd.core.replica_state import Action, DrainCause, Input, ReplicaState, Signal, StartCause, Step
from pool_managerd.core.restart_values import BreakerState, Next, RestartPolicy, Verdict

Rule = Callable[[ReplicaState, Input, RestartPolicy, float], Step]


def step(state: ReplicaState, given: Input, policy: RestartPolicy, now: float) -> Step:
    """The one function through which every change of a replica passes."""
    rule = TRANSITIONS.get((state.phase, given.signal))
    if rule is None:
        return Step(state, reason=f"{given.signal} means nothing in phase {state.phase}")
    return rule(state, given, policy, now)


def _to(state: ReplicaState, phase: Phase, now: float) -> ReplicaState:
    return replace(state, phase=phase, since=now)


def _begin(state: ReplicaState, cause: StartCause, policy: RestartPolicy, now: float, reason: str) -> Step:
    """Enter preflight; a start by the supervisor is counted as a restart."""
    warning = None
    history = state.history
    if cause in {StartCause.RESTART, StartCause.TRIAL}:
        history, warning = restart.after_restart(history, policy, now)
    begun = replace(
        _to(state, Phase.PREFLIGHT, now),
        history=history,
        start=cause,
        next_restart_at=None,
        ready_since=None,
        drain=None,
        after_stop=None,
        outlook=None,
    )
    return Step(begun, (Action.PREFLIGHT,), reason, storm_warning=warning)


def _start(state: ReplicaState, given: Input, policy: RestartPolicy, now: float) -> Step:
    """A start that somebody asks for. An open circuit is respected, but by a reload: its outcome never touches it."""
    if given.start not in {StartCause.RELOAD, StartCause.RESTORE} and (gate := _gate(state, given, policy, now)):
        return gate
    return _begin(state, given.start, policy, now, given.reason or f"start by {given.start}")


def _gate(state: ReplicaState, given: Input, policy: RestartPolicy, now: float) -> Step | None:
    """What an open circuit makes of a start: a wait or, once its time is over, the trial; else ``None``."""
    history = state.history
    if history.state is not BreakerState.OPEN:
        return None
    if not restart.is_open(history, now):
        return _half_open(state, given, policy, now)
    reason = "the circuit is open: no start before its time is over, then one trial; the operator can reset it"
    waiting = replace(_to(state, Phase.CIRCUIT_OPEN, now), next_restart_at=history.open_until, outlook=reason)
    return Step(waiting, (Action.ARM_TIMER,), reason)


def _start_after_stop(state: ReplicaState, given: Input, _policy: RestartPolicy, _now: float) -> Step:
    """A start that somebody asks for while the process is on its way out: it follows as soon as that is gone."""
    if state.phase is Phase.DRAINING and state.drain is not DrainCause.DRIVER:
        return Step(state, reason="it is drained, and the drain was not cancelled")
    reason = given.reason or f"start by {given.start}"
    wanted = Verdict(Next.START, f"{reason}, once the old process is gone")
    return Step(replace(state, after_stop=wanted, outlook=wanted.reason), (), wanted.reason)


def _timer(state: ReplicaState, given: Input, policy: RestartPolicy, now: float) -> Step:
    failure_class = state.failure.failure_class if state.failure else FailureClass.CRASH
    refused = failure_class in REFUSALS
    cause = StartCause.RECHECK if refused else StartCause.RESTART
    if gate := _gate(state, replace(given, start=cause), policy, now):
        return gate
    return _begin(state, cause, policy, now, given.reason or "the backoff is over")


def _recheck(state: ReplicaState, given: Input, policy: RestartPolicy, now: float) -> Step:
    if state.waits_for is None:
        return Step(state, reason="nothing is waited for")
    # A device that was lost took a running engine along: that one is restarted. Any other start was only put off.
    cause = StartCause.RESTART if state.refusals == 0 else StartCause.RECHECK
    if gate := _gate(state, replace(given, start=cause), policy, now):
        return gate
    if cause is StartCause.RESTART and (limited := restart.at_limit(state.history, policy, now)):
        if state.phase is Phase.BACKOFF:
            return Step(state, reason="it is back, and restarted when the rate window allows it")
        return replace(_follow(replace(state, outlook=limited.reason), limited, policy, now), verdict=limited)
    return _begin(state, cause, policy, now, given.reason or "what was missing is there")


def _half_open(state: ReplicaState, given: Input, _policy: RestartPolicy, now: float) -> Step:
    """The trial is the supervisor's own start, unless it is an operator who asks for it."""
    cause = StartCause.OPERATOR if given.signal is Signal.START else StartCause.TRIAL
    history = restart.half_open(state.history)
    turned = replace(_to(state, Phase.HALF_OPEN, now), history=history, next_restart_at=None, start=cause)
    return Step(turned, (Action.BEGIN_TRIAL,), "the circuit's open time is over: one trial start")


def _trial(state: ReplicaState, _given: Input, policy: RestartPolicy, now: float) -> Step:
    cause = StartCause.OPERATOR if state.start is StartCause.OPERATOR else StartCause.TRIAL
    return _begin(state, cause, policy, now, "the trial start of a half-open circuit")


def _preflight_passed(state: ReplicaState, given: Input, _policy: RestartPolicy, now: float) -> Step:
    return Step(_to(state, Phase.STARTING, now), (Action.SPAWN,), given.reason or "all checks before the start passed")


def _spawned(state: ReplicaState, given: Input, _policy: RestartPolicy, now: float) -> Step:
    return Step(_to(state, Phase.LOADING, now), (Action.LOAD,), given.reason or "the engine's process runs")


def _became_ready(state: ReplicaState, given: Input, _policy: RestartPolicy, now: float) -> Step:
    """Ready; or drained at once, where a drain of before the daemon's restart goes on."""
    phase = Phase.READY if state.drain is None else Phase.DRAINING
    # An adopted engine that was Ready before has been so without a break.
    since = now if state.ready_since is None else state.ready_since
    ready = replace(_to(state, phase, now), ready_since=since, failure=None, failed_at=None, refusals=0, outlook=None)
    return Step(ready, (Action.WATCH,), given.reason or "readiness and residency checks passed")


def _drain_once_ready(state: ReplicaState, given: Input, _policy: RestartPolicy, _now: float) -> Step:
    """An adopted engine, checked anew, whose pool is being drained: it never becomes Ready for new work."""
    return Step(replace(state, drain=given.drain), (), given.reason or f"drain for {given.drain}")


def _undrain_loading(state: ReplicaState, given: Input, _policy: RestartPolicy, _now: float) -> Step:
    return Step(replace(state, drain=None), (), given.reason or "the drain was cancelled")


def _adopted(state: ReplicaState, given: Input, _policy: RestartPolicy, now: float) -> Step:
    """An engine that lived on while no daemon ran; it is Ready only after a readiness check of our own."""
    return Step(_to(state, Phase.LOADING, now), (Action.LOAD,), given.reason or "the running engine was adopted")


def _left_over(state: ReplicaState, given: Input, _policy: RestartPolicy, now: float) -> Step:
    """An engine that lived on while no daemon ran, and that nobody wants as it is; ``after_stop`` says what follows."""
    stopping = replace(_to(state, Phase.STOPPING, now), next_restart_at=None)
    return Step(stopping, (Action.STOP_PROCESS,), given.reason or "it is not what is wanted")


def _drain_broken(state: ReplicaState, given: Input, _policy: RestartPolicy, _now: float) -> Step:
    """An operator's drain of what drains for a driver error already: it stays down afterwards."""
    if state.drain is not DrainCause.DRIVER or given.drain is not DrainCause.OPERATOR:
        return Step(state, reason="it is drained already")
    stays = Verdict(Next.STOPPED, given.reason or "it is drained by its operator")
    return Step(replace(state, after_stop=stays, outlook=stays.reason), (), stays.reason)


def _drain(state: ReplicaState, given: Input, _policy: RestartPolicy, now: float) -> Step:
    draining = replace(_to(state, Phase.DRAINING, now), drain=given.drain)
    return Step(draining, (), given.reason or f"drain for {given.drain}")


def _undrain(state: ReplicaState, given: Input, _policy: RestartPolicy, now: float) -> Step:
    if state.drain is DrainCause.DRIVER:
        return Step(state, reason="a driver error's drain cannot be cancelled")
    return Step(replace(_to(state, Phase.READY, now), drain=None), (), given.reason or "the drain was cancelled")


def _rest(state: ReplicaState, given: Input, _policy: RestartPolicy, now: float) -> Step:
    """Stop what has no process."""
    at_rest = replace(
        _to(state, Phase.STOPPED, now), next_restart_at=None, after_stop=None, drain=None, refusals=0, outlook=None
    )
    return Step(at_rest, (Action.CANCEL_PREFLIGHT,), given.reason or "stopped")


def _stop(state: ReplicaState, given: Input, _policy: RestartPolicy, now: float) -> Step:
    """Stop what has a process. A driver error's own verdict is kept; an operator's stop overrides any."""
    keeps = state.drain is DrainCause.DRIVER and given.drain is DrainCause.DRIVER
    stopping = replace(
        _to(state, Phase.STOPPING, now),
        after_stop=state.after_stop if keeps else None,
        next_restart_at=None,
        outlook=state.outlook if keeps else None,
    )
    return Step(stopping, (Action.STOP_PROCESS,), given.reason or "stop")


def _stop_again(state: ReplicaState, given: Input, _policy: RestartPolicy, _now: float) -> Step:
    return Step(replace(state, after_stop=None, outlook=None), (), given.reason or "no restart after this stop")


def _gone(state: ReplicaState, given: Input, policy: RestartPolicy, now: float) -> Step:
    verdict = state.after_stop
    cleared = replace(state, ready_since=None, after_stop=None, drain=None)
    if verdict is None:
        return Step(replace(_to(cleared, Phase.STOPPED, now), next_restart_at=None), (), given.reason or "process gone")
    verdict = _from_now(verdict, now)
    return replace(_follow(cleared, verdict, policy, now), verdict=verdict)


def _from_now(verdict: Verdict, now: float) -> Verdict:
    """A backoff counts from the end of the process: stopping it may have taken longer than the delay itself."""
    if verdict.next is not Next.BACKOFF or verdict.delay_ms is None:
        return verdict
    return replace(verdict, at=now + verdict.delay_ms / 1000)


def _follow(state: ReplicaState, verdict: Verdict, policy: RestartPolicy, now: float) -> Step:
    """Carry out a verdict: no process is left."""
    at = verdict.at
    if verdict.next is Next.START:
        return _start(state, Input(Signal.START, reason=verdict.reason), policy, now)
    phase = Phase(str(verdict.next))
    armed = (Action.ARM_TIMER,) if at is not None else ()
    followed = replace(_to(state, phase, now), next_restart_at=at, ready_since=None)
    return Step(followed, armed, verdict.reason)


def _failed(state: ReplicaState, given: Input, policy: RestartPolicy, now: float) -> Step:
    failure = given.failure
    if failure is None:
        raise ValueError("a FAILED signal needs its failure")
    put_off = failure.failure_class is FailureClass.DEVICE and state.phase is Phase.PREFLIGHT
    refusal = put_off or failure.failure_class in REFUSALS
    refusals = state.refusals + 1 if refusal else 0
    if state.drain is DrainCause.DRIVER and state.after_stop is not None:
        # The failure that began this drain was judged already; that the engine now ended adds nothing.
        history, verdict = state.history, _from_now(state.after_stop, now)
        failure = state.failure or failure
    elif state.start is StartCause.RELOAD and state.phase in {Phase.PREFLIGHT, Phase.STARTING, Phase.LOADING}:
        history, verdict = state.history, Verdict(Next.STOPPED, "the reload's new model failed: the old one comes back")
    else:
        history, verdict = restart.after_failure(
            state.history,
            policy,
            failure_class=failure.failure_class,
            now=now,
            ready_for_ms=state.ready_for_ms(now),
            spread=given.spread,
            out_of_memory=failure.code is Code.OUT_OF_MEMORY,
            refusals=refusals,
        )
        if state.drain in {DrainCause.OPERATOR, DrainCause.RELOAD}:
            verdict = Verdict(Next.STOPPED, f"it ended while it was drained for {state.drain}")
    failed_at = state.failed_at if failure is state.failure else now
    judged = replace(
        state, history=history, failure=failure, failed_at=failed_at, refusals=refusals, outlook=verdict.reason
    )
    if not given.process_left:
        done = _follow(replace(judged, after_stop=None, drain=None), verdict, policy, now)
        return replace(done, actions=(Action.CLEAR_PROCESS, *done.actions), verdict=verdict)
    if given.let_leases_end and state.phase is Phase.READY:
        draining = replace(_to(judged, Phase.DRAINING, now), drain=DrainCause.DRIVER, after_stop=verdict)
        return Step(draining, (), f"{failure.message}; leases in flight may end first", verdict=verdict)
    stopping = replace(_to(judged, Phase.STOPPING, now), after_stop=verdict, next_restart_at=None)
    return Step(stopping, (Action.STOP_PROCESS,), failure.message, verdict=verdict)


def _explained(state: ReplicaState, given: Input, _policy: RestartPolicy, now: float) -> Step:
    """Why the engine died is known better now; what follows from its death was judged already."""
    failure = given.failure
    if failure is None:
        raise ValueError("an EXPLAINED signal needs its failure")
    return Step(replace(state, failure=failure, failed_at=now), (), failure.message)


def _stable(state: ReplicaState, _given: Input, policy: RestartPolicy, now: float) -> Step:
    history = restart.after_stable(state.history, policy, state.ready_for_ms(now))
    return Step(replace(state, history=history), reason="stable")


def _reset(state: ReplicaState, given: Input, policy: RestartPolicy, now: float) -> Step:
    """The operator closes the breaker; a replica that waits is tried at once."""
    reset = replace(state, history=restart.closed(state.history))
    if state.phase in {Phase.BACKOFF, Phase.CIRCUIT_OPEN, Phase.FAILED, Phase.HALF_OPEN}:
        return _begin(reset, StartCause.OPERATOR, policy, now, given.reason or "the circuit was reset")
    if state.after_stop is not None and state.after_stop.next is not Next.STOPPED:
        wanted = Verdict(Next.START, "the circuit was reset: started once the old process is gone")
        reset = replace(reset, after_stop=wanted, outlook=wanted.reason)
    return Step(reset, reason="the circuit was reset")


TRANSITIONS: Mapping[tuple[Phase, Signal], Rule] = MappingProxyType(
    {
        (Phase.STOPPED, Signal.START): _start,
        (Phase.STOPPED, Signal.ADOPTED): _adopted,
        (Phase.STOPPED, Signal.LEFT_OVER): _left_over,
        (Phase.PREFLIGHT, Signal.PREFLIGHT_PASSED): _preflight_passed,
        (Phase.PREFLIGHT, Signal.FAILED): _failed,
        (Phase.PREFLIGHT, Signal.STOP): _rest,
        (Phase.STARTING, Signal.SPAWNED): _spawned,
        (Phase.STARTING, Signal.FAILED): _failed,
        (Phase.STARTING, Signal.STOP): _stop,
        (Phase.LOADING, Signal.BECAME_READY): _became_ready,
        (Phase.LOADING, Signal.FAILED): _failed,
        (Phase.LOADING, Signal.DRAIN): _drain_once_ready,
        (Phase.LOADING, Signal.UNDRAIN): _undrain_loading,
        (Phase.LOADING, Signal.STOP): _stop,
        (Phase.READY, Signal.FAILED): _failed,
        (Phase.READY, Signal.DRAIN): _drain,
        (Phase.READY, Signal.STOP): _stop,
        (Phase.READY, Signal.STABLE): _stable,
        (Phase.DRAINING, Signal.FAILED): _failed,
        (Phase.DRAINING, Signal.UNDRAIN): _undrain,
        (Phase.DRAINING, Signal.DRAIN): _drain_broken,
        (Phase.DRAINING, Signal.START): _start_after_stop,
        (Phase.DRAINING, Signal.STOP): _stop,
        (Phase.STOPPING, Signal.GONE): _gone,
        (Phase.STOPPING, Signal.STOP): _stop_again,
        (Phase.STOPPING, Signal.START): _start_after_stop,
        (Phase.BACKOFF, Signal.START): _start,
        (Phase.BACKOFF, Signal.TIMER): _timer,
        (Phase.BACKOFF, Signal.RECHECK): _recheck,
        (Phase.BACKOFF, Signal.STOP): _rest,
        (Phase.CIRCUIT_OPEN, Signal.TIMER): _half_open,
        (Phase.CIRCUIT_OPEN, Signal.STOP): _rest,
        (Phase.HALF_OPEN, Signal.TRIAL): _trial,
        (Phase.HALF_OPEN, Signal.STOP): _rest,
        (Phase.FAILED, Signal.START): _start,
        (Phase.FAILED, Signal.RECHECK): _recheck,
        (Phase.FAILED, Signal.STOP): _rest,
        # Ready, or drained since then, it has no failure any more that could be told better.
        **{(phase, Signal.EXPLAINED): _explained for phase in Phase if phase not in {Phase.READY, Phase.DRAINING}},
        **{(phase, Signal.RESET): _reset for phase in Phase},
    }
)
