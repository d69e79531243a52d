"""What an engine ended of: its own words, the driver's, and which policy follows."""

import asyncio
import json
import os
import signal

import pytest
from supervisor_world import QUICK, pool, until

from pool_managerd.core.errors import Code
from pool_managerd.core.failures import FailureClass
from pool_managerd.runtime.exit_status import ExitStatus
from pool_managerd.runtime.failures import from_exit

SURVIVED = "ggml_gallocr_reserve_n_impl: failed to allocate CUDA1 buffer of size 54262464512"
#: A CUDA error of llama.cpp's, the abort that it leads to, and the abort's stack.
ABORT = [
    "CUDA error: out of memory",
    "/src/ggml-cuda.cu:88: CUDA error",
    *(f"#{n}  0x7f in abort ()" for n in range(60)),
]
#: One restart, and that in an hour, so that what is seen is the first failure.
ONCE = QUICK.replace("initial_ms = 50", "initial_ms = 3600000\nmax_ms = 3600000")


def lines(*said: str, **more: object) -> str:
    """The stand-in writes these lines, and does more."""
    return "\n".join([f"stderr = {json.dumps(said)}", *(f"{name} = {value}" for name, value in more.items())])


def first(w) -> str:
    return w.host.inventory.snapshot.devices[0].uuid


async def failed_as(w, pool_id: str = "p"):
    """The first failure of a pool's replica."""
    await w.phase("backoff", "failed", "circuit_open", pool_id=pool_id)
    return w.replica(pool_id).state.failure


async def test_an_allocation_that_fails_while_loading_is_no_failure_if_the_load_goes_on(world):
    async with world(pool(simulated=lines(SURVIVED, load_ms=150), quick=ONCE)) as w:
        await w.phase("ready")
        assert not [event for event in w.of("phase") if event.code]
        # Nor is it the reason of a later end.
        w.place.control(signal="SIGSEGV")
        assert (await failed_as(w)).cause == "SIGSEGV"


async def test_a_load_that_ends_after_an_allocation_failed_has_run_out_of_memory(world):
    async with world(pool(simulated=lines(SURVIVED, exit_code=1), quick=ONCE)) as w:
        failure = await failed_as(w)
        assert (failure.code, failure.cause) == (Code.OUT_OF_MEMORY, "out_of_memory")
        assert (failure.failure_class, failure.details["exit_code"]) == (FailureClass.CRASH, 1)


async def test_the_first_fault_of_a_log_counts_however_much_follows(world):
    async with world(pool(simulated=lines(*ABORT, signal='"SIGABRT"'), quick=ONCE)) as w:
        failure = await failed_as(w)
        assert (failure.code, w.replica().state.history.failures) == (Code.OUT_OF_MEMORY, 1)


async def test_the_first_fault_counts_also_where_the_end_is_noticed_before_the_log_is_read(world):
    async with world() as w:
        await w.phase("ready")
        aborted = ExitStatus(code=None, signal="SIGABRT", known=True)
        failure = from_exit(w.replica().run, aborted, ABORT, uptime_s=1, tail=ABORT[-20:])
        assert (failure.code, failure.details["line"]) == (Code.OUT_OF_MEMORY, ABORT[0])
        assert failure.details["signal"] == "SIGABRT"


async def test_what_a_ready_engine_logs_cannot_pass_for_a_usage_error(world):
    async with world(pool(quick=ONCE)) as w:
        await w.phase("ready")
        w.place.control(stderr=["error: invalid argument: said by a prompt"], exit_code=2)
        failure = await failed_as(w)
        assert (failure.failure_class, failure.cause) == (FailureClass.CRASH, "exit_code")
        assert w.replica().state.history.failures == 1


async def test_an_engine_that_refuses_its_arguments_is_not_tried_again(world):
    async with world(pool(more='args = ["--no-such-argument"]', simulated="reject_unknown = true")) as w:
        await w.phase("failed")
        failure = w.replica().state.failure
        assert (failure.code, failure.cause) == (Code.ENGINE_EXITED, "bad_arguments")
        assert w.replica().state.history.failures == 0
        assert "args" in failure.hint
        assert len(w.of("phase", to="starting")) == 1


def command(path: str, quick: str = ONCE) -> str:
    return (
        pool(quick=quick)
        .replace('engine = "simulated"', f'engine = "command"\ncommand = ["{path}", "{{port}}"]')
        .replace("[pool.simulated]", "")
    )


async def test_a_program_whose_interpreter_is_missing_is_a_matter_of_configuration(world, tmp_path):
    program = tmp_path / "engine"
    program.write_text("#!/usr/bin/env no-such-interpreter\n")
    program.chmod(0o700)
    async with world(command(str(program))) as w:
        await w.phase("failed")
        failure = w.replica().state.failure
        assert (failure.code, failure.cause) == (Code.ENGINE_NOT_FOUND, "missing_library")
        assert "no-such-interpreter" in failure.message
        # Put right by the operator, it is tried once more, and dies of something else.
        program.write_text("#!/bin/sh\nexit 7\n")
        await w.service.preload("p")
        assert (await failed_as(w)).details["exit_code"] == 7


async def test_out_of_memory_is_not_tried_again_until_the_memory_is_free(world):
    slow = QUICK.replace("initial_ms = 50", "initial_ms = 60").replace("floor_ms = 50", "floor_ms = 60")
    async with world(pool("p", quick=slow)) as w:
        await w.phase("ready")
        # Somebody else takes nearly all of the GPU; the engine runs into that.
        free = w.host.inventory.snapshot.devices[0].free
        w.place.folder.allocate(1, {first(w): free - (256 << 20)})
        w.place.control(oom=True)
        await until(lambda: [event for event in w.of("phase") if event.code == "INSUFFICIENT_VRAM"])
        assert [event.code for event in w.of("phase") if event.code][:2] == ["OUT_OF_MEMORY", "INSUFFICIENT_VRAM"]
        assert w.replica().state.history.failures == 1
        assert len(w.of("phase", to="starting")) == 1
        w.place.folder.free(1)
        await w.phase("ready", timeout_s=3)
        assert len(w.of("phase", to="starting")) == 2


@pytest.mark.parametrize("meanwhile", ["backoff", "ready"])
async def test_a_cause_that_is_known_late_is_told_whatever_has_happened_since(world, meanwhile):
    quick = ONCE if meanwhile == "backoff" else QUICK
    async with world(pool(quick=quick)) as w:
        await w.phase("ready")
        process = w.replica().run.process
        # As of an engine that an earlier daemon started, whose parent is slow to reap it.
        process.is_child = False
        process.send(signal.SIGKILL)
        await until(lambda: w.replica().state.failure is not None)
        assert w.replica().state.failure.cause == "unknown"
        await w.phase(meanwhile)
        process.explained.set_result(ExitStatus(code=None, signal="SIGKILL", known=True, oom=True))
        (told,) = await until(lambda: w.of("phase", code="OUT_OF_MEMORY"))
        assert (told.from_, told.to, told.details["pid"]) == (meanwhile, meanwhile, process.pid)
        failure = w.replica().state.failure
        assert (failure is None) if meanwhile == "ready" else (failure.code is Code.OUT_OF_MEMORY)
        assert not w.of("preload", to="failed")
        os.waitpid(process.pid, 0)  # noqa: ASYNC222 - it has ended


async def test_a_cause_that_is_known_once_its_pool_has_left_is_no_news_of_the_next_one_of_that_name(world):
    async with world(pool(quick=ONCE)) as w:
        await w.phase("ready")
        process = w.replica().run.process
        process.is_child = False
        process.send(signal.SIGKILL)
        await w.phase("backoff")
        w.replica().forget()
        process.explained.set_result(ExitStatus(code=None, signal="SIGKILL", known=True, oom=True))
        await asyncio.sleep(0)  # what waits for it is called at the loop's next turn
        assert not w.of("phase", code="OUT_OF_MEMORY")
        os.waitpid(process.pid, 0)  # noqa: ASYNC222 - it has ended


async def test_a_cause_that_is_known_late_is_not_taken_from_the_lines_of_the_next_engine(world):
    async with world(pool()) as w:
        await w.phase("ready")
        process = w.replica().run.process
        process.is_child = False
        process.send(signal.SIGKILL)
        await until(lambda: w.replica().state.failure is not None)
        await w.phase("ready")
        log = w.replica().log_path
        with log.open("a") as file:  # as if the next one had written it
            file.write("0.00.000.001 E CUDA error: an illegal memory access was encountered\n")
        process.explained.set_result(ExitStatus(code=None, signal="SIGKILL", known=True))
        told = await until(lambda: [event for event in w.of("phase") if event.details.get("signal") == "SIGKILL"])
        assert [event.code for event in told] == ["ENGINE_EXITED"]
        assert "illegal" not in str(told[0].details["log_tail"])
        os.waitpid(process.pid, 0)  # noqa: ASYNC222 - it has ended


async def test_an_xid_once_the_restart_has_begun_is_the_new_engines(world):
    async with world(pool()) as w:
        await w.phase("ready")
        w.replica().run.process.send(signal.SIGKILL)
        await until(lambda: w.replica().state.failure is not None)
        await w.phase("ready")
        w.place.folder.emit_xid(first(w), 31)
        await until(lambda: w.of("phase", code="DRIVER_ERROR"))
        await w.phase("ready")
        assert w.replica().state.history.driver_failures == 1


async def test_an_xid_says_nothing_of_an_engine_that_has_ended_with_exit_code_0(world):
    async with world(pool()) as w:
        await w.phase("ready")
        w.place.control(exit_code=0)
        await w.phase("stopped")
        w.place.folder.emit_xid(first(w), 13)
        await until(lambda: w.of("xid"))
        failure = w.replica().state.failure
        assert (failure.code, failure.details["exit_code"]) == (Code.ENGINE_EXITED, 0)
