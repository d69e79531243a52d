"""Which faults strike when: a pure function of the seed, so that a sequence can be played again exactly."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from endurance.shape import BY_ID, GPUS, POOLS, PoolShape, on_gpu

#: The faults of a sequence strike within this time, in milliseconds; then some time passes before they are taken away.
WINDOW_MS = 900
LINGER_MS = 1200
#: Signals that end a process that does not handle them, but for SIGTERM and SIGINT, after which an engine exits with 0.
SIGNALS = (
    "SIGKILL", "SIGKILL", "SIGTERM", "SIGINT", "SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGHUP", "SIGQUIT",
    "SIGSYS", "SIGALRM", "SIGTRAP", "SIGXCPU", "SIGUSR2",
)  # fmt: skip
#: An XID of each class (see FIELD_NOTES.md): reset, application, ignored, recovery action, unknown.
XIDS = (46, 48, 95, 119, 13, 31, 43, 45, 63, 154, 999)
OPERATIONS = ("preload", "drain", "undrain", "reload", "reset", "lease", "status")


@dataclass(frozen=True, slots=True)
class Step:
    """One fault, or one act of a caller.

    :param at_ms: since the begin of the sequence.
    :param pool: the pool that it strikes, where it strikes one; ``replica`` and ``gpu`` likewise.
    """

    at_ms: int
    kind: str
    pool: str | None = None
    replica: str | None = None
    gpu: int | None = None
    params: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> str:
        """One line for a report."""
        where = "/".join(part for part in (self.pool, self.replica) if part)
        if self.gpu is not None:
            where = f"{where} GPU {self.gpu}".strip()
        more = " ".join(f"{key}={value}" for key, value in self.params.items())
        return f"{self.at_ms:5} ms  {self.kind:17} {where:22} {more}".rstrip()

    @property
    def touched(self) -> frozenset[str]:
        """The pools to which it may do something; all others must not notice."""
        if self.kind in EVERYBODY:
            return frozenset(BY_ID)
        pools = {self.pool} if self.pool is not None else set()
        if self.gpu is not None:
            pools |= set(on_gpu(self.gpu))
        return frozenset(pools)


@dataclass(frozen=True, slots=True)
class Plan:
    """One sequence.

    :param linger_ms: how long the last faults stay before they are taken away.
    :param callers: pools on which leases are held and streams run meanwhile.
    """

    name: str
    steps: tuple[Step, ...]
    linger_ms: int
    callers: tuple[str, ...]

    @property
    def touched(self) -> frozenset[str]:
        """All pools to which it may do something."""
        return frozenset().union(*(step.touched for step in self.steps))

    @property
    def renewed(self) -> frozenset[str]:
        """The pools that it removes from the config, and that come back to it."""
        removed = {step.pool for step in self.steps if step.params.get("change") == "removed"}
        return frozenset(pool for pool in removed if pool is not None)

    def describe(self) -> str:
        """For a report."""
        lines = [f"sequence {self.name}: callers on {', '.join(self.callers)}; taken away after {self.linger_ms} ms"]
        return "\n".join([*lines, *(f"  {step.describe()}" for step in self.steps)])


#: Steps that no pool is spared.
EVERYBODY = frozenset({"daemon_restarted", "driver_fails"})

Draw = Callable[[random.Random, int], Step]


def make(seed: int, number: int) -> Plan:
    """The plan of one sequence of a run."""
    rng = random.Random(f"{seed}/{number}")  # noqa: S311 - it has to be the same again
    draws = rng.choices([draw for draw, _ in DRAWS], [weight for _, weight in DRAWS], k=rng.randint(3, 9))
    steps = sorted((draw(rng, rng.randrange(WINDOW_MS)) for draw in draws), key=lambda step: step.at_ms)
    callers = rng.sample(sorted(BY_ID), rng.randint(1, 3))
    return Plan(f"{seed}/{number}", tuple(steps), rng.randrange(LINGER_MS), tuple(callers))


def _pool(rng: random.Random, choose: Callable[[PoolShape], bool] = lambda _: True) -> PoolShape:
    return rng.choice([pool for pool in POOLS if choose(pool)])


def _on_replica(kind: str, *params: Callable[[random.Random], dict[str, Any]]) -> Draw:
    """A step against one replica of any pool."""

    def draw(rng: random.Random, at_ms: int) -> Step:
        pool = _pool(rng)
        replica = rng.choice(pool.replica_ids)
        return Step(
            at_ms, kind, pool.pool_id, replica, params={key: v for one in params for key, v in one(rng).items()}
        )

    return draw


def _on_pool(
    kind: str, choose: Callable[[PoolShape], bool], *params: Callable[[random.Random], dict[str, Any]]
) -> Draw:
    """A step against a whole pool."""

    def draw(rng: random.Random, at_ms: int) -> Step:
        pool = _pool(rng, choose)
        return Step(at_ms, kind, pool.pool_id, params={key: v for one in params for key, v in one(rng).items()})

    return draw


def _on_gpu(kind: str, *params: Callable[[random.Random], dict[str, Any]]) -> Draw:
    def draw(rng: random.Random, at_ms: int) -> Step:
        gpu = rng.randrange(GPUS)
        return Step(at_ms, kind, gpu=gpu, params={key: v for one in params for key, v in one(rng).items()})

    return draw


def _of_daemon(kind: str, *params: Callable[[random.Random], dict[str, Any]]) -> Draw:
    def draw(rng: random.Random, at_ms: int) -> Step:
        return Step(at_ms, kind, params={key: v for one in params for key, v in one(rng).items()})

    return draw


def _one_of(key: str, *values: Any) -> Callable[[random.Random], dict[str, Any]]:
    return lambda rng: {key: rng.choice(values)}


def _between(key: str, low: int, high: int) -> Callable[[random.Random], dict[str, Any]]:
    return lambda rng: {key: rng.randint(low, high)}


def _storm(rng: random.Random) -> dict[str, Any]:
    return {"operations": [rng.choice(OPERATIONS) for _ in range(rng.randint(3, 10))], "seed": rng.randrange(1 << 30)}


def _wrong_device(rng: random.Random, at_ms: int) -> Step:
    pool = _pool(rng)
    outside = [gpu for gpu in range(GPUS) if gpu not in pool.gpus]
    params = {"outside": rng.choice(outside)}
    return Step(at_ms, "wrong_device", pool.pool_id, rng.choice(pool.replica_ids), params=params)


#: What may happen, and how often beside the others.
DRAWS: tuple[tuple[Draw, float], ...] = (
    # an engine ends, or stops being of use
    (_on_replica("signal", _one_of("signal", *SIGNALS)), 5),
    (_on_replica("exit", _one_of("code", 1, 2, 3, 42, 137, 255)), 2),
    (_on_replica("exit", _one_of("code", 0)), 2),
    (_on_replica("crash_loop", _one_of("code", 1, 3), _between("times", 1, 6)), 3),
    (_on_replica("cuda_oom"), 1.5),
    (_on_replica("cuda_error"), 2),
    (_on_replica("stopped"), 1),
    (_on_replica("hangs"), 1),
    (_on_replica("unhealthy", _one_of("status", 500, 503)), 1),
    (_on_replica("hiccup"), 1),
    (_on_replica("slow_load", _between("load_ms", 100, 900)), 1.5),
    (_on_replica("never_ready"), 0.7),
    (_wrong_device, 1),
    (_on_replica("offloads"), 1),
    (_on_replica("child", _one_of("child", "group", "session", "orphan"), _one_of("then", "SIGKILL", "drain")), 2),
    (_on_replica("port_race"), 1),
    # what it needs is not there
    (_on_pool("model_gone", lambda _: True, _one_of("kill", True, False)), 1.5),
    (_on_pool("program_gone", lambda pool: pool.has_program), 1.5),
    (_on_pool("port_taken", lambda pool: pool.fixed_port), 1),
    # GPUs and their driver
    (_on_gpu("xid", _one_of("xid", *XIDS)), 3),
    (_on_gpu("gpu_health", _one_of("health", "lost", "reset_required", "unreadable")), 1.5),
    (_on_gpu("gpu_lost"), 1),
    (_on_gpu("gpu_gone"), 1),
    (_on_gpu("memory_taken"), 1.5),
    (_of_daemon("driver_fails"), 0.4),
    # callers
    (_on_pool("drain", lambda _: True, _one_of("deadline_ms", 0, 100, 500, 3000)), 2),
    (_on_pool("undrain", lambda _: True), 0.7),
    (_on_pool("preload", lambda _: True), 1),
    (_on_pool("reload", lambda _: True, _one_of("model", "other", "other", "same", "missing")), 2.5),
    (_on_pool("reset", lambda _: True), 1),
    (_on_pool("storm", lambda _: True, _storm), 4),
    # the operator's file
    (
        _on_pool(
            "config",
            lambda pool: pool.pool_id != "alone-b",
            _one_of("change", "context", "slots", "ttl", "min_ready", "removed", "fewer", "added", "broken"),
            _one_of("by", "api", "sighup"),
        ),
        3,
    ),
    # the daemon itself
    (_of_daemon("daemon_killed", _between("down_ms", 0, 300)), 2),
    (_of_daemon("daemon_restarted"), 0.5),
    (_of_daemon("daemon_frozen", _between("for_ms", 50, 500)), 0.7),
    (_of_daemon("disk_full", _between("for_ms", 100, 700)), 1),
)
