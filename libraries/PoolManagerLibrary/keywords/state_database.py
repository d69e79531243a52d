"""The daemon's state database, taken from it and given back."""

from __future__ import annotations

from pathlib import Path

from robot.api.deco import keyword

from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.keywords.base import Keywords


class StateDatabaseKeywords(Keywords):
    """Keywords about the state database."""

    @keyword
    def make_state_database_unusable(self) -> str:
        """Puts a folder in the place of the own daemon's state database, and returns its path.

        Until `Make State Database Usable`.

        Example:
        | Make State Database Unusable |
        """
        path = self._path()
        self.scenario.act("the state database is taken away")
        path.rename(path.with_name(f"{path.name}.aside"))
        path.mkdir()
        return str(path)

    @keyword
    def make_state_database_usable(self) -> None:
        """Takes back `Make State Database Unusable`: the same database is where it was.

        Example:
        | Make State Database Usable |
        """
        path = self._path()
        self.scenario.act("the state database is back")
        path.rmdir()
        path.with_name(f"{path.name}.aside").rename(path)

    def _path(self) -> Path:
        if self.world.selected not in self.scenario.own_daemons:
            raise UsageError(
                "This would disturb other scenarios: begin with a step such as 'Given a daemon of its own'."
            )
        return self.world.selected.state_dir / "state.db"
