"""The command line."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from typing import Any

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.operations import run_cli
from PoolManagerLibrary.outcome import Outcome
from PoolManagerLibrary.units import seconds


class CliKeywords(Keywords):
    """Keywords about the command line."""

    @keyword
    def run_pool_managerd(
        self,
        command: str,
        timeout: timedelta = timedelta(seconds=30),
        environment: dict[str, Any] | None = None,
        cwd: str | None = None,
        daemon: bool = True,
    ) -> Outcome:
        """Runs ``pool-managerd COMMAND`` and notes exit code and output without judging them.

        ``{pool}`` and ``{pool:chat}`` become ids, ``{config}`` the config file. Unless ``daemon=False``,
        ``--address`` of the
        daemon is added to the commands that call one.

        Example:
        | Run Pool Managerd | preload {pool} |
        | Answer Should Be | exit code 0 |
        """
        needs_daemon = daemon and command.split(maxsplit=1)[0] in CLIENTS
        target = self.daemon if needs_daemon else (self.world.selected if self.world.url is None else None)
        text = re.sub(r"\{pool(?::([\w-]+))?\}", lambda match: self.scenario.pool_id(match[1] or "the pool"), command)
        if "{config}" in text and target is not None:
            self.world.materialise()
            text = text.replace("{config}", str(target.config_path))
        given = {key: None if value is None else str(value) for key, value in (environment or {}).items()}
        self.scenario.act(f"pool-managerd {command}")
        return self.scenario.answered(
            run_cli(
                target, shlex.split(text), timeout=seconds(timeout), environment=given, cwd=cwd, address=needs_daemon
            )
        )

    @keyword
    def command_output(
        self,
        stream: str = "stdout",
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> str:
        """Returns what the last command wrote to ``stdout`` or ``stderr``.

        Example:
        | Command Output | stderr | contains | POOL_NOT_FOUND |
        """
        text = self.scenario.last_outcome().headers.get(stream)
        if text is None:
            raise ExpectationFailed("The last answer did not come from a command.")
        check(text, assertion_operator, assertion_expected, stream)
        return text


CLIENTS = {"status", "preload", "drain", "undrain", "reload", "reset", "leases", "logs", "events", "devices"}
