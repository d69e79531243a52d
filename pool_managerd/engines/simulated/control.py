"""Telling a stand-in engine what to do, also while it runs: the control file and the request log of a replica.

Standard library only, for test tools as well as for the stand-in itself.
"""

# pathlib alone would double the time that this module takes to import:
# ruff: noqa: PTH103, PTH118, PTH120, PTH123

from __future__ import annotations

import json
import os
import time

from pool_managerd.devices.simulated_folder import write_atomically

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing these costs more than all the rest of this module
    from collections.abc import Mapping
    from typing import Any

    Folder = str | os.PathLike[str]


def control_path(simulated_dir: Folder, pool_id: str, replica_id: str) -> str:
    """Where the stand-in of a replica looks for its control file."""
    return os.path.join(simulated_dir, "engines", f"{pool_id}-{replica_id}.control.json")


def applied_path(simulated_dir: Folder, pool_id: str, replica_id: str) -> str:
    """Where the stand-in of a replica says which control document it has applied, and how often."""
    return os.path.join(simulated_dir, "engines", f"{pool_id}-{replica_id}.applied.json")


def requests_path(simulated_dir: Folder, pool_id: str, replica_id: str) -> str:
    """Where the stand-in of a replica writes one line per request."""
    return os.path.join(simulated_dir, "engines", f"{pool_id}-{replica_id}.requests.jsonl")


def write_json(path: str, value: Mapping[str, Any]) -> None:
    """Replace a JSON file in one step, so that no reader sees a part of it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_atomically(path, json.dumps(value).encode())


def read_json(path: str) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file or no object in it."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_control(simulated_dir: Folder, pool_id: str, replica_id: str, values: Mapping[str, Any]) -> str:
    """Give a replica's stand-in a new control document in place of the last one. Empty: as its flags say.

    :returns: the document's id, for :func:`wait_applied`.
    """
    document = {"id": f"{os.getpid()}-{time.time_ns()}", **values}
    write_json(control_path(simulated_dir, pool_id, replica_id), document)
    return str(document["id"])


def wait_applied(simulated_dir: Folder, pool_id: str, replica_id: str, identity: str, timeout_s: float = 5.0) -> bool:
    """Wait until the stand-in has applied the document with this id.

    :returns: whether it did within ``timeout_s`` seconds.
    """
    path = applied_path(simulated_dir, pool_id, replica_id)
    deadline = time.monotonic() + timeout_s
    while read_json(path).get("id") != identity:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def read_requests(simulated_dir: Folder, pool_id: str, replica_id: str) -> list[dict[str, Any]]:
    """What the replica's stand-ins were asked: ``at`` (epoch ms), ``method``, ``path``, ``status``, ``pid``.

    ``status`` is ``None`` for a request that was never answered.
    """
    try:
        with open(requests_path(simulated_dir, pool_id, replica_id), encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return []
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]
