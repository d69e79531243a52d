"""The restart policy: delays, the rate window, storms, the breaker, and what survives the daemon."""

from dataclasses import replace

import pytest
from core_strategies import DEFAULTS, Life, failure, policies, spreads
from hypothesis import given
from hypothesis import strategies as st

from pool_managerd.core.failures import REFUSALS, FailureClass
from pool_managerd.core.phases import Phase
from pool_managerd.core.replica_state import Input, Signal
from pool_managerd.core.restart import after_failure, after_restart, backoff_ms, next_stable_ms, recent
from pool_managerd.core.restart_values import BreakerKind, BreakerState, Next, RestartHistory, RestartPolicy, Verdict

CRASH, DRIVER = FailureClass.CRASH, FailureClass.DRIVER

times = st.floats(0, 2e9)
histories = st.builds(
    RestartHistory,
    failures=st.integers(0, 100),
    driver_failures=st.integers(0, 100),
    state=st.sampled_from(BreakerState),
    kind=st.sampled_from(BreakerKind),
    open_until=st.none() | times,
    last_open_ms=st.integers(0, 3_600_000),
    restarts=st.lists(times, max_size=5).map(lambda found: tuple(sorted(found))),
    restart_count=st.integers(0, 10_000),
    oom_times=st.lists(times, max_size=5).map(tuple),
)


@given(policies, st.integers(1, 10_000), st.booleans(), spreads)
def test_a_delay_is_the_tables_within_the_jitter_and_between_floor_and_cap(policy, consecutive, driver, spread):
    delay = backoff_ms(policy, consecutive, driver=driver, spread=spread)
    try:
        base = min(policy.initial_ms * policy.factor ** (consecutive - 1), policy.max_ms)
    except OverflowError:
        base = policy.max_ms
    # The floor is the base where the table's value is below it, so that many pools differ there, too.
    base = max(policy.floor_ms, min(base * (policy.driver_factor if driver else 1), policy.max_ms))
    low, high = base * (1 - policy.jitter), base * (1 + policy.jitter)
    assert (
        max(policy.floor_ms, min(low, policy.max_ms)) - 1 <= delay <= max(policy.floor_ms, min(high, policy.max_ms)) + 1
    )
    assert policy.floor_ms <= delay <= max(policy.max_ms, policy.floor_ms)


@pytest.mark.parametrize(("driver", "table"), [(False, [1, 2, 4, 8]), (True, [2, 4, 8, 16])])
@pytest.mark.parametrize("spread", [-1.0, 0.0, 1.0])
def test_the_default_table(driver, table, spread):
    found = [backoff_ms(DEFAULTS, count, driver=driver, spread=spread) for count in (1, 2, 3, 4)]
    assert found == [seconds * 1000 * (1 + 0.1 * spread) for seconds in table]
    assert backoff_ms(DEFAULTS, 50, driver=driver, spread=spread) <= 60_000


def crash_loop(policy: RestartPolicy, count: int, *, failure_class=CRASH, spread=0.0, uptime_s=0.0) -> Life:
    """A replica that comes up, fails at once and is restarted, again and again."""
    life = Life(policy=policy)
    life.tell(Input(Signal.START))
    for _ in range(count):
        life.load()
        life.now += uptime_s
        life.fail(failure(failure_class), left=False, spread=spread)
        life.wait_timer()
    return life


@given(policies, st.integers(1, 30), spreads, st.sampled_from([CRASH, DRIVER, FailureClass.CLEAN_EXIT]))
def test_no_window_ever_holds_more_restarts_than_the_rate_allows(policy, count, spread, failure_class):
    policy = replace(
        policy, breaker_failures=1_000, breaker_driver_failures=1_000, storm_open=1_000, on_exit_zero="restart"
    )
    life = crash_loop(policy, count, failure_class=failure_class, spread=spread)
    starts = [
        now for before, _, taken, now in life.steps if taken.state.history.restart_count > before.history.restart_count
    ]
    for start in starts:
        assert len([one for one in starts if start <= one < start + policy.rate_window_ms / 1000]) <= policy.rate


def test_a_circuit_that_opens_for_a_second_makes_no_more_trials_than_the_rate_allows():
    policy = replace(DEFAULTS, breaker_failures=1, breaker_open_ms=1_000, breaker_max_open_ms=1_000)
    life = crash_loop(policy, 30)
    starts = [now for _, told, taken, now in life.steps if told.signal is Signal.TRIAL and taken.actions]
    assert len(starts) == 29
    for start in starts:
        assert len([one for one in starts if start <= one < start + 60]) <= 10
    opened = [taken.verdict for _, _, taken, _ in life.steps if taken.verdict is not None]
    assert [verdict.delay_ms for verdict in opened[:11]] == [1_000] * 10 + [51_000]
    assert "10 restarts within 60 s reach the limit of 10" in opened[10].reason


def test_the_rate_window_slides():
    history = RestartHistory()
    for at in [*range(8), 30, 31]:
        history, _ = after_restart(history, DEFAULTS, at)
    policy = replace(DEFAULTS, storm_open=100)
    _, verdict = after_failure(history, policy, failure_class=CRASH, now=32, ready_for_ms=0, spread=0)
    assert verdict.rate_limited
    assert verdict.at == 60
    _, verdict = after_failure(history, policy, failure_class=CRASH, now=61.5, ready_for_ms=0, spread=0)
    assert not verdict.rate_limited


def test_more_than_five_restarts_within_a_minute_are_warned_of():
    history, warnings = RestartHistory(), []
    for at in range(7):
        history, warning = after_restart(history, DEFAULTS, at)
        warnings.append(warning)
    assert [bool(one) for one in warnings] == [False] * 5 + [True] * 2


@pytest.mark.parametrize("failure_class", [CRASH, FailureClass.CLEAN_EXIT])
def test_a_storm_opens_the_circuit_also_where_engines_exit_with_0(failure_class):
    policy = replace(DEFAULTS, initial_ms=500, factor=1.0, breaker_failures=100, on_exit_zero="restart")
    life = crash_loop(policy, 11, failure_class=failure_class)
    opened = [
        taken for _, _, taken, _ in life.steps if taken.verdict is not None and taken.verdict.storm == "restart_storm"
    ]
    assert len(opened) == 1
    assert opened[0].state.phase is Phase.CIRCUIT_OPEN
    assert life.state.phase is Phase.HALF_OPEN


def test_a_storm_window_longer_than_the_rates_is_remembered_in_full():
    policy = replace(DEFAULTS, storm_open=4, storm_open_window_ms=300_000, rate_window_ms=1_000, breaker_failures=100)
    life = crash_loop(policy, 5, uptime_s=20)
    assert any(taken.state.phase is Phase.CIRCUIT_OPEN for _, _, taken, _ in life.steps)


def test_a_reset_leaves_the_window_as_it_is():
    policy = replace(DEFAULTS, initial_ms=500, factor=1.0, breaker_failures=100)
    life = crash_loop(policy, 10)
    life.load()
    life.fail(failure(CRASH), left=False)
    assert life.state.phase is Phase.CIRCUIT_OPEN
    life.tell(Input(Signal.RESET))
    assert life.state.phase is Phase.PREFLIGHT
    life.load()
    life.fail(failure(CRASH), left=False)
    assert life.state.phase is Phase.CIRCUIT_OPEN


@pytest.mark.parametrize(("failure_class", "kind"), [(CRASH, BreakerKind.GENERAL), (DRIVER, BreakerKind.DRIVER)])
def test_the_fifth_failure_in_a_row_opens_the_circuit_of_its_kind(failure_class, kind):
    life = crash_loop(DEFAULTS, 4, failure_class=failure_class)
    assert life.state.history.state is BreakerState.CLOSED
    life.load()
    life.fail(failure(failure_class), left=False)
    history = life.state.history
    assert (history.state, history.kind) == (BreakerState.OPEN, kind)
    assert history.open_until == life.now + 300
    assert (history.failures, history.driver_failures) == ((5, 0) if failure_class is CRASH else (0, 5))


def test_trials_double_the_open_time_up_to_an_hour_and_a_stable_one_closes_it():
    life = crash_loop(DEFAULTS, 5)
    opened = []
    for _ in range(6):
        assert life.state.phase is Phase.HALF_OPEN
        life.load()
        life.fail(failure(CRASH), left=False)
        opened.append(life.state.history.open_until - life.now)
        life.wait_timer()
    assert opened == [600, 1200, 2400, 3600, 3600, 3600]
    life.load()
    life.now += 59
    life.tell(Input(Signal.STABLE))
    assert life.state.history.state is BreakerState.HALF_OPEN
    life.now += 1
    life.tell(Input(Signal.STABLE))
    assert life.state.history.state is BreakerState.CLOSED
    assert life.state.history.failures == 0


def test_failures_are_forgotten_only_after_a_stable_time():
    life = crash_loop(DEFAULTS, 4, uptime_s=299)
    life.load()
    life.fail(failure(CRASH), left=False)
    assert life.state.phase is Phase.CIRCUIT_OPEN
    life = crash_loop(DEFAULTS, 20, uptime_s=300)
    assert life.state.history.failures == 1
    assert life.state.history.state is BreakerState.CLOSED


@pytest.mark.parametrize("failure_class", [FailureClass.CONFIGURATION, FailureClass.DEVICE, *REFUSALS])
@given(history=histories, now=times)
def test_what_is_no_crash_is_not_counted(failure_class, history, now):
    after, verdict = after_failure(history, DEFAULTS, failure_class=failure_class, now=now, ready_for_ms=0, spread=0)
    assert after == history
    waits = failure_class in REFUSALS
    assert verdict.next is (Next.BACKOFF if waits else Next.FAILED)


def test_five_times_out_of_memory_within_a_minute_have_a_name():
    policy = replace(DEFAULTS, initial_ms=500, factor=1.0, breaker_failures=100)
    history, storms = RestartHistory(), []
    for at in range(6):
        history, verdict = after_failure(
            history, policy, failure_class=CRASH, now=at, ready_for_ms=0, spread=0, out_of_memory=True
        )
        storms.append(verdict.storm)
    assert storms == [None] * 4 + ["oom_storm", None]


@given(histories)
def test_a_history_survives_the_store(history):
    assert RestartHistory.from_json(history.as_json()) == history


@given(st.builds(Verdict, st.sampled_from(Next), st.text(), st.none() | times, st.none() | st.integers(0)))
def test_a_verdict_survives_the_store(verdict):
    assert Verdict.from_json(verdict.as_json()) == verdict


@given(histories, st.floats(0, 1e7))
def test_the_stable_timer_is_set_only_where_it_changes_something(history, ready_for_ms):
    wait = next_stable_ms(history, DEFAULTS, ready_for_ms)
    untouched = history.state is BreakerState.CLOSED and not history.failures and not history.driver_failures
    assert (wait is None) == untouched


@given(st.lists(times, max_size=10).map(tuple), times, st.integers(1, 10**6))
def test_recent_keeps_the_window_and_nothing_else(found, now, window_ms):
    assert all(at > now - window_ms / 1000 for at in recent(found, now, window_ms))
