"""The daemon's config file, its reload, and its defaults."""

from __future__ import annotations

import functools
import re
import subprocess
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.daemon_process import program
from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.outcome import Outcome, Protocol


class DaemonConfigKeywords(Keywords):
    """Keywords about the daemon's config."""

    @keyword
    def change_config(self, **settings: Any) -> None:
        """Changes keys of the config file of the scenario's own daemon; it reads them at the next reload or start.

        Example:
        | Change Config | server.max_parallel_loads=4 |
        """
        self.own_daemon().change_settings({key: None if value == "None" else value for key, value in settings.items()})
        self.world.materialise()

    @keyword
    def set_config_text(self, text: str) -> None:
        """Replaces the whole config file of the scenario's own daemon.

        ``{http}``, ``{grpc}``, ``{state}``, ``{devices}`` and ``{gpu}`` (UUID of the scenario's GPU) are filled in.

        Example:
        | Set Config Text | ${text} |
        """
        daemon = self.own_daemon()
        fill = {
            "{http}": "127.0.0.1:0",
            "{grpc}": "127.0.0.1:0",
            "{state}": str(daemon.state_dir),
            "{devices}": str(daemon.simulated_dir),
        }
        for word, value in fill.items():
            text = text.replace(word, value)
        if "{gpu}" in text:
            text = text.replace("{gpu}", self.scenario.gpu().uuid)
        daemon.raw_config = text
        self.world.materialise()

    @keyword
    def get_config_text(self) -> str:
        """Returns the daemon's config file as it is.

        Example:
        | ${text} = | Get Config Text |
        """
        self.world.materialise()
        return self.world.selected.config_text()

    @keyword
    def write_config_text(self, text: str) -> None:
        """Replaces the config file of the scenario's daemon as it is, without filling anything in.

        Example:
        | ${text} = | Get Config Text |
        | Write Config Text | ${text}${more} |
        """
        self.world.selected.raw_config = text
        self.world.materialise()

    @keyword
    def reload_config(self, dry_run: bool = False, protocol: str = "HTTP") -> Outcome:
        """Has the daemon read its config file again, after writing all that the scenario defined, and notes the answer.

        Example:
        | Reload Config | dry_run=True |
        | Answer Field | added | == | ${{ [$id] }} |
        """
        daemon = self.world.selected
        if daemon.process is None:
            _ = self.daemon
        self.scenario.act("a config reload")
        if protocol.lower() == "grpc":
            self.world.materialise()
            self.scenario.pending = False
            return self.operate("config_reload", protocol=Protocol.GRPC, dry_run=dry_run)
        outcome = self.world.reload_config(dry_run=dry_run)
        return self.scenario.answered(outcome)

    @keyword
    def config_change_should_be(self, name: str, kind: str, keys: str | None = None) -> None:
        """Checks what the last config reload reported a pool as: ``added changed removed unchanged``, one of them.

        ``keys`` are the keys that it must name as changed, no more and no fewer.

        Example:
        | Reload Config |
        | Config Change Should Be | the pool | changed | slots, args |
        """
        outcome = self.scenario.last_outcome()
        if not outcome.ok or not isinstance(outcome.body, dict):
            raise ExpectationFailed(f"The config reload should succeed, but: {outcome.describe()}")
        pool_id = self.scenario.pool_id(name)
        body = outcome.body
        changed = {one["pool_id"]: one["keys"] for one in body["changed"]}
        lists = {key: list(body[key]) for key in ("added", "removed", "unchanged")} | {"changed": list(changed)}
        seen = [key for key, ids in lists.items() if pool_id in ids]
        if seen != [kind]:
            raise ExpectationFailed(
                f"The reload should report {pool_id} as {kind}, it reports it as {seen or 'nothing'}: {body}"
            )
        if keys is not None:
            wanted = sorted(word for word in re.split(r",\s*|\s+and\s+", keys) if word)
            if sorted(changed[pool_id]) != wanted:
                raise ExpectationFailed(
                    f"The reload should name the changed keys {wanted}, it names {sorted(changed[pool_id])}."
                )

    @keyword
    def default_should_be(self, key: str, value: str) -> None:
        """Checks a default of the config, as ``pool-managerd example-config`` prints it. A table stands before a dot.

        Example:
        | Default Should Be | readiness.timeout_ms | 120000 |
        | Default Should Be | server.max_parallel_loads | 2 |
        """
        seen = _defaults().get(key)
        if seen != value:
            raise ExpectationFailed(f"The default of {key} should be {value}, it is {seen}.")


@functools.cache
def _defaults() -> dict[str, str]:
    text = subprocess.run([*program(), "example-config"], capture_output=True, text=True, check=True, timeout=30).stdout
    table, found = "", dict[str, str]()
    for line in text.splitlines():
        if line.startswith("["):
            name = line.split("]")[0].strip("[]")
            table = "" if name == "pool" else name.removeprefix("pool.") + "."
        if line.startswith("# ") and " = " in line:
            key, _, rest = line.removeprefix("# ").partition(" = ")
            found.setdefault(table + key.strip(), rest.split(" # ")[0].strip())
    return found
