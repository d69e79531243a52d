"""What holds on every walk through a replica's life."""

from dataclasses import replace

import pytest
from core_strategies import DEFAULTS, Life, failure, failures, histories_of_all_kinds, lives, moves
from hypothesis import given
from hypothesis import strategies as st

from pool_managerd.core.failures import FailureClass
from pool_managerd.core.phases import AT_REST, COMING_UP, Phase
from pool_managerd.core.replica_state import Action, DrainCause, Input, Signal, StartCause
from pool_managerd.core.restart import is_open
from pool_managerd.core.restart_values import BreakerState, Next, Verdict

START = Input(Signal.START)
STOP = Input(Signal.STOP)


@given(histories_of_all_kinds)
def test_nothing_starts_while_the_circuit_is_open_but_a_reload(life):
    for before, given_, taken, now in life.steps:
        if taken.state.phase is Phase.PREFLIGHT and before.phase is not Phase.PREFLIGHT:
            allowed = given_.start is StartCause.RELOAD or given_.signal is Signal.RESET
            assert allowed or not is_open(before.history, now), given_
        if Action.BEGIN_TRIAL in taken.actions:
            assert not is_open(before.history, now)


@given(histories_of_all_kinds)
def test_a_half_open_circuit_has_one_trial_and_its_failure_opens_it_for_longer(life):
    for before, given_, taken, now in life.steps:
        if before.history.state is not BreakerState.HALF_OPEN or given_.failure is None:
            continue
        counted = given_.failure.failure_class in {FailureClass.CRASH, FailureClass.DRIVER}
        judged = before.phase is not Phase.STOPPING and before.after_stop is None
        by_reload = before.start is StartCause.RELOAD and before.phase in COMING_UP
        if counted and judged and not by_reload:
            after = taken.state.history
            assert after.state is BreakerState.OPEN
            assert after.open_until > now
            wanted = max(before.history.last_open_ms * 2, life.policy.breaker_open_ms)
            assert after.last_open_ms == min(wanted, life.policy.breaker_max_open_ms)


@given(histories_of_all_kinds)
def test_restart_count_never_falls_and_rises_only_with_a_start_by_the_supervisor(life):
    for before, given_, taken, _ in life.steps:
        rise = taken.state.history.restart_count - before.history.restart_count
        assert rise in {0, 1}
        if rise:
            # A recheck is a restart where a lost device took a running engine along; other ones were only put off.
            device_is_back = given_.signal is Signal.RECHECK and before.waits_for is FailureClass.DEVICE
            assert given_.signal in {Signal.TIMER, Signal.TRIAL} or device_is_back
            assert taken.state.phase is Phase.PREFLIGHT


@given(histories_of_all_kinds)
def test_ready_follows_the_readiness_check_and_nothing_else(life):
    for before, given_, taken, _ in life.steps:
        if taken.state.phase is Phase.READY and before.phase is not Phase.READY:
            assert (before.phase, given_.signal) in {
                (Phase.LOADING, Signal.BECAME_READY),
                (Phase.DRAINING, Signal.UNDRAIN),
            }
            assert taken.state.drain is None
        if taken.state.phase is Phase.DRAINING and before.phase is not Phase.DRAINING:
            assert before.phase is Phase.READY or given_.signal is Signal.BECAME_READY


@given(histories_of_all_kinds)
def test_a_replica_with_a_process_is_never_at_rest(life):
    for before, given_, taken, _ in life.steps:
        with_process = before.phase in {Phase.STARTING, Phase.LOADING, Phase.READY, Phase.DRAINING, Phase.STOPPING}
        if with_process and taken.state.phase in AT_REST:
            dead = given_.signal is Signal.FAILED and not given_.process_left
            assert given_.signal is Signal.GONE or dead
    assert not (life.process and life.state.phase in AT_REST)


@given(histories_of_all_kinds)
def test_the_breaker_takes_no_ready_replica_out_of_service(life):
    harmless = {Signal.START, Signal.TIMER, Signal.TRIAL, Signal.RECHECK, Signal.STABLE, Signal.RESET, Signal.UNDRAIN}
    for before, given_, taken, _ in life.steps:
        if before.phase is Phase.READY and given_.signal in harmless:
            assert taken.state.phase is Phase.READY
            assert Action.STOP_PROCESS not in taken.actions


@given(histories_of_all_kinds)
def test_every_step_and_every_verdict_says_why(life):
    for before, _, taken, _ in life.steps:
        if taken.state.phase is not before.phase:
            assert taken.reason
        if taken.verdict is not None:
            assert taken.verdict.reason


@given(histories_of_all_kinds)
def test_a_time_of_the_next_start_is_shown_only_while_one_is_waited_for(life):
    for _, _, taken, now in life.steps:
        state = taken.state
        if state.next_restart_at is not None:
            assert state.phase in {Phase.BACKOFF, Phase.CIRCUIT_OPEN}
            assert state.next_restart_at >= now or state.next_restart_at == state.history.open_until
        if state.phase in {Phase.BACKOFF, Phase.CIRCUIT_OPEN}:
            assert state.next_restart_at is not None
        if state.phase is Phase.FAILED:
            assert state.failure is not None


@given(histories_of_all_kinds)
def test_a_wait_is_armed_whenever_it_begins(life):
    for before, _, taken, _ in life.steps:
        entered = taken.state.phase in {Phase.BACKOFF, Phase.CIRCUIT_OPEN} and taken.state.phase is not before.phase
        assert not entered or Action.ARM_TIMER in taken.actions


@given(lives(), st.lists(moves(), max_size=30))
def test_an_operators_stop_wins_until_somebody_starts_it(life, later):
    life.tell(STOP)
    first = len(life.steps)
    assert life.state.phase in {Phase.STOPPED, Phase.STOPPING}
    for move in later:
        move(life)
    for before, given_, taken, _ in life.steps[first:]:
        if given_.signal in {Signal.START, Signal.RESET}:
            break
        assert taken.state.phase in {Phase.STOPPED, Phase.STOPPING}, (before.phase, given_.signal)
    else:
        life.gone()
        assert life.state.phase is Phase.STOPPED


@given(lives(), failures)
def test_a_failure_in_a_reload_leaves_the_breaker_alone(life, what):
    life.tell(STOP)
    life.gone()
    before = life.state.history
    life.tell(Input(Signal.START, start=StartCause.RELOAD))
    assert life.state.phase is Phase.PREFLIGHT
    life.fail(what, left=False)
    assert life.state.phase is Phase.STOPPED
    assert life.state.history == before


def ready(policy=DEFAULTS) -> Life:
    life = Life(policy=policy)
    life.tell(START)
    life.load()
    assert life.state.phase is Phase.READY
    return life


@pytest.mark.parametrize("failure_class", [one for one in FailureClass if one is not FailureClass.CLEAN_EXIT])
def test_a_failure_with_a_process_left_is_stopping_until_it_is_gone(failure_class):
    life = ready()
    life.fail(failure(failure_class), left=True)
    assert life.state.phase is Phase.STOPPING
    life.gone()
    assert life.state.phase in {Phase.BACKOFF, Phase.FAILED}


def test_a_backoff_counts_from_the_end_of_the_process():
    life = ready()
    life.fail(failure(FailureClass.CRASH), left=True)
    life.now += 6
    taken = life.gone()
    assert life.state.next_restart_at == life.now + 1
    assert taken.verdict is not None
    assert taken.verdict.at == life.now + 1


def test_a_cause_found_later_changes_what_is_told_and_not_what_follows():
    life = ready()
    life.fail(failure(FailureClass.CRASH), left=False)
    before = life.state
    found = failure(FailureClass.DRIVER)
    life.now += 0.1
    life.tell(Input(Signal.EXPLAINED, failure=found))
    assert life.state == replace(before, failure=found, failed_at=life.now)
    life.wait_timer()
    assert life.state.phase is Phase.PREFLIGHT


@pytest.mark.parametrize("further", range(5))
def test_a_cause_found_after_the_restart_has_begun_is_told_until_it_is_ready_and_changes_nothing_else(further):
    life = ready()
    life.fail(failure(FailureClass.CRASH), left=False)
    life.wait_timer()
    for signal in [Signal.PREFLIGHT_PASSED, Signal.SPAWNED, Signal.STOP, Signal.GONE][:further]:
        life.tell(Input(signal))
    before, found = life.state, failure(FailureClass.DRIVER)
    taken = life.tell(Input(Signal.EXPLAINED, failure=found))
    assert taken.actions == ()
    assert life.state == replace(before, failure=found, failed_at=life.now)


def test_what_began_a_driver_errors_drain_stays_the_last_error():
    life = ready()
    life.fail(failure(FailureClass.DRIVER), left=True, drain=True)
    assert life.state.phase is Phase.DRAINING
    life.fail(failure(FailureClass.CRASH), left=False)
    assert life.state.phase is Phase.BACKOFF
    assert life.state.failure.failure_class is FailureClass.DRIVER
    assert (life.state.history.failures, life.state.history.driver_failures) == (0, 1)


def test_an_operators_drain_of_a_broken_engine_keeps_it_down():
    life = ready()
    life.fail(failure(FailureClass.DRIVER), left=True, drain=True)
    life.tell(Input(Signal.DRAIN, drain=DrainCause.OPERATOR))
    life.tell(Input(Signal.STOP, drain=DrainCause.DRIVER))
    life.gone()
    assert life.state.phase is Phase.STOPPED


def test_a_start_while_it_is_stopping_follows_the_stop():
    life = ready()
    life.tell(STOP)
    life.tell(START)
    assert life.state.phase is Phase.STOPPING
    taken = life.gone()
    assert life.state.phase is Phase.PREFLIGHT
    assert Action.PREFLIGHT in taken.actions
    assert life.state.history.restart_count == 0


def test_a_reset_while_a_failed_engine_is_being_stopped_is_an_attempt_at_once():
    life = ready()
    life.fail(failure(FailureClass.CRASH), left=True)
    life.tell(Input(Signal.RESET))
    life.gone()
    assert life.state.phase is Phase.PREFLIGHT


def test_a_restart_is_not_made_while_the_circuit_is_open_even_after_a_reload_of_it_failed():
    life = ready()
    for _ in range(5):
        life.fail(failure(FailureClass.CRASH), left=False)
        life.wait_timer() if life.state.phase is Phase.BACKOFF else None
        life.load()
    assert life.state.phase is Phase.CIRCUIT_OPEN
    life.tell(STOP)
    life.tell(Input(Signal.START, start=StartCause.RESTORE))
    life.fail(failure(FailureClass.MEMORY), left=False)
    assert life.state.phase is Phase.BACKOFF
    life.wait_timer()
    assert life.state.phase is Phase.CIRCUIT_OPEN
    life.wait_timer()
    assert life.state.phase is Phase.HALF_OPEN


def test_an_engine_that_a_reload_brought_up_closes_the_circuit_once_it_is_stable():
    life = ready()
    life.state = replace(
        life.state, history=replace(life.state.history, state=BreakerState.OPEN, open_until=life.now + 300, failures=5)
    )
    life.now += DEFAULTS.breaker_stable_ms / 1000
    life.tell(Input(Signal.STABLE))
    assert life.state.history.state is BreakerState.CLOSED
    assert life.state.history.failures == 0


def test_an_adopted_engine_whose_pool_drains_is_never_ready_for_new_work():
    life = Life()
    life.adopted()
    life.tell(Input(Signal.DRAIN, drain=DrainCause.OPERATOR))
    assert life.state.phase is Phase.LOADING
    taken = life.tell(Input(Signal.BECAME_READY))
    assert life.state.phase is Phase.DRAINING
    assert Action.WATCH in taken.actions
    life.tell(Input(Signal.UNDRAIN))
    assert life.state.phase is Phase.READY


def test_an_engine_of_before_that_is_not_wanted_as_it_is_stops_first_and_counts_as_nothing():
    life = Life()
    life.process = True
    life.state = replace(life.state, after_stop=Verdict(Next.START, "its spawn spec changed"))
    taken = life.tell(Input(Signal.LEFT_OVER, reason="its spawn spec changed"))
    assert (life.state.phase, taken.actions) == (Phase.STOPPING, (Action.STOP_PROCESS,))
    taken = life.gone()
    assert (life.state.phase, taken.actions) == (Phase.PREFLIGHT, (Action.PREFLIGHT,))
    assert (life.state.history.restart_count, life.state.history.failures) == (0, 0)


def test_an_adopted_engine_has_been_ready_all_the_time():
    life = ready()
    since = life.state.ready_since
    life.now += 50
    life.adopted()
    life.tell(Input(Signal.BECAME_READY))
    assert life.state.ready_since == since


def test_a_late_answer_changes_nothing():
    life = Life()
    for signal in (Signal.GONE, Signal.BECAME_READY, Signal.SPAWNED, Signal.TIMER, Signal.TRIAL, Signal.RECHECK):
        assert life.tell(Input(signal)).actions == ()
    assert life.state.phase is Phase.STOPPED


def test_an_exit_with_0_is_restarted_only_if_the_config_says_so():
    life = ready()
    life.fail(failure(FailureClass.CLEAN_EXIT), left=False)
    assert (life.state.phase, life.state.history.failures) == (Phase.STOPPED, 0)
    life = ready(replace(DEFAULTS, on_exit_zero="restart"))
    verdict = life.fail(failure(FailureClass.CLEAN_EXIT), left=False).verdict
    assert verdict.next is Next.BACKOFF
    assert life.state.history.failures == 0
