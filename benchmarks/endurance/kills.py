"""``kill -9`` of the daemon at random moments of what it is doing, and whether the next one keeps its promises."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PoolManagerLibrary.errors import DaemonError
from PoolManagerLibrary.outcome import Outcome

from endurance.invariants import Rest, at_rest_again, check_at_rest, come_to_rest
from endurance.shape import BY_ID, PoolShape
from endurance.soak import begin, end, help_up, log_problems
from endurance.world import World

#: The pools that are worked on: alone, with several replicas, on a port of its own, slow, and one that will not stop.
POOLS: tuple[PoolShape, ...] = tuple(
    BY_ID[name]
    for name in (
        "alone-a",
        "pair-a",
        "trio",
        "llama-pair",
        "own-port",
        "slow",
        "stubborn",
        "busy",
        "plain-0",
        "plain-1",
    )
)
#: The acts begin within this time; the daemon is killed within the second one, counted from the same moment (ms).
ACTS_MS = 120
KILLED_MS = 450
#: A daemon that starts is killed again within this time (ms): about what it needs until all is adopted.
STARTING_MS = 1800
#: Leases outlive the moment, so that none may be missing afterwards (ms).
LEASE_MS = 60_000
#: Drains that wait for a lease, and those that do not (ms).
DRAIN_MS = 2500
ACTS = ("drain", "drain_leased", "reload", "leases", "crash", "config", "preload")


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a caller or fate does to one pool."""

    at_ms: int
    kind: str
    pool: str


@dataclass(frozen=True, slots=True)
class Moment:
    """One kill: what is under way, when it comes, and after which times of its start the next daemon is killed, too."""

    name: str
    acts: tuple[Act, ...]
    killed_ms: int
    again_ms: tuple[int, ...]

    @classmethod
    def make(cls, seed: int, number: int) -> Moment:
        """The same moment for the same numbers."""
        rng = random.Random(f"kill {seed}/{number}")  # noqa: S311 - it has to be the same again
        pools = rng.sample([pool.pool_id for pool in POOLS], rng.randint(2, 5))
        acts = tuple(Act(rng.randrange(ACTS_MS), rng.choice(ACTS), pool) for pool in pools)
        again = tuple(rng.randrange(STARTING_MS) for _ in range(rng.choice((0, 0, 1, 2))))
        return cls(f"{seed}/{number}", acts, rng.randrange(KILLED_MS), again)

    def describe(self) -> str:
        """For a report."""
        acts = "; ".join(f"{act.kind} of {act.pool} at {act.at_ms} ms" for act in self.acts)
        again = "".join(f", again {after} ms after a start" for after in self.again_ms)
        return f"moment {self.name}: {acts}; killed at {self.killed_ms} ms{again}"


@dataclass(slots=True)
class Promises:
    """What was answered before the daemon was killed."""

    leases: dict[str, str] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    models: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Kept:
    """How a moment ended. ``problems`` is empty if everything was kept."""

    moment: Moment
    problems: list[str]
    promised: int
    folder: Path | None = None

    def report(self) -> str:
        """For somebody who looks for the cause."""
        seed, _, number = self.moment.name.partition("/")
        lines = [*(f"BROKEN: {problem}" for problem in self.problems), self.moment.describe()]
        lines.append(f"play it again: python benchmarks/kill_daemon.py --seed {seed} --from {number} --moments 1")
        lines.append(f"its folder, with daemon.log and state: {self.folder}")
        return "\n".join(lines)


def run(seed: int, first: int, moments: int) -> Iterator[Kept]:
    """One moment after the other; a broken one ends its world, and leaves its folder."""
    number = first
    while number < first + moments:
        world = World(POOLS)
        try:
            world.start()
            rest = begin(world)
            while number < first + moments:
                kept, rest = _moment(world, Moment.make(seed, number), rest)
                number += 1
                if not kept.problems and number == first + moments:
                    kept.problems = end(world)
                if kept.problems:
                    world.keep, kept.folder = True, world.root
                yield kept
                if kept.problems:
                    break
        finally:
            world.close()


def _moment(world: World, moment: Moment, before: Rest) -> tuple[Kept, Rest]:
    promises = Promises()
    # What a drain or a reload is to find has to be there before.
    for act in moment.acts:
        if act.kind == "preload":
            world.ask("drain", pool_id=act.pool, deadline_ms=0, wait=20)
        elif act.kind == "drain_leased":
            world.ask("acquire", pool_id=act.pool, ttl_ms=LEASE_MS)
    threads = [world.begin(_act, world, act, promises) for act in moment.acts]
    world.wait(moment.killed_ms / 1000)
    world.kill()
    for thread in threads:
        thread.join(40)
    for after_ms in moment.again_ms:
        world.daemon.launch()
        world.wait(after_ms / 1000)
        world.kill()
    world.start()
    problems = [*promises.problems, *world.take_faults(), *_promised(world, promises)]
    _release_all(world)
    _restore_config(world, moment)
    _, moving = come_to_rest(world)
    problems += moving
    problems += _carried_out(world, promises)
    touched = frozenset(act.pool for act in moment.acts if act.kind != "leases")
    _, wrong = check_at_rest(world)
    problems += [f"at rest: {problem}" for problem in wrong]
    problems += help_up(world)
    after, wrong = check_at_rest(world)
    problems += [f"all up again: {problem}" for problem in wrong]
    after = after or before
    problems += at_rest_again(before, after, touched, frozenset())
    problems += world.judge_events()
    problems += log_problems(world)
    problems += _damage(world)
    promised = len(promises.leases) + len(promises.stopped) + len(promises.running) + len(promises.models)
    return Kept(moment, list(dict.fromkeys(problems)), promised), after


# -- what is under way -------------------------------------------------------------------------------------------------


def _act(world: World, act: Act, promises: Promises) -> None:
    world.wait(act.at_ms / 1000)
    acts: dict[str, Callable[[World, Act, Promises], None]] = {
        "drain": _drain,
        "drain_leased": _drain,
        "preload": _preload,
        "reload": _reload,
        "leases": _leases,
        "crash": _crash,
        "config": _config,
    }
    acts[act.kind](world, act, promises)


def _drain(world: World, act: Act, promises: Promises) -> None:
    deadline_ms = 0 if act.kind == "drain" else DRAIN_MS
    if _ok(world, promises, "drain", act.pool, deadline_ms=deadline_ms):
        promises.stopped.add(act.pool)


def _preload(world: World, act: Act, promises: Promises) -> None:
    if _ok(world, promises, "preload", act.pool):
        promises.running.add(act.pool)


def _reload(world: World, act: Act, promises: Promises) -> None:
    own, other = world.models(act.pool)
    status = _ask(world, promises, "status", act.pool)
    if status is None or not status.ok:
        return
    model = own if str(status.body["model"]).endswith(other.name) else other
    if _ok(world, promises, "reload", act.pool, new_model_ref=model.name):
        promises.models[act.pool] = model.name


def _leases(world: World, act: Act, promises: Promises) -> None:
    for _ in range(BY_ID[act.pool].slots):
        granted = _ask(world, promises, "acquire", act.pool, ttl_ms=LEASE_MS)
        if granted is not None and granted.ok:
            promises.leases[granted.body["lease_id"]] = act.pool


def _crash(world: World, act: Act, _promises: Promises) -> None:
    pid = world.pid(act.pool, "r0")
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _config(world: World, act: Act, _promises: Promises) -> None:
    world.daemon.pools[act.pool]["context"] = 2048
    world.daemon.write_config()
    with contextlib.suppress(DaemonError):
        world.ask("config_reload")


def _ok(world: World, promises: Promises, operation: str, pool_id: str, **arguments: Any) -> bool:
    answer = _ask(world, promises, operation, pool_id, **arguments)
    return answer is not None and answer.ok


def _ask(world: World, promises: Promises, operation: str, pool_id: str, **arguments: Any) -> Outcome | None:
    """One call; ``None`` where the daemon was killed before it answered."""
    try:
        outcome = world.ask(operation, pool_id=pool_id, **arguments)
    except DaemonError:
        return None
    if outcome.status == 500:
        promises.problems.append(outcome.describe())
    return outcome


# -- what became of it -------------------------------------------------------------------------------------------------


def _promised(world: World, promises: Promises) -> list[str]:
    """What must be true of the next daemon from its first answer on."""
    problems = []
    pools = world.pools()
    problems += [
        f"pool {pool_id}, whose drain was answered, is desired {pools[pool_id]['desired']}"
        for pool_id in promises.stopped
        if pools[pool_id]["desired"] != "stopped"
    ]
    problems += [
        f"pool {pool_id}, whose preload was answered, is desired {pools[pool_id]['desired']}"
        for pool_id in promises.running
        if pools[pool_id]["desired"] != "running"
    ]
    for pool_id in set(promises.leases.values()):
        listed = {lease["lease_id"] for lease in world.ask("leases", pool_id=pool_id).body["leases"]}
        missing = {lease for lease, pool in promises.leases.items() if pool == pool_id} - listed
        problems += [f"lease {lease} on {pool_id}, whose grant was answered, is not there" for lease in sorted(missing)]
    return problems


def _carried_out(world: World, promises: Promises) -> list[str]:
    """What must have come of it in the end."""
    pools = world.pools()
    problems = [
        f"pool {pool_id}, whose drain was answered, still runs"
        for pool_id in promises.stopped
        if any(one["pid"] is not None for one in pools[pool_id]["replicas"])
    ]
    problems += [
        f"pool {pool_id}, whose preload was answered, is {pools[pool_id]['phase']}"
        for pool_id in promises.running
        if not pools[pool_id]["ready"]
    ]
    problems += [
        f"pool {pool_id}, whose reload to {model} was answered, serves {pools[pool_id]['model']}"
        for pool_id, model in promises.models.items()
        if not str(pools[pool_id]["model"]).endswith(model)
    ]
    return problems


def _release_all(world: World) -> None:
    for pool in POOLS:
        for lease in world.ask("leases", pool_id=pool.pool_id).body["leases"]:
            world.ask("release", pool_id=pool.pool_id, lease_id=lease["lease_id"])


def _restore_config(world: World, moment: Moment) -> None:
    changed = [act.pool for act in moment.acts if act.kind == "config"]
    for pool_id in changed:
        world.daemon.pools[pool_id] = world.pool_table(BY_ID[pool_id])
    if changed:
        world.daemon.write_config()
        world.ask("config_reload")


def _damage(world: World) -> list[str]:
    """The database is whole."""
    path = world.daemon.state_dir / "state.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        found = [row[0] for row in database.execute("PRAGMA quick_check")]
    aside = [one.name for one in path.parent.glob("state.db.*") if "-wal" not in one.name and "-shm" not in one.name]
    return [f"the state database: {text}" for text in found if text != "ok"] + [f"set aside: {name}" for name in aside]
