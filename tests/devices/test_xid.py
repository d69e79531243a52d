from __future__ import annotations

import pytest

from pool_managerd.devices.xid import XidClass, class_of_recovery_action, classify


@pytest.mark.parametrize(
    ("cls", "numbers"),
    [
        (XidClass.LOST, [79]),
        (XidClass.RESET, [46, 48, 62, 64, 74, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158]),
        (XidClass.RECOVERY_ACTION, [154]),
        (XidClass.APPLICATION, [8, 11, 13, 25, 31, 32, 39, 40, 41, 60, 68, 69, 70, 71, 72, 75, 76, 77, 80, 94]),
        (XidClass.IGNORE, [37, 38, 43, 44, 45, 63, 66, 67, 92, 93, 121, 137, 141]),
        (XidClass.UNKNOWN, [0, 1, 78, 999, -1]),
    ],
)
def test_the_table(cls, numbers):
    assert {classify(number) for number in numbers} == {cls}


@pytest.mark.parametrize(
    ("action", "cls"),
    [
        (0, XidClass.IGNORE),
        (1, XidClass.RESET),
        (2, XidClass.LOST),
        (3, XidClass.RESET),
        (4, XidClass.RESET),
        (None, XidClass.RESET),
    ],
)
def test_what_a_recovery_action_means(action, cls):
    assert class_of_recovery_action(action) == cls
