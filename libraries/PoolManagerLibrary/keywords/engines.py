"""The engines' processes: how many, which, with which command line."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psutil
from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary import leftovers
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.keywords.processes import ProcessKeywords
from PoolManagerLibrary.removal import engine_processes
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until


class EngineKeywords(Keywords):
    """Keywords about engines' processes."""

    @keyword
    def get_engine_pid(
        self,
        engine: str = "the engine",
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> int:
        """Returns the pid of an engine from the pool's status.

        Example:
        | ${pid} = | Get Engine Pid | chat/r1 |
        """
        pool, replica = self.scenario.replica(engine)
        replicas = self.status(pool.pool_id)["replicas"]
        pid = next((one["pid"] for one in replicas if one["replica_id"] == replica), None)
        if pid is None:
            raise ExpectationFailed(f"{engine} of pool {pool.pool_id} has no pid.\n{self.explain(pool)}")
        self.scenario.memory[f"pid of {pool.pool_id}-{replica}"] = pid
        check(pid, assertion_operator, assertion_expected, f"pid of {engine}")
        return int(pid)

    @keyword
    def get_engine_pids(self, name: str = "the pool") -> list[int]:
        """Returns the pids of all of a pool's processes, engines and descendants, from the process table.

        Example:
        | ${pids} = | Get Engine Pids | chat |
        """
        self.world.need_local("local processes")
        return engine_processes(self.scenario.pool(name).pool_id)

    @keyword
    def engine_process_count(
        self,
        name: str,
        assertion_operator: AssertionOperator,
        assertion_expected: int,
        within: timedelta = timedelta(seconds=1),
    ) -> None:
        """Checks how many processes of a pool are in the process table, descendants included.

        Example:
        | Engine Process Count | chat | == | 0 | within=500 ms |
        """
        _ = self.daemon
        pool = self.scenario.pool(name)

        def look() -> tuple[list[int], bool]:
            pids = engine_processes(pool.pool_id)
            try:
                check(len(pids), assertion_operator, assertion_expected, "")
            except ExpectationFailed:
                return pids, False
            return pids, True

        wait_until(
            look,
            lambda seen: seen[1],
            timeout=seconds(within),
            expected=f"the number of processes of pool {pool.pool_id} {assertion_operator.name} {assertion_expected}",
            show=lambda seen: "; ".join(f"{pid}: {leftovers.command_of(pid)[:120]}" for pid in seen[0]) or "none",
            context=lambda: self.explain(pool),
        )

    @keyword
    def engine_should_not_have_been_started(self, name: str = "the pool") -> None:
        """Checks that no process of a pool is there, and that its events since the last act show none being started.

        Example:
        | Engine Should Not Have Been Started | the pool |
        """
        self.world.need_local("local processes")
        self.world.sync_events()
        for pool in self.scenario.pools_named(name):
            pids = engine_processes(pool.pool_id)
            if pids:
                raise ExpectationFailed(
                    f"Pool {pool.pool_id} has a process: {leftovers.command_of(pids[0])}\n{self.explain(pool)}"
                )
            begin = self.scenario.act_at - 0.002
            started = [
                event
                for event in self.pool_events(pool)
                if event.kind == "phase" and event.to in {"starting", "loading", "ready"} and event.at >= begin
            ]
            if started:
                raise ExpectationFailed(f"A process was started: {started[0].describe()}\n{self.explain(pool)}")

    @keyword
    def remember_engine(self, engine: str = "the engine") -> int:
        """Remembers the pid of an engine for `Engine Should Be The Same` and `Remembered Engine Should Be Gone`.

        Example:
        | Remember Engine |
        """
        return self.get_engine_pid(engine)

    @keyword
    def engine_should_be_the_same(self, engine: str = "the engine") -> None:
        """Checks that an engine is still the process that `Remember Engine` saw, and alive.

        Example:
        | Engine Should Be The Same |
        """
        pid = self._remembered(engine)
        if not psutil.pid_exists(pid):
            raise ExpectationFailed(f"Process {pid} of {engine} is gone.")
        now = self.get_engine_pid(engine)
        self.scenario.memory[self._key(engine)] = pid
        if now != pid:
            raise ExpectationFailed(f"{engine} should still be process {pid}, it is {now}.")

    @keyword
    def engine_should_be_another(self, engine: str = "the engine") -> None:
        """Checks that an engine is another process than `Remember Engine` saw, and that the old one is gone.

        Example:
        | Engine Should Be Another |
        """
        pid = self._remembered(engine)
        now = self.get_engine_pid(engine)
        self.scenario.memory[self._key(engine)] = pid
        if now == pid:
            raise ExpectationFailed(f"{engine} should be another process, it is still {pid}.")
        ProcessKeywords(self.world).process_should_be_gone(pid)

    @keyword
    def remembered_engine_should_be_gone(
        self, engine: str = "the engine", within: timedelta = timedelta(seconds=1)
    ) -> None:
        """Checks that the process that `Remember Engine` saw is not in the process table, not even as a zombie.

        Example:
        | Remembered Engine Should Be Gone | within=500 ms |
        """
        ProcessKeywords(self.world).process_should_be_gone(self._remembered(engine), within)

    def _key(self, engine: str) -> str:
        pool, replica = self.scenario.replica(engine)
        return f"pid of {pool.pool_id}-{replica}"

    def _remembered(self, engine: str) -> int:
        pid = self.scenario.memory.get(self._key(engine))
        if pid is None:
            raise UsageError("Remember Engine first.")
        return int(pid)

    @keyword
    def get_engine_process(
        self,
        fact: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        engine: str = "the engine",
    ) -> Any:
        """Returns a fact about an engine's process, see `Get Process`.

        Example:
        | Get Engine Process | cmdline | contains | --ctx-size |
        """
        return ProcessKeywords(self.world).get_process(
            self.get_engine_pid(engine), fact, assertion_operator, assertion_expected
        )

    @keyword
    def command_line_should_have(self, engine: str, *words: str) -> None:
        """Checks that an engine's command line in the process table has these words, one directly behind the other.

        Example:
        | Command Line Should Have | the engine | --tensor-split | 3,1 |
        """
        line = list(self.get_engine_process("cmdline", engine=engine))
        wanted = list(words)
        if not any(line[start : start + len(wanted)] == wanted for start in range(len(line))):
            raise ExpectationFailed(f"The command line of {engine} should have {wanted}, it is {line}.")
