"""Words that keywords take, as enums: a wrong one is refused with the list of the right ones."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """Where a replica, or a pool, stands in its life."""

    stopped = "stopped"
    preflight = "preflight"
    starting = "starting"
    loading = "loading"
    ready = "ready"
    draining = "draining"
    stopping = "stopping"
    backoff = "backoff"
    circuit_open = "circuit_open"
    half_open = "half_open"
    failed = "failed"


class GpuHealth(Enum):
    """How well a simulated GPU is."""

    ok = "ok"
    lost = "lost"
    reset_required = "reset_required"
    unreadable = "unreadable"


class DriverMode(Enum):
    """How the simulated driver behaves."""

    ok = "ok"
    no_driver = "no_driver"
    no_devices = "no_devices"
    unknown_error = "unknown_error"
    hang = "hang"


class ProcessMode(Enum):
    """What the simulated driver says about processes."""

    own = "own"
    foreign_pids = "foreign_pids"
    no_bytes = "no_bytes"


class StopSignal(Enum):
    """Signals that a scenario sends."""

    SIGTERM = "SIGTERM"
    SIGKILL = "SIGKILL"
    SIGINT = "SIGINT"
    SIGHUP = "SIGHUP"
    SIGSEGV = "SIGSEGV"
    SIGABRT = "SIGABRT"
    SIGSTOP = "SIGSTOP"
    SIGCONT = "SIGCONT"
    SIGUSR1 = "SIGUSR1"
