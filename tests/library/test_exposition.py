"""The strict reader of Prometheus' text format finds each kind of fault, and none in a good text."""

import pytest
from PoolManagerLibrary.exposition import faults

GOOD = """# HELP x_up Whether it is up.
# TYPE x_up gauge
x_up{a="1",b="q\\"\\\\\\n"} 1
x_up 0.0
# HELP x_starts_total Starts.
# TYPE x_starts_total counter
x_starts_total{a="1"} 3e+06
# HELP x_load_seconds Time.
# TYPE x_load_seconds histogram
x_load_seconds_bucket{le="0.5"} 1
x_load_seconds_bucket{le="+Inf"} 2
x_load_seconds_sum 1.25
x_load_seconds_count 2
"""


def test_a_good_text_has_no_fault():
    assert faults(GOOD, prefix="x_") == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("x_up 0.0", "x_up zero", "no sample"),
        ("x_up 0.0", "x_up", "no sample"),
        ("x_up 0.0", "x_down 0.0", "outside its family"),
        ("x_up 0.0", 'x_up{a="1",b="q\\"\\\\\\n"} 1', "the same series twice"),
        ('{a="1"}', '{a="1",a="2"}', "a label twice"),
        ('{a="1"}', "{a=1}", "no sample"),
        ('"q\\"', '"q\\x', "no sample"),
        ("# HELP x_up Whether it is up.\n", "", "x_up: no HELP"),
        ("# TYPE x_up gauge\n", "", "x_up: no TYPE"),
        ("gauge", "number", "no such type"),
        ("x_up 0.0\n", "x_up 0.0\n# TYPE x_up gauge\n", "behind its samples"),
        ("x_load_seconds_count 2\n", "x_load_seconds_count 2\n# HELP x_up Again.\n# TYPE x_up gauge\n", "two blocks"),
        ("x_starts_total", "x_starts", "lacks _total"),
        ("x_up", "x_up_total", "has _total"),
        ("x_up", "y_up", "does not begin with x_"),
        ("x_up", "x_up_ms", "ms is no base unit"),
        ("x_up", "x_gauge", "says its type"),
        ("x_up", "x_Up", "capital"),
        ('a="1",b', 'le="1",b', "the label le"),
        ('{le="0.5"} 1', '{le="0.5"} 3', "do not rise"),
        ('x_load_seconds_bucket{le="+Inf"} 2\n', "", "no bucket +Inf"),
        ("x_load_seconds_count 2", "x_load_seconds_count 3", "is not the last bucket"),
        ("x_load_seconds_sum 1.25\n", "", "has no _sum"),
        ("x_load_seconds_count 2\n", "x_load_seconds_count 2", "no line end"),
    ],
)
def test_each_fault_is_found(old, new, fault):
    assert old in GOOD
    assert fault in "; ".join(faults(GOOD.replace(old, new), prefix="x_"))
