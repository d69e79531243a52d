"""The daemon itself: of one's own, started, stopped, killed, restarted, attached to."""

from __future__ import annotations

import re
import signal
import time
from datetime import timedelta
from typing import Any

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.codes import CODES
from PoolManagerLibrary.daemon_process import Daemon
from PoolManagerLibrary.enums import StopSignal
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.outcome import Outcome, Protocol
from PoolManagerLibrary.units import seconds, show_seconds


class DaemonKeywords(Keywords):
    """Keywords about the daemon."""

    @keyword
    def prepare_daemon(
        self,
        *arguments: str,
        gpus: int = 0,
        environment: dict[str, Any] | None = None,
        token: str | None = None,
        **settings: Any,
    ) -> str:
        """Gives the scenario a daemon of its own, not yet started, and returns its folder.

        Say this before the scenario's first GPU or pool. ``settings`` are config keys with their table
        (``server.on_shutdown``,
        ``log.format``); ``None`` removes one. ``arguments`` go to ``serve``. ``gpus`` puts that many GPUs
        into its host (beside
        those of the scenario); ``gpus=-1`` makes no device folder at all. ``token`` is what the keywords use
        to call it.
        It starts with the first step that needs it, or by `Start Daemon`. It ends with the scenario.

        Example:
        | Prepare Daemon | server.max_parallel_loads=1 | server.on_shutdown=leave |
        """
        if self.scenario.pools or self.scenario.gpus:
            raise UsageError("A daemon of its own has to be asked for before the scenario's first GPU or pool.")
        cleared = {key: (None if value in {None, "None"} else value) for key, value in settings.items()}
        given = {key: None if value is None else str(value) for key, value in (environment or {}).items()}
        daemon = self.world.new_daemon(cleared, environment=given, arguments=arguments, gpus=gpus)
        daemon.token = token
        return str(daemon.root)

    @keyword
    def start_daemon(self, *arguments: str, timeout: timedelta = timedelta(seconds=40), **settings: Any) -> None:
        """Starts the scenario's own daemon and waits until it serves. Prepares one first if there is none.

        Example:
        | Start Daemon | server.shutdown_drain_ms=2 s |
        """
        daemon = self.scenario.daemon
        if daemon is None or daemon not in self.scenario.own_daemons:
            self.prepare_daemon(*arguments, **settings)
            daemon = self.world.selected
        elif settings:
            daemon.change_settings(settings)
        self.scenario.act("the start of the daemon")
        self.world.materialise()
        self.scenario.pending = False
        daemon.start(seconds(timeout))

    @keyword
    def try_to_start_daemon(self, timeout: timedelta = timedelta(seconds=40)) -> Outcome:
        """Starts the scenario's own daemon, which is to exit by itself; exit code and output are the answer.

        Example:
        | Prepare Daemon | server.http=127.0.0.1:99999 |
        | Try To Start Daemon |
        | Answer Should Be | 2 |
        """
        daemon = self.own_daemon()
        self.scenario.act("the start of the daemon")
        self.world.materialise()
        offset = daemon.log_path.stat().st_size if daemon.log_path.exists() else 0
        started = time.monotonic()
        daemon.launch()
        code = daemon.wait_exit(seconds(timeout))
        text = daemon.output(offset)
        if code is None:
            raise ExpectationFailed(f"The daemon should exit, it still runs after {timeout}.\n{text[-2000:]}")
        return self.scenario.answered(_exit_outcome(code, text, time.monotonic() - started))

    @keyword
    def stop_daemon(self, timeout: timedelta = timedelta(seconds=15)) -> int:
        """Ends the scenario's own daemon by SIGTERM and returns its exit code.

        Example:
        | ${code} = | Stop Daemon |
        """
        daemon = self.own_daemon()
        self.scenario.act("SIGTERM to the daemon")
        code = daemon.stop(seconds(timeout))
        if code is None:
            raise ExpectationFailed(
                f"The daemon should end within {show_seconds(seconds(timeout))} after SIGTERM, it still runs.\n"
                f"{daemon.output()[-2000:]}"
            )
        self.scenario.memory["exit_code"] = code
        return code

    @keyword
    def kill_daemon(self) -> None:
        """``kill -9`` of the scenario's own daemon; its engines live on.

        Example:
        | Kill Daemon |
        """
        daemon = self.own_daemon()
        self.world.sync_events()
        self.scenario.act("kill -9 of the daemon")
        daemon.kill()

    @keyword
    def restart_daemon(self, by: StopSignal = StopSignal.SIGKILL, timeout: timedelta = timedelta(seconds=40)) -> None:
        """Ends the scenario's own daemon by a signal (SIGKILL by default) and starts it again on the same state.

        Example:
        | Restart Daemon | SIGTERM |
        """
        daemon = self.own_daemon()
        _ = self.daemon
        self.world.sync_events()
        if by is StopSignal.SIGKILL:
            daemon.kill()
        else:
            daemon.signal(getattr(signal, by.value))
            if daemon.wait_exit(seconds(timeout)) is None:
                raise ExpectationFailed(f"The daemon did not end after {by.value}.\n{daemon.output()[-2000:]}")
        self.scenario.act("the restart of the daemon")
        self.world.materialise()
        daemon.start(seconds(timeout))

    @keyword
    def signal_daemon(self, signal_name: StopSignal) -> None:
        """Sends a signal to the scenario's own daemon, and waits for nothing.

        For SIGHUP, by which it reads its config again, all that the scenario defined is written first.

        Example:
        | Signal Daemon | SIGHUP |
        """
        daemon = self.own_daemon()
        if signal_name is StopSignal.SIGHUP and daemon.is_running:
            self.world.materialise()
            self.scenario.pending = False
        _ = self.daemon
        self.scenario.act(f"{signal_name.value} to the daemon")
        self.world.selected.signal(getattr(signal, signal_name.value))

    @keyword
    def daemon_should_exit(self, code: int = 0, within: timedelta = timedelta(seconds=15)) -> None:
        """Checks that the scenario's daemon ends by itself with an exit code.

        Example:
        | Signal Daemon | SIGTERM |
        | Daemon Should Exit | 0 | within=3 s |
        """
        daemon = self.own_daemon()
        seen = daemon.wait_exit(seconds(within))
        if seen != code:
            what = "still runs" if seen is None else f"exited with {seen}"
            raise ExpectationFailed(
                f"The daemon should exit with {code} within {show_seconds(seconds(within))}, it {what}.\n"
                f"{daemon.output()[-2000:]}"
            )

    @keyword
    def daemon_should_run(self) -> None:
        """Checks that the daemon is there and answers.

        Example:
        | Daemon Should Run |
        """
        daemon = self.world.selected
        if daemon.process is None:
            daemon = self.daemon
        if not daemon.is_running:
            raise ExpectationFailed(f"The daemon has ended.\n{daemon.output()[-2000:]}")
        self.must(daemon.http.request("GET", "/health"))

    @keyword
    def attach_daemon(self, url: str, grpc: str | None = None, token: str | None = None) -> None:
        """Makes a daemon that runs already the one that the following steps call.

        Example:
        | Attach Daemon | http://127.0.0.1:9200 | grpc=127.0.0.1:9201 |
        """
        daemon = self.world.remote(url, grpc, token)
        daemon.events.start()
        self.scenario.own_daemons.append(daemon)
        self.scenario.daemon = daemon

    @keyword
    def use_daemon(self, number: int) -> None:
        """Makes the n-th daemon that the scenario prepared (from 1) the one that steps are about.

        Example:
        | Use Daemon | 1 |
        """
        self.scenario.daemon = self.scenario.own_daemons[number - 1]

    @keyword
    def second_daemon_on_same_state(self) -> Outcome:
        """Starts another ``serve`` with the config of the scenario's daemon, and notes how it exits.

        Example:
        | Second Daemon On Same State |
        | Answer Should Be | 1 |
        """
        first = self.daemon
        second = Daemon(first.root / "second")
        second.raw_config = first.config_text()
        second.config_path = first.config_path
        offset = second.log_path.stat().st_size if second.log_path.exists() else 0
        self.scenario.act("the start of a second daemon")
        second.launch()
        code = second.wait_exit(40)
        second.kill()
        if code is None:
            raise ExpectationFailed("A second daemon on the same state folder should exit, it still runs.")
        return self.scenario.answered(_exit_outcome(code, second.output(offset), 0))

    @keyword
    def get_daemon(
        self,
        field: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> Any:
        """Returns a fact about the daemon.

        Facts: ``pid``, ``http``, ``grpc``, ``url``, ``state_dir``, ``config``, ``folder``, ``models``,
        ``simulated_dir``,
        ``log``, ``running``.

        Example:
        | ${folder} = | Get Daemon | state_dir |
        """
        daemon = self.world.selected if field in _STILL else self.daemon
        facts: dict[str, Any] = {
            "pid": lambda: daemon.pid,
            "http": lambda: daemon.http_address,
            "grpc": lambda: daemon.grpc_address,
            "url": lambda: f"http://{daemon.http_address}",
            "state_dir": lambda: str(daemon.state_dir),
            "config": lambda: str(daemon.config_path),
            "folder": lambda: str(daemon.root),
            "models": lambda: str(daemon.models_path),
            "simulated_dir": lambda: str(daemon.simulated_dir),
            "log": lambda: str(daemon.log_path),
            "running": lambda: daemon.is_running,
        }
        if field not in facts:
            raise UsageError(f"'{field}' is no fact about a daemon; there are {', '.join(facts)}.")
        return check(facts[field](), assertion_operator, assertion_expected, f"The daemon's {field}")


_STILL = {"state_dir", "config", "folder", "models", "simulated_dir", "log", "running"}


def _exit_outcome(code: int, text: str, elapsed: float) -> Outcome:
    found = next((name for name in re.findall(r"[A-Z][A-Z_]{4,}", text) if name in CODES), None)
    problem: dict[str, Any] | None = (
        {"code": found, "message": text.strip(), "hint": None, "details": {}} if code else None
    )
    return Outcome(Protocol.CLI, "pool-managerd serve", code == 0, code, None, text, {}, problem, time.time(), elapsed)
