"""What a replica tells the world: one event for each thing that happened, with the details of docs/events.md."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.core.failures import REFUSALS, Failure, FailureClass
from pool_managerd.core.phases import COMING_UP, Phase
from pool_managerd.core.replica_state import DrainCause, Input, ReplicaState, Signal, StartCause, Step
from pool_managerd.core.restart import next_stable_ms
from pool_managerd.core.restart_values import BreakerState, Burst, Next, RestartHistory, RestartPolicy, Verdict
from pool_managerd.core.times import rfc3339, rfc3339_or_none

if TYPE_CHECKING:
    from pool_managerd.runtime.replica import Replica

__all__ = ["change", "next_stable", "replica_document"]

_TRIGGERS = {
    StartCause.RESTART: "restart",
    StartCause.TRIAL: "restart",
    StartCause.RECHECK: "restart",
    StartCause.RELOAD: "reload",
    StartCause.RESTORE: "reload",
}


def next_stable(state: ReplicaState, policy: RestartPolicy, now: float) -> float | None:
    """Seconds until the replica has been Ready for long enough that something may be forgotten."""
    wait_ms = next_stable_ms(state.history, policy, state.ready_for_ms(now))
    return None if wait_ms is None else wait_ms / 1000


def change(replica: Replica, before: ReplicaState, taken: Step, given: Input) -> None:
    """Publish everything that a step of the state machine means."""
    after = taken.state
    failure = given.failure if given.signal in {Signal.FAILED, Signal.EXPLAINED} else None
    if after.phase is not before.phase:
        _phase(replica, before, taken, failure)
    elif failure is not None and failure is not before.failure:
        explained(replica, failure, at=after.failed_at)
    _preload(replica, before, after, failure if given.signal is Signal.FAILED else None)
    _breaker(replica, before.history, after.history, taken.reason if taken.verdict is None else taken.verdict.reason)
    _storm(replica, before, taken)
    if after.phase is Phase.BACKOFF and before.phase is not Phase.BACKOFF:
        _scheduled(replica, taken)


def explained(replica: Replica, failure: Failure, *, at: float | None = None) -> None:
    """A failure is known better now. The phase stays as it is, and what followed from the failure, too."""
    phase = replica.state.phase
    replica.host.bus.publish(
        EventKind.PHASE,
        pool_id=replica.pool_id,
        replica_id=replica.replica_id,
        from_=phase,
        to=phase,
        code=str(failure.code),
        reason=failure.message,
        details={"hint": failure.hint, "cause": failure.cause, **failure.details},
        correlation_id=replica.correlation_id,
        at=at,
    )


def _publish(
    replica: Replica,
    kind: EventKind,
    old: str | None,
    new: str | None,
    failure: Failure | None,
    reason: str,
    details: dict[str, Any],
) -> None:
    replica.host.bus.publish(
        kind,
        pool_id=replica.pool_id,
        replica_id=replica.replica_id,
        from_=old,
        to=new,
        code=None if failure is None else str(failure.code),
        reason=reason if failure is None else failure.message,
        details=details,
        correlation_id=replica.correlation_id,
        # A failure has one time on every surface: the one that the status shows.
        at=replica.state.failed_at if failure is not None else None,
    )


def _phase(replica: Replica, before: ReplicaState, taken: Step, failure: Failure | None) -> None:
    after = taken.state
    details: dict[str, Any] = {
        "engine": replica.owner.config.engine,
        "engine_version": replica.version,
        "restart_count": after.history.restart_count,
    }
    model = replica.owner.model_of(replica.replica_id)
    details["model"] = None if model is None else str(model)
    if after.history.restart_count > before.history.restart_count:
        details["restart"] = True
    details.update(_of_phase(replica, after))
    details["device_mask"] = replica.devices
    if failure is not None:
        details.update({"hint": failure.hint, "cause": failure.cause, **failure.details})
        if taken.verdict is not None:
            details["verdict"] = taken.verdict.reason
    _publish(replica, EventKind.PHASE, before.phase, after.phase, failure, taken.reason, details)


def _of_phase(replica: Replica, after: ReplicaState) -> dict[str, Any]:  # noqa: PLR0911 - one for each phase
    run = replica.run
    match after.phase:
        case Phase.STARTING if replica.plan is not None:
            return {"split": list(replica.plan.spec.split)}
        case Phase.LOADING if run is not None:
            return {"pid": run.process.pid, "url": run.url}
        case Phase.READY if run is not None:
            load_ms = round((replica.host.clock() - run.spawned_at) * 1000)
            return {
                "pid": run.process.pid,
                "url": run.url,
                "load_ms": load_ms,
                "adopted": run.adopted,
                "readiness": "passed",
                "residency": replica.host.inventory.snapshot.residency,
            }
        case Phase.DRAINING | Phase.STOPPING:
            trigger = "failure" if after.after_stop is not None else replica.trigger
            if after.drain is DrainCause.DRIVER:
                trigger = "driver_error"
            return {"trigger": trigger, "pid": None if run is None else run.process.pid}
        case Phase.BACKOFF:
            return {
                "backoff_ms": _wait_ms(replica, after),
                "next_restart_at": rfc3339_or_none(after.next_restart_at),
                "crash_count": after.history.failures + after.history.driver_failures,
            }
        case Phase.CIRCUIT_OPEN:
            return {"open_until": rfc3339_or_none(after.history.open_until)}
        case Phase.STOPPED if replica.forced is not None:
            status = replica.stopped_with
            code, signal = (None, None) if status is None else (status.code, status.signal)
            return {"forced": replica.forced, "exit_code": code, "signal": signal}
        case _:
            return {}


def _wait_ms(replica: Replica, after: ReplicaState) -> int | None:
    at = after.next_restart_at
    return None if at is None else max(0, round((at - replica.host.clock()) * 1000))


def _preload(replica: Replica, before: ReplicaState, after: ReplicaState, failure: Failure | None) -> None:
    """One attempt to load: started, ready or failed."""
    engine = replica.owner.config.engine
    if after.phase is Phase.PREFLIGHT and before.phase is not Phase.PREFLIGHT:
        trigger = _TRIGGERS.get(after.start, replica.trigger)
        details: dict[str, Any] = {"engine": engine, "trigger": trigger}
        _publish(replica, EventKind.PRELOAD, None, "started", None, "a load begins", details)
    elif after.phase is Phase.READY and before.phase is Phase.LOADING and replica.run is not None:
        if replica.run.adopted:
            return
        load_ms = round((replica.host.clock() - replica.run.spawned_at) * 1000)
        details = {"engine": engine, "load_ms": load_ms}
        _publish(replica, EventKind.PRELOAD, None, "ready", None, f"ready after {load_ms} ms", details)
    elif failure is not None and before.phase in COMING_UP:
        details = {"engine": engine, "hint": failure.hint}
        _publish(replica, EventKind.PRELOAD, None, "failed", failure, failure.message, details)


def _breaker(replica: Replica, old: RestartHistory, new: RestartHistory, reason: str) -> None:
    if old.state is new.state and not (new.state is BreakerState.OPEN and old.open_until != new.open_until):
        return
    details = {
        "old_state": str(old.state),
        "new_state": str(new.state),
        "failure_count": new.failures,
        "driver_failures": new.driver_failures,
        "breaker_kind": str(new.kind),
        "open_until": rfc3339_or_none(new.open_until),
    }
    _publish(replica, EventKind.BREAKER, old.state, new.state, None, reason, details)


def _storm(replica: Replica, before: ReplicaState, taken: Step) -> None:
    if taken.storm_warning is not None:
        _publish_storm(replica, "warning", "restart_storm", taken.storm_warning, str(taken.storm_warning))
    verdict = taken.verdict
    if verdict is None or verdict.burst is None or before.after_stop is not None:
        return
    cause = None if taken.state.failure is None else taken.state.failure.cause
    if verdict.storm is not None and taken.state.history is not before.history:
        reason, hint = verdict.reason, None
        if verdict.storm == "oom_storm":
            window_s = replica.policy.rate_window_ms / 1000
            reason = f"{len(taken.state.history.oom_times)} times out of memory within {window_s:g} s; {reason}"
            hint = "lower context, slots (parallel) or the model's size"
        to = "opened" if verdict.opened else "warning"
        _publish_storm(replica, to, verdict.storm, verdict.burst, reason, hint=hint, cause=cause)
    if verdict.rate_limited:
        _publish_storm(replica, "rate_limited", "restart_storm", verdict.burst, verdict.reason, cause=cause)


def _publish_storm(
    replica: Replica,
    to: str,
    storm: str,
    burst: Burst,
    reason: str,
    *,
    hint: str | None = None,
    cause: str | None = None,
) -> None:
    details: dict[str, Any] = {
        "storm": storm,
        "restart_count": burst.restarts,
        "time_window": burst.window_ms / 1000,
        "cause": cause,
        "hint": hint,
    }
    _publish(replica, EventKind.STORM, None, to, None, reason, details)


def _scheduled(replica: Replica, taken: Step) -> None:
    """A restart after a counted failure, once no process is left; a start that was refused is none."""
    verdict, failure = taken.verdict, taken.state.failure
    if verdict is None or failure is None or verdict.next is not Next.BACKOFF or verdict.at is None:
        return
    if failure.failure_class in REFUSALS:
        return
    history = taken.state.history
    details = {
        "backoff_ms": verdict.delay_ms,
        "crash_count": history.failures + history.driver_failures,
        "next_restart_at": rfc3339(verdict.at),
        "restart_count": history.restart_count,
        "crash_reason": failure.cause,
        "stable_ms": replica.policy.stable_ms,
    }
    _publish(replica, EventKind.RESTART_SCHEDULED, None, None, None, verdict.reason, details)


def waits_for_turn(replica: Replica) -> None:
    """All turns to load are taken."""
    phase = replica.state.phase
    details = {"engine": replica.owner.config.engine, "waiting_for": "turn"}
    _publish(replica, EventKind.PHASE, phase, phase, None, "waits for its turn to load", details)


def moved_port(replica: Replica, old_port: int) -> None:
    """Somebody was quicker to take the port."""
    run = replica.run
    if run is not None:
        phase = replica.state.phase
        reason = f"port {old_port} was taken by another program: started again on port {run.spec.port}"
        details = {"pid": run.process.pid, "url": run.url, "old_port": old_port}
        _publish(replica, EventKind.PHASE, phase, phase, None, reason, details)


def stuck(replica: Replica, pids: tuple[int, ...], waited_s: float) -> None:
    """Processes that were killed and are still there."""
    phase = replica.state.phase
    named = ", ".join(str(pid) for pid in pids)
    replica.warned_at = replica.host.clock()
    replica.warning = PoolManagerError(
        Code.HEALTH_CHECK_FAILED,
        f"pool {replica.pool_id} replica {replica.replica_id}: pid {named} cannot be killed, {waited_s:.0f} s so far",
        hint="it hangs in the kernel (state D), as a rule in the GPU driver; its devices stay reserved",
        details={"pids": list(pids), "waited_ms": round(waited_s * 1000)},
    )
    details = {**replica.warning.details, "hint": replica.warning.hint}
    replica.host.bus.publish(
        EventKind.PHASE,
        pool_id=replica.pool_id,
        replica_id=replica.replica_id,
        from_=phase,
        to=phase,
        code=str(replica.warning.code),
        reason=replica.warning.message,
        details=details,
    )


def warns(replica: Replica, warning: PoolManagerError) -> None:
    """Something beside the engine is wrong; the replica itself goes on."""
    replica.warned_at = replica.host.clock()
    replica.host.bus.publish(
        EventKind.DAEMON,
        pool_id=replica.pool_id,
        replica_id=replica.replica_id,
        to="warning",
        code=str(warning.code),
        reason=warning.message,
        details={"hint": warning.hint, **warning.details},
    )


def warning_over(replica: Replica, path: Path) -> None:
    """What :func:`warns` told of is over."""
    replica.host.bus.publish(
        EventKind.DAEMON,
        pool_id=replica.pool_id,
        replica_id=replica.replica_id,
        to="store_available",
        reason=f"{path} was written",
        details={"path": str(path)},
    )


def replica_document(replica: Replica) -> dict[str, Any]:
    """What the store keeps of a replica."""
    state = replica.state
    failure = None
    if state.failure is not None:
        failure = asdict(state.failure)
    return {
        "phase": str(state.phase),
        "since": state.since,
        "history": state.history.as_json(),
        "failure": failure,
        "failed_at": state.failed_at,
        "next_restart_at": state.next_restart_at,
        "ready_since": state.ready_since,
        "refusals": state.refusals,
        "outlook": state.outlook,
        "start": str(state.start),
        "drain": None if state.drain is None else str(state.drain),
        "after_stop": None if state.after_stop is None else state.after_stop.as_json(),
        "version": replica.version,
        "model": None if replica.model is None else str(replica.model),
        "need": None if replica.last_need is None else asdict(replica.last_need),
        "run": None if replica.run is None else replica.run.as_json(),
    }


def state_from_document(doc: dict[str, Any]) -> ReplicaState:
    """The inverse of :func:`replica_document`, as far as the state machine goes."""
    failure = None
    if doc["failure"] is not None:
        told = dict(doc["failure"])
        failure = Failure(
            code=Code(told["code"]),
            message=told["message"],
            hint=told["hint"],
            failure_class=FailureClass(told["failure_class"]),
            cause=told["cause"],
            details=told["details"],
        )
    return ReplicaState(
        phase=Phase(doc["phase"]),
        since=doc["since"],
        history=RestartHistory.from_json(doc["history"]),
        failure=failure,
        failed_at=doc["failed_at"],
        next_restart_at=doc["next_restart_at"],
        ready_since=doc["ready_since"],
        refusals=doc["refusals"],
        outlook=doc.get("outlook"),
        start=StartCause(doc.get("start", StartCause.OPERATOR)),
        drain=None if doc.get("drain") is None else DrainCause(doc["drain"]),
        after_stop=None if doc.get("after_stop") is None else Verdict.from_json(doc["after_stop"]),
    )
