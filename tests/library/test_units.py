from datetime import timedelta

import pytest
from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.units import (
    epoch,
    is_size,
    milliseconds,
    parse_size,
    seconds,
    show_seconds,
    show_size,
    show_time,
    sizes_in,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("6 GiB", 6 << 30), ("512MiB", 512 << 20), ("1.5 GiB", 3 << 29), ("0 B", 0), ("4096", 4096), (7, 7)],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert parse_size(text) == size


def test_a_size_without_a_known_unit_is_refused_with_an_example():
    with pytest.raises(UsageError, match="write for instance '6 GiB'"):
        parse_size("six")
    assert not is_size("six")
    assert is_size("6 GiB")


@pytest.mark.parametrize("size", [0, 1, 1 << 10, 6 << 30, 3 << 29, 1 << 40, 12345])
def test_what_is_shown_is_read_back_as_the_same_size(size):
    assert parse_size(show_size(size)) == size


def test_all_sizes_of_a_sentence_are_found():
    assert sizes_in("needs 7.0 GiB, 6 GiB are free of 8 GB") == [7 << 30, 6 << 30]


def test_durations_of_any_kind():
    assert seconds("1 minute 2 seconds") == 62
    assert seconds(timedelta(milliseconds=250)) == 0.25
    assert milliseconds("100 ms") == 100
    assert [show_seconds(value) for value in (0.0341, 2.5, 64)] == ["34 ms", "2.5 s", "1 minute 4 seconds"]


def test_times_of_the_wire():
    assert epoch("1970-01-01T00:01:00.250Z") == 60.25
    assert show_time(60.25) == "00:01:00.250"
