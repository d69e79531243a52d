"""The daemon's use cases by name, over any of its three protocols."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from PoolManagerLibrary.codes import CODES
from PoolManagerLibrary.daemon_process import Daemon, program
from PoolManagerLibrary.errors import DaemonError, UsageError
from PoolManagerLibrary.outcome import Outcome, Protocol

#: operation -> (HTTP method, path, names of body members, gRPC method, CLI command)
OPERATIONS: dict[str, tuple[str, str, tuple[str, ...], str, str]] = {
    "health": ("GET", "/health", (), "GetHealth", ""),
    "ready": ("GET", "/ready", (), "GetReady", ""),
    "list": ("GET", "/v2/pools", (), "ListPools", "status --json"),
    "status": ("GET", "/v2/pools/{pool_id}", (), "GetPool", "status --json {pool_id}"),
    "preload": ("POST", "/v2/pools/{pool_id}/preload", (), "Preload", "preload {pool_id}"),
    "drain": ("POST", "/v2/pools/{pool_id}/drain", ("deadline_ms",), "Drain", "drain {pool_id}"),
    "cancel_drain": ("DELETE", "/v2/pools/{pool_id}/drain", (), "CancelDrain", "undrain {pool_id}"),
    "reload": (
        "POST",
        "/v2/pools/{pool_id}/reload",
        ("new_model_ref", "drain_deadline_ms"),
        "Reload",
        "reload {pool_id} {new_model_ref}",
    ),
    "reset_circuit": ("POST", "/v2/pools/{pool_id}/circuit/reset", (), "ResetCircuit", "reset {pool_id}"),
    "acquire": ("POST", "/v2/pools/{pool_id}/leases", ("holder", "ttl_ms"), "AcquireLease", ""),
    "leases": ("GET", "/v2/pools/{pool_id}/leases", (), "ListLeases", "leases {pool_id} --json"),
    "renew": ("PUT", "/v2/pools/{pool_id}/leases/{lease_id}", ("ttl_ms",), "RenewLease", ""),
    "release": ("DELETE", "/v2/pools/{pool_id}/leases/{lease_id}", (), "ReleaseLease", ""),
    "devices": ("GET", "/v2/devices", (), "ListDevices", "devices --json"),
    "config_reload": ("POST", "/v2/config/reload", (), "ReloadConfig", ""),
}
#: Words that a scenario may use for a protocol.
PROTOCOL_WORDS = {
    "http": Protocol.HTTP,
    "grpc": Protocol.GRPC,
    "cli": Protocol.CLI,
    "the cli": Protocol.CLI,
    "the command line": Protocol.CLI,
}
#: Answers of gRPC that wrap the pool's status beside a flag.
_WRAPPED = {"Preload", "Reload"}


def protocol_of(text: str | Protocol) -> Protocol:
    """``HTTP``, ``gRPC``, ``the CLI`` …, as the enum."""
    if isinstance(text, Protocol):
        return text
    found = PROTOCOL_WORDS.get(text.strip().lower())
    if found is None:
        raise UsageError(f"'{text}' is no protocol: write HTTP, gRPC or the CLI.")
    return found


def call(
    daemon: Daemon,
    operation: str,
    *,
    protocol: Protocol = Protocol.HTTP,
    wait: float | None = None,
    correlation_id: str | None = None,
    timeout: float | None = None,
    **arguments: Any,
) -> Outcome:
    """One use case, over one protocol; whatever the daemon answers.

    :param wait: seconds that the daemon itself is asked to wait for the end of the operation.
    :param timeout: seconds until the call is given up; default: the wait plus ten.
    """
    limit = timeout if timeout is not None else (wait or 0) + 10
    given = {key: value for key, value in arguments.items() if value is not None}
    headers = {"X-Correlation-Id": correlation_id} if correlation_id else {}
    if protocol is Protocol.HTTP:
        return _http(daemon, operation, given, wait, headers, limit)
    if protocol is Protocol.GRPC:
        return _grpc(daemon, operation, given, wait, headers, limit)
    return _cli(daemon, operation, given, limit + 20)


def _http(
    daemon: Daemon,
    operation: str,
    given: Mapping[str, Any],
    wait: float | None,
    headers: Mapping[str, str],
    timeout: float,
) -> Outcome:
    method, template, body_keys, _, _ = OPERATIONS[operation]
    path = template.format(**{key: quote(str(value), safe="") for key, value in given.items()})
    query = {}
    if wait is not None:
        query["wait"] = f"{wait:g}"
    if operation == "config_reload" and given.get("dry_run"):
        query["dry_run"] = "true"
    if query:
        path += "?" + urlencode(query)
    body = {key: given[key] for key in body_keys if key in given} if body_keys else None
    return daemon.http.request(method, path, json_body=body, headers=headers, timeout=timeout)


def _grpc(
    daemon: Daemon,
    operation: str,
    given: Mapping[str, Any],
    wait: float | None,
    headers: Mapping[str, str],
    timeout: float,
) -> Outcome:
    name = OPERATIONS[operation][3]
    request = dict(given)
    if wait is not None:
        request["wait"] = wait
    outcome = daemon.grpc.call(name, request, timeout=timeout, metadata=headers)
    if outcome.ok and name in _WRAPPED and isinstance(outcome.body, dict):
        outcome.body = outcome.body["pool"]
    elif outcome.ok and name == "Drain" and isinstance(outcome.body, dict):
        outcome.body = outcome.body["result"] or outcome.body["pool"]
    elif outcome.ok and name == "ListLeases" and isinstance(outcome.body, dict):
        pass
    return outcome


def _cli(daemon: Daemon, operation: str, given: Mapping[str, Any], timeout: float) -> Outcome:
    template = OPERATIONS[operation][4]
    if not template:
        raise UsageError(f"The command line has no command for '{operation}'.")
    arguments = [part.format(**given) for part in template.split()]
    for key in ("deadline_ms", "drain_deadline_ms"):
        if key in given:
            arguments += [f"--{key.replace('_', '-')}", str(given[key])]
    return run_cli(daemon, arguments, timeout=timeout)


def run_cli(
    daemon: Daemon | None,
    arguments: list[str],
    *,
    timeout: float = 30.0,
    environment: Mapping[str, str | None] | None = None,
    cwd: str | None = None,
    stdin: bytes | None = None,
    address: bool = True,
) -> Outcome:
    """Run ``pool-managerd`` with arguments, and ``--address`` of the daemon if there is one.

    The outcome's status is the exit code, its text the standard output, its headers ``stdout`` and ``stderr``.
    """
    command = [*program(), *arguments]
    if daemon is not None and address and daemon.http_address:
        command += ["--address", daemon.http_address]
    env = daemon.child_environment() if daemon is not None else dict(os.environ)
    for key, value in (environment or {}).items():
        if value is None:
            env.pop(key, None)
        else:
            env[key] = value
    at, started = time.time(), time.monotonic()
    folder = cwd or (str(daemon.root) if daemon is not None else None)
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            env=env,
            cwd=folder,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DaemonError(f"'{' '.join(arguments)}' did not end within {timeout:g} s: {error.stderr!r}") from error
    stdout, stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    body: Any = None
    with contextlib.suppress(ValueError):
        body = json.loads(stdout) if stdout.strip() else None
    problem: dict[str, Any] | None = None
    if done.returncode != 0:
        problem = {"code": _code_in(stderr), "message": stderr.strip(), "hint": stderr.strip(), "details": {}}
    return Outcome(
        protocol=Protocol.CLI,
        call="pool-managerd " + " ".join(arguments),
        ok=done.returncode == 0,
        status=done.returncode,
        body=body,
        text=stdout,
        headers={"stdout": stdout, "stderr": stderr},
        problem=problem,
        at=at,
        elapsed=time.monotonic() - started,
    )


def _code_in(text: str) -> str | None:
    words = text.replace(":", " ").replace("(", " ").replace(")", " ").replace(",", " ").split()
    return next((word for word in words if word in CODES), None)
