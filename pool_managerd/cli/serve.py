"""``serve``: run the daemon."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated

import typer

from pool_managerd.cli.common import note
from pool_managerd.cli.errors import CommandError, Exit, RefusedError, WrongUsageError


def serve(
    *,
    config: Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="The config (TOML).")] = None,
    http: Annotated[
        str | None, typer.Option("--http", "--address", metavar="HOST:PORT", help="HTTP address; port 0: any free one.")
    ] = None,
    grpc: Annotated[str | None, typer.Option("--grpc", metavar="HOST:PORT", help="gRPC address.")] = None,
    state_dir: Annotated[
        Path | None, typer.Option("--state-dir", metavar="DIR", help="Where the daemon keeps its state.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="File with the API token to ask callers for.")
    ] = None,
    log_format: Annotated[str | None, typer.Option("--log-format", metavar="json|console")] = None,
    log_level: Annotated[str | None, typer.Option("--log-level", metavar="LEVEL")] = None,
) -> None:
    """Run the daemon in the foreground. What is given here goes before the environment and the config."""
    if config is None:
        raise WrongUsageError(
            "serve needs a config: --config FILE",
            hint="write one that runs on any machine with `pool-managerd example-config > pools.toml`, "
            "then `pool-managerd serve --config pools.toml`",
        )
    # Nothing of what is imported now ever becomes garbage: the collector need not look at it, now or later.
    gc.disable()
    from pool_managerd.app import serve as run  # noqa: PLC0415 - imports the whole daemon

    gc.freeze()
    gc.enable()
    from pool_managerd.config_problems import ConfigError  # noqa: PLC0415 - needed by this command only
    from pool_managerd.core.errors import PoolManagerError  # noqa: PLC0415

    overrides = {
        "server.http": http,
        "server.grpc": grpc,
        "server.state_dir": state_dir,
        "server.token_file": token_file,
        "log.format": log_format,
        "log.level": log_level,
    }
    given = {key: str(value) for key, value in overrides.items() if value is not None}
    try:
        code = run(config, given)
    except ConfigError as error:
        for problem in error.problems:
            note(str(problem))
        code = Exit.USAGE
    except PoolManagerError as error:
        raise RefusedError(error.code, error.message, hint=error.hint, details=error.details) from error
    except OSError as error:
        # A taken address, a state directory that can't be written: the text names it.
        raise CommandError(str(error)) from error
    raise typer.Exit(code)
