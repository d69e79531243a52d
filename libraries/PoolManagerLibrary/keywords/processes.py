"""Processes as the operating system shows them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary import leftovers
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.removal import engine_processes
from PoolManagerLibrary.units import seconds, show_seconds
from PoolManagerLibrary.waiting import wait_until


class ProcessKeywords(Keywords):
    """Keywords about processes."""

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
        self.process_should_be_gone(pid)

    @keyword
    def remembered_engine_should_be_gone(
        self, engine: str = "the engine", within: timedelta = timedelta(seconds=1)
    ) -> None:
        """Checks that the process that `Remember Engine` saw is not in the process table, not even as a zombie.

        Example:
        | Remembered Engine Should Be Gone | within=500 ms |
        """
        self.process_should_be_gone(self._remembered(engine), within)

    def _key(self, engine: str) -> str:
        pool, replica = self.scenario.replica(engine)
        return f"pid of {pool.pool_id}-{replica}"

    def _remembered(self, engine: str) -> int:
        pid = self.scenario.memory.get(self._key(engine))
        if pid is None:
            raise UsageError("Remember Engine first.")
        return int(pid)

    @keyword
    def process_should_be_gone(
        self, pid: int, within: timedelta = timedelta(seconds=1), zombie_allowed: bool = False
    ) -> None:
        """Checks that a process is not in the process table.

        Example:
        | Process Should Be Gone | ${pid} | within=1 s |
        """

        def look() -> str | None:
            with contextlib.suppress(psutil.NoSuchProcess):
                status = psutil.Process(pid).status()
                return None if zombie_allowed and status == psutil.STATUS_ZOMBIE else str(status)
            return None

        wait_until(
            look,
            lambda seen: seen is None,
            timeout=seconds(within),
            expected=f"process {pid} to be gone",
            show=lambda seen: f"{seen}: {leftovers.command_of(pid)}",
        )

    @keyword
    def process_should_live(self, pid: int) -> None:
        """Checks that a process is in the process table and no zombie.

        Example:
        | Process Should Live | ${pid} |
        """
        try:
            status = psutil.Process(pid).status()
        except psutil.NoSuchProcess:
            raise ExpectationFailed(f"Process {pid} should be alive, it is gone.") from None
        if status == psutil.STATUS_ZOMBIE:
            raise ExpectationFailed(f"Process {pid} should be alive, it is a zombie.")

    @keyword
    def get_process(
        self,
        pid: int,
        fact: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> Any:
        """Returns a fact about a process.

        Facts: ``exe``, ``cmdline`` (list), ``cwd``, ``environ`` (dict), ``session``, ``group``, ``parent``, ``status``,
        ``start_ticks``, ``open_files`` (what its descriptors lead to), ``rss``, ``user``, ``children``.

        Example:
        | ${arguments} = | Get Process | ${pid} | cmdline |
        """
        process = psutil.Process(pid)
        facts: dict[str, Any] = {
            "exe": lambda: str(Path(f"/proc/{pid}/exe").readlink()),
            "cmdline": lambda: _words(f"/proc/{pid}/cmdline"),
            "cwd": process.cwd,
            "environ": lambda: dict(word.partition("=")[::2] for word in _words(f"/proc/{pid}/environ")),
            "session": lambda: os.getsid(pid),
            "group": lambda: os.getpgid(pid),
            "parent": process.ppid,
            "status": process.status,
            "start_ticks": lambda: int(
                Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
            ),
            "open_files": lambda: [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()],
            "rss": lambda: process.memory_info().rss,
            "user": process.username,
            "children": lambda: [child.pid for child in process.children(recursive=True)],
        }
        if fact not in facts:
            raise UsageError(f"'{fact}' is no fact about a process; there are {', '.join(facts)}.")
        return check(facts[fact](), assertion_operator, assertion_expected, f"{fact} of process {pid}")

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
        return self.get_process(self.get_engine_pid(engine), fact, assertion_operator, assertion_expected)

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

    @keyword
    def occupy_port(self, port: int = 0, engine: str | None = None) -> int:
        """Lets another program listen on a port (0: a free one) until `Free Port`; returns the port. It never answers.

        Example:
        | ${port} = | Occupy Port |
        | Define Pool | chat | port=${port} |
        """
        del engine
        code = (
            "import socket,sys\n"
            "s=socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
            "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(8)\n"
            "print(s.getsockname()[1], flush=True)\n"
            "sys.stdin.read()\n"
        )
        return self._listener(code, port)

    @keyword
    def serve_200_on_port(self, port: int = 0) -> int:
        """Lets another program answer 200 to everything on a port (0: a free one) until `Free Port`; returns the port.

        Example:
        | ${port} = | Serve 200 On Port |
        """
        code = (
            "import http.server,sys,threading\n"
            "class H(http.server.BaseHTTPRequestHandler):\n"
            "    def do_GET(self):\n"
            "        self.send_response(200); self.send_header('Content-Length','2'); self.end_headers()\n"
            "        self.wfile.write(b'{}')\n"
            "    def log_message(self,*a): pass\n"
            "s=http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), H)\n"
            "print(s.server_address[1], flush=True)\n"
            "threading.Thread(target=s.serve_forever, daemon=True).start()\n"
            "sys.stdin.read()\n"
        )
        return self._listener(code, port)

    def _listener(self, code: str, port: int) -> int:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, str(port), str(self.world.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None  # noqa: S101  # asked for above
        line = process.stdout.readline()
        if not line:
            raise UsageError(f"Port {port} cannot be occupied.")
        taken = int(line)
        self.scenario.memory.setdefault("listeners", {})[taken] = process
        self.scenario.cleanups.append((f"the listener on port {taken}", lambda: _end(process)))
        return taken

    @keyword
    def free_port(self, port: int) -> None:
        """Ends what `Occupy Port` or `Serve 200 On Port` started.

        Example:
        | Free Port | ${port} |
        """
        self.scenario.act(f"port {port} is free")
        _end(self.scenario.memory.get("listeners", {}).pop(port))

    @keyword
    def get_listener_pid(self, port: int) -> int:
        """Returns the pid of the program that `Occupy Port` or `Serve 200 On Port` started on a port.

        Example:
        | ${pid} = | Get Listener Pid | ${port} |
        """
        return int(self.scenario.memory["listeners"][port].pid)

    @keyword
    def find_free_port(self) -> int:
        """Returns a TCP port of 127.0.0.1 that nobody listens on now, outside the ports for engines.

        Example:
        | ${port} = | Find Free Port |
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    @keyword
    def get_daemon_memory(self) -> int:
        """Returns the daemon's resident memory in bytes.

        Example:
        | ${before} = | Get Daemon Memory |
        """
        return int(psutil.Process(self.daemon.pid).memory_info().rss)

    @keyword
    def sleep_quietly(self, duration: timedelta) -> None:
        """Lets time pass where time itself is the behaviour, such as a lease's end. Never to wait for something.

        Example:
        | Sleep Quietly | 300 ms |
        """
        time.sleep(seconds(duration))

    @keyword
    def processes_should_have_ended_in_time(self, pid: int, within: timedelta) -> None:
        """Checks that a process is gone within a time from the last act on.

        Example:
        | Kill Engine |
        | Processes Should Have Ended In Time | ${pid} | 1 s |
        """
        limit = seconds(within) - (time.time() - self.scenario.act_at)
        self.process_should_be_gone(pid, timedelta(seconds=max(0.0, limit)))
        took = time.time() - self.scenario.act_at
        if took > seconds(within) + 0.1:
            raise ExpectationFailed(f"Process {pid} was gone only after {show_seconds(took)}.")


def _words(path: str) -> list[str]:
    data = Path(path).read_bytes()
    return [word.decode("utf-8", errors="surrogateescape") for word in data.removesuffix(b"\0").split(b"\0")]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
