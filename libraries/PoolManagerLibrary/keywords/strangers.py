"""Processes that are nobody's engine, and what was written down of an engine changed so that it names one of them."""

from __future__ import annotations

import json
import secrets
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.processes import ProcessKeywords

#: Writes each signal that can be caught into a file, and goes on.
_PROGRAM = """
import signal, sys
file = open(sys.argv[1], "a", buffering=1)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, lambda number, frame: print(signal.Signals(number).name, file=file))
print("ready", flush=True)
while True:
    signal.pause()
"""
_FACTS = ("pid", "start_ticks", "spec_digest", "boot_id")


class StrangerKeywords(Keywords):
    """Keywords about strangers whose pid was an engine's once."""

    @keyword
    def start_stranger(self, name: str = "stranger") -> int:
        """Starts a process that has nothing to do with any pool, and returns its pid. It ends with the scenario.

        It notes every signal that it gets, and ends by none but SIGKILL.

        Example:
        | Start Stranger | bystander |
        """
        self.world.need_local("local processes")
        path = self.world.selected.root / f"signals-of-{name}"
        digest = secrets.token_hex(32)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={"POOL_MANAGERD_SPEC": digest},
            start_new_session=True,
        )
        stranger = _Stranger(process, path, digest)
        self._strangers()[name] = stranger
        self.scenario.cleanups.append((f"the stranger {name}", stranger.end))
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise ExpectationFailed(f"The stranger {name} could not be started.")
        return process.pid

    @keyword
    def stranger_should_be_untouched(self, name: str = "stranger") -> None:
        """Checks that a process of `Start Stranger` lives, is not stopped, and never got a signal.

        Example:
        | Stranger Should Be Untouched | bystander |
        """
        stranger = self._stranger(name)
        pid = stranger.process.pid
        ProcessKeywords(self.world).process_should_live(pid)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        got = stranger.signals.read_text(encoding="utf-8").split()
        if got or state in "tT":
            raise ExpectationFailed(
                f"The stranger {name} (pid {pid}) got signals: {', '.join(got) or 'it is stopped'}."
            )

    @keyword
    def name_stranger_in_store(self, engine: str, stranger: str, *facts: str, boot: str | None = None) -> None:
        """Changes what the daemon, which must not run, has written down of an engine so that it names a stranger.

        Store, handoff file and pid files all get the stranger's pid; what else is to agree with the stranger is said
        by ``facts``: ``start_ticks``, ``spec_digest``. ``boot`` is another boot id than the present one's.

        Example:
        | Name Stranger In Store | engine of pool chat | bystander | start_ticks |
        """
        daemon = self.world.selected
        if daemon.is_running:
            raise UsageError("The daemon has to be killed first: it would write all that anew.")
        if unknown := set(facts) - set(_FACTS):
            raise UsageError(f"'{unknown.pop()}' is no fact; there are {', '.join(_FACTS)}.")
        found = self._stranger(stranger)
        pid = found.process.pid
        ticks = ProcessKeywords(self.world).get_process(pid, "start_ticks")
        truth: dict[str, Any] = {"pid": pid, "start_ticks": ticks, "spec_digest": found.digest}
        changes = {name: truth[name] for name in ("pid", *facts)} | ({} if boot is None else {"boot_id": boot})
        pool, replica = self.scenario.replica(engine)
        self._change_store(f"{pool.pool_id}/{replica}", changes)
        handoff = daemon.handoff_path(pool.pool_id, replica)
        document = json.loads(handoff.read_text(encoding="utf-8")) | changes
        handoff.write_text(json.dumps(document), encoding="utf-8")
        for name in (f"{pool.pool_id}-{replica}.pid", f"{pool.pool_id}.pid"):
            (daemon.state_dir / name).write_text(f"{pid}\n", encoding="ascii")

    def _change_store(self, key: str, changes: dict[str, Any]) -> None:
        with closing(sqlite3.connect(self.world.selected.state_dir / "state.db")) as store, store:
            row = store.execute("SELECT document FROM documents WHERE kind = 'replica' AND key = ?", (key,)).fetchone()
            document = json.loads(row[0])
            document["run"]["identity"].update(changes)
            text = json.dumps(document)
            store.execute("UPDATE documents SET document = ? WHERE kind = 'replica' AND key = ?", (text, key))

    def _strangers(self) -> dict[str, _Stranger]:
        strangers: dict[str, _Stranger] = self.scenario.memory.setdefault("strangers", {})
        return strangers

    def _stranger(self, name: str) -> _Stranger:
        if name not in self._strangers():
            raise UsageError(f"There is no stranger '{name}': Start Stranger first.")
        return self._strangers()[name]


class _Stranger:
    def __init__(self, process: subprocess.Popen[bytes], signals: Path, digest: str) -> None:
        self.process = process
        self.signals = signals
        self.digest = digest

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(5)
        if self.process.stdout is not None:
            self.process.stdout.close()
