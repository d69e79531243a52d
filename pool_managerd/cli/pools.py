"""What an operator does to a pool: ``preload``, ``drain``, ``undrain``, ``reload``, ``reset``."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from pool_managerd.cli.client import TIMEOUT_S, Client, pool_path
from pool_managerd.cli.common import Address, Json, PoolId, TokenFile, Wait, connect, print_json, say
from pool_managerd.cli.errors import RefusedError
from pool_managerd.cli.progress import PoolProgress, steps_to_ready

_ACCEPTED = 202
#: The longest wait that the daemon takes, in seconds.
_MAX_WAIT_S = 3600.0

NoWait = Annotated[bool, typer.Option("--no-wait", help="Ask for it and return at once.")]


def preload(
    pool: PoolId,
    *,
    timeout: Wait = 900.0,
    no_wait: NoWait = False,
    json: Json = False,
    address: Address = None,
    token_file: TokenFile = None,
) -> None:
    """Load a pool and wait until it is ready. Progress goes to stderr."""
    client = connect(address, token_file)
    began = time.monotonic()
    status = _run(client, pool, "preload", f"loading {pool}", timeout=None if no_wait else timeout)
    if json:
        print_json(status)
    elif no_wait:
        say(f"{pool}: {status['phase']}")
    else:
        ready = sum(bool(replica["ready"]) for replica in status["replicas"])
        say(f"{pool} is ready ({_count(ready, 'replica')}, {time.monotonic() - began:.1f} s)")


def drain(
    pool: PoolId,
    *,
    deadline_ms: Annotated[
        int | None,
        typer.Option("--deadline-ms", metavar="MS", help="Stop by force after this time. Default: the config's."),
    ] = None,
    timeout: Wait = _MAX_WAIT_S,
    no_wait: NoWait = False,
    json: Json = False,
    address: Address = None,
    token_file: TokenFile = None,
) -> None:
    """Let a pool finish its work and stop it. It stays stopped until the next preload."""
    client = connect(address, token_file)
    body = {} if deadline_ms is None else {"deadline_ms": deadline_ms}
    wait = None if no_wait else timeout
    result = _run(client, pool, "drain", f"draining {pool}", timeout=wait, body=body)
    if json:
        print_json(result)
    elif no_wait:
        say(f"{pool}: {result['phase']}")
    else:
        seconds = result["waited_ms"] / 1000
        text = f"{pool} is stopped: {result['outcome']} after {seconds:.1f} s"
        if result["outcome"] == "forced":
            text += f", {_count(result['leases_forced'], 'lease')} ended by force"
        if result.get("note"):
            text += f" ({result['note']})"
        say(text)


def undrain(pool: PoolId, *, json: Json = False, address: Address = None, token_file: TokenFile = None) -> None:
    """Cancel a drain that still waits; the pool goes on serving."""
    status = connect(address, token_file).call("DELETE", pool_path(pool, "drain"))
    _done(pool, status, as_json=json)


def reload(
    pool: PoolId,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The new model: a file below `model_dirs`.")],
    *,
    drain_deadline_ms: Annotated[
        int | None,
        typer.Option("--drain-deadline-ms", metavar="MS", help="How long to wait for work in flight."),
    ] = None,
    timeout: Wait = _MAX_WAIT_S,
    no_wait: NoWait = False,
    json: Json = False,
    address: Address = None,
    token_file: TokenFile = None,
) -> None:
    """Switch a pool to another model. If that fails the old one is restored. Progress goes to stderr."""
    client = connect(address, token_file)
    body: dict[str, Any] = {"new_model_ref": model}
    if drain_deadline_ms is not None:
        body["drain_deadline_ms"] = drain_deadline_ms
    began = time.monotonic()
    wait = None if no_wait else timeout
    status = _run(client, pool, "reload", f"reloading {pool}", timeout=wait, body=body)
    if json:
        print_json(status)
    elif no_wait:
        say(f"{pool}: {status['phase']}")
    else:
        say(f"{pool} runs {status['model']} ({time.monotonic() - began:.1f} s)")


def reset(pool: PoolId, *, json: Json = False, address: Address = None, token_file: TokenFile = None) -> None:
    """Close a pool's circuit breakers and try to start it at once."""
    status = connect(address, token_file).call("POST", pool_path(pool, "circuit", "reset"))
    _done(pool, status, as_json=json)


def _run(
    client: Client, pool: str, verb: str, what: str, *, timeout: float | None, body: dict[str, Any] | None = None
) -> Any:
    """Ask for it, show progress, and return the answer; one that is not the end of it is an error if we waited."""
    path = pool_path(pool, verb)
    if timeout is None:
        return client.call("POST", path, body=body)
    replicas = client.get(pool_path(pool))["replicas"]
    steps = {"preload": steps_to_ready(replicas), "reload": dict.fromkeys(_ids(replicas), 0)}.get(verb)
    with PoolProgress(client, pool, steps=steps, what=what):
        status, answer = client.answer(
            "POST", path, query={"wait": f"{timeout:g}"}, body=body, timeout_s=timeout + TIMEOUT_S
        )
    if status == _ACCEPTED:
        raise RefusedError(
            "TIMEOUT",
            f"{pool} is not done after {timeout:g} s: it is in phase {answer['phase']}",
            hint="it goes on; look again with `pool-managerd status`, or wait longer with --timeout",
        )
    return answer


def _done(pool: str, status: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(status)
    else:
        say(f"{pool}: {status['phase']}")


def _ids(replicas: list[dict[str, Any]]) -> list[str]:
    return [replica["replica_id"] for replica in replicas]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
