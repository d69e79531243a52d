"""One sequence of faults after the other over live pools, and what was wrong after each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PoolManagerLibrary.errors import PoolManagerLibraryError

from endurance.callers import Holder
from endurance.faults import Hand
from endurance.invariants import Rest, Watch, at_rest_again, check_at_rest, come_to_rest, waits_for_operator
from endurance.plan import Plan, make
from endurance.world import World

#: A daemon and its folder live for so many sequences; then a new one begins, so that a failure is quick to play again.
SEQUENCES_PER_WORLD = 25


@dataclass(slots=True)
class Outcome:
    """How a sequence ended. ``problems`` is empty if everything held."""

    plan: Plan
    problems: list[str]
    took_s: float
    events: list[str] = field(default_factory=list)
    folder: Path | None = None

    def report(self) -> str:
        """Everything that somebody needs who looks for the cause."""
        seed, _, number = self.plan.name.partition("/")
        first = int(number) // SEQUENCES_PER_WORLD * SEQUENCES_PER_WORLD
        again = f"python benchmarks/soak.py --seed {seed}"
        lines = [
            *(f"BROKEN: {problem}" for problem in self.problems),
            self.plan.describe(),
            "the last events of its pools:",
            *(f"  {event}" for event in self.events),
            f"play it again:           {again} --from {number} --sequences 1",
            f"with those before it:    {again} --from {first} --sequences {int(number) - first + 1}",
        ]
        if self.folder is not None:
            lines.append(f"its folder, with daemon.log and state: {self.folder}")
        return "\n".join(lines)


@dataclass(slots=True)
class Soak:
    """A run of sequences.

    :param seed: with the number of a sequence it decides everything that is random.
    :param first: number of the first sequence.
    :param stop: asked after each sequence with how many are done; true ends the run.
    """

    seed: int
    first: int
    stop: Callable[[int], bool]
    done: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    streams: int = 0
    looks: int = 0
    events: int = 0

    def run(self) -> Iterator[Outcome]:
        """Each sequence as it ends. A broken one ends the world that it was in, and leaves its folder."""
        number = self.first
        while not self.stop(self.done):
            world = World()
            broken = False
            try:
                world.start()
                rest = begin(world)
                while not self.stop(self.done):
                    outcome, rest = self._sequence(world, make(self.seed, number), rest)
                    number, self.done = number + 1, self.done + 1
                    broken = bool(outcome.problems)
                    if not broken and (number % SEQUENCES_PER_WORLD == 0 or self.stop(self.done)):
                        outcome.problems = end(world)
                        broken = bool(outcome.problems)
                    if broken:
                        world.keep, outcome.folder = True, world.root
                    yield outcome
                    if broken or number % SEQUENCES_PER_WORLD == 0:
                        break
            finally:
                self.events += len(world.daemon.events)
                world.close()

    def _sequence(self, world: World, plan: Plan, before: Rest) -> tuple[Outcome, Rest]:
        began = time.monotonic()
        touched = plan.touched
        hand, watch = Hand(world), Watch(world)
        holders = [Holder(world, pool_id, strict=pool_id not in touched) for pool_id in plan.callers]
        for step in plan.steps:
            world.wait(began + step.at_ms / 1000 - time.monotonic())
            hand.strike(step)
            self.struck[step.kind] += 1
        world.wait(plan.linger_ms / 1000)
        problems = [problem for holder in holders for problem in holder.stop()]
        self.streams += sum(holder.streams for holder in holders)
        hand.take_away()
        problems += hand.problems
        pools, moving = come_to_rest(world)
        problems += moving
        for pool_id, pool in pools.items():
            if pool_id not in touched and not all(one["ready"] for one in pool["replicas"]):
                problems.append(f"pool {pool_id}, which no fault touched, is {pool['phase']}")
        first, wrong = check_at_rest(world)
        problems += [f"at rest: {problem}" for problem in wrong]
        problems += help_up(world)
        after, wrong = check_at_rest(world)
        problems += [f"all up again: {problem}" for problem in wrong]
        problems += watch.stop()
        self.looks += watch.looks
        problems += world.take_faults()
        problems += world.judge_events()
        problems += log_problems(world)
        after = after or first or before
        renewed = frozenset(after.pools) if world.judge.forgot else plan.renewed
        world.judge.forgot = False
        problems += at_rest_again(before, after, touched, renewed)
        outcome = Outcome(plan, list(dict.fromkeys(problems)), time.monotonic() - began)
        if outcome.problems:
            outcome.events = _last_events(world, plan)
        return outcome, after


def begin(world: World) -> Rest:
    """All pools of a new world, up and at rest.

    :raises PoolManagerLibraryError: if they are not, before anything has struck them.
    """
    problems = help_up(world)
    rest, wrong = check_at_rest(world)
    if problems or wrong or rest is None:
        raise PoolManagerLibraryError("the pools do not come up at all: " + "; ".join([*problems, *wrong]))
    return rest


def help_up(world: World) -> list[str]:
    """What an operator does when all is well again: preload what is down, reset what waits for its circuit."""
    pools = world.pools()
    for pool_id, pool in pools.items():
        if pool["desired"] == "stopped" or any(waits_for_operator(one) for one in pool["replicas"]):
            answer = world.ask("preload", pool_id=pool_id)
            if not answer.ok or pool["ready"]:
                # Ready already: nothing happens. Its other replicas come with a reset.
                answer = world.ask("reset_circuit", pool_id=pool_id)
            if not answer.ok:
                return [f"pool {pool_id} cannot be preloaded: {answer.describe()}"]
    pools, problems = come_to_rest(world)
    for pool_id, pool in pools.items():
        if not all(one["ready"] for one in pool["replicas"]):
            phases = ", ".join(f"{one['replica_id']} {one['phase']}" for one in pool["replicas"])
            problems.append(
                f"preloaded with nothing in its way, pool {pool_id} is not up: {phases}; {pool['last_error']}"
            )
    return problems


def end(world: World) -> list[str]:
    """The end of a world: told to stop, the daemon takes all its engines along."""
    problems = []
    if (code := world.stop()) != 0:
        problems.append(f"told to stop, the daemon ended with {code}")
    problems += [f"the daemon's end left {engine.describe()}" for engine in world.engines()]
    left = [*world.daemon.state_dir.glob("*.pid"), *(world.daemon.state_dir / "engines").glob("*")]
    problems += [f"the daemon's end left {path.name}" for path in left]
    return problems + log_problems(world)


def log_problems(world: World) -> list[str]:
    """Tracebacks and faults of the daemon's own in its log."""
    problems = []
    for record in world.log_since():
        text = str(record.get("text", ""))
        if "Traceback" in text or record.get("exception") or record.get("code") == "INTERNAL":
            shown = str(record.get("exception") or record.get("human") or text)
            problems.append(f"the daemon's log: {shown[-1500:]}")
    return problems


def _last_events(world: World, plan: Plan) -> list[str]:
    """The events of the sequence, newest last."""
    events = world.daemon.events.events()
    steps = plan.touched if len(plan.touched) < 12 else None
    shown = [event for event in events[-600:] if steps is None or event.pool_id in steps or event.pool_id is None]
    return [event.describe()[:260] for event in shown[-150:]]
