"""From the spawn to Ready: probe until the engine's own readiness check passes, on a socket that is its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from pool_managerd.config import PoolConfig
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.residency import judge
from pool_managerd.devices.snapshot import DevicesSnapshot
from pool_managerd.runtime.descendants import find_descendants
from pool_managerd.runtime.gpu_processes import gpu_pids_of, key_of
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.probe import ProbeAnswer, ProbeFailed, http_request, next_delay
from pool_managerd.runtime.run import Run
from pool_managerd.runtime.sockets import owned_by

#: How long the kernel may take between freeing a dying process' memory and telling of its end, in seconds.
ENDING_S = 0.2


@dataclass(slots=True)
class Loading:
    """What the last probe saw, for the error of a load that never ends."""

    last_answer: str = "no answer yet"


def readiness_path(pool: PoolConfig, run: Run) -> str:
    """The operator's own path, as it is configured now, or the engine kind's."""
    return pool.readiness.path or run.engine.readiness_path


async def wait_until_ready(host: Host, config: Callable[[], PoolConfig], run: Run, *, deadline: float) -> None:
    """Probe until the engine is ready, and learn what it says about itself.

    :param config: the pool's present config, asked anew for each probe.
    :param deadline: on the loop's clock.
    :raises PoolManagerError: READINESS_TIMEOUT, or a spillover found right after loading.
    """
    seen = Loading()
    try:
        async with asyncio.timeout_at(deadline):
            await _probe_until_good(config, run, seen)
            await learn(run, config())
    except TimeoutError as error:
        pool = config()
        waited_ms = round((asyncio.get_running_loop().time() - run.spawned_clock) * 1000)
        raise PoolManagerError(
            Code.READINESS_TIMEOUT,
            f"pool {pool.id} replica {run.spec.replica_id} was not ready {waited_ms} ms after its spawn; "
            f"the last answer of {run.url}{readiness_path(pool, run)} was: {seen.last_answer}",
            hint="look at the engine's log; raise readiness.timeout_ms if the model simply takes longer to load",
            details={"waited_ms": waited_ms, "last_answer": seen.last_answer, "timeout_ms": pool.readiness.timeout_ms},
        ) from error
    run.beat(host.clock())
    await check_residency(host, run, await host.inventory.refresh())


async def _probe_until_good(config: Callable[[], PoolConfig], run: Run, seen: Loading) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time() if run.adopted else run.spawned_clock
    while True:
        # Counted from the spawn also for an adopted engine, whose load may be long over.
        elapsed_s, readiness = loop.time() - began, config().readiness
        await asyncio.sleep(next_delay(elapsed_s, first_ms=readiness.first_ms, max_ms=readiness.max_interval_ms))
        pool = config()
        path, timeout_s = readiness_path(pool, run), pool.readiness.probe_timeout_ms / 1000
        try:
            answer = await http_request(run.spec.host, run.spec.port, "GET", path, timeout_s=timeout_s)
        except ProbeFailed as failed:
            seen.last_answer = failed.reason
            continue
        if answer.status != 200:
            seen.last_answer = f"HTTP {answer.status}"
            continue
        if await _is_own(run):
            seen.last_answer = "HTTP 200"
            return
        seen.last_answer = f"HTTP 200 from a process that is not the engine's, on port {run.spec.port}"


async def _is_own(run: Run) -> bool:
    """Whether the listening socket belongs to the replica's own process tree."""
    if owned_by(run.spec.port, {run.process.pid}, host=run.spec.host):
        return True
    return owned_by(run.spec.port, await tree_of(run), host=run.spec.host)


async def tree_of(run: Run) -> set[int]:
    """The pids of the engine's process and all its descendants."""
    return {run.process.pid, *await find_descendants(run.process.identity, run.process.marker)}


async def ask(run: Run, path: str | None, timeout_s: float) -> bytes | None:
    """The body of a good answer of the engine, or ``None``."""
    if path is None:
        return None
    with contextlib.suppress(ProbeFailed):
        answer: ProbeAnswer = await http_request(run.spec.host, run.spec.port, "GET", path, timeout_s=timeout_s)
        if answer.status == 200:
            return answer.body
    return None


async def learn(run: Run, pool: PoolConfig) -> None:
    """Ask the engine for its slots and version; what it doesn't say comes from the config."""
    timeout_s = pool.readiness.probe_timeout_ms / 1000
    body = await ask(run, run.engine.slots_path, timeout_s)
    report = run.engine.parse_slots(body) if body is not None else None
    run.slots = report.total if report is not None and report.total is not None else pool.slots
    run.tells_busy = report is not None and report.busy is not None
    if pool.engine_version:
        run.version = pool.engine_version
        return
    body = await ask(run, run.engine.version_path, timeout_s)
    version = run.engine.parse_version(body) if body is not None else None
    if version is None and (command := run.engine.version_command(run.spec.binary)) is not None:
        version = run.engine.parse_version_output(await _output_of(command, timeout_s))
    run.version = version


async def _output_of(command: tuple[str, ...], timeout_s: float) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return ""
    return output.decode(errors="replace")


async def busy_slots(run: Run, timeout_s: float) -> int | None:
    """How many of the engine's slots are at work, leased or not; ``None`` if it doesn't say.

    One that says it and is silent now counts as at work: it may be too busy to answer.
    """
    body = await ask(run, run.engine.slots_path, timeout_s)
    report = run.engine.parse_slots(body) if body is not None else None
    busy = None if report is None else report.busy
    return 1 if busy is None and run.tells_busy else busy


async def check_residency(host: Host, run: Run, after: DevicesSnapshot) -> None:
    """Whether the engine is on its GPUs, on all of them, and on no other.

    :param after: the devices, looked at since the engine answered.
    :raises PoolManagerError: CPU_SPILLOVER or CROSS_MASK_SPILLOVER with the evidence.
    """
    pids = gpu_pids_of(host, run, after)
    host.reservations.update(key_of(run), pids=pids)
    error = judge(
        pids,
        run.spec.devices,
        run.before,
        after,
        run.need,
        host.config.devices.residency_tolerance,
    )
    if error is None:
        if after.residency == "process":
            devices = [after.by_uuid[uuid] for uuid in run.spec.devices]
            held = [device.held_by(pids) for device in devices]
            await host.learned.note(run, held, [device.total for device in devices])
        return
    if error.code is Code.CPU_SPILLOVER and await _is_ending(run):
        return
    raise error


async def _is_ending(run: Run) -> bool:
    """Whether the engine is gone, or goes right now: a dying process gives its memory back before its end is told."""
    if run.process.running:
        await asyncio.wait([run.process.exited], timeout=ENDING_S)
    return not run.process.running
