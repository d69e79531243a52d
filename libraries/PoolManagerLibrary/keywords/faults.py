"""What the engine does wrong, told from outside: by its control file, or by a signal."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.behaviours import BEHAVIOURS, parse_behaviour
from PoolManagerLibrary.enums import StopSignal
from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.scenario import Pool
from PoolManagerLibrary.settings import coerce
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until


class FaultKeywords(Keywords):
    """Keywords about faults of engines."""

    @keyword
    def engine_does(
        self, behaviour: str, engine: str = "the engine", starts: int | None = None, model: str | None = None
    ) -> None:
        """Makes an engine do something now, in words (see `Engine Behaviours`), without any change of its spec.

        A lasting behaviour (hangs, ignores SIGTERM …) holds until `Engine Behaves Well`, also over restarts;
        an act (dies,
        exits, logs) is done once. ``starts=N`` makes it hold for the next N starts only, acts too. With
        ``model`` it holds
        only for an engine that serves a model of that file name. If the engine does not run yet, it holds
        from its start.

        Example:
        | Engine Does | hangs |
        | Engine Does | exits with code 3 while loading | starts=2 |
        """
        self._tell(engine, self._parsed(behaviour), behaviour, starts, model)

    @keyword
    def set_engine_fault(
        self, engine: str = "the engine", starts: int | None = None, model: str | None = None, **options: Any
    ) -> None:
        """Like `Engine Does`, with the stand-in's own option names (docs/simulated-engine.md).

        Example:
        | Set Engine Fault | the engine | answer_ms=300 |
        """
        values = {key: coerce(key, value) for key, value in options.items()}
        self._tell(engine, values, str(options), starts, model)

    @keyword
    def engine_behaves_well(self, engine: str = "the engine") -> None:
        """Takes back all lasting behaviours given by `Engine Does`: from now on the engine is as its config says.

        Example:
        | Engine Behaves Well |
        """
        pool, replica = self.scenario.replica(engine)
        self.scenario.act(f"{engine} behaves well again")
        self._write(pool, replica, {}, replace=True)

    @keyword
    def engine_behaviours(self) -> list[str]:
        """Returns an example of each behaviour that `Define Pool` and `Engine Does` understand.

        They can be joined by ``and``, and be followed by ``while loading``, ``once ready``, ``after 2 s`` or
        ``2 s after it is ready``.

        Example:
        | ${all} = | Engine Behaviours |
        """
        return [example for _, _, example in BEHAVIOURS]

    @keyword
    def kill_engine(self, engine: str = "the engine", signal_name: StopSignal = StopSignal.SIGKILL) -> int:
        """Sends a signal to an engine from outside, as fate would, and waits for nothing. Returns its pid.

        Example:
        | Kill Engine | chat/r1 | SIGSEGV |
        """
        pid = self._pid(engine)
        self.scenario.act(f"{signal_name.value} to {engine}")
        os.kill(pid, getattr(signal, signal_name.value))
        self.scenario.memory["killed_pid"] = pid
        return pid

    @keyword
    def kill_all_engines(self, signal_name: StopSignal = StopSignal.SIGKILL) -> None:
        """Sends a signal to every engine of the scenario, one right after the other. Waits for nothing.

        Example:
        | Kill All Engines |
        """
        engines = [
            f"{pool.alias}/{replica}"
            for pool in self.scenario.pools.values()
            if not pool.removed
            for replica in pool.replicas
        ]
        pids = [self._pid(engine) for engine in engines]
        self.scenario.act(f"{signal_name.value} to {', '.join(engines)}")
        for pid in pids:
            os.kill(pid, getattr(signal, signal_name.value))

    @keyword
    def get_engine_requests(self, engine: str = "the engine", path: str | None = None) -> list[dict[str, Any]]:
        """Returns the requests that an engine has seen: ``at`` (epoch, ms), ``method``, ``path``, ``status``, ``pid``.

        Example:
        | ${probes} = | Get Engine Requests | the engine | /health |
        """
        return [request for request in self.requests(engine) if path is None or request["path"].split("?")[0] == path]

    @keyword
    def get_first_good_answer(self, engine: str = "the engine", path: str = "/health") -> float:
        """Returns when the engine first answered 200 on its readiness path, in seconds since the epoch.

        Example:
        | ${at} = | Get First Good Answer |
        """
        good = [request for request in self.get_engine_requests(engine, path) if request["status"] == 200]
        if not good:
            raise ExpectationFailed(f"The engine has never answered 200 on {path}.")
        return float(good[0]["at"]) / 1000

    @keyword
    def get_engine_request_count(
        self,
        path: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        engine: str = "the engine",
    ) -> int:
        """Returns how many requests on a path an engine has seen.

        Example:
        | Get Engine Request Count | /v1/completions | == | 0 |
        """
        count = len(self.get_engine_requests(engine, path))
        check(count, assertion_operator, assertion_expected, f"Requests on {path}")
        return count

    def requests(self, engine: str) -> list[dict[str, Any]]:
        """The engine's request log."""
        pool, replica = self.scenario.replica(engine)
        path = Path(self.world.folder.engines_path) / f"{pool.pool_id}-{replica}.requests.jsonl"
        try:
            text = path.read_text(encoding="utf-8")
        except OSError:
            return []
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def _parsed(self, behaviour: str) -> dict[str, Any]:
        options = parse_behaviour(behaviour)
        if "wrong_device" in options:
            options["wrong_device"] = self.scenario.gpu(options["wrong_device"]).uuid
        return options

    def _tell(self, engine: str, options: dict[str, Any], what: str, starts: int | None, model: str | None) -> None:
        pool, replica = self.scenario.replica(engine)
        values = dict(options)
        if starts is not None:
            values["times"] = starts
        if model is not None:
            values["model"] = model.rpartition("/")[2]
        self.scenario.act(f"{engine} {what}")
        self._write(pool, replica, values)

    def _write(self, pool: Pool, replica: str, values: dict[str, Any], *, replace: bool = False) -> None:
        key = f"{pool.pool_id}-{replica}"
        lasting = {} if replace else self.scenario.faults.get(key, {})
        document = {**lasting, **values}
        folder = Path(self.world.folder.engines_path)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{key}.control.json"
        identity = f"{os.getpid()}-{time.time_ns()}"
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(json.dumps({"id": identity, **document}), encoding="utf-8")
        running = (self.world.selected.state_dir / f"{key}.pid").exists()
        # Fate strikes now, not when the words were read.
        self.scenario.act(self.scenario.act_name)
        temporary.replace(path)
        self.scenario.faults[key] = {
            name: value for name, value in document.items() if name in LASTING or "times" in document
        }
        if running and not _ENDING & set(values):
            self._await_applied(folder / f"{key}.applied.json", identity)

    def _await_applied(self, path: Path, identity: str) -> None:
        # An engine that hangs, ends or is being replaced need not say so: the scenario's own checks tell.
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            try:
                if json.loads(path.read_text(encoding="utf-8")).get("id") == identity:
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.002)

    def _pid(self, engine: str) -> int:
        pool, replica = self.scenario.replica(engine)
        path = self.daemon.state_dir / f"{pool.pool_id}-{replica}.pid"
        return (
            wait_until(
                lambda: _read_pid(path),
                lambda pid: pid is not None,
                timeout=seconds(timedelta(seconds=3)),
                expected=f"{path.name} to hold a pid",
                context=lambda: self.explain(pool),
            ).value
            or 0
        )


LASTING = {
    "load_ms", "never_ready", "version", "http_version", "vram_bytes", "sticky_ms", "wrong_device",
    "wrong_device_bytes",
    "cpu_offload", "tokens_per_s", "completion_status",
    "busy_slots", "slots_reported", "echo_prompts", "health_status", "hang", "answer_ms",
    "ignore_sigterm", "term_ms", "term_exit_code", "listen_ms",
}  # fmt: skip
_ENDING = {"exit_code", "signal", "oom", "port_in_use"}


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None
