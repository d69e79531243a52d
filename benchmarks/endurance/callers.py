"""Callers of the daemon while the faults strike: holders of leases with streams, and storms of callers at once."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PoolManagerLibrary.background import Completion
from PoolManagerLibrary.errors import DaemonError
from PoolManagerLibrary.outcome import Outcome, Protocol

if TYPE_CHECKING:
    from endurance.world import World

#: Tokens of each completion: about 150 ms of the stand-in's time.
TOKENS = 30
#: Between two leases of one holder, in seconds.
PAUSE_S = 0.05


@dataclass(slots=True)
class Granted:
    """A lease whose grant was answered. ``until``: wall time up to which it was promised, ``released`` when it was."""

    lease_id: str
    pool_id: str
    pid: int | None
    until: float
    released: bool = False


class Holder:
    """A caller that takes a lease, streams through its engine, gives it back, and begins anew, until told to stop.

    :param strict: the pool is one that no fault may touch: its streams come whole.
    """

    def __init__(self, world: World, pool_id: str, *, strict: bool) -> None:
        self.world = world
        self.pool_id = pool_id
        self.strict = strict
        self.granted: list[Granted] = []
        self.problems: list[str] = []
        self.streams = 0
        self._stop = threading.Event()
        self._protocol = Protocol.HTTP
        self._thread = world.begin(self._run)

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            self._protocol = Protocol.GRPC if self._protocol is Protocol.HTTP else Protocol.HTTP
            answer = self._ask("acquire", holder="soak")
            if answer is None or not answer.ok:
                continue
            lease = Granted(answer.body["lease_id"], self.pool_id, None, time.time() + 1.0)
            self.granted.append(lease)
            self._stream(str(answer.body["url"]))
            self._ask("renew", lease_id=lease.lease_id)
            released = self._ask("release", lease_id=lease.lease_id)
            lease.released = released is not None and released.ok

    def _stream(self, url: str) -> None:
        completion = Completion(url, TOKENS).start()
        if not completion.done.wait(10):
            completion.error = "no end within 10 s"
        self.streams += 1
        if self.strict and not completion.whole:
            self.problems.append(
                f"a stream through {self.pool_id}, which no fault touched, broke after {len(completion.tokens)} "
                f"tokens: {completion.error}"
            )

    def _ask(self, operation: str, **arguments: object) -> Outcome | None:
        """One call; ``None`` where there is no daemon to answer it."""
        try:
            outcome = self.world.ask(operation, self._protocol, pool_id=self.pool_id, **arguments)
        except DaemonError:
            return None
        if outcome.status in {500, "INTERNAL", "UNKNOWN"}:
            self.problems.append(outcome.describe())
        return outcome

    def stop(self) -> list[str]:
        """End after the lease in hand; what was wrong."""
        self._stop.set()
        self._thread.join(40)
        if self._thread.is_alive():
            self.problems.append(f"a caller on {self.pool_id} is not answered within 40 s")
        return self.problems


class Storm:
    """Many callers that want different things of one pool, all at once."""

    def __init__(self, world: World, pool_id: str, operations: list[str], seed: int) -> None:
        self.world = world
        self.pool_id = pool_id
        self.problems: list[str] = []
        rng = random.Random(seed)  # noqa: S311 - it has to be the same again
        self._threads = [
            world.begin(self._run, operation, rng.randrange(200), rng.randrange(2)) for operation in operations
        ]

    def _run(self, operation: str, after_ms: int, choice: int) -> None:
        self.world.wait(after_ms / 1000)
        names = {"undrain": "cancel_drain", "reset": "reset_circuit", "lease": "acquire"}
        arguments: dict[str, object] = {}
        match operation:
            case "drain":
                arguments = {"deadline_ms": (0, 300)[choice]}
            case "reload":
                arguments = {"new_model_ref": self.world.models(self.pool_id)[choice].name, "drain_deadline_ms": 200}
            case "lease":
                arguments = {"ttl_ms": 500}
        with contextlib.suppress(DaemonError):
            outcome = self.world.ask(
                names.get(operation, operation),
                (Protocol.HTTP, Protocol.GRPC)[choice],
                pool_id=self.pool_id,
                **arguments,
            )
            if outcome.status in {500, "INTERNAL", "UNKNOWN"}:
                self.problems.append(outcome.describe())

    def end(self) -> list[str]:
        """Wait for all answers; what was wrong with them."""
        for thread in self._threads:
            thread.join(40)
        if any(thread.is_alive() for thread in self._threads):
            self.problems.append(f"a caller in a storm on {self.pool_id} is not answered within 40 s")
        return self.problems
