"""From a TOML file, the environment and the command line to a checked config, or to the list of all that is wrong.

Precedence: command line, environment, file, default.
"""

import copy
import os
import stat
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pool_managerd import config_checks
from pool_managerd.config import (
    Config,
    DevicesConfig,
    LogConfig,
    PoolConfig,
    ServerConfig,
    Tokens,
)
from pool_managerd.config_faults import CODES_BY_KEY, describe, unknown_key
from pool_managerd.config_lines import LineIndex, Place
from pool_managerd.config_problems import ConfigError, ConfigProblem, jsonable
from pool_managerd.config_values import kind_of
from pool_managerd.core.errors import Code

SECTIONS: dict[str, type[BaseModel]] = {"server": ServerConfig, "devices": DevicesConfig, "log": LogConfig}
#: Environment variable → key.
ENVIRONMENT = {"POOL_MANAGERD_ADDR": ("server", "http"), "POOL_MANAGERD_GRPC_ADDR": ("server", "grpc")}
TOKEN_VARIABLE = "LLORCH_API_TOKEN"  # noqa: S105  # the name of the variable, not a token
#: A path given on the command line is relative to the folder that the command is started in.
_PATH_KEYS = {"server.state_dir", "server.token_file", "server.readonly_token_file", "devices.simulated_dir"}
#: Stand-ins for required keys that are wrong, so that the others can be checked all the same.
_PLACEHOLDERS = {"id": "x", "engine": "simulated"}

#: How deep the tables and lists of a config may lie in each other; its own keys need five levels.
MAX_DEPTH = 32

_SectionT = TypeVar("_SectionT", bound=BaseModel)


def load_config(
    path: str | os.PathLike[str],
    *,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Read and check a config file.

    :param env: the environment, ``os.environ`` unless given.
    :param overrides: what the command line says, by dotted key: ``{"server.http": "127.0.0.1:0"}``. None is "not said".
    :raises ConfigError: with everything that is wrong.
    """
    file = Path(path).absolute()
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "check the path; `pool-managerd example-config` prints a config to begin with"
        raise ConfigError([ConfigProblem(str(file), None, "", None, f"cannot be read: {reason}", hint)]) from error
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}"
        raise ConfigError([ConfigProblem(str(file), None, "", None, message, "save it as UTF-8")]) from error
    return parse_config(text, file, env=env, overrides=overrides)


def parse_config(
    text: str, file: Path, *, env: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Config:
    """Like :func:`load_config` for text that is in hand; ``file`` gives its name and the folder of relative paths."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(error, text, file)]) from error
    except (ValueError, RecursionError) as error:
        # Python's own limits: a number of thousands of digits, brackets nested a thousand deep.
        problem = ConfigProblem(str(file), None, "", None, f"is not usable: {error}", "shorten the value")
        raise ConfigError([problem]) from error
    if _depth_exceeds(document, MAX_DEPTH):
        # No key is this deep; what is would break the recursions over the document.
        message = f"is not usable: tables or lists are nested deeper than {MAX_DEPTH} levels"
        raise ConfigError([ConfigProblem(str(file), None, "", None, message, "remove the dots or brackets")])
    return _Loader(document, LineIndex(text), file, os.environ if env is None else env, overrides or {}).load()


def _depth_exceeds(document: dict[str, Any], limit: int) -> bool:
    level: list[Any] = [document]
    for _ in range(limit):
        tables = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for table in tables for child in table if isinstance(child, (dict, list))]
    return bool(level)


def _syntax_problem(error: tomllib.TOMLDecodeError, text: str, file: Path) -> ConfigProblem:
    message, _, place = str(error).partition(" (at ")
    digits = place.removeprefix("line ").split(",")[0]
    line = int(digits) if digits.isdigit() else max(1, text.count("\n") + (not text.endswith("\n")))
    return ConfigProblem(
        str(file), line, "", None, f"is not valid TOML: {message}", "see https://toml.io for how to write it"
    )


class _Loader:
    """One run over one document; collects the problems."""

    def __init__(
        self,
        document: dict[str, Any],
        index: LineIndex,
        file: Path,
        env: Mapping[str, str],
        overrides: Mapping[str, Any],
    ) -> None:
        self.document = document
        self.index = index
        self.file = file
        self.env = env
        self.overrides = {key: value for key, value in overrides.items() if value is not None}
        self.problems: list[ConfigProblem] = []
        #: Keys whose value is not the file's: place → where it is from, and its name there.
        self.origins: dict[Place, tuple[str, str]] = {}
        #: Places (of keys in their table) that are known to be wrong.
        self.bad: set[Place] = set()

    def load(self) -> Config:
        self.document = self._clean(self.document, ())
        self._outside_values()
        for key in self.document:
            if key not in SECTIONS and key != "pool":
                self._unknown((key,), key, None)
        server = self._section(ServerConfig, self.document.get("server", {}), ("server",))
        devices = self._section(DevicesConfig, self.document.get("devices", {}), ("devices",))
        log = self._section(LogConfig, self.document.get("log", {}), ("log",))
        pools = self._pools()
        tokens = self._tokens(server)
        self._cross_checks(server, pools, tokens)
        if self.problems:
            self.problems.sort(key=lambda problem: (problem.line is not None, problem.line or 0))
            raise ConfigError(self.problems)
        return Config(server=server, devices=devices, log=log, pools=tuple(pools), path=self.file, tokens=tokens)

    # values from outside the file

    def _outside_values(self) -> None:
        for variable, place in ENVIRONMENT.items():
            if value := self.env.get(variable):
                self._set(place, value, ("environment", variable))
        for dotted, value in self.overrides.items():
            section, _, key = dotted.partition(".")
            if section not in SECTIONS or key not in SECTIONS[section].model_fields:
                raise ValueError(f"no config key {dotted!r} can be given on the command line")
            if dotted in _PATH_KEYS:
                value = os.path.abspath(value)  # noqa: PLW2901, PTH100  # Path.absolute() would keep ".."
            self._set((section, key), value, ("command line", dotted))

    def _set(self, place: Place, value: object, origin: tuple[str, str]) -> None:
        section = self.document.setdefault(str(place[0]), {})
        if isinstance(section, dict):  # else it is reported as what it is
            section[place[1]] = value
            self.origins[place] = origin

    def _clean(self, node: Any, place: Place) -> Any:
        """The same without NUL characters, which no path, argument or variable can hold; each is reported."""
        if isinstance(node, dict):
            return {key: self._clean(value, (*place, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [self._clean(item, (*place, number)) for number, item in enumerate(node)]
        if isinstance(node, str) and "\x00" in node:
            self._report(place, node, "has a NUL character", "remove it")
            self._mark(place)
            return node.replace("\x00", "")
        return node

    # tables

    def _pools(self) -> list[PoolConfig]:
        raw = self.document.get("pool", [])
        if not isinstance(raw, list) or not all(isinstance(pool, dict) for pool in raw):
            what = "one table" if isinstance(raw, dict) else kind_of(raw)
            self._report(("pool",), raw, f"must be a list of tables, not {what}", "write [[pool]] above each pool")
            return []
        return [self._section(PoolConfig, pool, ("pool", number)) for number, pool in enumerate(raw)]

    def _section(self, model: type[_SectionT], raw: Any, place: Place) -> _SectionT:
        """The table as a value. What is wrong in it is reported and replaced by its default."""
        if not isinstance(raw, dict):
            hint = f"write [{place[0]}] and its keys below"
            self._report(place, raw, f"must be a table, not {kind_of(raw)}", hint)
            self._mark(place)
            raw = {}
        context = {"base": self.file.parent}
        try:
            return model.model_validate(raw, context=context)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        healed = copy.deepcopy(raw)
        for item in errors:
            where = tuple(item["loc"])
            if item["type"] == "extra_forbidden":
                self._unknown(place + where, str(where[-1]), _table_model(model, where))
            else:
                fault = describe(item, model)
                self._report(place + where, fault.value, fault.message, fault.hint)
                self._mark(place + where)
            _remove(healed, where)
        if model is PoolConfig:
            for key in _PLACEHOLDERS.keys() - healed.keys():
                healed[key] = _PLACEHOLDERS[key]
        return model.model_validate(healed, context=context)

    def _unknown(self, place: Place, key: str, table: type[BaseModel] | None) -> None:
        message, hint = unknown_key(key, table, top=[*SECTIONS, "pool"])
        self._report(place, None, message, hint)  # its value is nobody's: it might be a secret

    # tokens

    def _tokens(self, server: ServerConfig) -> Tokens:
        from_file = self._token_file(server, "token_file")
        readonly = self._token_file(server, "readonly_token_file")
        full = from_file
        variable = self.env.get(TOKEN_VARIABLE, "").strip()
        if variable and ("server", "token_file") not in self.origins:
            full = variable
            if not _is_token(variable):
                self._problem("environment", None, TOKEN_VARIABLE, None, *_BAD_TOKEN)
        if readonly and not (full or server.token_file):
            self._report(
                ("server", "readonly_token_file"),
                str(server.readonly_token_file),
                "is set, and no API token is: whoever has no token could do all",
                f"set {TOKEN_VARIABLE} or server.token_file too",
            )
        elif readonly and readonly == full:
            self._report(
                ("server", "readonly_token_file"),
                str(server.readonly_token_file),
                "holds the same token as the one that may do all",
                "give readers a token of their own",
            )
        return Tokens(full, readonly)

    def _token_file(self, server: ServerConfig, key: str) -> str | None:
        path: Path | None = getattr(server, key)
        if path is None:
            return None
        message, hint = "", "write one line with the token, and chmod 600 the file"
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(8192)
        except OSError as error:
            message = f"the token file {path} cannot be read: {error.strerror}"
        else:
            try:
                token = content.decode("ascii").strip()
            except UnicodeDecodeError:
                token = ""
            if stat.S_IMODE(mode) & 0o077:
                message = f"the token file {path} can be read by others: its mode is {stat.S_IMODE(mode):04o}"
                hint = f"chmod 600 {path}"
            elif not _is_token(token):
                message, hint = f"the token file {path}: {_BAD_TOKEN[0]}", _BAD_TOKEN[1]
            else:
                return token
        self._report(("server", key), str(path), message, hint)
        return None

    # between keys

    def _cross_checks(self, server: ServerConfig, pools: list[PoolConfig], tokens: Tokens) -> None:
        for finding in config_checks.check_server(server):
            self._finding(("server",), finding)
        if ("server", "token_file") not in self.bad:
            has_token = tokens.full is not None or server.token_file is not None
            for finding in config_checks.check_bind(server, has_token=has_token):
                self._finding(("server",), finding)
        for finding in config_checks.check_ports(pools, server):
            self._finding(("server",), finding)
        for number, pool in enumerate(pools):
            for finding in config_checks.check_pool(pool):
                self._finding(("pool", number), finding)
        known = [number for number in range(len(pools)) if ("pool", number, "id") not in self.bad]

        def line_of(number: int) -> int | None:
            return self.index.line(("pool", known[number], "id"))

        for number, finding in config_checks.check_between([pools[number] for number in known], server, line_of):
            self._finding(("pool", known[number]), finding)

    def _finding(self, place: Place, finding: config_checks.Finding) -> None:
        looked_at = [
            tuple(key.split(".")) if key.startswith("server.") else (*place, *key.split(".")) for key in finding.keys
        ]
        if self.bad.isdisjoint(looked_at[:1] + looked_at) and place not in self.bad:
            self._report(looked_at[0], finding.value, finding.message, finding.hint, finding.code)

    # reporting

    def _report(self, place: Place, value: object, message: str, hint: str, code: Code | None = None) -> None:
        origin = self.origins.get(place[:2])
        file = origin[0] if origin else str(self.file)
        line = None if origin else self.index.line(place)
        key = origin[1] if origin else self._name(place)
        if code is None:
            pool_key = place[2] if place[0] == "pool" and len(place) > 2 else ""
            code = CODES_BY_KEY.get(str(pool_key), Code.INVALID_REQUEST)
        if "env" in place[2:3]:
            value = None  # it may be a secret
        self._problem(file, line, key, value, message, hint, code)

    def _problem(
        self,
        file: str,
        line: int | None,
        key: str,
        value: object,
        message: str,
        hint: str,
        code: Code = Code.INVALID_REQUEST,
    ) -> None:
        self.problems.append(ConfigProblem(file, line, key, jsonable(value), message, hint, code))

    def _mark(self, place: Place) -> None:
        """Remember a wrong key: its place without list indices, and the key of the pool that it is part of."""
        names = tuple(part for number, part in enumerate(place) if number < 2 or isinstance(part, str))
        self.bad.update((names, names[:3]))

    def _value(self, place: Place) -> Any:
        node: Any = self.document
        for part in place:
            try:
                node = node[part]
            except (KeyError, IndexError, TypeError):
                return None
        return node

    def _name(self, place: Place) -> str:
        parts: Iterable[str | int] = place
        name = ""
        if place[0] == "pool" and len(place) > 1:
            pool_id = self._value((*place[:2], "id"))
            name = f"pool[{_plain(pool_id)}]" if isinstance(pool_id, str) else f"pool[#{int(place[1]) + 1}]"
            parts = place[2:]
        for part in parts:
            name += f"[{part}]" if isinstance(part, int) else f".{_plain(part)}" if name else _plain(part)
        return name


_BAD_TOKEN = (
    "a token is 1 to 4096 visible ASCII characters without spaces, and this is something else",
    "make one with: openssl rand -hex 32",
)


def _plain(name: str) -> str:
    """A name from the file that can stand in one line of a log."""
    text = name.encode("unicode_escape").decode()
    return text if len(text) <= 80 else text[:79] + "…"


def _is_token(text: str) -> bool:
    return 0 < len(text) <= 4096 and all("!" <= character <= "~" for character in text)


def _table_model(model: type[BaseModel], where: tuple[str | int, ...]) -> type[BaseModel]:
    """The model of the table that holds the key at ``where``."""
    for part in where[:-1]:
        field = model.model_fields.get(str(part))
        if field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
    return model


def _remove(table: dict[str, Any], where: tuple[str | int, ...]) -> None:
    """Take a wrong value out of a table; within a list, the whole list."""
    for part in where[:-1]:
        following = table.get(str(part))
        if not isinstance(following, dict):
            table.pop(str(part), None)
            return
        table = following
    table.pop(str(where[-1]), None)
