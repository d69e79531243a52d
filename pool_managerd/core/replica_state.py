"""What the replica's state machine works with: what can happen, what is to be done, and where a replica stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pool_managerd.core.failures import REFUSALS, Failure, FailureClass
from pool_managerd.core.phases import Phase
from pool_managerd.core.restart_values import Burst, RestartHistory, Verdict


class Signal(StrEnum):
    """What can happen to a replica."""

    START = "start"
    PREFLIGHT_PASSED = "preflight_passed"
    SPAWNED = "spawned"
    BECAME_READY = "became_ready"
    ADOPTED = "adopted"
    LEFT_OVER = "left_over"
    FAILED = "failed"
    EXPLAINED = "explained"
    DRAIN = "drain"
    UNDRAIN = "undrain"
    STOP = "stop"
    GONE = "gone"
    TIMER = "timer"
    TRIAL = "trial"
    RECHECK = "recheck"
    STABLE = "stable"
    RESET = "reset"


class Action(StrEnum):
    """What the shell is to do next."""

    PREFLIGHT = "preflight"
    SPAWN = "spawn"
    LOAD = "load"
    WATCH = "watch"
    STOP_PROCESS = "stop_process"
    CLEAR_PROCESS = "clear_process"
    CANCEL_PREFLIGHT = "cancel_preflight"
    ARM_TIMER = "arm_timer"
    BEGIN_TRIAL = "begin_trial"


class StartCause(StrEnum):
    """Who asked for a start. Only ``restart`` and ``trial`` count as restarts by the supervisor."""

    OPERATOR = "operator"
    RESTART = "restart"
    TRIAL = "trial"
    RECHECK = "recheck"
    RELOAD = "reload"
    RESTORE = "restore"


class DrainCause(StrEnum):
    """Why a replica drains."""

    OPERATOR = "operator"
    RELOAD = "reload"
    DRIVER = "driver"


@dataclass(frozen=True, slots=True)
class Input:
    """A signal and what comes with it.

    :param process_left: for FAILED: whether the engine's process still lives.
    :param let_leases_end: for FAILED: drain first, so that leases in flight may end (driver and CUDA errors).
    :param spread: for FAILED: a random number from -1 to 1, for the jitter of the backoff.
    """

    signal: Signal
    start: StartCause = StartCause.OPERATOR
    drain: DrainCause = DrainCause.OPERATOR
    failure: Failure | None = None
    process_left: bool = False
    let_leases_end: bool = False
    spread: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """All that decides what a replica does next. Times are wall-clock seconds since the epoch.

    :param after_stop: what follows once the process is gone; ``None`` for plain ``stopped``.
    :param refusals: starts refused in a row for want of memory, a port, a device or the store.
    :param outlook: what follows the failure and why, in words; ``None`` where it does not hold any more.
    """

    phase: Phase = Phase.STOPPED
    since: float = 0.0
    history: RestartHistory = field(default_factory=RestartHistory)
    failure: Failure | None = None
    failed_at: float | None = None
    next_restart_at: float | None = None
    ready_since: float | None = None
    start: StartCause = StartCause.OPERATOR
    drain: DrainCause | None = None
    after_stop: Verdict | None = None
    refusals: int = 0
    outlook: str | None = None

    @property
    def waits_for(self) -> FailureClass | None:
        """What a replica at rest waits for (memory, a port, a device, the store), where it does not run for that."""
        if self.failure is None or self.phase not in {Phase.BACKOFF, Phase.FAILED}:
            return None
        waiting = REFUSALS | {FailureClass.DEVICE}
        return self.failure.failure_class if self.failure.failure_class in waiting else None

    def ready_for_ms(self, now: float) -> float:
        """For how long it has been Ready without a break."""
        return 0.0 if self.ready_since is None else max(0.0, (now - self.ready_since) * 1000)


@dataclass(frozen=True, slots=True)
class Step:
    """What a signal led to.

    :param verdict: the restart policy's verdict, where a failure was judged.
    :param storm_warning: the restarts of the last while, where this one makes them too many.
    """

    state: ReplicaState
    actions: tuple[Action, ...] = ()
    reason: str = ""
    verdict: Verdict | None = None
    storm_warning: Burst | None = None
