from __future__ import annotations

import pytest

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.mask import MaskUse, check_overlaps, parse_mask, resolve_mask
from pool_managerd.devices.snapshot import Device, DevicesSnapshot

A, B = "GPU-aaaaaaaa-0000-4000-8000-000000000001", "GPU-bbbbbbbb-0000-4000-8000-000000000002"


def gpu(uuid, index, **more):
    return Device(uuid=uuid, index=index, name="X", pci_bus_id="", total=10, free=10, used=0, **more)


TWO = DevicesSnapshot(devices=(gpu(A, 0), gpu(B, 1)))
ONE = DevicesSnapshot(devices=(gpu(A, 0),))


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ("", ()),
        ("  ", ()),
        ([], ()),
        ("0", ("0",)),
        (1, ("1",)),
        ("0,1", ("0", "1")),
        (" 1 , 0 ", ("1", "0")),
        ([0, "1"], ("0", "1")),
        ("GPU0,gpu1", ("0", "1")),
        (f"{B},0", (B, "0")),
        (["MIG-1b-2"], ("MIG-1b-2",)),
    ],
)
def test_masks_as_written(written, parsed):
    assert parse_mask(written) == parsed


@pytest.mark.parametrize(
    "written",
    ["0,", ",", "0,,1", "-1", "a", "0;1", "0-1", "GPU", "GPU-", "0,0", "0,GPU0", f"{A},{A}", "1.0", "all",
     ["", "0"], [True], [-1], [None], [1.0], "٣", "99999", [[0]], {"a": 1}],
)  # fmt: skip
def test_malformed_masks_are_refused(written):
    with pytest.raises(PoolManagerError) as caught:
        parse_mask(written)
    assert caught.value.code == Code.INVALID_DEVICE_MASK
    assert caught.value.hint


@pytest.mark.parametrize(
    ("mask", "uuids"), [(("1", "0"), [B, A]), ((B,), [B]), ((B.lower(), "0"), [B, A]), (("0",), [A])]
)
def test_masks_select_in_their_order(mask, uuids):
    assert [device.uuid for device in resolve_mask(mask, TWO)] == uuids


def test_no_mask_needs_a_host_with_one_gpu():
    assert resolve_mask((), ONE)[0].uuid == A
    for snapshot in (TWO, DevicesSnapshot()):
        with pytest.raises(PoolManagerError) as caught:
            resolve_mask((), snapshot)
        assert caught.value.code == Code.INVALID_DEVICE_MASK


@pytest.mark.parametrize("name", ["7", "GPU-00000000-0000-0000-0000-00000000dead"])
def test_an_absent_device_is_named_and_what_exists_is_listed(name):
    for absent, code in (("refuse", Code.INVALID_DEVICE_MASK), ("unavailable", Code.GPU_UNAVAILABLE)):
        with pytest.raises(PoolManagerError) as caught:
            resolve_mask(("0", name), TWO, absent=absent)
        assert caught.value.code == code
        assert name in caught.value.message
        assert A in caught.value.message
        assert B in caught.value.message


def test_the_same_gpu_by_two_names_is_refused():
    with pytest.raises(PoolManagerError) as caught:
        resolve_mask(("0", A), TWO)
    assert caught.value.code == Code.INVALID_DEVICE_MASK


def test_an_index_means_the_gpu_that_is_there_not_a_lost_one():
    snapshot = DevicesSnapshot(devices=(gpu(A, 0, health="lost"), gpu(B, 0)))
    assert resolve_mask(("0",), snapshot)[0].uuid == B


def test_overlaps():
    both = frozenset({A, B})
    check_overlaps([MaskUse("a", True, both), MaskUse("b", True, frozenset({B}))], TWO)
    check_overlaps([MaskUse("a", False, frozenset({A})), MaskUse("b", False, frozenset({B}))], TWO)
    check_overlaps([MaskUse("a", False, both), MaskUse("a", False, both)], TWO)
    with pytest.raises(PoolManagerError) as caught:
        check_overlaps([MaskUse("a", True, both), MaskUse("b", False, frozenset({B}))], TWO)
    assert caught.value.code == Code.INVALID_DEVICE_MASK
    assert "'a'" in caught.value.message
    assert "'b'" in caught.value.message
    assert caught.value.details["devices"] == [B]
