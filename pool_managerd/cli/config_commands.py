"""``check-config`` and ``example-config``."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pool_managerd.cli.common import Json, note, print_json, say
from pool_managerd.cli.errors import Exit

if TYPE_CHECKING:
    from pool_managerd.config import Config, PoolConfig
    from pool_managerd.config_problems import ConfigProblem
    from pool_managerd.core.errors import PoolManagerError

#: These two talk to no daemon; they take the options so that a script may pass them to every command.
_Address = Annotated[str | None, typer.Option("--address", hidden=True)]
_TokenFile = Annotated[Path | None, typer.Option("--token-file", hidden=True)]


def check_config(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The config, a TOML file.")],
    *,
    json: Json = False,
    address: _Address = None,  # noqa: ARG001 - see _Address
    token_file: _TokenFile = None,  # noqa: ARG001 - see _Address
) -> None:
    """Say everything that is wrong with a config; exit code 2 if anything is. Starts nothing, needs no daemon."""
    config, problems, remark = check(file)
    if json:
        print_json({"ok": not problems, "problems": [asdict(problem) for problem in problems], "remark": remark})
    for problem in problems:
        note(str(problem))
    if problems:
        raise typer.Exit(Exit.USAGE)
    if not json and config is not None:
        count = len(config.pools)
        say(f"{file}: good, {count} pool{'' if count == 1 else 's'}" + (f" ({remark})" if remark else ""))


def example_config(
    *,
    json: Json = False,
    address: _Address = None,  # noqa: ARG001 - see _Address
    token_file: _TokenFile = None,  # noqa: ARG001 - see _Address
) -> None:
    """Print a config that runs on any machine, with every key and its default."""
    from pool_managerd.config_example import example_config as text  # noqa: PLC0415 - needed by this command only

    if json:
        print_json(tomllib.loads(text()))
    else:
        sys.stdout.write(text())


def check(file: Path) -> tuple[Config | None, list[ConfigProblem], str | None]:
    """Check a file's values, the engines' arguments and, where this host's GPUs can be seen, the masks.

    The third value is what was not checked.
    """
    from pool_managerd.cli.host import look, mask_problems  # noqa: PLC0415 - needed by this command only
    from pool_managerd.config_lines import LineIndex  # noqa: PLC0415
    from pool_managerd.config_load import load_config  # noqa: PLC0415
    from pool_managerd.config_problems import ConfigError, ConfigProblem  # noqa: PLC0415
    from pool_managerd.core.errors import PoolManagerError  # noqa: PLC0415

    try:
        config = load_config(file)
    except ConfigError as error:
        return None, list(error.problems), None
    found, remark = _argument_problems(config), None
    try:
        found += [(pool, "devices", error) for pool, error in mask_problems(config, look(config))]
    except PoolManagerError as error:
        remark = f"masks were not checked against the GPUs: {error.message}"
    lines = LineIndex(file.read_text(encoding="utf-8-sig"))
    problems = [
        ConfigProblem(
            file=str(config.path or file),
            line=lines.line(("pool", config.pools.index(pool), key)),
            key=f"pool[{pool.id}].{key}",
            value=error.details.get("argument", error.details.get(key)),
            message=error.message,
            hint=error.hint or "",
            code=error.code,
        )
        for pool, key, error in found
    ]
    return config, problems, remark


def _argument_problems(config: Config) -> list[tuple[PoolConfig, str, PoolManagerError]]:
    """What each pool's engine refuses of its arguments and environment, as its preflight would."""
    from pool_managerd.core.errors import PoolManagerError  # noqa: PLC0415 - needed by this command only
    from pool_managerd.engines import get_engine  # noqa: PLC0415

    problems = []
    for pool in config.pools:
        try:
            get_engine(pool.engine).check_args(pool)
        except PoolManagerError as error:
            problems.append((pool, str(error.details.get("field", "args")), error))
    return problems
