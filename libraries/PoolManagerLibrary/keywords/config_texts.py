"""The config file as a text: the same meaning in other words, and faults that no table of settings can have."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.settings import toml_value
from PoolManagerLibrary.units import show_size


class ConfigTextKeywords(Keywords):
    """Keywords about the config file's text."""

    @keyword
    def reformat_config(self) -> None:
        """Writes the config file anew with the same meaning, and everything about its form changed.

        Pools and keys come in the opposite order, tables inline, with comments and blank lines, sizes and masks
        in another notation. Example:
        | Reformat Config |
        | Reload Config |
        """
        self.world.materialise()
        tables = tomllib.loads(self.world.selected.config_text())
        pools = tables.pop("pool", [])
        lines = ["# The same in other words.", ""]
        for name, table in reversed(list(tables.items())):
            lines += [f"[ {name} ]  # a comment", "", *_keys(table), ""]
        for pool in reversed(pools):
            lines += ["", "[[pool]]", *_keys(pool)]
        self._write("\n".join(lines) + "\n")

    @keyword
    def reverse_pools_in_config(self) -> None:
        """Writes the config file anew with its pools in the opposite order of their ids.

        Example:
        | Reverse Pools In Config |
        """
        self.world.materialise()
        daemon = self.world.selected
        head, *pools = re.split(r"^(?=\[\[pool\]\])", daemon.config_text(), flags=re.MULTILINE)
        pools.sort(key=_id_in, reverse=True)
        self._write(head + "".join(pools))

    @keyword
    def repeat_pool_in_config(self, name: str = "the pool") -> list[int]:
        """Writes a pool a second time at the end of the config file. Returns the lines of both ids, from 1.

        Example:
        | ${lines} = | Repeat Pool In Config | the pool |
        """
        self.world.materialise()
        daemon = self.world.selected
        pool_id = self.scenario.pool_id(name)
        text = daemon.config_text()
        block = next(
            part for part in re.split(r"^(?=\[\[pool\]\])", text, flags=re.MULTILINE) if _id_in(part) == pool_id
        )
        self._write(f"{text.rstrip()}\n\n{block}")
        wanted = f'id = "{pool_id}"'
        return [number for number, line in enumerate(self._text().splitlines(), 1) if line.startswith(wanted)]

    @keyword
    def config_change_should_be_nothing(self) -> None:
        """Checks that the last config reload, or dry run, reported every pool as unchanged, and nothing else.

        Example:
        | Config Change Should Be Nothing |
        """
        outcome = self.scenario.last_outcome()
        if not outcome.ok:
            raise ExpectationFailed(f"The config reload should succeed, but: {outcome.describe()}")
        body = outcome.body
        if body["added"] or body["changed"] or body["removed"] or body["unchanged"] != sorted(self.daemon.pools):
            raise ExpectationFailed(f"The reload should report unchanged pools only: {json.dumps(body)}")

    def _text(self) -> str:
        return self.world.selected.config_path.read_text(encoding="utf-8")

    def _write(self, text: str) -> None:
        self.world.selected.raw_config = text
        self.world.materialise()


def _id_in(text: str) -> str:
    match = re.search(r'^id = "(.*)"$', text, flags=re.MULTILINE)
    return match[1] if match else ""


def _keys(table: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, value in reversed(list(table.items())):
        shown = value
        if key.endswith("_bytes") and isinstance(value, int) and show_size(value).endswith("iB"):
            shown = show_size(value).replace(" ", "")
        elif key == "devices" and isinstance(value, list) and all(isinstance(item, str) for item in value):
            shown = ", ".join(value)
        lines += [f"  {key}   =   {toml_value(shown)}", ""]
    return lines
