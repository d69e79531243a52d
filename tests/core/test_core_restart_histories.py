"""What the restart policy keeps to over random histories of a replica: counts, rate, trials, and its reasons."""

import re
from dataclasses import replace

import pytest
from core_strategies import (
    DEFAULTS,
    Life,
    failure,
    hard_lives,
    histories_of_all_kinds,
    impatient_policies,
    policies,
    spreads,
)
from hypothesis import given
from hypothesis import strategies as st

from pool_managerd.core.failures import FailureClass
from pool_managerd.core.phases import AT_REST, COMING_UP, Phase, pool_phase
from pool_managerd.core.replica_state import Action, DrainCause, Input, Signal, StartCause
from pool_managerd.core.restart import backoff_ms, is_open, recent
from pool_managerd.core.restart_values import BreakerState, Next

COUNTED = {FailureClass.CRASH, FailureClass.DRIVER}


def judged(life: Life):
    """The failures that the policy judged: not those of a reload's new model, nor what follows a judged one."""
    for before, told, taken, now in life.steps:
        if told.signal is not Signal.FAILED or before.phase is Phase.STOPPING:
            continue
        of_reload = before.start is StartCause.RELOAD and before.phase in COMING_UP
        known = before.drain is DrainCause.DRIVER and before.after_stop is not None
        if not of_reload and not known:
            yield before, told.failure.failure_class, taken, now


def restarts(life: Life):
    """The steps with which the supervisor restarted it."""
    for before, told, taken, now in life.steps:
        if taken.state.history.restart_count > before.history.restart_count:
            yield before, told, taken, now


@given(histories_of_all_kinds)
def test_each_failure_is_counted_once_and_drivers_apart(life):
    for before, failure_class, taken, now in judged(life):
        stable = before.ready_for_ms(now) >= life.policy.stable_ms
        old, new = before.history, taken.state.history
        if failure_class not in COUNTED:
            assert (new.failures, new.driver_failures) == (old.failures, old.driver_failures)
            continue
        driver = failure_class is FailureClass.DRIVER
        assert new.failures == (0 if stable else old.failures) + (not driver)
        assert new.driver_failures == (0 if stable else old.driver_failures) + driver


@given(histories_of_all_kinds)
def test_counts_fall_only_by_a_stable_time_or_the_operator(life):
    for before, told, taken, now in life.steps:
        old, new = before.history, taken.state.history
        if new.failures < old.failures or new.driver_failures < old.driver_failures:
            ready_ms = before.ready_for_ms(now)
            enough = life.policy.stable_ms if old.state is BreakerState.CLOSED else life.policy.breaker_stable_ms
            stable = told.signal in {Signal.STABLE, Signal.FAILED} and ready_ms >= min(enough, life.policy.stable_ms)
            assert stable or told.signal is Signal.RESET


@given(histories_of_all_kinds)
def test_a_restart_is_only_made_where_the_rate_window_has_room(life):
    for before, told, _, now in restarts(life):
        # A trial is no exception, however short the circuit's own time is configured.
        within = recent(before.history.restarts, now, life.policy.rate_window_ms)
        assert len(within) < life.policy.rate, told


@given(st.one_of(hard_lives(), hard_lives(impatient_policies)))
def test_no_window_holds_more_restarts_than_the_rate_trials_included(life):
    starts = [now for *_, now in restarts(life)]
    for start in starts:
        within = [one for one in starts if start <= one < start + life.policy.rate_window_ms / 1000]
        # An operator's reset opens the way for a start at once; those are not the supervisor's and not in this list.
        assert len(within) <= life.policy.rate + any(told.signal is Signal.RESET for _, told, _, _ in life.steps)


@given(histories_of_all_kinds)
def test_a_start_never_begins_beside_another_or_beside_a_process(life):
    alive = False
    for before, told, taken, _ in life.steps:
        ended = told.signal is Signal.GONE or (told.signal is Signal.FAILED and not told.process_left)
        if taken.state.phase is Phase.PREFLIGHT and before.phase is not Phase.PREFLIGHT:
            assert ended or not alive
            assert ended or before.phase in AT_REST | {Phase.HALF_OPEN}
        alive = taken.state.phase in {Phase.STARTING, Phase.LOADING, Phase.READY, Phase.DRAINING, Phase.STOPPING}


@given(histories_of_all_kinds)
def test_a_circuit_that_turned_half_open_has_exactly_one_trial(life):
    trials = begun = 0
    for before, told, taken, _ in life.steps:
        if taken.state.phase is Phase.HALF_OPEN and before.phase is not Phase.HALF_OPEN:
            assert Action.BEGIN_TRIAL in taken.actions
            begun += 1
        if before.phase is Phase.HALF_OPEN and taken.state.phase is not Phase.HALF_OPEN:
            trials += told.signal in {Signal.TRIAL, Signal.RESET, Signal.STOP}
            assert told.signal in {Signal.TRIAL, Signal.RESET, Signal.STOP}
    assert begun - trials == (life.state.phase is Phase.HALF_OPEN)


@given(histories_of_all_kinds)
def test_an_operators_start_is_never_counted_as_a_restart(life):
    for before, told, _, _ in restarts(life):
        assert told.signal in {Signal.TIMER, Signal.TRIAL, Signal.RECHECK}
        if told.signal is Signal.TRIAL:
            assert before.start is not StartCause.OPERATOR


@given(histories_of_all_kinds)
def test_a_circuit_opens_only_for_a_failure_and_says_how_it_closes(life):
    for before, told, taken, now in life.steps:
        if taken.verdict is None or not taken.verdict.opened or told.signal is not Signal.FAILED:
            continue
        policy, new = life.policy, taken.state.history
        assert is_open(new, now)
        enough = new.failures >= policy.breaker_failures or new.driver_failures >= policy.breaker_driver_failures
        storm = len(recent(before.history.restarts, now, policy.storm_open_window_ms)) >= policy.storm_open
        assert enough or storm or before.history.state is BreakerState.HALF_OPEN
        assert before.phase is not Phase.READY or told.failure is not None
        for word in (f"{taken.verdict.delay_ms} ms", "trial", "reset"):
            assert word in taken.verdict.reason


@given(histories_of_all_kinds)
def test_a_verdict_to_wait_names_its_delay_and_the_status_shows_it_until_the_start(life):
    for _, _, taken, now in life.steps:
        state, verdict = taken.state, taken.verdict
        if verdict is not None and verdict.next is Next.BACKOFF:
            assert re.search(rf"\b{verdict.delay_ms} ms", verdict.reason)
            assert verdict.delay_ms >= life.policy.floor_ms
            assert verdict.at >= now
        if state.phase in {Phase.BACKOFF, Phase.CIRCUIT_OPEN, Phase.FAILED}:
            assert state.outlook
        if state.phase in {Phase.READY, *COMING_UP} - {Phase.HALF_OPEN}:
            assert state.outlook is None


@given(histories_of_all_kinds, st.integers(1, 4), st.integers(1, 4))
def test_however_bad_a_replica_is_the_ready_ones_keep_their_pool_ready(life, ready, min_ready):
    phases = [Phase.READY] * max(ready, min_ready)
    for _, _, taken, _ in life.steps:
        assert pool_phase([*phases, taken.state.phase], min_ready=min_ready) is Phase.READY


@given(policies, st.integers(1, 40), st.booleans(), st.lists(spreads, min_size=2, max_size=20, unique=True))
def test_delays_of_many_grow_with_their_spread_so_that_they_differ_at_floor_and_cap_too(policy, count, driver, many):
    found = [backoff_ms(policy, count, driver=driver, spread=one) for one in sorted(many)]
    assert found == sorted(found)
    low, high = (backoff_ms(policy, count, driver=driver, spread=end) for end in (-1, 1))
    if high - low > 100:
        middle = backoff_ms(policy, count, driver=driver, spread=0)
        assert low < middle < high


@given(policies, st.integers(1, 40), spreads)
def test_a_driver_error_waits_so_many_times_longer_between_floor_and_cap(policy, count, spread):
    policy = replace(policy, jitter=0.0)
    ordinary = backoff_ms(policy, count, driver=False, spread=spread)
    after_driver = backoff_ms(policy, count, driver=True, spread=spread)
    assert ordinary <= after_driver <= max(policy.floor_ms, policy.max_ms)
    if policy.floor_ms < ordinary and after_driver < policy.max_ms:
        assert abs(after_driver - ordinary * policy.driver_factor) <= 1 + policy.driver_factor


@pytest.mark.parametrize("phase", [Phase.PREFLIGHT, Phase.STARTING, Phase.LOADING, Phase.READY])
def test_no_other_start_is_made_beside_one_that_is_under_way_or_done(phase):
    life = Life()
    life.tell(Input(Signal.START))
    while life.state.phase is not phase:
        life.progress()
    for signal in (Signal.START, Signal.TIMER, Signal.RECHECK, Signal.TRIAL, Signal.PREFLIGHT_PASSED):
        if (phase, signal) != (Phase.PREFLIGHT, Signal.PREFLIGHT_PASSED):
            assert life.tell(Input(signal)).actions == ()
    assert life.state.phase is phase


def test_failures_of_both_kinds_open_nothing_together():
    life = Life()
    life.tell(Input(Signal.START))
    for failure_class in [FailureClass.CRASH, FailureClass.DRIVER] * 4:
        life.load()
        life.fail(failure(failure_class), left=False)
        assert life.state.phase is Phase.BACKOFF
        life.wait_timer()
    assert (life.state.history.failures, life.state.history.driver_failures) == (4, 4)


def waiting_for_device(policy=DEFAULTS) -> Life:
    """A replica that was Ready when its device was lost."""
    life = Life(policy=policy)
    life.tell(Input(Signal.START))
    life.load()
    life.fail(failure(FailureClass.DEVICE), left=False)
    assert life.state.phase is Phase.FAILED
    return life


def test_a_running_engine_that_a_lost_device_ended_is_restarted_when_it_is_back():
    life = waiting_for_device()
    life.tell(Input(Signal.RECHECK))
    assert (life.state.phase, life.state.history.restart_count) == (Phase.PREFLIGHT, 1)


def test_a_start_that_a_missing_device_put_off_is_no_restart():
    life = Life()
    life.tell(Input(Signal.START))
    life.fail(failure(FailureClass.DEVICE), left=False)
    life.tell(Input(Signal.RECHECK))
    assert (life.state.phase, life.state.history.restart_count) == (Phase.PREFLIGHT, 0)


def test_a_device_that_comes_and_goes_restarts_an_engine_no_more_often_than_the_rate_allows():
    life = waiting_for_device(replace(DEFAULTS, rate=3))
    for _ in range(3):
        life.tell(Input(Signal.RECHECK))
        life.load()
        life.now += 1
        life.fail(failure(FailureClass.DEVICE), left=False)
    taken = life.tell(Input(Signal.RECHECK))
    assert life.state.phase is Phase.BACKOFF
    assert taken.verdict.rate_limited
    assert life.state.next_restart_at == life.now - 3 + 60
    assert life.tell(Input(Signal.RECHECK)).actions == ()
    life.wait_timer()
    assert (life.state.phase, life.state.history.restart_count) == (Phase.PREFLIGHT, 4)


def test_a_preload_after_the_open_time_makes_the_trial_and_it_is_the_operators():
    life = Life(policy=replace(DEFAULTS, breaker_failures=1))
    life.tell(Input(Signal.START))
    life.load()
    life.fail(failure(FailureClass.CRASH), left=False)
    life.tell(Input(Signal.STOP))
    life.now += 301
    life.tell(Input(Signal.START))
    assert life.state.phase is Phase.HALF_OPEN
    life.tell(Input(Signal.TRIAL))
    assert (life.state.phase, life.state.history.restart_count) == (Phase.PREFLIGHT, 0)
    life.load()
    life.fail(failure(FailureClass.CRASH), left=False)
    assert life.state.history.open_until == life.now + 600


def test_a_clock_set_back_makes_no_restart_wait_for_the_old_time():
    life = Life(policy=replace(DEFAULTS, rate=1, breaker_failures=100))
    life.tell(Input(Signal.START))
    life.load()
    life.fail(failure(FailureClass.CRASH), left=False)
    life.wait_timer()
    life.load()
    life.now -= 3_600
    life.fail(failure(FailureClass.CRASH), left=False)
    assert life.state.next_restart_at - life.now <= 2.2
