"""A failure as the core sees it: what happened, and which policy applies to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pool_managerd.core.errors import CODES, Code, PoolManagerError
from pool_managerd.core.status import LastError
from pool_managerd.core.times import rfc3339


class FailureClass(StrEnum):
    """Which restart policy a failure falls under.

    ============== ==========================================================================
    crash          counted by the general breaker, restarted with backoff
    driver         counted by the driver breaker, restarted with the driver's longer backoff
    configuration  not counted, not retried until the operator acts
    device         not counted, not retried until the device is back
    memory         not counted, tried again as soon as the memory is free
    port           not counted, tried again as soon as the configured port is free
    store          not counted, tried again as soon as the state directory can be written
    clean_exit     exit code 0 that nobody asked for: not counted; restarted only if so configured
    ============== ==========================================================================
    """

    CRASH = "crash"
    DRIVER = "driver"
    CONFIGURATION = "configuration"
    DEVICE = "device"
    MEMORY = "memory"
    PORT = "port"
    STORE = "store"
    CLEAN_EXIT = "clean_exit"


#: Starts that were refused for want of something: none of them counts as a failure, and each is tried again by itself.
REFUSALS = frozenset({FailureClass.MEMORY, FailureClass.PORT, FailureClass.STORE})

_CLASS_OF_CODE: Mapping[Code, FailureClass] = {
    Code.MODEL_NOT_FOUND: FailureClass.CONFIGURATION,
    Code.ENGINE_NOT_FOUND: FailureClass.CONFIGURATION,
    Code.INVALID_REQUEST: FailureClass.CONFIGURATION,
    Code.INVALID_DEVICE_MASK: FailureClass.CONFIGURATION,
    Code.INVALID_SPLIT: FailureClass.CONFIGURATION,
    Code.CPU_SPILLOVER: FailureClass.CONFIGURATION,
    Code.CROSS_MASK_SPILLOVER: FailureClass.CONFIGURATION,
    Code.GPU_UNAVAILABLE: FailureClass.DEVICE,
    Code.GPU_REQUIRED: FailureClass.DEVICE,
    Code.INSUFFICIENT_VRAM: FailureClass.MEMORY,
    Code.INSUFFICIENT_RAM: FailureClass.MEMORY,
    Code.STORE_UNAVAILABLE: FailureClass.STORE,
    Code.DRIVER_ERROR: FailureClass.DRIVER,
    Code.CUDA_ERROR: FailureClass.DRIVER,
}

_CAUSE_OF_CODE: Mapping[Code, str] = {
    Code.DRIVER_ERROR: "driver_error",
    Code.CUDA_ERROR: "cuda_error",
    Code.OUT_OF_MEMORY: "out_of_memory",
    Code.HEALTH_CHECK_FAILED: "health_check",
    Code.READINESS_TIMEOUT: "readiness_timeout",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a replica failed.

    :param cause: ``exit_code``, a signal's name such as ``SIGSEGV``, ``health_check``, ``driver_error``,
        ``cuda_error``, ``out_of_memory``, ``readiness_timeout``, another code in lower case, or ``unknown``.
    """

    code: Code
    message: str
    hint: str | None
    failure_class: FailureClass
    cause: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_error(
        cls, error: PoolManagerError, *, failure_class: FailureClass | None = None, cause: str | None = None
    ) -> Failure:
        """The failure that an error of the shell means; the class follows from its code unless it is given."""
        return cls(
            code=error.code,
            message=error.message,
            hint=error.hint,
            failure_class=failure_class or _CLASS_OF_CODE.get(error.code, FailureClass.CRASH),
            cause=cause or _CAUSE_OF_CODE.get(error.code, str(error.code).lower()),
            details=dict(error.details),
        )

    def last_error(self, now: float) -> LastError:
        """What status shows of it. ``now`` is the wall time in seconds since the epoch."""
        return LastError(
            code=str(self.code),
            message=self.message,
            hint=self.hint,
            retriable=CODES[self.code].retriable,
            at=rfc3339(now),
            details={**self.details, "cause": self.cause},
        )
