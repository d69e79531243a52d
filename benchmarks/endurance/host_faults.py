"""Steps against the daemon itself and its config file, with their way back."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable
from typing import Any

from PoolManagerLibrary.errors import DaemonError

from endurance.plan import Step
from endurance.processes import alive
from endurance.shape import BY_ID, PoolShape
from endurance.world import World

#: How long a config that is refused for a pool that is on its way out is tried again, in seconds.
CONFIG_PATIENCE_S = 20.0
#: A key that no pool has.
BROKEN = "no_such_key"


class HostFaults:
    """What an operator and the host do.

    :ivar problems: what went wrong that never may, in sentences.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.problems: list[str] = []
        self._undo: list[Callable[[], None]] = []
        self._config_changed = False

    # -- the operator's file -------------------------------------------------------------------------------------------

    def _config(self, step: Step) -> None:
        daemon, pool_id, change = self.world.daemon, step.pool or "", str(step.params["change"])
        if change == "removed":
            daemon.pools.pop(pool_id, None)
        elif change == "added":
            daemon.pools["extra"] = self.world.pool_table(BY_ID["plain-0"]) | {"id": "extra"}
        elif pool_id in daemon.pools:
            shape = BY_ID[pool_id]
            daemon.pools[pool_id] = _changed(self.world.pool_table(shape), shape, change)
        daemon.write_config()
        self._undo.append(lambda: self._restore_config(pool_id))
        if not daemon.is_running:
            return
        if step.params["by"] == "sighup":
            daemon.signal(signal.SIGHUP)
            return
        with contextlib.suppress(DaemonError):
            self.world.ask("config_reload")

    def _restore_config(self, pool_id: str) -> None:
        self.world.daemon.pools.pop("extra", None)
        self.world.daemon.pools[pool_id] = self.world.pool_table(BY_ID[pool_id])
        self._config_changed = True

    def _put_config_in_force(self) -> None:
        """The file as it was at the begin, in force: a pool that is still on its way out makes that wait."""
        world = self.world
        world.daemon.write_config()
        deadline = time.monotonic() + CONFIG_PATIENCE_S
        while not (outcome := world.ask("config_reload")).ok:
            if outcome.code not in {"CONFLICT", "INVALID_DEVICE_MASK"} or time.monotonic() > deadline:
                self.problems.append(f"the config is not taken back: {outcome.describe()}")
                return
            world.wait(0.05)

    # -- the daemon ----------------------------------------------------------------------------------------------------

    def _daemon_killed(self, step: Step) -> None:
        self.world.kill()
        self.world.wait(step.params["down_ms"] / 1000)
        self._start()

    def _start(self) -> None:
        """A daemon that finds no driver or a broken config does not serve, by the rules: that is put right by then."""
        self.world.folder.set_driver(mode="ok")
        for table in self.world.daemon.pools.values():
            table.pop(BROKEN, None)
        self.world.start()

    def _daemon_restarted(self, _step: Step) -> None:
        code = self.world.stop()
        if code != 0:
            self.problems.append(f"told to stop, the daemon ended with {code}")
            self.world.kill()
        elif left := self.world.engines():
            stays = ", ".join(engine.describe() for engine in left)
            self.problems.append(f"told to stop with its engines, the daemon left {stays}")
        self._start()

    def _daemon_frozen(self, step: Step) -> None:
        pid = self.world.daemon.pid
        os.kill(pid, signal.SIGSTOP)
        self.world.wait(step.params["for_ms"] / 1000)
        os.kill(pid, signal.SIGCONT)

    def _disk_full(self, step: Step) -> None:
        """No file of the daemon's grows. Engines that start meanwhile inherit that, and get room with it."""
        pid = self.world.daemon.pid
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        self.world.wait(step.params["for_ms"] / 1000)
        for each in [pid, *(engine.pid for engine in self.world.engines())]:
            if alive(each):
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(each, resource.RLIMIT_FSIZE, limits)


def _changed(table: dict[str, Any], shape: PoolShape, change: str) -> dict[str, Any]:
    """A pool's table with one thing in it changed."""
    match change:
        case "context":
            table["context"] = 2048
        case "slots":
            table["slots"] = shape.slots + 1
        case "ttl":
            table["lease"]["ttl_ms"] = 2500
        case "min_ready":
            table["min_ready"] = 1
        case "fewer" if len(shape.masks) > 1:
            masks = table["devices"][:-1]
            table |= {"replicas": len(masks), "devices": masks if len(masks) > 1 else masks[0], "min_ready": 1}
        case "broken":
            table[BROKEN] = 1
    return table
