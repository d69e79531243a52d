"""The soak and the kills of the daemon, as many as fit into some seconds. The long ones are commands of benchmarks/."""

import time

from endurance import kills
from endurance.soak import Soak

#: Seconds after which no new sequence or moment begins. What is under way comes to its end.
SOAK_S = 8.0
KILLS_S = 8.0
MOMENTS = 8


def test_random_faults_break_nothing():
    began = time.monotonic()
    soak = Soak(seed=1, first=0, stop=lambda done: done > 0 and time.monotonic() - began > SOAK_S)
    broken = [outcome.report() for outcome in soak.run() if outcome.problems]
    assert not broken, "\n\n".join(broken)
    assert soak.done > 0
    assert soak.streams > 0
    assert soak.looks > 0


def test_a_daemon_that_is_killed_at_any_moment_keeps_its_promises():
    began, done = time.monotonic(), 0
    for kept in kills.run(seed=1, first=0, moments=MOMENTS):
        assert not kept.problems, kept.report()
        done += 1
        if time.monotonic() - began > KILLS_S:
            break
    assert done > 0
