"""What belongs to one running test: its pools, GPUs, daemons, background work, and what has been asked and answered."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PoolManagerLibrary.daemon_process import Daemon
from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.event_log import SeenEvent
from PoolManagerLibrary.outcome import Outcome

THE_POOL = {"the pool", "it", "this pool", "its pool", ""}
THE_GPU = {"the gpu", "it", "the device", ""}
THE_ENGINE = {"the engine", "the process", "the engine process", "it", ""}


@dataclass(slots=True)
class Gpu:
    """A simulated GPU of the scenario."""

    alias: str
    uuid: str
    memory: int
    used: int = 0
    claimed: bool = False
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Pool:
    """A pool of the scenario: ``alias`` is its name in the table, ``pool_id`` the one in the daemon."""

    alias: str
    pool_id: str
    settings: dict[str, Any]
    gpus: list[Gpu] = field(default_factory=list)
    defined_at: float = field(default_factory=time.time)
    removed: bool = False

    @property
    def replicas(self) -> list[str]:
        """The replica ids."""
        return [f"r{number}" for number in range(int(self.settings.get("replicas", 1)))]


@dataclass(slots=True)
class Cursor:
    """How far into a pool's events the scenario's ``becomes`` phrases have read."""

    after_time: float
    after_revision: int = -1


@dataclass(slots=True)
class Scenario:
    """The state of one test."""

    name: str = "outside a test"
    suite: str = ""
    started_at: float = field(default_factory=time.time)
    pools: dict[str, Pool] = field(default_factory=dict)
    gpus: dict[str, Gpu] = field(default_factory=dict)
    current_pool: Pool | None = None
    current_gpu: Gpu | None = None
    daemon: Daemon | None = None
    own_daemons: list[Daemon] = field(default_factory=list)
    log_offset: int = 0
    act_at: float = field(default_factory=time.time)
    act_name: str = "the scenario began"
    cursors: dict[str, Cursor] = field(default_factory=dict)
    #: The event that a ``becomes`` phrase found last, by pool id: what follows the next act is another one.
    found: dict[str, SeenEvent] = field(default_factory=dict)
    outcome: Outcome | None = None
    refusals: list[Outcome] = field(default_factory=list)
    pending: bool = False
    faults: dict[str, dict[str, Any]] = field(default_factory=dict)
    leases: list[Any] = field(default_factory=list)
    cleanups: list[tuple[str, Callable[[], object]]] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    error_at: int = 0

    def act(self, name: str) -> float:
        """Note that a caller or fate does something now; ``within`` counts from here."""
        self.act_at = time.time()
        self.act_name = name
        self.cursors.clear()
        return self.act_at

    def answered(self, outcome: Outcome) -> Outcome:
        """Note what came of a call. A refusal that no step looks at fails the scenario at its end."""
        self.outcome = outcome
        if not outcome.ok:
            self.refusals.append(outcome)
        return outcome

    def last_outcome(self) -> Outcome:
        """The answer that the next ``Then`` is about."""
        if self.outcome is None:
            raise UsageError("Nothing has been asked yet in this scenario, so there is no answer to look at.")
        self.outcome.examined = True
        return self.outcome

    def pool(self, name: str = "the pool") -> Pool:
        """The pool that a phrase means: ``the pool``, ``pool chat`` or ``chat``."""
        wanted = re.sub(r"^(the )?pool (?=\S)", "", name.strip())
        if wanted.lower() in THE_POOL:
            if self.current_pool is None:
                raise UsageError("The scenario has no pool yet: begin with a step such as 'Given a pool'.")
            return self.current_pool
        if wanted not in self.pools:
            known = ", ".join(self.pools) or "none"
            raise UsageError(f"The scenario has no pool '{wanted}'; its pools: {known}.")
        return self.pools[wanted]

    def pools_named(self, name: str) -> list[Pool]:
        """One pool or several: also ``every pool``, ``both pools``, ``pools chat and code``."""
        text = name.strip()
        if re.fullmatch(r"(every|each|all) pools?|all of them|both pools|the pools", text):
            if not self.pools:
                raise UsageError("The scenario has no pool yet: begin with a step such as 'Given a pool'.")
            return list(self.pools.values())
        if text.startswith("pools "):
            return [self.pool(part) for part in re.split(r",\s*|\s+and\s+", text.removeprefix("pools "))]
        return [self.pool(text)]

    def pool_id(self, name: str) -> str:
        """The daemon's id of a pool of the scenario; any other word is taken as an id itself."""
        try:
            return self.pool(name).pool_id
        except UsageError:
            if " " in name.strip():
                raise
            return name.strip()

    def gpu(self, name: str = "the GPU") -> Gpu:
        """The GPU that a phrase means: ``the GPU``, ``GPU big``, ``big``, ``the pool's GPU``."""
        wanted = re.sub(r"^(the )?(gpu|device) (?=\S)", "", name.strip(), flags=re.IGNORECASE)
        if wanted.lower() in {"the pool's gpu", "its gpu"} and self.pool().gpus:
            return self.pool().gpus[0]
        if wanted.lower() in THE_GPU:
            if self.current_gpu is not None:
                return self.current_gpu
            if self.current_pool is not None and self.current_pool.gpus:
                return self.current_pool.gpus[0]
            raise UsageError("The scenario has no GPU yet: begin with a step such as 'Given a GPU with 8 GiB'.")
        if wanted not in self.gpus:
            raise UsageError(f"The scenario has no GPU '{wanted}'; its GPUs: {', '.join(self.gpus) or 'none'}.")
        return self.gpus[wanted]

    def replica(self, name: str) -> tuple[Pool, str]:
        """The replica that a phrase means: ``the engine``, ``engine r1``, ``the engine of pool chat``, ``chat/r1``."""
        text = name.strip()
        if text.lower() in THE_ENGINE:
            return self.pool(), "r0"
        match = re.fullmatch(r"(?:the )?(?:engine|replica)(?: (r\d+))?(?: of (.+))?", text)
        if match is not None:
            return self.pool(match[2] or "the pool"), match[1] or "r0"
        if re.fullmatch(r"r\d+", text):
            return self.pool(), text
        pool, _, replica = text.partition("/")
        return self.pool(pool), replica or "r0"
