"""``status``: one row per pool."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from typing import Annotated, Any, Self

import typer

from pool_managerd.cli.client import Client, EventStream, pool_path
from pool_managerd.cli.common import Address, Json, TokenFile, connect, make_table, print_json, print_table
from pool_managerd.cli.errors import CommandError

_COLUMNS = ("POOL", "DESIRED", "PHASE", "READY", "REPLICAS", "LEASES", "RESTARTS", "BREAKER", "MODEL", "LAST ERROR")
#: Seconds between two looks of ``--watch`` when nothing happens.
_REFRESH_S = 5.0
#: Seconds that events are gathered before the next look.
_GATHER_S = 0.1


def status(
    *,
    pool: Annotated[str | None, typer.Argument(metavar="[POOL]", help="One pool only.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on and show each change.")] = False,
    json: Json = False,
    address: Address = None,
    token_file: TokenFile = None,
) -> None:
    """Show the pools: phase, readiness, leases and last error."""
    client = connect(address, token_file)
    if watch:
        _watch(client, pool, as_json=json)
    elif json:
        print_json(_ask(client, pool))
    else:
        print_table(_COLUMNS, rows(_ask(client, pool)))


def rows(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The table's rows for a list of pools, or for one."""
    for pool in document.get("pools", [document]):
        replicas = pool["replicas"]
        ready = sum(bool(replica["ready"]) for replica in replicas)
        phase = pool["phase"]
        if pool["next_restart_at"]:
            phase += f" until {pool['next_restart_at']}"
        error = pool["last_error"]
        yield (
            pool["pool_id"],
            pool["desired"],
            phase,
            "yes" if pool["ready"] else "no",
            f"{ready}/{len(replicas)}",
            f"{pool['active_leases']}/{pool['slots_total']}",
            str(pool["restart_count"]),
            pool["breaker"]["state"],
            pool["model"] or "-",
            " ".join(f"{error['code']}: {error['message']}".split()) if error else "-",
        )


def _ask(client: Client, pool: str | None) -> Any:
    return client.get(pool_path(pool) if pool else "/v2/pools")


def _watch(client: Client, pool: str | None, *, as_json: bool) -> None:
    with _News(client.events()) as news:
        if as_json or not sys.stdout.isatty():
            for document in _changes(client, pool, news):
                if as_json:
                    print_json(document)
                else:
                    print_table(_COLUMNS, rows(document))
            return
        from rich.live import Live  # noqa: PLC0415 - only a live table needs it

        with Live(screen=False, auto_refresh=False) as live:
            for document in _changes(client, pool, news):
                live.update(make_table(_COLUMNS, rows(document)), refresh=True)


def _changes(client: Client, pool: str | None, news: _News) -> Iterator[Any]:
    shown = None
    while True:
        document = _ask(client, pool)
        if document != shown:
            shown = document
            yield document
        news.wait()


class _News:
    """Tells when events have come, from a thread that reads them."""

    def __init__(self, events: EventStream) -> None:
        self._events = events
        self._flag = threading.Event()
        self._fault: CommandError | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._events.stream.interrupt()
        self._thread.join(1)

    def wait(self) -> None:
        """Return when something happened, or now and then."""
        if self._flag.wait(_REFRESH_S):
            time.sleep(_GATHER_S)
        self._flag.clear()
        if self._fault:
            raise self._fault

    def _read(self) -> None:
        try:
            for _ in self._events:
                self._flag.set()
        except CommandError as fault:
            self._fault = fault
        except TimeoutError:
            pass  # the next look says whether the daemon is still there
        self._flag.set()
