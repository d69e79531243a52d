"""Carrying out the steps of a plan, and taking everything away again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from PoolManagerLibrary.errors import DaemonError

from endurance.callers import Storm
from endurance.host_faults import HostFaults
from endurance.plan import Step
from endurance.shape import BY_ID, GPU_BYTES, MIB
from endurance.world import World

#: What stays free on a GPU whose memory somebody else takes: less than any engine needs.
LEFT_FREE = 64 * MIB


class Hand(HostFaults):
    """Fate's hand, with a way back for each thing it has done."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._storms: list[Storm] = []
        self._controls: dict[tuple[str, str], dict[str, Any]] = {}

    def strike(self, step: Step) -> None:
        """Carry a step out."""
        getattr(self, f"_{step.kind}")(step)

    def take_away(self) -> None:
        """Everything is well again outside; what that means for the pools is the daemon's to find out."""
        for storm in self._storms:
            self.problems += storm.end()
        self._storms = []
        while self._undo:
            self._undo.pop()()
        for key in self._controls:
            self.world.control(*key)
        self._controls = {}
        if not self.world.daemon.is_running:
            self.world.start()
        if self._config_changed:
            # Last of all: a GPU that was gone would make a config refused.
            self._put_config_in_force()

    # -- an engine -----------------------------------------------------------------------------------------------------

    def _kill(self, step: Step, name: str = "SIGKILL") -> int | None:
        pid = self.world.pid(step.pool or "", step.replica or "r0")
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.Signals[name])
        return pid

    def _tell(self, step: Step, **values: Any) -> None:
        key = (step.pool or "", step.replica or "r0")
        self._controls[key] = values
        self.world.control(*key, **values)

    def _signal(self, step: Step) -> None:
        self._kill(step, step.params["signal"])

    def _exit(self, step: Step) -> None:
        self._tell(step, exit_code=step.params["code"])

    def _crash_loop(self, step: Step) -> None:
        self._tell(step, exit_code=step.params["code"], times=step.params["times"])
        self._kill(step)

    def _cuda_oom(self, step: Step) -> None:
        self._tell(step, oom=True)

    def _cuda_error(self, step: Step) -> None:
        self._tell(step, cuda_error="an illegal memory access was encountered")

    def _stopped(self, step: Step) -> None:
        pid = self._kill(step, "SIGSTOP")
        if pid is not None:
            self._undo.append(lambda: _continue(pid))

    def _hangs(self, step: Step) -> None:
        self._tell(step, hang=True)

    def _unhealthy(self, step: Step) -> None:
        self._tell(step, health_status=step.params["status"])

    def _hiccup(self, step: Step) -> None:
        self._tell(step, health_failures=1)

    def _slow_load(self, step: Step) -> None:
        self._tell(step, load_ms=step.params["load_ms"])
        self._kill(step)

    def _never_ready(self, step: Step) -> None:
        self._tell(step, never_ready=True)
        self._kill(step)

    def _wrong_device(self, step: Step) -> None:
        self._tell(step, wrong_device=self.world.uuid(step.params["outside"]), wrong_device_bytes=128 * MIB)

    def _offloads(self, step: Step) -> None:
        self._tell(step, cpu_offload=True)
        self._kill(step)

    def _child(self, step: Step) -> None:
        self._tell(step, child=step.params["child"], child_vram_bytes=32 * MIB)
        self.world.wait(0.06)
        if step.params["then"] == "drain":
            self._call("drain", step, deadline_ms=0)
        else:
            self._kill(step)

    def _port_race(self, step: Step) -> None:
        self._tell(step, port_in_use=True, times=1)
        self._kill(step)

    # -- what it needs -------------------------------------------------------------------------------------------------

    def _model_gone(self, step: Step) -> None:
        for path in self.world.models(step.pool or ""):
            self._hide(path)
        if step.params["kill"]:
            self._kill(step)

    def _program_gone(self, step: Step) -> None:
        self._hide(self.world.program(step.pool or ""))
        self._kill(step)

    def _hide(self, path: Any) -> None:
        away = path.with_name(f"{path.name}.away")
        if path.exists():
            path.rename(away)
            self._undo.append(lambda: away.rename(path))

    def _port_taken(self, step: Step) -> None:
        self._kill(step)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            try:
                listener.bind(("127.0.0.1", self.world.fixed_port))
                listener.listen()
            except OSError:
                self.world.wait(0.002)
            else:
                break
        self._undo.append(listener.close)

    # -- GPUs ----------------------------------------------------------------------------------------------------------

    def _xid(self, step: Step) -> None:
        self.world.folder.emit_xid(self._gpu(step), step.params["xid"])

    def _gpu_health(self, step: Step) -> None:
        self._change_gpu(step, health=step.params["health"])
        self._undo.append(lambda: self._change_gpu(step, health="ok"))

    def _gpu_lost(self, step: Step) -> None:
        self.world.folder.emit_xid(self._gpu(step), 79)
        self._change_gpu(step, health="lost", recovery_action=2)
        self._undo.append(lambda: self._change_gpu(step, health="ok", recovery_action=0))

    def _gpu_gone(self, step: Step) -> None:
        self.world.folder.remove_gpu(self._gpu(step))
        self._undo.append(lambda: self.world.add_gpu(step.gpu or 0))

    def _memory_taken(self, step: Step) -> None:
        program = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()", str(self.world.root)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        uuid = self._gpu(step)
        with contextlib.suppress(KeyError):
            free = self.world.folder.free_bytes(uuid)
            self.world.folder.allocate(program.pid, {uuid: max(0, min(GPU_BYTES, free) - LEFT_FREE)})
        self._undo.append(lambda: _end(program))
        for pool in BY_ID.values():
            for replica_id, mask in zip(pool.replica_ids, pool.masks, strict=True):
                if step.gpu in mask and pool.pool_id.startswith(("plain", "pair", "alone")):
                    self._kill(Step(0, "signal", pool.pool_id, replica_id))

    def _driver_fails(self, _step: Step) -> None:
        self.world.folder.set_driver(mode="unknown_error")
        self._undo.append(lambda: self.world.folder.set_driver(mode="ok"))

    def _gpu(self, step: Step) -> str:
        return self.world.uuid(step.gpu or 0)

    def _change_gpu(self, step: Step, **changes: Any) -> None:
        # It may have been taken out by another step; whole again it comes back as that one's undoing.
        with contextlib.suppress(KeyError):
            self.world.folder.change_gpu(self._gpu(step), **changes)

    # -- callers -------------------------------------------------------------------------------------------------------

    def _call(self, operation: str, step: Step, **arguments: Any) -> None:
        with contextlib.suppress(DaemonError):
            outcome = self.world.ask(operation, pool_id=step.pool, **arguments)
            if outcome.status == 500:
                self.problems.append(outcome.describe())

    def _drain(self, step: Step) -> None:
        self._call("drain", step, deadline_ms=step.params["deadline_ms"])

    def _undrain(self, step: Step) -> None:
        self._call("cancel_drain", step)

    def _preload(self, step: Step) -> None:
        self._call("preload", step)

    def _reset(self, step: Step) -> None:
        self._call("reset_circuit", step)

    def _reload(self, step: Step) -> None:
        own, other = self.world.models(step.pool or "")
        model = {"other": other.name, "same": own.name, "missing": "nowhere.gguf"}[step.params["model"]]
        self._call("reload", step, new_model_ref=model, drain_deadline_ms=500)

    def _storm(self, step: Step) -> None:
        self._storms.append(Storm(self.world, step.pool or "", step.params["operations"], step.params["seed"]))


def _continue(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _end(program: subprocess.Popen[bytes]) -> None:
    if program.stdin is not None:
        program.stdin.close()
    program.wait(10)
