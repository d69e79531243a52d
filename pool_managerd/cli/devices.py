"""``devices``: the GPUs as the daemon sees them, or where a config's pools would go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pool_managerd.cli.common import Address, Json, TokenFile, connect, format_bytes, note, print_json, print_table, say
from pool_managerd.cli.errors import Exit


def devices(
    *,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Show where this config's pools would go; needs no daemon."),
    ] = None,
    json: Json = False,
    address: Address = None,
    token_file: TokenFile = None,
) -> None:
    """Show the GPUs: memory, health, and who holds memory."""
    if plan is not None:
        _plan(plan, as_json=json)
        return
    document = connect(address, token_file).get("/v2/devices")
    if json:
        print_json(document)
        return
    print_table(
        ("GPU", "UUID", "NAME", "TOTAL", "FREE", "USED", "RESERVED", "UTIL", "TEMP", "HEALTH", "HOLDERS"),
        (
            (
                f"{device['index']}{' MIG' if device['parent'] else ''}",
                device["uuid"],
                device["name"],
                format_bytes(device["memory_total_bytes"]),
                format_bytes(device["memory_free_bytes"]),
                format_bytes(device["memory_used_bytes"]),
                format_bytes(device["memory_reserved_bytes"]),
                _with_unit(device["utilization_percent"], " %"),
                _with_unit(device["temperature_celsius"], " °C"),
                "divided" if device["mig"] and device["health"] == "ok" else device["health"],
                ", ".join(_holder(holder) for holder in device["holders"]) or "-",
            )
            for device in document["devices"]
        ),
    )
    if document["driver_version"] is not None:
        note(f"Driver {document['driver_version']}, CUDA up to {document['cuda_version'] or 'an unknown version'}.")
    if document["source"] == "simulated":
        note("These GPUs are simulated.")
    if document["stale"]:
        note(f"The driver does not answer; these are the values of {document['taken_at']}.")


def _with_unit(value: int | None, unit: str) -> str:
    return "-" if value is None else f"{value}{unit}"


def _holder(holder: dict[str, Any]) -> str:
    return f"{holder['pool_id'] or 'other'} (pid {holder['pid']}, {format_bytes(holder['used_bytes'])})"


def _plan(file: Path, *, as_json: bool) -> None:
    from pool_managerd.cli.config_commands import check  # noqa: PLC0415 - only a plan needs it
    from pool_managerd.cli.host import look  # noqa: PLC0415
    from pool_managerd.cli.plan import COLUMNS, make_plan, summary, table_row  # noqa: PLC0415
    from pool_managerd.core.errors import PoolManagerError  # noqa: PLC0415

    config, problems, _ = check(file)
    for problem in problems:
        note(str(problem))
    if config is None or problems:
        raise typer.Exit(Exit.USAGE)
    try:
        rows = make_plan(config, look(config))
    except PoolManagerError as error:
        note(f"{error.code}: {error.message}")
        if error.hint:
            note(f"hint: {error.hint}")
        raise typer.Exit(Exit.REFUSED) from error
    fits = all(row.fits for row in rows)
    overhead = config.devices.overhead_bytes
    if as_json:
        print_json({"fits": fits, "overhead_bytes": overhead, "placements": [row.as_json() for row in rows]})
    else:
        print_table(COLUMNS, (table_row(row) for row in rows))
        for line in summary(rows, overhead):
            say(line)
    if not fits:
        raise typer.Exit(Exit.REFUSED)
