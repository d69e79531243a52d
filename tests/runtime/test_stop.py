from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from pool_managerd.runtime.descendants import descendants, marked_processes
from pool_managerd.runtime.identity import read_stat
from pool_managerd.runtime.process import adopt
from pool_managerd.runtime.stop import end_leftovers, reap_leftovers, stop_ladder

#: The engine; a child in its group; one in another session; and one there whose parent is gone.
FAMILY = """
import os, signal, sys, time
def lasting(new_session, orphan=False):
    pid = os.fork()
    if pid:
        return pid
    if new_session:
        os.setsid()
    if orphan and os.fork():
        os._exit(0)
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
lasting(False)
lasting(True)
os.waitpid(lasting(True, orphan=True), 0)
print("up", flush=True)
{then}
"""


def lives(pid: int) -> bool:
    found = read_stat(pid)
    return found is not None and not found.ended


async def family(run, log_lines, then: str):
    process = await run(FAMILY.format(then=then))
    lines = await log_lines(4)
    return process, [int(line) for line in lines if line != "up"]


async def test_sigterm_is_tried_first_and_the_engine_ends_with_its_own_code(run, log_lines):
    process = await run(
        "import signal, sys, time; signal.signal(15, lambda *a: sys.exit(3)); print('up', flush=True); time.sleep(60)"
    )
    await log_lines(1)
    report = await stop_ladder(process, grace_s=5)
    assert not report.forced
    assert report.survivors == ()
    assert process.exited.result().code == 3
    assert report.took_s < 2


async def test_an_engine_is_left_its_grace_time(run, log_lines):
    process = await run(
        "import signal, sys, time; signal.signal(15, lambda *a: (time.sleep(0.4), sys.exit(4)));"
        "print('up', flush=True); time.sleep(60)"
    )
    await log_lines(1)
    report = await stop_ladder(process, grace_s=5)
    assert process.exited.result().code == 4
    assert 0.4 <= report.took_s < 2


@pytest.mark.parametrize("grace_s", [0, 0.2])
async def test_who_ignores_sigterm_is_killed_when_the_grace_is_over(run, log_lines, grace_s):
    process = await run(
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    await log_lines(1)
    report = await stop_ladder(process, grace_s=grace_s)
    assert report.forced
    assert process.exited.result().signal == "SIGKILL"
    assert grace_s <= report.took_s < grace_s + 1


async def test_a_stopped_engine_is_killed(run, log_lines):
    process = await run("import time; print('up', flush=True); time.sleep(60)")
    await log_lines(1)
    process.send(signal.SIGSTOP)
    # Of two signals that wait, the one with the lower number comes first: SIGTERM would still reach it.
    while read_stat(process.pid).state != "T":  # noqa: ASYNC110 - the kernel tells nobody but its parent
        await asyncio.sleep(0.001)
    report = await stop_ladder(process, grace_s=0.1)
    assert report.forced
    assert not process.running


async def test_an_engines_own_shutdown_comes_before_sigterm(run, log_lines):
    process = await run("import signal, time; print('up', flush=True); time.sleep(60)")
    await log_lines(1)

    async def shutdown() -> None:
        process.send(signal.SIGINT)

    await stop_ladder(process, grace_s=5, shutdown=shutdown)
    assert process.exited.result().signal == "SIGINT"


async def test_sigterm_follows_where_the_own_shutdown_fails(run, log_lines):
    process = await run("import time; print('up', flush=True); time.sleep(60)")
    await log_lines(1)

    async def shutdown() -> None:
        raise ConnectionRefusedError

    report = await stop_ladder(process, grace_s=5, shutdown=shutdown)
    assert process.exited.result().signal == "SIGTERM"
    assert not report.forced


@pytest.fixture(params=[True, False], ids=["groups", "no groups"], autouse=True)
def control_groups(request):
    """Each stop is tried with control groups, where there are any, and without."""
    if not request.param:
        request.getfixturevalue("no_groups")


@pytest.mark.parametrize("then", ["time.sleep(60)", "signal.signal(15, signal.SIG_IGN); time.sleep(60)"])
async def test_no_descendant_survives_a_stop(run, log_lines, then):
    process, children = await family(run, log_lines, then)
    assert all(map(lives, children))
    assert descendants(process.identity, process.marker) == set(children)
    report = await stop_ladder(process, grace_s=0.3)
    assert report.survivors == ()
    assert report.leftovers >= 2
    assert not any(map(lives, [process.pid, *children]))


async def test_what_a_crash_leaves_behind_is_found_by_group_session_and_marker(run, log_lines):
    process, children = await family(run, log_lines, "os._exit(1)")
    await process.gone()
    assert descendants(process.identity, process.marker) == set(children)
    report = await end_leftovers(process)
    assert (report.leftovers, report.survivors) == (3, ())
    assert not any(map(lives, children))


async def test_an_earlier_daemons_leftovers_are_found_by_their_marker_alone(run, log_lines, marker):
    process, children = await family(run, log_lines, "os._exit(1)")
    await process.gone()
    found = await marked_processes(marker.partition(":")[0] + ":")
    assert found == {marker: set(children)}
    assert await reap_leftovers(marker) == ()
    assert not any(map(lives, children))


async def test_other_engines_are_not_touched(run, log_lines, marker):
    other = await run(
        "import time; print('up', flush=True); time.sleep(60)", env={"POOL_MANAGERD_MARKER": marker + "2"}
    )
    await log_lines(1)
    process = await run("import time; print('up', flush=True); time.sleep(60)")
    await log_lines(2)
    await stop_ladder(process, grace_s=1)
    assert other.running
    other.kill_group()
    await other.gone()


async def test_an_adopted_engine_is_stopped_with_its_family(run, log_lines):
    child, children = await family(run, log_lines, "time.sleep(60)")
    adopted = adopt(child.identity)
    assert adopted is not None
    child.detach()
    report = await stop_ladder(adopted, grace_s=1)
    assert report.survivors == ()
    assert not any(map(lives, [adopted.pid, *children]))


async def test_stopping_what_is_gone_sends_nothing(run, log_lines):
    process = await run("print('up', flush=True)")
    await process.gone()
    report = await stop_ladder(process, grace_s=5)
    assert (report.forced, report.survivors, report.leftovers) == (False, (), 0)
    assert report.took_s < 1


async def test_many_stops_at_once_share_their_looks_at_the_process_table(run, log_lines):
    processes = [await run("import time; print('up', flush=True); time.sleep(60)") for _ in range(10)]
    await log_lines(10)
    began = time.perf_counter()
    reports = await asyncio.gather(*(stop_ladder(process, grace_s=5) for process in processes))
    assert time.perf_counter() - began < 2
    assert not any(report.forced or report.survivors for report in reports)
    assert os.getpid() not in descendants(None, None)
