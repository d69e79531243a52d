"""The phases of a replica, named sets of them, and how a pool's phase follows from its replicas'."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Phase(StrEnum):
    """Where a replica stands in its life."""

    STOPPED = "stopped"
    PREFLIGHT = "preflight"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    CIRCUIT_OPEN = "circuit_open"
    HALF_OPEN = "half_open"
    FAILED = "failed"


class Desired(StrEnum):
    """What the operator wants of a pool."""

    RUNNING = "running"
    STOPPED = "stopped"


#: A process exists, or is just being made.
WITH_PROCESS = frozenset({Phase.STARTING, Phase.LOADING, Phase.READY, Phase.DRAINING, Phase.STOPPING})
#: A start is under way.
COMING_UP = frozenset({Phase.PREFLIGHT, Phase.STARTING, Phase.LOADING, Phase.HALF_OPEN})
#: No process, and none on its way.
AT_REST = frozenset({Phase.STOPPED, Phase.BACKOFF, Phase.CIRCUIT_OPEN, Phase.FAILED})

#: A pool that is not Ready shows the phase of the replica that comes first in this order.
POOL_ORDER = (
    Phase.DRAINING,
    Phase.STOPPING,
    Phase.LOADING,
    Phase.STARTING,
    Phase.PREFLIGHT,
    Phase.HALF_OPEN,
    Phase.BACKOFF,
    Phase.CIRCUIT_OPEN,
    Phase.FAILED,
    Phase.STOPPED,
)


def pool_phase(replicas: Iterable[Phase], *, min_ready: int) -> Phase:
    """The phase of a pool: ``ready`` if at least ``min_ready`` replicas are, else the one furthest along."""
    phases = list(replicas)
    if sum(phase is Phase.READY for phase in phases) >= min_ready:
        return Phase.READY
    present = set(phases)
    # Fewer Ready replicas than min_ready, and no other phase at all: cannot happen for a valid config.
    return next((phase for phase in POOL_ORDER if phase in present), Phase.STOPPED)
