"""``logs`` and ``events``: what goes on for as long as one looks."""

from __future__ import annotations

import contextlib
import json as json_module
import sys
from typing import Annotated, Any

import typer

from pool_managerd.cli.client import Client, pool_path
from pool_managerd.cli.common import Address, PoolId, TokenFile, connect, say
from pool_managerd.cli.errors import CommandError, NoDaemonError
from pool_managerd.cli.progress import describe

#: Seconds of silence after which a stream of past events has none to give.
_QUIET_S = 2.0


def logs(
    pool: PoolId,
    *,
    tail: Annotated[int | None, typer.Option("--tail", "-n", metavar="LINES", min=0, help="Last lines only.")] = None,
    replica: Annotated[str | None, typer.Option("--replica", metavar="REPLICA", help="Such as r0.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line.")] = False,
    address: Address = None,
    token_file: TokenFile = None,
) -> None:
    """Print the log of a pool's engine, of its first replica unless another is named."""
    client = connect(address, token_file)
    if json and replica is None:
        replica = client.get(pool_path(pool))["replicas"][0]["replica_id"]
    query = {"tail": tail, "replica": replica, "follow": follow or None}
    with client.stream(pool_path(pool, "logs"), **query) as stream:
        if json:
            for raw in stream.lines():
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                say(json_module.dumps({"pool_id": pool, "replica_id": replica, "line": line}, ensure_ascii=False))
            return
        for chunk in stream.chunks():
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()


def events(
    *,
    since: Annotated[
        int | None, typer.Option("--since", metavar="REVISION", min=0, help="Begin after this revision.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new events; without --since: from now on.")
    ] = False,
    pool: Annotated[str | None, typer.Option("--pool", metavar="POOL", help="Of one pool only.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line.")] = False,
    address: Address = None,
    token_file: TokenFile = None,
) -> None:
    """Print events: those still kept, or from a revision on, or as they happen."""
    client = connect(address, token_file)
    if follow:
        _follow(client, since, pool, as_json=json)
    else:
        _past(client, since or 0, pool, as_json=json)


def _follow(client: Client, since: int | None, pool: str | None, *, as_json: bool) -> None:
    with client.events(since) as stream:
        try:
            for event in stream:
                _print(event, pool, as_json=as_json)
        except TimeoutError as error:
            raise NoDaemonError(client.address, error) from error


def _past(client: Client, since: int, pool: str | None, *, as_json: bool) -> None:
    present = client.get("/v2/pools")["revision"]
    if since >= present:
        return
    last = since
    with client.events(since) as stream, contextlib.suppress(TimeoutError):
        stream.stream.settimeout(_QUIET_S)
        for event in stream:
            _print(event, pool, as_json=as_json)
            last = event["revision"]
            if last >= present:
                return
    raise CommandError(
        f"the stream ended at revision {last}, before the present one, {present}: it can't read its older events",
        hint="`curl /ready` says whether its store is available; events of its own life are there with a later --since",
    )


def _print(event: dict[str, Any], pool: str | None, *, as_json: bool) -> None:
    if pool is not None and event["pool_id"] not in (pool, None):
        return
    if as_json:
        say(json_module.dumps(event, ensure_ascii=False))
    else:
        say(f"{event['revision']:>6} {describe(event)}")
