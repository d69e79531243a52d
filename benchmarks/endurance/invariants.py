"""What must hold of a daemon and its engines at rest, and what may be said of them at any moment."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PoolManagerLibrary.errors import PoolManagerLibraryError

from endurance.processes import Engine, alive, descriptors, listening, zombies_of
from endurance.shape import NEED_BYTES, POOLS
from endurance.world import World

#: How long it may take until every pool is at rest once all faults are taken away, in seconds.
REST_TIMEOUT_S = 45.0
#: What is left of an ended engine, and a file of it, may take so long to go, in seconds.
SETTLE_S = 4.0
#: Seconds for which a replica may be shown Ready after its engine has ended. 0.1 is promised; a busy host takes more.
READY_LAG_S = 1.5
#: Descriptors that a daemon at rest may have more than in its first rest: connections of callers come and go, and each
#: adopted engine that has ended holds two until its parent, which may be slow, has reaped it.
SPARE_DESCRIPTORS = 20 + 2 * sum(len(pool.replica_ids) for pool in POOLS)
#: Codes after which a replica waits for its operator (phase ``failed``).
FOR_THE_OPERATOR = {
    "MODEL_NOT_FOUND",
    "ENGINE_NOT_FOUND",
    "CPU_SPILLOVER",
    "CROSS_MASK_SPILLOVER",
    "INVALID_REQUEST",
    "INVALID_DEVICE_MASK",
    "INVALID_SPLIT",
}


def rests(status: Mapping[str, Any]) -> bool:
    """Whether a pool is where it stays by the rules, unless somebody acts."""
    if status["draining"]:
        return False
    if status["desired"] == "stopped":
        return all(one["phase"] == "stopped" for one in status["replicas"])
    return all(one["ready"] or waits_for_operator(one) for one in status["replicas"])


def waits_for_operator(replica: Mapping[str, Any]) -> bool:
    """Whether a replica of a pool that is desired to run is down by the rules until its operator acts."""
    error = replica["last_error"]
    if error is None:
        return False
    if replica["phase"] == "failed":
        return error["code"] in FOR_THE_OPERATOR or error["details"].get("cause") == "bad_arguments"
    ended_well = error["code"] == "ENGINE_EXITED" and error["details"].get("exit_code") == 0
    return bool(replica["phase"] == "stopped" and ended_well)


def contradictions(status: Mapping[str, Any], min_ready: int) -> list[str]:
    """What cannot be true of one status at once, at any moment."""
    pool_id, replicas = status["pool_id"], status["replicas"]
    up = sum(one["ready"] for one in replicas)
    problems = []
    if status["ready"] is not (up >= min_ready):
        problems.append(f"ready is {status['ready']} with {up} of {min_ready} replicas")
    if status["ready"] is not (status["phase"] == "ready"):
        problems.append(f"ready is {status['ready']} in phase {status['phase']}")
    if status["live"] is not any(one["live"] for one in replicas):
        problems.append("live is not that of its replicas")
    if not 0 <= status["slots_free"] <= status["slots_total"]:
        problems.append(f"{status['slots_free']} of {status['slots_total']} slots are free")
    for one in replicas:
        if one["ready"] and (one["pid"] is None or one["phase"] != "ready"):
            problems.append(f"{one['replica_id']} is Ready in phase {one['phase']} with pid {one['pid']}")
        if one["phase"] in {"stopped", "backoff", "circuit_open", "failed"} and one["pid"] is not None:
            problems.append(f"{one['replica_id']} has pid {one['pid']} in phase {one['phase']}")
        if one["phase"] == "circuit_open" and one["breaker"]["state"] != "open":
            problems.append(f"{one['replica_id']} is {one['phase']} with a breaker that is {one['breaker']['state']}")
    return [f"pool {pool_id}: {problem}" for problem in problems]


class Watch:
    """Looks at the status of all pools again and again while faults strike: nothing is Ready without an engine."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.problems: list[str] = []
        self.looks = 0
        self._dead_since: dict[tuple[str, str, int], float] = {}
        self._stop = threading.Event()
        self._thread = world.begin(self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            try:
                answer = self.world.ask("list")
            except (PoolManagerLibraryError, OSError):
                self._dead_since.clear()  # no daemon, nothing said
                continue
            if not answer.ok:
                # One that starts or stops may refuse; one that cannot say it has a fault.
                self._dead_since.clear()
                if answer.status == 500:
                    self.problems.append(answer.describe())
                continue
            self._look({pool["pool_id"]: pool for pool in answer.body["pools"]})
            self.looks += 1

    def _look(self, pools: Mapping[str, dict[str, Any]]) -> None:
        ready = set()
        for pool_id, status in pools.items():
            shape = next((one for one in self.world.shapes if one.pool_id == pool_id), None)
            if shape is not None and shape.min_ready == 1:
                self.problems += contradictions(status, 1)
            for one in status["replicas"]:
                if one["ready"] and one["pid"] is not None and not alive(one["pid"]):
                    ready.add((pool_id, one["replica_id"], one["pid"]))
        now = time.monotonic()
        self._dead_since = {key: self._dead_since.get(key, now) for key in ready}
        for (pool_id, replica_id, pid), since in self._dead_since.items():
            if now - since > READY_LAG_S:
                self.problems.append(
                    f"{pool_id}/{replica_id} is Ready {now - since:.1f} s after its engine, pid {pid}, ended"
                )

    def stop(self) -> list[str]:
        """End, and say what was wrong; each thing once. For a world whose daemon runs: it must have been looked at."""
        self._stop.set()
        self._thread.join(35)
        if self._thread.is_alive():
            self.problems.append("the look at all pools is not answered within 35 s")
        elif not self.looks:
            self.problems.append("no look at all pools was answered")
        return list(dict.fromkeys(self.problems))


@dataclass(frozen=True, slots=True)
class Rest:
    """All pools at rest, and which engine each replica has."""

    pools: Mapping[str, dict[str, Any]]
    engines: Mapping[tuple[str, str], tuple[int, int]]
    descriptors: int


def come_to_rest(world: World, timeout_s: float = REST_TIMEOUT_S) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Wait until every pool is where it stays; the pools then, and which are not, in sentences."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = world.ask("list").body
        pools = {pool["pool_id"]: pool for pool in answer["pools"]}
        world.daemon.events.wait_revision(answer["revision"], timeout=2)
        world.hear()
        # Between two replicas a reload looks like rest.
        moving = [pool for pool in pools.values() if not rests(pool) or pool["pool_id"] in world.judge.reloading]
        if not moving:
            return pools, []
        if time.monotonic() > deadline:
            return pools, [f"not at rest after {timeout_s:g} s: {_short(pool)}" for pool in moving]
        known = len(world.daemon.events)
        world.daemon.events.pause(known, 0.25)


def check_at_rest(world: World) -> tuple[Rest | None, list[str]]:
    """Everything that must hold at rest. What takes a moment to go is given that."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        rest, problems = _look(world)
        if not problems or time.monotonic() > deadline:
            return rest, problems
        world.wait(0.05)


def _look(world: World) -> tuple[Rest, list[str]]:
    pools, engines = world.pools(), world.engines()
    wanted = {
        (pool_id, one["replica_id"]): one["pid"]
        for pool_id, pool in pools.items()
        for one in pool["replicas"]
        if one["pid"] is not None
    }
    problems = [
        problem
        for pool in world.shapes
        if pool.pool_id in pools
        for problem in contradictions(pools[pool.pool_id], pool.min_ready)
    ]
    problems += _processes(wanted, engines)
    problems += _health(pools)
    problems += _ports(wanted, pools)
    problems += _files(world, wanted)
    problems += _memory(world, pools)
    problems += _leases(world, pools)
    problems += [f"zombie {pid}: a child of the daemon that it did not reap" for pid in zombies_of(world.daemon.pid)]
    ticks = {engine.pid: engine.start_ticks for engine in engines}
    rest = Rest(
        pools,
        {key: (pid, ticks.get(pid, 0)) for key, pid in wanted.items()},
        descriptors(world.daemon.pid),
    )
    return rest, problems


def _processes(wanted: Mapping[tuple[str, str], int], engines: list[Engine]) -> list[str]:
    """Each replica that has an engine has exactly that one; nothing else of ours runs."""
    problems = []
    present = {engine.pid for engine in engines}
    for (pool_id, replica_id), pid in wanted.items():
        if pid not in present:
            problems.append(f"{pool_id}/{replica_id} claims pid {pid}, which is no living engine of it")
    for engine in engines:
        if wanted.get(engine.replica) == engine.pid:
            continue
        if wanted.get(engine.replica) is not None and engine.ppid in {1, wanted[engine.replica]} and _is_child(engine):
            continue  # what a living engine has started is its own affair
        problems.append(f"leaked process: {engine.describe()}; its replica has pid {wanted.get(engine.replica)}")
    return problems


def _is_child(engine: Engine) -> bool:
    """Whether it is one of the stand-in's sleeping children, and no engine."""
    try:
        with open(f"/proc/{engine.pid}/cmdline", "rb") as file:  # noqa: PTH123 - a file of the kernel's
            return b"--port" not in file.read()
    except OSError:
        return True


def _health(pools: Mapping[str, dict[str, Any]]) -> list[str]:
    """Whoever is said to be Ready is well, asked by us."""
    problems = []
    for pool_id, pool in pools.items():
        for one in pool["replicas"]:
            if one["ready"]:
                answer = _get(one["url"], "/health")
                if answer != 200:
                    problems.append(f"{pool_id}/{one['replica_id']} is Ready and its health check says {answer}")
    return problems


def _get(url: str, path: str) -> int | str:
    address = url.partition("://")[2]
    connection = http.client.HTTPConnection(address, timeout=3)
    try:
        connection.request("GET", path)
        with connection.getresponse() as answer:
            return answer.status
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def _ports(wanted: Mapping[tuple[str, str], int], pools: Mapping[str, dict[str, Any]]) -> list[str]:
    """Each engine listens where its status says, and nowhere else of the range."""
    problems = []
    ports = listening(wanted.values())
    for (pool_id, replica_id), pid in wanted.items():
        one = next(one for one in pools[pool_id]["replicas"] if one["replica_id"] == replica_id)
        told = None if one["url"] is None else int(one["url"].rpartition(":")[2])
        if one["ready"] and ports.get(pid, set()) != {told}:
            problems.append(f"{pool_id}/{replica_id} is at port {told}, its engine listens on {ports.get(pid, set())}")
    return problems


def _files(world: World, wanted: Mapping[tuple[str, str], int]) -> list[str]:
    """The pid and handoff files are those of the engines that run."""
    problems = []
    state = world.daemon.state_dir
    expected = {f"{pool_id}-{replica_id}.pid": pid for (pool_id, replica_id), pid in wanted.items()}
    expected |= {f"{pool_id}.pid": pid for (pool_id, replica_id), pid in wanted.items() if replica_id == "r0"}
    found = {}
    for path in state.glob("*.pid"):
        try:
            found[path.name] = int(path.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            problems.append(f"{path.name}: {error}")
    problems += [
        f"{name} says {found.get(name)}, the status {expected.get(name)}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    handoffs = {path.stem for path in (state / "engines").glob("*.json")}
    running = {f"{pool_id}-{replica_id}" for pool_id, replica_id in wanted}
    if handoffs != running:
        problems.append(f"handoff files without an engine or the other way round: {sorted(handoffs ^ running)}")
    problems += [f"{path.name} is left" for path in [*state.glob(".tmp-*"), *(state / "engines").glob(".tmp-*")]]
    return problems


def _memory(world: World, pools: Mapping[str, dict[str, Any]]) -> list[str]:
    """Each GPU is well, is held by the engines on it alone, and as much of it is reserved as they need."""
    problems = []
    need: dict[str, int] = {}
    holders: dict[str, set[int]] = {}
    for pool in pools.values():
        for one in pool["replicas"]:
            for uuid in one["devices"] if one["pid"] is not None else ():
                need[uuid] = need.get(uuid, 0) + NEED_BYTES // len(one["devices"])
                holders.setdefault(uuid, set()).add(one["pid"])
    for device in world.ask("devices").body["devices"]:
        uuid = device["uuid"]
        if device["health"] != "ok" or device["stale"]:
            problems.append(f"GPU {device['index']} is {device['health']}{', stale' if device['stale'] else ''}")
        if device["memory_reserved_bytes"] != need.get(uuid, 0):
            problems.append(
                f"GPU {device['index']}: {device['memory_reserved_bytes']} bytes are reserved, its engines need "
                f"{need.get(uuid, 0)}"
            )
        held = {holder["pid"] for holder in device["holders"]}
        if strangers := held - holders.get(uuid, set()):
            strangers = {pid for pid in strangers if not alive(pid) or not _is_ours(world, pid)}
        if strangers or holders.get(uuid, set()) - held:
            problems.append(
                f"GPU {device['index']} is held by {sorted(held)}, not by {sorted(holders.get(uuid, set()))}"
            )
    return problems


def _is_ours(world: World, pid: int) -> bool:
    return any(engine.pid == pid for engine in world.engines())


def _leases(world: World, pools: Mapping[str, dict[str, Any]]) -> list[str]:
    """Every lease was given back, or is over; all slots are free again."""
    problems = []
    for pool_id, pool in pools.items():
        if pool["active_leases"]:
            left = world.ask("leases", pool_id=pool_id).body["leases"]
            problems.append(f"pool {pool_id} has leases that nobody holds: {left}")
        elif pool["slots_free"] != pool["slots_total"]:
            problems.append(f"pool {pool_id}: {pool['slots_free']} of {pool['slots_total']} slots are free at rest")
    return problems


def _short(pool: Mapping[str, Any]) -> str:
    error = pool["last_error"] or {}
    parts = [f"{one['replica_id']} {one['phase']}" for one in pool["replicas"]]
    told = f"{error.get('code')}: {error.get('message')}" if error else "no error"
    return f"pool {pool['pool_id']}, desired {pool['desired']}: {', '.join(parts)}; {told}"


def at_rest_again(before: Rest, after: Rest, touched: frozenset[str], renewed: frozenset[str]) -> list[str]:
    """Pools that no fault touched have the same engines and counts as before.

    :param renewed: pools that were removed from the config and added again: others of the same name.
    """
    problems = []
    for key, engine in before.engines.items():
        if key[0] not in touched and after.engines.get(key) != engine:
            problems.append(f"{key[0]}/{key[1]}, which no fault touched, had pid {engine[0]}: {after.engines.get(key)}")
    for pool_id, pool in before.pools.items():
        if pool_id not in after.pools:
            problems.append(f"pool {pool_id} is gone")
        elif pool_id in renewed:
            continue
        elif after.pools[pool_id]["restart_count"] < pool["restart_count"]:
            problems.append(f"restart_count of {pool_id} fell from {pool['restart_count']}")
        elif pool_id not in touched and after.pools[pool_id]["restart_count"] != pool["restart_count"]:
            problems.append(f"{pool_id}, which no fault touched, was restarted")
    if after.descriptors > before.descriptors + SPARE_DESCRIPTORS:
        problems.append(f"the daemon has {after.descriptors} descriptors open, it had {before.descriptors}")
    return problems
