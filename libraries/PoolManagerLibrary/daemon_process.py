"""A daemon as a process of its own, with its folders, addresses, clients and event log; or one that runs elsewhere."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PoolManagerLibrary import leftovers
from PoolManagerLibrary.errors import DaemonError, UsageError
from PoolManagerLibrary.event_log import EventLog
from PoolManagerLibrary.grpc_client import GrpcClient
from PoolManagerLibrary.http_client import HttpClient
from PoolManagerLibrary.settings import merge, nest, to_toml
from PoolManagerLibrary.waiting import wait_until

#: A start costs a second of CPU time, which a busy machine may take long to give. No behaviour's own number.
START_TIMEOUT = 40.0
STOP_TIMEOUT = 15.0
BASE_SETTINGS: dict[str, Any] = {
    "server": {
        "http": "127.0.0.1:0",
        "grpc": "127.0.0.1:0",
        "state_dir": "state",
        "model_dirs": ["models"],
        "shutdown_drain_ms": 500,
    },
    "devices": {"source": "simulated", "simulated_dir": "devices", "overhead_bytes": 0},
    "log": {"level": "debug"},
}
#: Each daemon gets a slice of the range of engine ports, so that runs side by side seldom meet.
PORTS_EACH = 200
_SLICES = (32000 - 20000) // PORTS_EACH
_ports = itertools.count(os.getpid() * 7)
#: Environment that would change what a daemon under test does.
FOREIGN_ENVIRONMENT = ("POOL_MANAGERD_", "LLORCH_", "CUDA_VISIBLE_DEVICES", "NOTIFY_SOCKET", "WATCHDOG_")


def _next_ports() -> int:
    return 20000 + next(_ports) % _SLICES * PORTS_EACH


def program() -> list[str]:
    """How to run ``pool-managerd``: ``BDD_POOL_MANAGERD``, else the script beside this Python, else the module."""
    chosen = os.environ.get("BDD_POOL_MANAGERD")
    if chosen:
        return shlex.split(chosen)
    script = Path(sys.executable).with_name("pool-managerd")
    return [str(script)] if script.exists() else [sys.executable, "-m", "pool_managerd.cli"]


def with_changes(environment: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """An environment with some variables set, and without those whose value is None."""
    merged = {**environment, **changes}
    return {key: value for key, value in merged.items() if value is not None}


class Daemon:
    """One daemon under test.

    :param root: its own folder, with ``pools.toml``, ``state/``, ``devices/``, ``models/`` and ``daemon.log``.
    :param settings: config tables over :data:`BASE_SETTINGS`; dotted keys are fine; None removes a key.
    :param environment: more environment for the process; None removes a variable.
    """

    def __init__(
        self,
        root: Path,
        settings: Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, str | None] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.root = root
        first = _next_ports()
        ports = {"server": {"port_range": [first, first + PORTS_EACH - 1]}}
        self.settings = merge(merge(BASE_SETTINGS, ports), nest(settings or {}))
        self.environment = dict(environment or {})
        self.arguments = list(arguments)
        self.pools: dict[str, dict[str, Any]] = {}
        self.raw_config: str | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.http_address: str | None = None
        self.grpc_address: str | None = None
        self.token: str | None = None
        self.started_at = 0.0
        self.starts = 0
        self.config_path = root / "pools.toml"
        self.log_path = root / "daemon.log"
        self.models_path = root / "models"
        self.events = EventLog(lambda: self.http_address if self.is_running else None, lambda: self.token)
        self.http = HttpClient(self._base_url, lambda: self.token)
        self.grpc = GrpcClient(self._grpc, lambda: self.token)
        root.mkdir(parents=True, exist_ok=True)
        self.models_path.mkdir(exist_ok=True)

    @property
    def remote(self) -> bool:
        """Whether the daemon was started by somebody else."""
        return False

    @property
    def state_dir(self) -> Path:
        """Where the daemon keeps its state."""
        return self._path("server", "state_dir", ".runtime")

    @property
    def simulated_dir(self) -> Path:
        """The folder of simulated GPUs."""
        return self._path("devices", "simulated_dir", "devices")

    def _path(self, table: str, key: str, default: str) -> Path:
        return self.root / str(self.settings.get(table, {}).get(key, default))

    def _base_url(self) -> str:
        if self.http_address is None:
            raise DaemonError(f"The daemon in {self.root} has not been started, so there is nothing to call.")
        return f"http://{self.http_address}"

    @property
    def url(self) -> str:
        """The base of its HTTP addresses, without a slash at the end."""
        return self._base_url()

    def _grpc(self) -> str:
        if self.grpc_address is None:
            raise DaemonError(f"The daemon in {self.root} has not been started, so there is nothing to call.")
        return self.grpc_address

    @property
    def pid(self) -> int:
        """Process id of the daemon."""
        if self.process is None:
            raise DaemonError(f"The daemon in {self.root} has not been started.")
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    # -- config -------------------------------------------------------------------------------------------------

    def config_text(self) -> str:
        """The config file as it should be now."""
        return self.raw_config if self.raw_config is not None else to_toml(self.settings, list(self.pools.values()))

    def write_config(self) -> None:
        """Bring the config file up to date, in one step."""
        text = self.config_text()
        temporary = self.config_path.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.config_path)

    def change_settings(self, settings: Mapping[str, Any]) -> None:
        """Change config tables; takes effect with the next start or config reload."""
        self.settings = merge(self.settings, nest(settings))

    def handoff_path(self, pool_id: str, replica_id: str = "r0") -> Path:
        """Where the handoff file of a replica is."""
        return self.state_dir / "engines" / f"{pool_id}-{replica_id}.json"

    # -- process ------------------------------------------------------------------------------------------------

    def child_environment(self) -> dict[str, str]:
        """The environment for the daemon: ours, less what would change its behaviour."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN_ENVIRONMENT)}
        return with_changes(env, self.environment)

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process and wait for nothing."""
        if self.is_running:
            raise UsageError(f"The daemon in {self.root} runs already (pid {self.pid}).")
        self.write_config()
        command = [*program(), "serve", "--config", str(self.config_path), *self.arguments]
        self.starts += 1
        self.started_at = time.time()
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self.child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start the process and wait until it says where it listens.

        :raises DaemonError: if it exits instead; the message ends with its last output.
        """
        offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        process = self.launch()

        def look() -> dict[str, Any] | int | None:
            code = process.poll()
            return code if code is not None else self._announced()

        found = wait_until(
            look,
            lambda seen: seen is not None,
            timeout=timeout,
            expected=f"{self.state_dir}/daemon.json to be written by the daemon (pid {process.pid})",
            context=lambda: self.output(offset)[-2000:],
        ).value
        if isinstance(found, int):
            raise DaemonError(
                f"The daemon exited with code {found} instead of serving.\n{self.output(offset)[-3000:].strip()}"
            )
        assert found is not None  # noqa: S101  # the wait accepted it
        self.http_address, self.grpc_address = str(found["http"]), str(found["grpc"])
        self.http.forget_connections()
        self.events.start()

    def _announced(self) -> dict[str, Any] | None:
        with contextlib.suppress(OSError, ValueError):
            document = json.loads((self.state_dir / "daemon.json").read_text(encoding="utf-8"))
            if isinstance(document, dict) and document.get("pid") == self.pid and document.get("http"):
                return document
        return None

    def signal(self, number: int) -> None:
        """Send a signal to the daemon alone."""
        if self.process is None:
            raise UsageError("No daemon has been started.")
        self.process.send_signal(number)

    def wait_exit(self, timeout: float = STOP_TIMEOUT) -> int | None:
        """The exit code, or None if it still runs after ``timeout`` seconds."""
        if self.process is None:
            raise UsageError("No daemon has been started.")
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self.grpc.close()
        return code

    def stop(self, timeout: float = STOP_TIMEOUT) -> int | None:
        """SIGTERM, then wait. None: it did not end in time and still runs."""
        if self.is_running:
            self.signal(signal.SIGTERM)
        return self.wait_exit(timeout)

    def kill(self) -> None:
        """``kill -9`` the daemon; its engines live on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.grpc.close()

    def end(self, *, keep_files: bool = False) -> list[int]:
        """Make sure that nothing of this daemon is left; returns the pids that had to be killed."""
        self.events.stop()
        self.grpc.close()
        if self.is_running:
            self.kill()
        killed = leftovers.kill_all(f"{self.root}/")
        if not keep_files:
            shutil.rmtree(self.root, ignore_errors=True)
        return killed

    def output(self, offset: int = 0) -> str:
        """What the daemon has written to its standard streams, from a byte offset on."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(offset)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def log_records(self, offset: int = 0) -> list[dict[str, Any]]:
        """The JSON lines of the daemon's log; a line that is no JSON object is ``{"text": line}``."""
        records = []
        for line in self.output(offset).splitlines():
            record: Any = None
            with contextlib.suppress(ValueError):
                record = json.loads(line)
            records.append(record if isinstance(record, dict) else {"text": line})
        return records


class RemoteDaemon(Daemon):
    """A daemon that somebody else runs: it can be called, and nothing else.

    :param url: its HTTP base, such as ``http://host:9200``.
    :param grpc: its gRPC address; default: the same host, the next port.
    """

    def __init__(self, root: Path, url: str, grpc: str | None = None, token: str | None = None) -> None:
        super().__init__(root)
        self._url = url.rstrip("/")
        self.http_address = self._url.partition("://")[2] or self._url
        host, _, port = self.http_address.rpartition(":")
        self.grpc_address = grpc or f"{host}:{int(port) + 1}"
        self.token = token

    @property
    def remote(self) -> bool:
        """True: not ours."""
        return True

    @property
    def is_running(self) -> bool:
        """Assumed; a call tells."""
        return True

    @property
    def pid(self) -> int:
        """Unknown from here."""
        raise DaemonError("The process id of a daemon that runs elsewhere is not known here.")

    def _base_url(self) -> str:
        return self._url if "://" in self._url else f"http://{self._url}"

    def end(self, *, keep_files: bool = False) -> list[int]:
        """Let go of it; it goes on running."""
        del keep_files
        self.events.stop()
        self.grpc.close()
        return []
