"""The restart policy as values: backoff, circuit breaker, rate limit and storm detection of one replica.

Nothing here knows a clock or a process. Each function takes the history of a replica and returns the new
one with a verdict, and every verdict carries its reason in words. Times are wall-clock seconds since the
epoch, so that they mean the same after a restart of the daemon; durations are milliseconds.

The breaker stops *starts*. It never takes a Ready replica out of service.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pool_managerd.core.failures import FailureClass
from pool_managerd.core.restart_values import (
    BreakerKind,
    BreakerState,
    Burst,
    Next,
    RestartHistory,
    RestartPolicy,
    Verdict,
)

#: 5 out-of-memory failures within a minute are an OOM storm (behaviour B-SUPER-038).
OOM_STORM = 5


def backoff_ms(policy: RestartPolicy, consecutive: int, *, driver: bool, spread: float) -> int:
    """The delay before a restart, in milliseconds.

    :param consecutive: how many failures in a row, this one included (at least 1).
    :param spread: where in the jitter's range, from -1 to 1.
    """
    base = float(policy.initial_ms)
    # A plain power overflows for absurd counts; past the cap its value no longer matters.
    for _ in range(consecutive - 1):
        base *= policy.factor
        if base >= policy.max_ms:
            break
    base = min(base, float(policy.max_ms))
    if driver:
        base *= policy.driver_factor
    floor, cap = float(policy.floor_ms), float(policy.max_ms)
    base = max(floor, min(base, cap))
    # What floor and cap leave of the jitter's range is used evenly: many delays at the cap differ, too.
    low = max(floor, min(base * (1 - policy.jitter), cap))
    high = max(floor, min(base * (1 + policy.jitter), cap))
    return round(low + (high - low) * (max(-1.0, min(1.0, spread)) + 1) / 2)


def recent(times: tuple[float, ...], now: float, window_ms: int) -> tuple[float, ...]:
    """Those of ``times`` that lie within the last ``window_ms``; none that a clock set back has left in the future."""
    return tuple(at for at in times if now - window_ms / 1000 < at <= now)


_WAITED_FOR = {
    FailureClass.MEMORY: "the memory is free",
    FailureClass.PORT: "the port is free",
    FailureClass.STORE: "the state directory can be written",
}


def after_failure(
    history: RestartHistory,
    policy: RestartPolicy,
    *,
    failure_class: FailureClass,
    now: float,
    ready_for_ms: float,
    spread: float,
    out_of_memory: bool = False,
    refusals: int = 1,
) -> tuple[RestartHistory, Verdict]:
    """Decide what follows a failure.

    :param ready_for_ms: how long the replica had been Ready, without a break, when it failed; 0 if it was not.
    :param spread: a random number from -1 to 1, for the jitter.
    :param out_of_memory: whether the engine ran out of memory (a crash of its own, not a refused preflight).
    :param refusals: how many times in a row the start was refused for want of memory or port, this time included.
    """
    match failure_class:
        case FailureClass.CONFIGURATION:
            reason = "not retried until the operator has put it right and preloads the pool or reloads the config"
            return history, Verdict(Next.FAILED, reason)
        case FailureClass.DEVICE:
            return history, Verdict(Next.FAILED, "the device is not usable: started by itself once it is back")
        case FailureClass.MEMORY | FailureClass.PORT | FailureClass.STORE:
            what = _WAITED_FOR[failure_class]
            delay = backoff_ms(policy, refusals, driver=False, spread=spread)
            return history, Verdict(
                Next.BACKOFF,
                f"not counted as a failure: started as soon as {what}, next full attempt in {delay} ms",
                at=now + delay / 1000,
                delay_ms=delay,
            )
        case FailureClass.CLEAN_EXIT:
            return _after_clean_exit(history, policy, now, spread)
        case FailureClass.CRASH | FailureClass.DRIVER:
            counted = _count(history, policy, failure_class, now, ready_for_ms, out_of_memory=out_of_memory)
            return _after_counted(counted, policy, failure_class, now, spread)


def _after_clean_exit(
    history: RestartHistory, policy: RestartPolicy, now: float, spread: float
) -> tuple[RestartHistory, Verdict]:
    """Not a failure; but an engine that ends again and again must not be restarted without bounds either."""
    if policy.on_exit_zero != "restart":
        reason = 'exit code 0 is not a failure and on_exit_zero is "stop": started again when the pool is preloaded'
        return history, Verdict(Next.STOPPED, reason)
    if (storm := _storm(history, policy, now)) is not None:
        return _open_for(history, policy, now, storm)
    delay = backoff_ms(policy, 1, driver=False, spread=spread)
    reason = f'on_exit_zero is "restart": started again in {delay} ms'
    return history, _delayed(history, policy, now, delay, reason)


def _count(
    history: RestartHistory,
    policy: RestartPolicy,
    failure_class: FailureClass,
    now: float,
    ready_for_ms: float,
    *,
    out_of_memory: bool,
) -> RestartHistory:
    if ready_for_ms >= policy.stable_ms:
        history = replace(history, failures=0, driver_failures=0)
    driver = failure_class is FailureClass.DRIVER
    ooms = recent(history.oom_times, now, policy.rate_window_ms) + ((now,) if out_of_memory else ())
    return replace(
        history,
        failures=history.failures + (not driver),
        driver_failures=history.driver_failures + driver,
        oom_times=ooms,
    )


def _after_counted(
    history: RestartHistory, policy: RestartPolicy, failure_class: FailureClass, now: float, spread: float
) -> tuple[RestartHistory, Verdict]:
    driver = failure_class is FailureClass.DRIVER
    kind = BreakerKind.DRIVER if driver else BreakerKind.GENERAL
    oom_storm = _burst(history, now, policy.rate_window_ms) if len(history.oom_times) == OOM_STORM else None
    why, open_ms = None, policy.breaker_open_ms
    if history.state is BreakerState.HALF_OPEN:
        open_ms = min(max(history.last_open_ms * 2, policy.breaker_open_ms), policy.breaker_max_open_ms)
        why = "the trial start failed"
    elif driver and history.driver_failures >= policy.breaker_driver_failures:
        why = f"{history.driver_failures} consecutive driver failures"
    elif not driver and history.failures >= policy.breaker_failures:
        why = f"{history.failures} consecutive failures"
    if why is not None:
        history, verdict = _open(history, policy, kind, now, open_ms, why)
    elif (storm := _storm(history, policy, now)) is not None:
        return _open_for(history, policy, now, storm)
    else:
        verdict = _backoff(history, policy, now, spread, driver=driver)
    if oom_storm is not None:
        verdict = replace(verdict, storm="oom_storm", burst=oom_storm)
    return history, verdict


def _burst(history: RestartHistory, now: float, window_ms: int) -> Burst:
    return Burst(len(recent(history.restarts, now, window_ms)), window_ms)


def _storm(history: RestartHistory, policy: RestartPolicy, now: float) -> Burst | None:
    """The restarts of the last while, if they are so many that the breaker opens."""
    burst = _burst(history, now, policy.storm_open_window_ms)
    return burst if burst.restarts >= policy.storm_open else None


def _open_for(
    history: RestartHistory, policy: RestartPolicy, now: float, storm: Burst
) -> tuple[RestartHistory, Verdict]:
    history, verdict = _open(history, policy, BreakerKind.GENERAL, now, policy.breaker_open_ms, str(storm))
    return history, replace(verdict, storm="restart_storm", burst=storm)


def _open(
    history: RestartHistory, policy: RestartPolicy, kind: BreakerKind, now: float, open_ms: int, why: str
) -> tuple[RestartHistory, Verdict]:
    until, delay, limit = now + open_ms / 1000, open_ms, ""
    # The trial is a restart like any other: it is never made before the rate window allows one.
    limited = at_limit(history, policy, now)
    if limited is not None and limited.at is not None and limited.delay_ms is not None and limited.at > until:
        until, delay = limited.at, limited.delay_ms
        limit = f" ({limited.burst} reach the limit of {policy.rate})"
    opened = replace(history, state=BreakerState.OPEN, kind=kind, open_until=until, last_open_ms=open_ms)
    verdict = Verdict(
        Next.CIRCUIT_OPEN,
        f"circuit opened: {why}; no start for {delay} ms{limit}, then one trial, which closes it after "
        f"{policy.breaker_stable_ms / 1000:g} s Ready; the operator can reset it",
        at=until,
        delay_ms=delay,
        opened=True,
    )
    return opened, verdict


def _backoff(history: RestartHistory, policy: RestartPolicy, now: float, spread: float, *, driver: bool) -> Verdict:
    consecutive = history.failures + history.driver_failures
    delay = backoff_ms(policy, consecutive, driver=driver, spread=spread)
    reason = (
        f"failure {consecutive} in a row: restart in {delay} ms; "
        f"{policy.stable_ms / 1000:g} s Ready make the next failure the first again"
    )
    return _delayed(history, policy, now, delay, reason)


def _delayed(history: RestartHistory, policy: RestartPolicy, now: float, delay: int, reason: str) -> Verdict:
    """A restart after ``delay`` milliseconds, or as soon as the rate window allows it, if that is later."""
    at = now + delay / 1000
    limited = at_limit(history, policy, now)
    if limited is not None and limited.at is not None and limited.at > at:
        return limited
    return Verdict(Next.BACKOFF, reason, at=at, delay_ms=delay)


def at_limit(history: RestartHistory, policy: RestartPolicy, now: float) -> Verdict | None:
    """When the rate window allows the next restart; ``None`` if it allows one now."""
    window = recent(history.restarts, now, policy.rate_window_ms)
    if len(window) < policy.rate:
        return None
    # The window allows the next start when its oldest of the last `rate` restarts has left it.
    allowed = window[len(window) - policy.rate] + policy.rate_window_ms / 1000
    delay = math.ceil((allowed - now) * 1000)
    burst = Burst(len(window), policy.rate_window_ms)
    reason = f"{burst} reach the limit of {policy.rate}: restart in {delay} ms, when the window allows it"
    return Verdict(Next.BACKOFF, reason, at=allowed, delay_ms=delay, rate_limited=True, burst=burst)


def after_restart(history: RestartHistory, policy: RestartPolicy, now: float) -> tuple[RestartHistory, Burst | None]:
    """Note that the supervisor restarts the replica now. The second value are the restarts to warn of, or ``None``."""
    kept_ms = max(policy.rate_window_ms, policy.storm_open_window_ms)
    restarts = (*recent(history.restarts, now, kept_ms), now)
    history = replace(history, restarts=restarts, restart_count=history.restart_count + 1)
    burst = _burst(history, now, policy.rate_window_ms)
    return history, burst if burst.restarts > policy.storm_warn else None


def is_open(history: RestartHistory, now: float) -> bool:
    """Whether the breaker forbids a start now. Once its time is over, one trial is allowed."""
    return history.state is BreakerState.OPEN and (history.open_until is None or now < history.open_until)


def half_open(history: RestartHistory) -> RestartHistory:
    """The open time is over: one trial start is allowed."""
    return replace(history, state=BreakerState.HALF_OPEN, open_until=None)


def after_stable(history: RestartHistory, policy: RestartPolicy, ready_for_ms: float) -> RestartHistory:
    """Forget what a replica that has been Ready for ``ready_for_ms`` has outlived."""
    # Open, though Ready: a reload started it, and its new model runs well.
    if history.state is not BreakerState.CLOSED and ready_for_ms >= policy.breaker_stable_ms:
        return closed(history)
    if history.state is BreakerState.CLOSED and ready_for_ms >= policy.stable_ms:
        return replace(history, failures=0, driver_failures=0)
    return history


def closed(history: RestartHistory) -> RestartHistory:
    """Close the breaker, as after a stable trial or by the operator. The restart window stays as it is."""
    return replace(
        history,
        failures=0,
        driver_failures=0,
        state=BreakerState.CLOSED,
        kind=BreakerKind.GENERAL,
        open_until=None,
        last_open_ms=0,
    )


def next_stable_ms(history: RestartHistory, policy: RestartPolicy, ready_for_ms: float) -> float | None:
    """After how many more milliseconds of Ready :func:`after_stable` would change something; ``None`` if never."""
    if history.state is not BreakerState.CLOSED:
        return max(0.0, policy.breaker_stable_ms - ready_for_ms)
    if history.failures or history.driver_failures:
        return max(0.0, policy.stable_ms - ready_for_ms)
    return None
