"""The world of a run: the shared daemon, the present scenario, and how the one gets what the other needs."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from robot.api import SkipExecution
from robot.libraries.BuiltIn import BuiltIn, RobotNotRunningError

from pool_managerd.devices.simulated_folder import SimulatedFolder
from PoolManagerLibrary import host, leftovers
from PoolManagerLibrary.daemon_process import Daemon, RemoteDaemon
from PoolManagerLibrary.errors import DaemonError, PoolManagerLibraryError, Refused, UsageError
from PoolManagerLibrary.outcome import Outcome
from PoolManagerLibrary.placement import place
from PoolManagerLibrary.scenario import Cursor, Gpu, Pool, Scenario
from PoolManagerLibrary.settings import merge, nest
from PoolManagerLibrary.units import show_size

#: Settings of every pool that a table does not name. Short times: a scenario that needs the defaults says so.
POOL_BASE: dict[str, Any] = {"engine": "simulated", "model": host.DEFAULT_MODEL, "preload": False}
VIRTUAL_KEYS = ("gpus", "gpu")


def variable(name: str, default: Any = None) -> Any:
    """A Robot variable, or ``default`` where there is none or no run."""
    try:
        return BuiltIn().get_variable_value(f"${{{name}}}", default)
    except RobotNotRunningError:
        return default


class World:
    """All that outlives a single test."""

    def __init__(self) -> None:
        self.scenario = Scenario()
        self._shared: Daemon | None = None
        self._root: Path | None = None
        self._reaper: subprocess.Popen[bytes] | None = None
        # Processes are told apart by their pool's id, so runs side by side begin at different places.
        self._counter = itertools.count(secrets.randbelow(35 * 36**4) + 36**4)
        self._remote: RemoteDaemon | None = None
        self.closed = False
        #: Why a step has skipped its test, or the present iteration of a template.
        self.skip_reason = ""
        self._given: dict[str, Any] = {}
        #: What is to be done when the run ends, before its processes and files go.
        self.at_end: list[Callable[[], object]] = []

    # -- the run ------------------------------------------------------------------------------------------------

    @property
    def root(self) -> Path:
        """The run's own temporary folder; with it comes the helper that cleans up if this process dies."""
        if self._root is None:
            # Resolved, because leftovers are found by this very text.
            self._root = Path(tempfile.mkdtemp(prefix="pool-managerd-bdd-")).resolve()
            self._reaper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(leftovers.__file__)), str(self._root)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
            atexit.register(self.close)
        return self._root

    def close(self) -> list[int]:
        """End all daemons and processes of the run; returns the pids that were left over. Safe to call twice."""
        if self.closed or self._root is None:
            return []
        self.closed = True
        atexit.unregister(self.close)
        for end in self.at_end:
            # Whatever fails here, what is left is killed below.
            with contextlib.suppress(Exception):
                end()
        for daemon in self.scenario.own_daemons:
            daemon.end()
        if self._shared is not None:
            # With pools, a scenario was broken off: nobody waits for its engines' time to stop.
            if self._shared.is_running and not self._shared.pools:
                self._shared.stop(timeout=5)
            self._shared.end()
        if self._remote is not None:
            self._remote.end()
        reaper = self._reaper
        left = leftovers.kill_all(str(self._root), but=(reaper.pid,) if reaper else ())
        shutil.rmtree(self._root, ignore_errors=True)
        if reaper is not None and reaper.stdin is not None:
            reaper.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                reaper.wait(5)
        return left

    def next_id(self) -> str:
        """A short word that no other scenario has, of this run or one beside it."""
        number = next(self._counter)
        digits = ""
        while True:
            number, digit = divmod(number, 36)
            digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
            if not number:
                return digits

    # -- daemons ------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str | None:
        """The daemon given by ``--variable URL:…``, or None."""
        if not self._given:
            self.note_given()
        value = self._given["URL"]
        return str(value) if value else None

    def note_given(self) -> None:
        """Read the run's variables before a test begins, whose own variables may have the same names."""
        self._given = {name: variable(name) for name in ("URL", "GRPC", "TOKEN")}

    def need_local(self, what: str) -> None:
        """Skip a test that needs more of a given daemon than its API.

        :raises SkipExecution: with the reason.
        """
        if self.url is not None:
            self.skip_reason = (
                f"Needs {what}, which a daemon that runs elsewhere ({self.url}) does not offer to this run."
            )
            raise SkipExecution(self.skip_reason)

    def remote(self, url: str, grpc: str | None = None, token: str | None = None) -> RemoteDaemon:
        """The daemon at an address."""
        return RemoteDaemon(self.root / f"remote-{self.next_id()}", url, grpc, token)

    def new_daemon(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, str | None] | None = None,
        arguments: tuple[str, ...] = (),
        gpus: int = 0,
    ) -> Daemon:
        """A daemon of the scenario's own, not started; all further steps are about it."""
        self.need_local("a daemon of its own")
        daemon = Daemon(self.root / f"d{self.next_id()}", settings, environment=environment, arguments=arguments)
        if daemon.settings.get("devices", {}).get("source") == "simulated" and gpus >= 0:
            host.make_folder(daemon, gpus)
        host.make_model(daemon, host.DEFAULT_MODEL)
        self.scenario.own_daemons.append(daemon)
        self.scenario.daemon = daemon
        self.scenario.log_offset = 0
        return daemon

    @property
    def selected(self) -> Daemon:
        """The daemon that the scenario is about, started or not."""
        if self.scenario.daemon is None:
            url = self.url
            if url is not None:
                if self._remote is None:
                    self._remote = self.remote(url, self._given["GRPC"], _secret(self._given["TOKEN"]))
                    self._remote.events.start()
                self.scenario.daemon = self._remote
            else:
                self.scenario.daemon = self._shared_daemon()
        return self.scenario.daemon

    @property
    def daemon(self) -> Daemon:
        """The scenario's daemon, running, with all that the scenario has defined so far."""
        daemon = self.selected
        if daemon.remote:
            return daemon
        if daemon.process is None:
            self.materialise()
            daemon.start()
            self.scenario.pending = False
        elif self.scenario.pending:
            self.flush()
        return daemon

    def _shared_daemon(self) -> Daemon:
        if self._shared is not None and not self._shared.is_running:
            self._shared.end(keep_files=True)
            self._shared = None
        if self._shared is None:
            daemon = Daemon(self.root / f"shared{self.next_id()}")
            host.make_folder(daemon, 1)
            host.make_model(daemon, host.DEFAULT_MODEL)
            daemon.start()
            self._shared = daemon
        self.scenario.log_offset = self._shared.log_path.stat().st_size
        return self._shared

    @property
    def shared(self) -> Daemon | None:
        """The shared daemon, if it has been needed yet."""
        return self._shared

    def model_file(self, name: str, size: int | None = None) -> Path:
        """Make sure that the daemon's model folder holds a model of this name."""
        path = self.selected.models_path / name.removeprefix("models/")
        if not path.exists() or size is not None:
            content = host.EMPTY_MODEL
            host.make_model(self.selected, name, content + bytes(max(0, (size or 0) - len(content))))
        return path

    # -- GPUs and pools -----------------------------------------------------------------------------------------

    @property
    def folder(self) -> SimulatedFolder:
        """The simulated GPUs of the scenario's daemon."""
        self.need_local("simulated devices")
        return SimulatedFolder(self.selected.simulated_dir)

    def add_gpu(
        self, alias: str | None = None, *, memory: int = host.DEFAULT_GPU_MEMORY, used: int = 0, **more: Any
    ) -> Gpu:
        """Put a GPU into the scenario's host."""
        self.need_local("simulated devices")
        name = alias or f"gpu{len(self.scenario.gpus)}"
        if name in self.scenario.gpus:
            raise UsageError(f"The scenario has a GPU '{name}' already.")
        gpu = Gpu(name, f"GPU-{uuid.uuid4()}", memory, used, more=dict(more))
        label = more.pop("name", f"Simulated {show_size(memory)} {name}-{self.next_id()}")
        known = len(self.selected.events)
        self.folder.add_gpu(uuid=gpu.uuid, name=label, memory_total=memory, memory_used=used, **more)
        self.scenario.gpus[name] = gpu
        self.scenario.current_gpu = gpu
        if self.selected.is_running:
            # A running daemon must have seen the new card before a config names it.
            self.selected.events.wait_for(lambda event: event.document.get("device") == gpu.uuid, known, timeout=2)
        return gpu

    def define_pool(self, alias: str, settings: Mapping[str, Any]) -> Pool:
        """Note a pool; the daemon hears of it with the next step that needs it."""
        self.need_local("pools of its own")
        scenario = self.scenario
        if alias in scenario.pools and not scenario.pools[alias].removed:
            raise UsageError(f"The scenario has a pool '{alias}' already.")
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", alias):
            raise UsageError(f"'{alias}' cannot be a pool's name: lower-case letters, digits and dashes only.")
        given = nest(settings)
        pool_id = str(given.pop("id", f"{alias}-{self.next_id()}"))
        table = merge({"id": pool_id, **POOL_BASE}, {key: val for key, val in given.items() if key not in VIRTUAL_KEYS})
        pool = Pool(alias, pool_id, table)
        if table.get("engine") == "command" and "model" not in given:
            table.pop("model", None)
        if "model" in table and not str(table["model"]).startswith("/") and "model" not in given:
            self.model_file(str(table["model"]))
        if self.selected.settings.get("devices", {}).get("source") == "simulated":
            place(pool, given, scenario, self.add_gpu)
        scenario.pools[alias] = pool
        scenario.current_pool = pool
        self.selected.pools[pool_id] = table
        scenario.pending = True
        return pool

    def materialise(self) -> None:
        """Write the config file with all that the scenario has defined."""
        self.selected.write_config()

    def reload_config(self, *, dry_run: bool = False) -> Outcome:
        """Write the config file and have the daemon read it; whatever it answers."""
        self.materialise()
        daemon = self.selected
        self.scenario.pending = False
        return daemon.http.request("POST", "/v2/config/reload" + ("?dry_run=true" if dry_run else ""), timeout=60)

    def flush(self) -> None:
        """Make the running daemon know all pools of the scenario.

        :raises Refused: if it does not like the config.
        """
        outcome = self.reload_config()
        if not outcome.ok:
            raise Refused(
                f"The daemon refused the scenario's config: {outcome.describe()}\n{outcome.text[:1500]}\n"
                f"A scenario that wants this refusal says 'When the config is reloaded' itself."
            )

    # -- events -------------------------------------------------------------------------------------------------

    def sync_events(self) -> None:
        """Wait until every event that the daemon has published so far has arrived here."""
        daemon = self.daemon
        if not daemon.is_running:
            time.sleep(0.05)
            return
        with contextlib.suppress(DaemonError):
            outcome = daemon.http.request("GET", "/v2/pools")
            if outcome.ok:
                daemon.events.wait_revision(int(outcome.body["revision"]))

    def cursor(self, pool: Pool) -> Cursor:
        """From where on the next ``becomes`` looks."""
        # Event times are rounded to the millisecond.
        return self.scenario.cursors.setdefault(pool.pool_id, Cursor(self.scenario.act_at - 0.002))

    # -- the end of a scenario ----------------------------------------------------------------------------------

    def finish(self) -> list[str]:
        """Remove what the scenario made; returns what is wrong with what it leaves behind."""
        scenario, problems = self.scenario, list[str]()
        for what, cleanup in reversed(scenario.cleanups):
            try:
                cleanup()
            except (PoolManagerLibraryError, OSError, RuntimeError) as error:
                problems.append(f"{what}: {error}")
        scenario.cleanups.clear()
        for daemon in scenario.own_daemons:
            daemon.end()
        shared = self._shared
        pools = [pool for pool in scenario.pools.values() if shared is not None and pool.pool_id in shared.pools]
        if shared is not None and scenario.daemon is shared:
            if not shared.is_running:
                last = "\n".join(shared.output().splitlines()[-5:])
                problems.append(f"The shared daemon has died. Its last lines:\n{last}")
            else:
                problems += self._remove_pools(shared, pools)
        if shared is not None:
            for pool in pools:
                shared.pools.pop(pool.pool_id, None)
            host.clear_devices(shared, scenario)
        return problems

    def _remove_pools(self, daemon: Daemon, pools: list[Pool]) -> list[str]:
        from PoolManagerLibrary.removal import remove_pools  # noqa: PLC0415  # only the shared daemon needs it

        return remove_pools(daemon, pools, reload_needed=bool(pools) or self.scenario.pending)


def _secret(value: Any) -> str | None:
    """The text of a token that may be given as a Robot Framework Secret."""
    text = getattr(value, "value", value)
    return str(text) if text else None
