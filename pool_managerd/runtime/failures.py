"""What the end of a process, a line in its log, or a fault of our own means as a failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pool_managerd.core.errors import Code
from pool_managerd.core.failures import Failure, FailureClass
from pool_managerd.engines.log_lines import LogPattern, plain
from pool_managerd.runtime.process import ExitStatus
from pool_managerd.runtime.run import Run, XidSign

#: How much of the end of a log is looked at when a process has ended: what it died of may stand above the traceback of
#: another of its processes, or above a long usage text.
TAIL_BYTES = 65_536
#: How many lines of the log stand in an error's details.
TAIL_LINES = 20

HINTS = {
    Code.CUDA_ERROR: "the GPU or its driver is at fault; look at the kernel log and the device's health",
    Code.OUT_OF_MEMORY: "lower context, slots or the model's size, or give the pool a larger device",
    Code.CPU_SPILLOVER: "inference on the CPU is never used as a fallback; make the whole model fit its GPUs",
}


def recent_lines(path: Path, offset: int) -> list[str]:
    """What was written from ``offset`` on, none from before it: the last 64 KiB."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            start = max(offset if offset <= size else 0, size - TAIL_BYTES)
            log.seek(start)
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return text.splitlines()


def log_tail(path: Path, offset: int) -> list[str]:
    """The last lines that this run wrote, for an error's details."""
    return recent_lines(path, offset)[-TAIL_LINES:]


def from_exit(run: Run, status: ExitStatus, lines: list[str], *, uptime_s: float, tail: list[str]) -> Failure:
    """Why the process ended, as far as its status and its lines tell. Exit code 0 while loading is a failure.

    :param lines: of :func:`recent_lines`, from :attr:`Run.judged_from` on.
    :param tail: of :func:`log_tail`, to be shown.
    """
    details: dict[str, Any] = {
        "pid": run.process.pid,
        "exit_code": status.code,
        "signal": status.signal,
        "uptime_seconds": round(uptime_s, 3),
        "engine_version": run.version,
        "log_tail": tail,
    }
    name = f"pool {run.spec.pool_id} replica {run.spec.replica_id}"
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
    if status.code != 0 and (found := _first_fault(run, lines)) is not None:
        return from_log_line(run, *found, details)
    if not status.known:
        message = f"{name} ended while nobody could be told how"
        hint = "its exit status is known to its parent only; look at the engine's log"
        return Failure(Code.ENGINE_EXITED, message, hint, FailureClass.CRASH, "unknown", details)
    if status.signal is not None:
        message = f"{name} was ended by {status.signal}"
        hint = "look at the engine's log and at who may have sent the signal"
        return Failure(Code.ENGINE_EXITED, message, hint, FailureClass.CRASH, status.signal, details)
    return _from_exit_code(run, status.code or 0, name, lines, details)


def _from_exit_code(run: Run, code: int, name: str, lines: list[str], details: dict[str, Any]) -> Failure:
    if code == 0 and run.was_ready:
        hint = 'nobody asked it to end; preload the pool, or set restart.on_exit_zero = "restart"'
        message = f"{name} ended by itself with exit code 0"
        return Failure(Code.ENGINE_EXITED, message, hint, FailureClass.CLEAN_EXIT, "exit_code", details)
    # A Ready engine had been content with its arguments, and its log may hold anything that callers sent.
    why = None if run.was_ready else run.engine.exit_class(code, lines)
    if why == "bad_arguments":
        message = f"{name} refused its arguments (exit code {code})"
        hint = "correct the pool's args, then preload it; the engine's lines say what it did not like"
        return Failure(Code.ENGINE_EXITED, message, hint, FailureClass.CONFIGURATION, why, details)
    if why == "missing_library":
        message = f"{name} cannot run on this host: {lines[-1].strip()[:500]}"
        hint = "install what it needs, or set LD_LIBRARY_PATH or PATH in the pool's env, then preload it"
        return Failure(Code.ENGINE_NOT_FOUND, message, hint, FailureClass.CONFIGURATION, why, details)
    when = "" if run.was_ready else " while it was loading"
    message = f"{name} ended with exit code {code}{when}"
    hint = "look at the engine's last lines in details.log_tail"
    return Failure(Code.ENGINE_EXITED, message, hint, FailureClass.CRASH, "exit_code", details)


def _first_fault(run: Run, lines: list[str]) -> tuple[LogPattern, str] | None:
    """The first line that means a failure: what follows it are its consequences, such as an abort's own words."""
    for line in lines:
        fault = run.engine.log_fault(line)
        if fault is not None and fault.explains_end(was_ready=run.was_ready):
            return fault, plain(line)
    return None


def after_xid(failure: Failure, xid: XidSign) -> Failure:
    """An end that an XID on the engine's device explains."""
    return Failure(
        Code.DRIVER_ERROR,
        f"{failure.message}; {xid.reason} came right before",
        "look at the kernel log for the driver's own message",
        FailureClass.DRIVER,
        "driver_error",
        {**failure.details, "device": xid.device},
    )


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
