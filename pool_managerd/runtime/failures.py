"""What the end of a process, a line in its log, or a fault of our own means as a failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pool_managerd.core.errors import Code
from pool_managerd.core.failures import Failure, FailureClass
from pool_managerd.engines.base import LogPattern
from pool_managerd.runtime.process import ExitStatus
from pool_managerd.runtime.run import Run

#: How much of the end of a log is looked at when a process has ended.
TAIL_BYTES = 65_536
#: How many lines of the log stand in an error's details.
TAIL_LINES = 20

HINTS = {
    Code.CUDA_ERROR: "the GPU or its driver is at fault; look at the kernel log and the device's health",
    Code.OUT_OF_MEMORY: "lower context, slots or the model's size, or give the pool a larger device",
    Code.CPU_SPILLOVER: "inference on the CPU is never used as a fallback; make the whole model fit its GPUs",
}


def log_tail(path: Path, offset: int) -> list[str]:
    """The last lines that this run wrote, none from before it. Reads at most 64 KiB."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            start = max(offset if offset <= size else 0, size - TAIL_BYTES)
            log.seek(start)
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return text.splitlines()[-TAIL_LINES:]


def from_exit(run: Run, status: ExitStatus, *, was_ready: bool, lines: list[str], uptime_s: float) -> Failure:
    """Why the process ended, as far as its status and its last lines tell.

    :param was_ready: whether the replica had been Ready; exit code 0 while loading is a failure.
    """
    details: dict[str, Any] = {
        "pid": run.process.pid,
        "exit_code": status.code,
        "signal": status.signal,
        "uptime_seconds": round(uptime_s, 3),
        "engine_version": run.version,
        "log_tail": lines,
    }
    name = f"pool {run.spec.pool_id} replica {run.spec.replica_id}"
    fault = next((found for line in reversed(lines) if (found := run.engine.log_fault(line)) is not None), None)
    if status.oom:
        message = f"{name} was ended by the kernel's OOM killer"
        return Failure(
            Code.OUT_OF_MEMORY,
            message,
            HINTS[Code.OUT_OF_MEMORY],
            FailureClass.CRASH,
            "out_of_memory",
            details,
        )
    if fault is not None and status.code != 0:
        return from_log_line(run, fault, next(line for line in reversed(lines) if fault.matches(line)), details)
    if not status.known:
        message = f"{name} ended while nobody could be told how"
        hint = "its exit status is known to its parent only; look at the engine's log"
        return Failure(Code.ENGINE_EXITED, message, hint, FailureClass.CRASH, "unknown", details)
    if status.signal is not None:
        message = f"{name} was ended by {status.signal}"
        hint = "look at the engine's log and at who may have sent the signal"
        return Failure(Code.ENGINE_EXITED, message, hint, FailureClass.CRASH, status.signal, details)
    return _from_exit_code(run, status.code or 0, name, was_ready=was_ready, lines=lines, details=details)


def _from_exit_code(
    run: Run, code: int, name: str, *, was_ready: bool, lines: list[str], details: dict[str, Any]
) -> Failure:
    if code == 0 and was_ready:
        hint = 'nobody asked it to end; preload the pool, or set restart.on_exit_zero = "restart"'
        message = f"{name} ended by itself with exit code 0"
        return Failure(Code.ENGINE_EXITED, message, hint, FailureClass.CLEAN_EXIT, "exit_code", details)
    if run.engine.exit_class(code, lines) == "bad_arguments":
        message = f"{name} refused its arguments (exit code {code})"
        hint = "correct the pool's args; the engine's last lines say what it did not like"
        return Failure(Code.ENGINE_EXITED, message, hint, FailureClass.CONFIGURATION, "bad_arguments", details)
    when = "" if was_ready else " while it was loading"
    message = f"{name} ended with exit code {code}{when}"
    hint = "look at the engine's last lines in details.log_tail"
    return Failure(Code.ENGINE_EXITED, message, hint, FailureClass.CRASH, "exit_code", details)


def from_log_line(run: Run, fault: LogPattern, line: str, details: dict[str, Any] | None = None) -> Failure:
    """The failure that a line of the engine's log stands for."""
    classes = {Code.CUDA_ERROR: FailureClass.DRIVER, Code.CPU_SPILLOVER: FailureClass.CONFIGURATION}
    return Failure(
        fault.code,
        f"pool {run.spec.pool_id} replica {run.spec.replica_id} logged: {line.strip()[:500]}",
        HINTS.get(fault.code),
        classes.get(fault.code, FailureClass.CRASH),
        fault.cause,
        {"pid": run.process.pid, "line": line.strip()[:500], "engine_version": run.version, **(details or {})},
    )


def internal(pool_id: str, replica_id: str, error: Exception) -> Failure:
    """A fault of our own: the replica is restarted like after a crash, and the log has the traceback."""
    return Failure(
        Code.INTERNAL,
        f"pool {pool_id} replica {replica_id}: {type(error).__name__}: {error}",
        "this is a fault of pool-managerd or of the host; the daemon's log has more",
        FailureClass.CRASH,
        "internal",
        {},
    )


def port_taken(run: Run) -> Failure:
    """Somebody was quicker to take a configured port; the next look before a start names the holder."""
    spec = run.spec
    return Failure(
        Code.SPAWN_FAILED,
        f"pool {spec.pool_id}: port {spec.port} on {spec.host} was taken while the engine started",
        "free the port, or set `port = 0` for one from port_range; it is looked at again every 500 ms",
        FailureClass.PORT,
        "spawn_failed",
        {"port": spec.port, "host": spec.host},
    )
