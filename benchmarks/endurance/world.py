"""The daemon under test with its folder, GPUs, models and programs: what is turned and looked at is outside of it."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from PoolManagerLibrary import host, leftovers
from PoolManagerLibrary.daemon_process import Daemon
from PoolManagerLibrary.errors import DaemonError
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.outcome import Outcome, Protocol

from endurance.processes import Engine, engines
from endurance.shape import (
    GPU_BYTES,
    GPUS,
    MIB,
    NEED_BYTES,
    POOLS,
    SERVER,
    SPARE_PORTS,
    TIMES,
    PoolShape,
)
from endurance.stream import StreamJudge
from pool_managerd.devices.simulated_folder import SimulatedFolder, default_uuid
from pool_managerd.engines.simulated.control import write_control
from pool_managerd.engines.simulated.script import write_stand_in

CALL_TIMEOUT_S = 30.0
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
#: Where no other daemon of a test looks for ports.
FIRST_PORT, LAST_PORT = 12_000, 19_999


def _starts(count: int) -> Iterator[int]:
    """Where a range of ports may begin: below those of the suites' daemons, and elsewhere each time."""
    while True:
        yield FIRST_PORT + secrets.randbelow((LAST_PORT - FIRST_PORT) // count) * count


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class World:
    """One daemon with all pools, from its start to its end. A context manager; nothing of it is left behind.

    :param pools: the pools of :data:`endurance.shape.POOLS`, or some of them.
    :param keep: keep the folder, for somebody who looks for the cause of a failure.
    """

    def __init__(self, pools: tuple[PoolShape, ...] = POOLS, *, keep: bool = False) -> None:
        self.shapes = pools
        self.keep = keep
        self.faults: list[str] = []
        # Resolved, because leftovers are found by this very text.
        self.root = Path(tempfile.mkdtemp(prefix="pool-managerd-soak-")).resolve()
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(leftovers.__file__)), str(self.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        self.daemon = Daemon(self.root / "daemon", {"server": SERVER, "log": {"level": "info"}})
        self._ports()
        self.folder = SimulatedFolder(self.daemon.simulated_dir)
        self.judge = StreamJudge()
        self._judged = 0
        self._judging = threading.Lock()
        self._stream_problems: list[str] = []
        self.log_offset = 0
        self.make_folder()

    # -- its folder ----------------------------------------------------------------------------------------------------

    def _ports(self) -> None:
        """A range just as wide as it has to be, and a port beside it for pools that have one of their own."""
        count = sum(len(pool.masks) for pool in self.shapes) + SPARE_PORTS
        first = next(first for first in _starts(count + 1) if all(_is_free(first + port) for port in range(count + 1)))
        self.daemon.settings["server"]["port_range"] = [first, first + count - 1]
        self.fixed_port = first + count

    def make_folder(self) -> None:
        """GPUs, models, programs and the config."""
        self.folder.create(gpus=0)
        for number in range(GPUS):
            self.add_gpu(number)
        for pool in self.shapes:
            for path in self.models(pool.pool_id):
                path.write_bytes(host.EMPTY_MODEL.ljust(64, b"\0"))  # llama.cpp's tensors would begin at 32
            self.daemon.pools[pool.pool_id] = self.pool_table(pool)
            if pool.has_program:
                write_stand_in(self.program(pool.pool_id), {"vram_bytes": NEED_BYTES, **pool.simulated})

    def add_gpu(self, number: int) -> None:
        """A GPU, as at the begin."""
        self.folder.add_gpu(uuid=self.uuid(number), index=number, memory_total=GPU_BYTES)

    @staticmethod
    def uuid(number: int) -> str:
        """The UUID of the n-th GPU."""
        return default_uuid(number)

    def models(self, pool_id: str) -> tuple[Path, Path]:
        """The pool's model and another one for reloads."""
        return self.daemon.models_path / f"{pool_id}.gguf", self.daemon.models_path / f"{pool_id}-other.gguf"

    def program(self, pool_id: str) -> Path:
        """The pool's own engine program."""
        return self.root / "programs" / pool_id

    def pool_table(self, pool: PoolShape) -> dict[str, Any]:
        """The pool's table in the config."""
        masks = [",".join(str(gpu) for gpu in mask) for mask in pool.masks]
        table: dict[str, Any] = {
            "id": pool.pool_id,
            "engine": pool.engine,
            "model": f"models/{pool.pool_id}.gguf",
            "devices": masks[0] if len(masks) == 1 else masks,
            "replicas": len(masks),
            "min_ready": pool.min_ready,
            "slots": pool.slots,
            "share_devices": pool.share,
            "preload": pool.preload,
            "vram_bytes": NEED_BYTES,
            "ram_bytes": MIB,
            **json.loads(json.dumps(TIMES)),
        }
        table["restart"]["on_exit_zero"] = pool.on_exit_zero
        if len(pool.masks[0]) > 1:
            table["tensor_split"] = [1] * len(pool.masks[0])
        if pool.fixed_port:
            table["port"] = self.fixed_port
        if pool.engine == "simulated":
            table["simulated"] = dict(pool.simulated)
        elif pool.engine == "command":
            words = ["--host", "{host}", "--port", "{port}", "--model", "{model}"]
            table["command"] = [str(self.program(pool.pool_id)), *words]
        else:
            table["binary"] = str(self.program(pool.pool_id))
        return table

    def control(self, pool_id: str, replica_id: str, **values: Any) -> None:
        """Tell the stand-in of a replica what to do; without values: to be well again."""
        write_control(self.daemon.simulated_dir, pool_id, replica_id, values)

    # -- its life ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the daemon, for the first time or again."""
        self.daemon.start(timeout=START_TIMEOUT_S)

    def kill(self) -> None:
        """``kill -9`` the daemon."""
        self.daemon.kill()
        # Its stream ends; what it had said before is heard to the end first.
        self.judge.killed()

    def stop(self) -> int | None:
        """End the daemon as its operator would; its exit code, or ``None`` if it does not end."""
        return self.daemon.stop(timeout=STOP_TIMEOUT_S)

    def close(self) -> None:
        """End everything."""
        if self.daemon.is_running:
            with contextlib.suppress(OSError):
                self.daemon.signal(18)  # SIGCONT: a frozen one could not be stopped
        self.daemon.end(keep_files=self.keep)
        self.daemon.http.forget_connections()
        leftovers.kill_all(f"{self.root}/", but=(self._reaper.pid,))
        if self.keep:
            self._reaper.kill()
        elif self._reaper.stdin is not None:
            self._reaper.stdin.close()
        self._reaper.wait()

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def state_id(self) -> str:
        """What marks this state directory's engines."""
        return (self.daemon.state_dir / "state.id").read_text(encoding="ascii").strip()

    def engines(self) -> list[Engine]:
        """All living processes of this daemon's replicas."""
        try:
            return engines(self.state_id)
        except FileNotFoundError:
            return []

    def ask(self, operation: str, protocol: Protocol = Protocol.HTTP, **arguments: Any) -> Outcome:
        """One use case.

        :raises DaemonError: if there is no answer.
        """
        try:
            return call(self.daemon, operation, protocol=protocol, timeout=CALL_TIMEOUT_S, **arguments)
        except ValueError as error:
            # gRPC's word for a channel that was closed because its daemon was killed.
            raise DaemonError(f"{operation}: {error}") from error

    def begin(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        """Begin work in a thread of its own, whose connections to the daemon end with it.

        An exception ends the thread, and is one of :attr:`faults`: what it was to look at was not looked at.
        """

        def run() -> None:
            try:
                work(*arguments)
            except Exception:  # noqa: BLE001 - whatever it is, somebody has to be told
                self.faults.append(f"{work.__qualname__} ended early: {traceback.format_exc().strip()}")
            finally:
                self.daemon.http.forget_connections()

        thread = threading.Thread(target=run, name=work.__name__, daemon=True)
        thread.start()
        return thread

    def take_faults(self) -> list[str]:
        """What has ended threads of :meth:`begin` since the last call."""
        faults, self.faults = self.faults, []
        return faults

    def pools(self) -> dict[str, dict[str, Any]]:
        """The status of all pools."""
        return {pool["pool_id"]: pool for pool in self.ask("list").body["pools"]}

    def pid(self, pool_id: str, replica_id: str) -> int | None:
        """The pid of a replica's engine by its pid file: known also while no daemon runs."""
        path = self.daemon.state_dir / f"{pool_id}-{replica_id}.pid"
        with contextlib.suppress(OSError, ValueError):
            return int(path.read_text(encoding="ascii"))
        return None

    def log_since(self) -> Iterator[dict[str, Any]]:
        """The daemon's log lines since the last call."""
        size = self.daemon.log_path.stat().st_size
        records = self.daemon.log_records(self.log_offset)
        self.log_offset = size
        return iter(records)

    def hear(self) -> None:
        """Let the judge of the stream hear what is new."""
        with self._judging:
            events = self.daemon.events.events_from(self._judged)
            self._judged += len(events)
            self._stream_problems += self.judge.hear(events)

    def judge_events(self) -> list[str]:
        """What is wrong with the stream since the last call, up to the daemon's present revision."""
        revision = self.ask("list").body["revision"]
        caught_up = self.daemon.events.wait_revision(revision, timeout=10)
        self.hear()
        self.judge.caught_up()
        problems, self._stream_problems = self._stream_problems, []
        if not caught_up:
            problems.append(f"the event stream does not come up to revision {revision} within 10 s")
        return problems

    def wait(self, seconds: float) -> None:
        """Let time pass. A soak waits by the clock: nothing is expected to happen just then."""
        time.sleep(max(0.0, seconds))
