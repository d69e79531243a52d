"""The stand-in engine's life: start, load, faults, end. Standard library only.

The main thread waits for signals and for the next thing that is due; one thread accepts, one serves each
connection, one waits for the control file. All state that others read is replaced, never changed in place.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import heapq
import itertools
import json
import os
import signal
import socket
import sys
import threading
import time

from pool_managerd.devices.simulated_folder import SimulatedFolder
from pool_managerd.engines.simulated import control
from pool_managerd.engines.simulated.server import serve
from pool_managerd.engines.simulated.settings import Settings, parse
from pool_managerd.engines.simulated.told import Told
from pool_managerd.engines.simulated.watch import FileWatch

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing these costs a fifth of the start
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

_WAKE = signal.SIGUSR1
_SIGNALS = {signal.SIGTERM, signal.SIGINT, _WAKE}
#: Host memory is touched page by page, or the kernel would not really give it.
_PAGE = 4096
#: Held where nothing says how much: enough to be seen as resident.
_DEFAULT_BYTES = 256 << 20
_CHILD = "import time; time.sleep(86400)"
_ORPHAN = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(86400)"


class StandIn:
    """One stand-in engine.

    :param settings: the command line.
    :param environ: for the devices it sees, and for the pool and replica it plays.
    """

    def __init__(self, settings: Settings, environ: dict[str, str]) -> None:
        self.settings = settings
        self.values = dict(settings.values)
        self.started = time.monotonic()
        self.changed = threading.Condition()
        #: Steps, which are counted one by one, and tokens, which llama.cpp and TGI count at the end of a request.
        self.steps = 0
        self.tokens = 0
        self.waiting = 0
        self._busy = 0
        self._slot_free = threading.Condition()
        self._health_failures = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._at_ready: list[Callable[[], None]] = []
        self._said_ready = False
        self._ram = bytearray()
        self._folder: SimulatedFolder | None = None
        self._requests = -1
        self._control: Told | None = None
        self.devices = tuple(name for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name)
        if folder := environ.get("POOL_MANAGERD_SIMULATED_DIR"):
            self._folder = SimulatedFolder(folder)
            if pool := environ.get("POOL_MANAGERD_POOL"):
                replica = environ.get("POOL_MANAGERD_REPLICA", "r0")
                os.makedirs(self._folder.engines_path, exist_ok=True)  # noqa: PTH103  # pathlib costs too much
                path = control.requests_path(folder, pool, replica)
                self._control = Told(folder, pool, replica, self.model_name, settings.values, self.log)
                self._requests = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    # what the server asks -------------------------------------------------------------------------------------

    @property
    def model_name(self) -> str:
        """The model's file name."""
        return os.path.basename(self.settings.model) or "simulated"  # noqa: PTH119  # a string, and no folder at hand

    def is_loaded(self) -> bool:
        """Whether the model is loaded."""
        return not self.values["never_ready"] and (self._said_ready or time.monotonic() >= self._ready_at())

    def take_health_failure(self) -> bool:
        """Whether this health check is one of those that are to fail."""
        with self.changed:
            if self._health_failures <= 0:
                return False
            self._health_failures -= 1
            return True

    def slots_shown(self) -> tuple[int, int]:
        """How many slots there are, and how many of them are at work, as this engine claims."""
        told = self.values["slots_reported"]
        total = self.settings.slots if told is None else told
        return total, min(total, self._busy + self.values["busy_slots"])

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot, after waiting for one like any request."""
        with self._slot_free:
            self.waiting += 1
            self._slot_free.wait_for(lambda: self._busy < self.settings.slots)
            self.waiting -= 1
            self._busy += 1
        try:
            yield
        finally:
            with self._slot_free:
                self._busy -= 1
                self._slot_free.notify()

    def next_token(self, number: int) -> None:
        """Take the time that one token takes; for ever, while no tokens are generated."""
        while self.values["tokens_per_s"] <= 0:
            self.wait_changed(None)
        if number:
            time.sleep(1 / self.values["tokens_per_s"])
        with self._slot_free:
            self.steps += 1

    def count_tokens(self, count: int) -> None:
        """Note the tokens of a request that has ended."""
        with self._slot_free:
            self.tokens += count

    def wait_changed(self, timeout_s: float | None) -> None:
        """Block until the control file has changed something, or until ``timeout_s`` is over."""
        with self.changed:
            self.changed.wait(timeout_s)

    def log(self, text: str, level: str = "I", fd: int = 2) -> None:
        """Write a line in llama-server's form: time since the start, level, text."""
        self.write(f"{self._stamp()} {level} {text}", fd)

    def write(self, text: str, fd: int = 2) -> None:
        """Write a line as it is."""
        with contextlib.suppress(OSError):  # a full disk is no reason to end
            os.write(fd, (text + "\n").encode("utf-8", "surrogateescape"))

    def note_request(self, at: float, method: str, path: str, status: int | None) -> None:
        """Add a line to the replica's request log."""
        if self._requests >= 0:
            line = {"at": round(at * 1000, 1), "method": method, "path": path, "status": status, "pid": os.getpid()}
            with contextlib.suppress(OSError):
                os.write(self._requests, (json.dumps(line) + "\n").encode())

    # life -----------------------------------------------------------------------------------------------------

    def run(self) -> NoReturn:
        """Live until a fault or a signal ends it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self.log(f"build_info: {self.values['version']}")
        watch = self._watch()
        first = None if self._control is None else self._control.read(starting=True)
        if self._control is not None:
            self.values = self._control.values
        self._hold_memory()
        self._say_loading()
        for said in (self.settings.values, first or {}):
            self._act_now(said)
        if self._control is not None:
            self._control.acknowledge()
        for said in (self.settings.values, first or {}):
            self._act_later(said, self.started)
        if self.values["ram_bytes"]:
            self._ram = bytearray(self.values["ram_bytes"])
            self._ram[::_PAGE] = b"\1" * len(self._ram[::_PAGE])
        self._at(self.started + self.values["listen_ms"] / 1000, self._listen)
        self._at(self._ready_at(), self._check_ready)
        if watch is not None:
            threading.Thread(target=self._follow_control, args=(watch, self._control), daemon=True).start()
        while True:
            self._do_what_is_due()
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else 3600.0
            received = signal.sigtimedwait(_SIGNALS, wait)
            if received is not None and received.si_signo != _WAKE:
                self._terminate()

    def _do_what_is_due(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._number), action))
        if threading.current_thread() is not threading.main_thread():
            os.kill(os.getpid(), _WAKE)

    def _ready_at(self) -> float:
        return float(self.started + self.values["load_ms"] / 1000)

    def _check_ready(self) -> None:
        if self._said_ready or self.values["never_ready"]:
            return
        if not self.is_loaded():
            self._at(self._ready_at(), self._check_ready)
            return
        self._said_ready = True
        self.log("srv          init: model loaded")
        for action in self._at_ready:
            action()

    def _listen(self) -> None:
        family = socket.AF_INET6 if ":" in self.settings.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.settings.host, self.settings.port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                self.log(f"srv         start: {error}", "E")
                self._end(1)
            self._port_in_use()
        listener.listen(128)
        self.log(f"srv          init: listening on http://{self.settings.host}:{self.settings.port}", fd=1)
        threading.Thread(target=serve, args=(self, listener), daemon=True).start()

    def _port_in_use(self, _: object = True) -> None:
        where = f"hostname: {self.settings.host}, port: {self.settings.port}"
        self.log(f"srv         start: couldn't bind HTTP server socket, {where}", "E")
        self._end(1)

    def _terminate(self) -> None:
        if self.values["ignore_sigterm"]:
            self.log("srv          init: SIGTERM is ignored, as told", "W")
            return
        self.log("srv    operator(): cleaning up before exit...")
        if self.values["term_ms"]:
            self._at(time.monotonic() + self.values["term_ms"] / 1000, lambda: self._end(self.values["term_exit_code"]))
        else:
            self._end(self.values["term_exit_code"])

    def _end(self, code: int) -> NoReturn:
        os._exit(code & 0xFF)

    # memory ---------------------------------------------------------------------------------------------------

    def _hold_memory(self) -> None:
        if self._folder is None:
            return
        held = self._shares()
        if self.values["cpu_offload"]:
            held = {uuid: share // 2 for uuid, share in held.items()}
        if self.values["wrong_device"]:
            wrong = self.values["wrong_device"]
            held[wrong] = held.get(wrong, 0) + self.values["wrong_device_bytes"]
        held = {uuid: share for uuid, share in held.items() if share > 0}
        if held:
            self._folder.allocate(os.getpid(), held, sticky_ms=self.values["sticky_ms"])
        else:
            self._folder.free(os.getpid())

    def _shares(self) -> dict[str, int]:
        total = self.values["vram_bytes"]
        if total is None and self.settings.device_bytes:
            return dict(zip(self.devices, self.settings.device_bytes, strict=False))
        if total is None:
            try:
                total = os.path.getsize(self.settings.model) if self.settings.model else _DEFAULT_BYTES  # noqa: PTH202  # a string
            except OSError:
                total = _DEFAULT_BYTES
        weights = self.settings.split if len(self.settings.split) == len(self.devices) else (1.0,) * len(self.devices)
        return {uuid: int(total * weight / sum(weights)) for uuid, weight in zip(self.devices, weights, strict=True)}

    def _say_loading(self) -> None:
        self.log(f"srv    load_model: loading model '{self.settings.model}'")
        layers = 15 if self.values["cpu_offload"] else 31
        self.log(f"load_tensors: offloaded {layers}/31 layers to GPU")
        # The input embedding of llama.cpp stays in host memory at full offload, too: this line is healthy.
        self.log("load_tensors:   CPU_Mapped model buffer size =    28.69 MiB")
        for number, share in enumerate(self._shares().values()):
            self.log(f"load_tensors:        CUDA{number} model buffer size = {share / (1 << 20):8.2f} MiB")
            self.log(f"llama_kv_cache:      CUDA{number} KV buffer size = {share / (1 << 23):8.2f} MiB")
        if self.values["cpu_offload"]:
            self.log("llama_kv_cache:        CPU KV buffer size =   384.00 MiB")

    # faults ---------------------------------------------------------------------------------------------------

    def _act_now(self, said: dict[str, Any]) -> None:
        """Do what ``said`` asks to be done once and at once."""
        if said.get("child"):
            self._start_child(said["child"], int(said.get("child_vram_bytes") or 0))
        if said.get("health_failures"):
            self._health_failures = int(said["health_failures"])

    def _act_later(self, said: dict[str, Any], since: float) -> None:
        """Schedule what ``said`` asks to be done once, with delays that count from ``since`` or from readiness."""
        lines: dict[str, Callable[[Any], None]] = {
            "stdout": self._say,
            "stderr": self._complain,
            "cuda_error": self._cuda_error,
        }
        ends: dict[str, Callable[[Any], None]] = {
            "oom": self._run_out_of_memory,
            "port_in_use": self._port_in_use,
            "signal": self._die_by,
        }
        for delay, actions in (("log_after_ms", lines), ("exit_after_ms", {**ends, "exit_code": self._end})):
            after = int(said.get(delay) or 0) / 1000
            for name, action in actions.items():
                value = said.get(name)
                if value is None or (name != "exit_code" and not value):
                    continue
                step = functools.partial(action, value)
                if said.get("when") == "ready" and not self._said_ready:
                    self._at_ready.append(functools.partial(self._after, after, step))
                else:
                    self._at(since + after, step)

    def _after(self, delay_s: float, action: Callable[[], None]) -> None:
        self._at(time.monotonic() + delay_s, action)

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line, 1)

    def _complain(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line, 2)

    def _cuda_error(self, text: str) -> None:
        self.log(f"CUDA error: {text}", "E")
        self.log("  current device: 0, in function ggml_backend_cuda_synchronize at ggml-cuda.cu:2941", "E")

    def _run_out_of_memory(self, _: object) -> None:
        device = "ggml_backend_cuda_buffer_type_alloc_buffer"
        self.log(f"{device}: allocating 4096.00 MiB on device 0: cudaMalloc failed: out of memory", "E")
        self.log("llama_model_load: error loading model: unable to allocate CUDA0 buffer", "E")
        self._end(1)

    def _die_by(self, name: str) -> None:
        number = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
        if not isinstance(number, signal.Signals):
            self.log(f"no signal is called {name!r}", "W")
            return
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)

    def _start_child(self, kind: str, vram_bytes: int) -> None:
        leaves = kind in ("orphan", "stray")
        code = _ORPHAN if leaves else _CHILD
        argv = [sys.executable, "-I", "-S", "-c", code]
        # Its own signal mask is empty: this process blocks what it waits for.
        child = os.posix_spawn(
            sys.executable, argv, {} if kind == "stray" else os.environ, setsigmask=[], setsid=kind == "session"
        )
        self.log(f"srv          init: started a child, pid {child} ({kind})")
        if leaves:
            os.waitpid(child, 0)
        elif vram_bytes and self._folder is not None and self.devices:
            self._folder.allocate(child, {self.devices[0]: vram_bytes})

    # control file ---------------------------------------------------------------------------------------------

    def _watch(self) -> FileWatch | None:
        return None if self._control is None else FileWatch(self._control.path)

    def _follow_control(self, watch: FileWatch, told: Told) -> None:
        while True:
            watch.wait()
            try:
                self._apply_control(told, time.monotonic())
            except (OSError, TypeError, ValueError) as error:
                self.log(f"control file: {error}", "W")
            with self.changed:
                self.changed.notify_all()

    def _apply_control(self, told: Told, since: float) -> None:
        actions = told.read(starting=False) or {}
        self.values = told.values
        self._hold_memory()
        self._act_now(actions)
        told.acknowledge()
        self._act_later(actions, since)
        self._at(time.monotonic(), self._check_ready)

    def _stamp(self) -> str:
        passed = int((time.monotonic() - self.started) * 1e6)
        seconds, micro = divmod(passed, 1_000_000)
        return f"{seconds // 60}.{seconds % 60:02}.{micro // 1000:03}.{micro % 1000:03}"


def main(argv: list[str]) -> NoReturn:
    """Run the stand-in with these arguments."""
    StandIn(parse(argv), dict(os.environ)).run()
