"""Files: what the daemon writes, and what a scenario gives it to read."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check, dig
from PoolManagerLibrary.units import parse_size, seconds
from PoolManagerLibrary.waiting import wait_until


class FileKeywords(Keywords):
    """Keywords about files."""

    # -- what the daemon writes ---------------------------------------------------------------------------------

    @keyword
    def get_handoff(
        self,
        field: str = "",
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        engine: str = "the engine",
    ) -> Any:
        """Returns the handoff document of a replica, or one field of it by its dotted path.

        The file's own key ``model.path`` may be nested or not. Example:
        | Get Handoff | pool_id | == | ${id} |
        """
        path = self.handoff_path(engine)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ExpectationFailed(
                f"There is no handoff file {path}.\n{self.explain(self.scenario.replica(engine)[0])}"
            ) from None
        except ValueError as error:
            raise ExpectationFailed(f"The handoff file {path} is no JSON: {error}") from None
        if not field:
            return document
        value = document[field] if field in document else dig(document, field)
        return check(value, assertion_operator, assertion_expected, f"{field} of the handoff file")

    def handoff_path(self, engine: str) -> Path:
        """Where a replica's handoff file is."""
        self.world.need_local("files of the daemon")
        pool, replica = self.scenario.replica(engine)
        return self.world.selected.handoff_path(pool.pool_id, replica)

    @keyword
    def get_state_path(self, name: str, engine: str = "the engine") -> str:
        """Returns the path of a file in the state directory. ``{pool}`` and ``{replica}`` are filled in.

        Short names: ``handoff``, ``pid``, ``pool pid``, ``log``, ``pool log``.

        Example:
        | ${path} = | Get State Path | log |
        | ${path} = | Get State Path | engine-{pool}-{replica}.log |
        """
        self.world.need_local("files of the daemon")
        pool, replica = self.scenario.replica(engine)
        text = STATE_FILES.get(name.removesuffix(" file"), name)
        return str(self.world.selected.state_dir / text.format(pool=pool.pool_id, replica=replica))

    @keyword
    def state_file_should_exist(
        self, name: str, engine: str = "the engine", within: timedelta = timedelta(seconds=1)
    ) -> str:
        """Checks that a file of the state directory is there (see `Get State Path`) and returns its path.

        Example:
        | State File Should Exist | handoff | chat/r1 |
        """
        path = Path(self.get_state_path(name, engine))
        wait_until(
            path.exists,
            bool,
            timeout=seconds(within),
            expected=f"{path} to exist",
            context=lambda: self.explain(self.scenario.replica(engine)[0]),
        )
        return str(path)

    @keyword
    def state_file_should_not_exist(
        self, name: str, engine: str = "the engine", within: timedelta = timedelta(0)
    ) -> None:
        """Checks that a file of the state directory is not there (see `Get State Path`).

        Example:
        | State File Should Not Exist | handoff | within=500 ms |
        """
        path = Path(self.get_state_path(name, engine))
        wait_until(
            lambda: os.path.lexists(path),
            lambda there: not there,
            timeout=seconds(within),
            expected=f"{path} not to exist",
            context=lambda: self.explain(self.scenario.replica(engine)[0]),
        )

    @keyword
    def no_files_of_pool_should_be_left(self, name: str = "the pool", within: timedelta = timedelta(0)) -> None:
        """Checks that neither a pid file nor a handoff file of a pool is there.

        Example:
        | No Files Of Pool Should Be Left | chat |
        """
        for pool in self.scenario.pools_named(name):
            for replica in pool.replicas:
                for file in ("pid", "handoff", "pool pid"):
                    self.state_file_should_not_exist(file, f"{pool.alias}/{replica}", within)

    @keyword
    def get_pid_file(self, engine: str = "the engine", of_pool: bool = False) -> str:
        """Returns the text of a replica's pid file as it is, or of its pool's.

        Example:
        | ${text} = | Get Pid File | chat/r0 |
        """
        path = Path(self.get_state_path("pool pid" if of_pool else "pid", engine))
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ExpectationFailed(f"There is no pid file {path}.") from None

    @keyword
    def get_file_mode(
        self,
        path: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> str:
        """Returns the access bits of a file as ``600``.

        Example:
        | Get File Mode | ${path} | == | 600 |
        """
        mode = f"{stat.S_IMODE(Path(path).stat().st_mode):o}"
        check(mode, assertion_operator, assertion_expected, f"Mode of {path}")
        return mode

    @keyword
    def get_engine_log(self, engine: str = "the engine") -> str:
        """Returns the text of a replica's log file.

        Example:
        | ${text} = | Get Engine Log |
        """
        path = Path(self.get_state_path("log", engine))
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    @keyword
    def engine_log_should_have(
        self, text: str, engine: str = "the engine", within: timedelta = timedelta(seconds=1), count: int | None = None
    ) -> None:
        """Checks that a text stands in a replica's log, or stands there exactly ``count`` times.

        Example:
        | Engine Log Should Have | hello | within=1 s |
        """
        wait_until(
            lambda: self.get_engine_log(engine).count(text),
            lambda seen: seen > 0 if count is None else seen == count,
            timeout=seconds(within),
            expected=f"'{text}' to stand {'' if count is None else f'{count} times '}in the log of {engine}",
            show=lambda seen: f"{seen} times",
            context=lambda: self.get_engine_log(engine)[-1500:],
        )

    @keyword
    def start_reading_handoff(self, engine: str = "the engine") -> None:
        """Reads a replica's handoff file again and again in the background, as an orchestrator might.

        Example:
        | Start Reading Handoff |
        | No Partial Handoff Was Read |
        """
        reader = _Reader(self.handoff_path(engine))
        self.scenario.memory["handoff_reader"] = reader
        self.scenario.cleanups.append(("the reader of the handoff file", reader.stop))

    @keyword
    def no_partial_handoff_was_read(self, at_least: int = 10) -> int:
        """Checks that every document that `Start Reading Handoff` read was whole. Returns how many there were.

        Example:
        | No Partial Handoff Was Read | at_least=100 |
        """
        reader: _Reader = self.scenario.memory["handoff_reader"]
        reader.stop()
        if reader.bad:
            raise ExpectationFailed(f"A reader of the handoff file saw a partial document: {reader.bad[0]!r}")
        if reader.good < at_least:
            raise ExpectationFailed(f"The handoff file was read {reader.good} times only; that proves nothing.")
        return reader.good

    # -- what a scenario gives the daemon to read ---------------------------------------------------------------

    @keyword
    def create_model_file(self, name: str, size: str | None = None, content: str | None = None) -> str:
        """Puts a model file into the folder that models may come from. Returns its path. Default: a small GGUF header.

        Example:
        | Create Model File | other.gguf |
        | Create Model File | cut.gguf | content=GGUF |
        """
        self.world.need_local("files of the daemon")
        path = self.world.model_file(name, None if size is None else parse_size(size))
        if content is not None:
            path.write_text(content, encoding="utf-8")
        return str(path)

    @keyword
    def remove_model_file(self, name: str) -> None:
        """Removes a model file made by `Create Model File`.

        Example:
        | Remove Model File | other.gguf |
        """
        (self.world.selected.models_path / name.removeprefix("models/")).unlink()

    @keyword
    def write_file(self, name: str, text: str, mode: str = "600") -> str:
        """Writes a text file into the daemon's folder and returns its path.

        Example:
        | ${file} = | Write File | token | secret |
        """
        self.world.need_local("files of the daemon")
        path = self.world.selected.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(int(mode, 8))
        return str(path)

    @keyword
    def make_handoff_folder_unusable(self) -> None:
        """Turns the ``engines`` folder into a plain file, until `Make Handoff Folder Usable`. Own daemon only.

        Example:
        | Make Handoff Folder Unusable |
        """
        if self.world.selected not in self.scenario.own_daemons:
            raise UsageError(
                "This would disturb other scenarios: begin with a step such as 'Given a daemon of its own'."
            )
        folder = self.world.selected.state_dir / "engines"
        self.scenario.act("the engines folder is a plain file")
        if folder.is_dir():
            folder.rename(folder.with_name("engines.aside"))
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.write_text("in the way", encoding="utf-8")

    @keyword
    def make_handoff_folder_usable(self) -> None:
        """Takes back `Make Handoff Folder Unusable`.

        Example:
        | Make Handoff Folder Usable |
        """
        folder = self.world.selected.state_dir / "engines"
        self.scenario.act("the engines folder is back")
        if folder.is_file():
            folder.unlink()
        aside = folder.with_name("engines.aside")
        if aside.is_dir():
            aside.rename(folder)
        else:
            folder.mkdir(mode=0o700)


STATE_FILES = {
    "handoff": "engines/{pool}-{replica}.json",
    "pid": "{pool}-{replica}.pid",
    "pool pid": "{pool}.pid",
    "log": "engine-{pool}-{replica}.log",
    "pool log": "engine-{pool}.log",
}


class _Reader:
    """A thread that reads a JSON file as fast as it can."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.good = 0
        self.bad: list[bytes] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="handoff-reader", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                data = self.path.read_bytes()
            except OSError:
                time.sleep(0.001)
                continue
            try:
                json.loads(data)
                self.good += 1
            except ValueError:
                self.bad.append(data)
            time.sleep(0.0005)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(2)
