"""What the daemon writes to its log."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords, says
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until


class DaemonLogKeywords(Keywords):
    """Keywords about the daemon's log."""

    @keyword
    def get_daemon_log(self, **fields: str) -> list[dict[str, Any]]:
        """Returns the records of the daemon's log since the scenario began, those whose fields match.

        ``level=warning`` is exact, ``event=~crashed`` is a regular expression, ``pool=chat`` a pool of the scenario.

        Example:
        | ${records} = | Get Daemon Log | level=error | pool=chat |
        """
        wanted = dict(fields)
        if "pool" in wanted:
            wanted["pool_id"] = self.scenario.pool_id(wanted.pop("pool"))
        records = self.world.selected.log_records(self.scenario.log_offset)
        return [record for record in records if all(_matches(record.get(key), value) for key, value in wanted.items())]

    @keyword
    def daemon_log_should_have(self, within: timedelta = timedelta(seconds=1), **fields: str) -> dict[str, Any]:
        """Checks that the daemon's log has a record with these fields (see `Get Daemon Log`) and returns the first.

        Example:
        | Daemon Log Should Have | level=warning | pool=chat | active_leases=2 |
        """
        _ = self.daemon
        records = wait_until(
            lambda: self.get_daemon_log(**fields),
            bool,
            timeout=seconds(within),
            expected=f"a record in the daemon's log with {fields}",
            show=lambda _: "none",
            context=lambda: "Its last lines:\n" + self.world.selected.output(self.scenario.log_offset)[-2500:],
        ).value
        self.scenario.memory["record"] = records[0]
        return records[0]

    @keyword
    def daemon_log_should_not_have(self, **fields: str) -> None:
        """Checks that no record of the daemon's log since the scenario began has these fields.

        Example:
        | Daemon Log Should Not Have | event=~Traceback |
        """
        records = self.get_daemon_log(**fields)
        if records:
            raise ExpectationFailed(
                f"The daemon's log should have no record with {fields}, it has {len(records)}: {records[0]}"
            )

    @keyword
    def get_daemon_output(self) -> str:
        """Returns all that the daemon wrote to its standard streams since the scenario began.

        Example:
        | ${text} = | Get Daemon Output |
        """
        return self.world.selected.output(self.scenario.log_offset)


def _matches(seen: Any, wanted: str) -> bool:
    if wanted.startswith("~"):
        return seen is not None and re.search(wanted[1:], str(seen)) is not None
    return seen == wanted or seen == says(wanted) or (seen is not None and str(seen) == wanted)
