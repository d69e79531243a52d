"""The commands and their names. A command's module is imported when its command runs."""

from __future__ import annotations

from typing import Annotated

import typer

from pool_managerd import __version__
from pool_managerd.cli import config_commands, devices, leases, pools, serve, status, streams
from pool_managerd.cli.common import Group, say

app = typer.Typer(
    name="pool-managerd",
    cls=Group,
    help="Runs LLM engines on the GPUs of this host, and keeps them running.",
    epilog="Exit codes: 0 done, 1 the daemon or the plan said no, 2 wrong usage or config, 3 no daemon there.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root(
    *,
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    if version:
        say(f"pool-managerd {__version__}")
        raise typer.Exit


app.command("serve")(serve.serve)
app.command("status")(status.status)
app.command("preload")(pools.preload)
app.command("drain")(pools.drain)
app.command("undrain")(pools.undrain)
app.command("reload")(pools.reload)
app.command("reset")(pools.reset)
app.add_typer(leases.app, name="leases")
app.command("logs")(streams.logs)
app.command("events")(streams.events)
app.command("devices")(devices.devices)
app.command("check-config")(config_commands.check_config)
app.command("example-config")(config_commands.example_config)
