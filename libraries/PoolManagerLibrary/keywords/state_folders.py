"""The state directory itself: removed, moved away, emptied, made again under the running daemon."""

from __future__ import annotations

import shutil
from pathlib import Path

from robot.api.deco import keyword

from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.keywords.base import Keywords


class StateFolderKeywords(Keywords):
    """Keywords about the state directory as a whole."""

    @keyword
    def remove_state_directory(self) -> str:
        """Removes the own daemon's state directory with all that is in it, and returns its path.

        Example:
        | Remove State Directory |
        """
        path = self._path()
        self.scenario.act("the state directory is removed")
        shutil.rmtree(path)
        return str(path)

    @keyword
    def move_state_directory_away(self) -> str:
        """Renames the own daemon's state directory, and returns the new path.

        Example:
        | Move State Directory Away |
        | Move State Directory Back |
        """
        path = self._path()
        self.scenario.act("the state directory is moved away")
        return str(path.rename(path.with_name(f"{path.name}.away")))

    @keyword
    def move_state_directory_back(self) -> None:
        """Takes back `Move State Directory Away`.

        Example:
        | Move State Directory Back |
        """
        path = self._path()
        self.scenario.act("the state directory is moved back")
        path.with_name(f"{path.name}.away").rename(path)

    @keyword
    def empty_state_directory(self) -> None:
        """Removes all that is in the own daemon's state directory, but not the directory.

        Example:
        | Empty State Directory |
        """
        path = self._path()
        self.scenario.act("the state directory is emptied")
        for entry in path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)

    @keyword
    def make_state_directory(self) -> None:
        """Makes the own daemon's state directory anew, empty, as an operator would.

        Example:
        | Make State Directory |
        """
        self.scenario.act("the state directory is made again")
        self._path().mkdir()

    def _path(self) -> Path:
        if self.world.selected not in self.scenario.own_daemons:
            raise UsageError(
                "This would disturb other scenarios: begin with a step such as 'Given a daemon of its own'."
            )
        return self.world.selected.state_dir
