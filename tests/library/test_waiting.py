import itertools

import pytest
from PoolManagerLibrary.errors import WaitTimeout
from PoolManagerLibrary.waiting import wait_until


def test_it_returns_the_first_value_that_is_accepted():
    numbers = itertools.count(1)
    waited = wait_until(lambda: next(numbers), lambda value: value == 3, timeout=5, expected="three")
    assert (waited.value, waited.attempts) == (3, 3)


def test_a_failure_says_what_was_expected_seen_how_long_and_why():
    with pytest.raises(WaitTimeout) as failure:
        wait_until(
            lambda: "loading",
            lambda value: value == "ready",
            timeout=0.02,
            expected="the pool to be ready",
            show=str.upper,
            context=lambda: "Last error: none",
        )
    text = str(failure.value)
    assert text.startswith("Expected the pool to be ready within 20 ms, but not so after ")
    assert "looks" in text
    assert "Last seen: LOADING" in text
    assert text.endswith("Last error: none")
    assert failure.value.ROBOT_SUPPRESS_NAME


def test_even_without_time_there_is_one_look():
    assert wait_until(lambda: 1, bool, timeout=0, expected="x").attempts == 1
    with pytest.raises(WaitTimeout, match="1 look"):
        wait_until(lambda: 0, bool, timeout=0, expected="x")


def test_a_pause_of_ones_own_gets_the_time_that_is_left():
    seen = []
    with pytest.raises(WaitTimeout):
        wait_until(lambda: 0, bool, timeout=0.01, expected="x", pause=seen.append)
    assert seen
    assert all(0 < remaining <= 0.01 for remaining in seen)
