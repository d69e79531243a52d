"""``leases``: list, acquire, renew and release."""

from __future__ import annotations

import shlex
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from pool_managerd.cli.client import pool_path
from pool_managerd.cli.common import (
    Address,
    Group,
    Json,
    PoolId,
    TokenFile,
    connect,
    print_json,
    print_table,
    say,
)
from pool_managerd.cli.errors import WrongUsageError


class _Leases(Group):
    """Tells who names a pool at once that a command comes first."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is asked for."""
        # While a shell completes a line, nothing in it is wrong yet.
        if not ctx.resilient_parsing and not args[0].startswith("-") and args[0] not in self.commands:
            near = get_close_matches(args[0], self.commands, n=1)
            hint = f"did you mean {near[0]!r}? " if near else "a command comes first: "
            rest = shlex.join([near[0], *args[1:]] if near else ["list", *args])
            raise WrongUsageError(
                f"leases knows {', '.join(self.commands)}, not {args[0]!r}", hint=f"{hint}`pool-managerd leases {rest}`"
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=_Leases, help="List, acquire, renew and release leases.", no_args_is_help=True)

LeaseId = Annotated[str, typer.Argument(metavar="LEASE", help="The lease's id.")]
TimeToLive = Annotated[
    int | None, typer.Option("--ttl-ms", metavar="MS", help="Time to live. Default: the pool's config.")
]


@app.command("list")
def list_(pool: PoolId, *, json: Json = False, address: Address = None, token_file: TokenFile = None) -> None:
    """Show a pool's leases."""
    document = connect(address, token_file).get(pool_path(pool, "leases"))
    if json:
        print_json(document)
        return
    print_table(
        ("LEASE", "REPLICA", "HOLDER", "EXPIRES", "URL"),
        (
            (lease["lease_id"], lease["replica_id"], lease["holder"] or "-", lease["expires_at"], lease["url"])
            for lease in document["leases"]
        ),
    )


@app.command()
def acquire(
    pool: PoolId,
    *,
    holder: Annotated[str | None, typer.Option("--holder", metavar="NAME", help="Who holds it.")] = None,
    ttl_ms: TimeToLive = None,
    json: Json = False,
    address: Address = None,
    token_file: TokenFile = None,
) -> None:
    """Take a lease and print its id and url."""
    body = _given(holder=holder, ttl_ms=ttl_ms)
    lease = connect(address, token_file).call("POST", pool_path(pool, "leases"), body=body)
    if json:
        print_json(lease)
    else:
        say(f"{lease['lease_id']} {lease['url']} until {lease['expires_at']}")


@app.command()
def renew(
    pool: PoolId,
    lease: LeaseId,
    *,
    ttl_ms: TimeToLive = None,
    json: Json = False,
    address: Address = None,
    token_file: TokenFile = None,
) -> None:
    """Renew a lease."""
    renewed = connect(address, token_file).call("PUT", pool_path(pool, "leases", lease), body=_given(ttl_ms=ttl_ms))
    if json:
        print_json(renewed)
    else:
        say(f"{lease} until {renewed['expires_at']}")


@app.command()
def release(
    pool: PoolId, lease: LeaseId, *, json: Json = False, address: Address = None, token_file: TokenFile = None
) -> None:
    """Give a lease back; once more changes nothing."""
    connect(address, token_file).call("DELETE", pool_path(pool, "leases", lease))
    if json:
        print_json({"lease_id": lease, "pool_id": pool, "released": True})
    else:
        say(f"{lease} is released")


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
