from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.split import normalise_split


@given(
    st.lists(st.floats(min_value=1e-6, max_value=1e300), min_size=1, max_size=8).filter(
        lambda w: max(w) / min(w) < 1e12
    )
)
def test_any_positive_numbers_become_ratios_that_sum_to_one(weights):
    ratios = normalise_split(weights, len(weights))
    assert math.isclose(math.fsum(ratios), 1.0, abs_tol=1e-6)
    assert all(ratio > 0 for ratio in ratios)
    assert all(
        math.isclose(ratio * weights[0], ratios[0] * weight, rel_tol=1e-6)
        for ratio, weight in zip(ratios, weights, strict=True)
    )


def test_one_device_needs_no_weight():
    assert normalise_split([], 1) == (1.0,)
    assert normalise_split([7], 1) == (1.0,)


@pytest.mark.parametrize("weight", [0, -1, 0.0, math.nan, math.inf, -math.inf, "1", None, True, [1], 10**400])
def test_bad_weights_are_refused(weight):
    with pytest.raises(PoolManagerError) as caught:
        normalise_split([1, weight], 2)
    assert caught.value.code == Code.INVALID_SPLIT
    assert "weight 2" in caught.value.message


def test_several_devices_need_an_explicit_split():
    with pytest.raises(PoolManagerError) as caught:
        normalise_split([], 2)
    assert caught.value.code == Code.INVALID_SPLIT


@pytest.mark.parametrize(("weights", "devices"), [([1, 2, 3], 2), ([1], 2), ([1, 1], 1)])
def test_a_wrong_number_of_weights_names_both_numbers(weights, devices):
    with pytest.raises(PoolManagerError) as caught:
        normalise_split(weights, devices)
    assert f"{len(weights)} weights" in caught.value.message
    assert f"{devices} GPUs" in caught.value.message


def test_an_engine_that_splits_evenly_refuses_other_ratios():
    assert normalise_split([2, 2], 2, even_only="vllm") == (0.5, 0.5)
    with pytest.raises(PoolManagerError, match="'vllm' can only split evenly"):
        normalise_split([1, 2], 2, even_only="vllm")


def test_a_weight_that_vanishes_beside_another_is_refused():
    with pytest.raises(PoolManagerError):
        normalise_split([1e-300, 1e300], 2)
