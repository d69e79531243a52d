"""The daemon's state database: taken from it and given back, damaged, locked."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from robot.api.deco import keyword

from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.exchange import exchange
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
        aside = path.with_name(f"{path.name}.aside")
        aside.mkdir()
        # In one step: a daemon that misses its database makes a new one.
        exchange(path, aside)
        return str(path)

    @keyword
    def make_state_database_usable(self) -> None:
        """Takes back `Make State Database Unusable`: the same database is where it was.

        Example:
        | Make State Database Usable |
        """
        path = self._path()
        self.scenario.act("the state database is back")
        aside = path.with_name(f"{path.name}.aside")
        exchange(path, aside)
        aside.rmdir()

    @keyword
    def damage_state_database(self, how: str) -> None:
        """Puts something else in the place of the state database; the own daemon must not run.

        ``text`` is no database at all, ``damaged pages`` looks like one and is none inside, ``another program's`` is a
        sound database with other tables.

        Example:
        | Kill Daemon |
        | Damage State Database | damaged pages |
        """
        path = self._path()
        if self.world.selected.is_running:
            raise UsageError("The daemon has to be killed first.")
        for file in path.parent.glob(f"{path.name}*"):
            if file.name in {path.name, f"{path.name}-wal", f"{path.name}-shm"}:
                file.unlink()
        match how:
            case "text":
                path.write_text("This is no database at all.\n" * 100, encoding="utf-8")
            case "damaged pages":
                path.write_bytes(b"SQLite format 3\0" + b"\xff" * 8192)
            case "another program's":
                with closing(sqlite3.connect(path)) as database, database:
                    database.execute("CREATE TABLE theirs (value TEXT)")
            case _:
                raise UsageError(f"'{how}' is none of: text, damaged pages, another program's.")

    @keyword
    def lock_state_database(self) -> None:
        """Lets another program hold the state database locked, so that every write of the own daemon blocks.

        Until `Unlock State Database`.

        Example:
        | Lock State Database |
        """
        lock = sqlite3.connect(self._path(), isolation_level=None, check_same_thread=False)
        lock.execute("PRAGMA busy_timeout = 5000")
        lock.execute("BEGIN EXCLUSIVE")
        self.scenario.memory["database_lock"] = lock
        self.scenario.cleanups.append(("the lock of the state database", lock.close))
        self.scenario.act("the state database is locked")

    @keyword
    def unlock_state_database(self) -> None:
        """Takes back `Lock State Database`.

        Example:
        | Unlock State Database |
        """
        self.scenario.act("the state database is unlocked")
        lock: sqlite3.Connection = self.scenario.memory["database_lock"]
        lock.rollback()
        lock.close()

    def _path(self) -> Path:
        if self.world.selected not in self.scenario.own_daemons:
            raise UsageError(
                "This would disturb other scenarios: begin with a step such as 'Given a daemon of its own'."
            )
        return self.world.selected.state_dir / "state.db"
