"""What the last daemon left in writing about an engine's process: in the store or, where that was lost, in the handoff.

Neither says that the process still runs, nor that it still is that very one: see :func:`.process.adopt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pool_managerd.devices.memory import DeviceShare, Need
from pool_managerd.runtime.identity import ProcessIdentity
from pool_managerd.runtime.run import identity_from_json


@dataclass(frozen=True, slots=True)
class Remembered:
    """A process as it was when it was written down.

    :param host: where it listens, and ``port``.
    :param binary: what it was started as; ``None`` where that is not known.
    :param devices: UUIDs of its GPUs.
    :param need: its planned memory; ``None`` where that is not known.
    :param log_offset: where its lines begin in its log; ``None`` where that is not known.
    :param was_ready: whether it had been Ready.
    :param ready_offset: where its log ended then; ``None`` where that is not known.
    """

    identity: ProcessIdentity
    host: str
    port: int
    binary: Path | None
    model: Path | None
    devices: tuple[str, ...]
    need: Need | None
    slots: int
    version: str | None
    spawned_at: float
    log_offset: int | None
    was_ready: bool
    ready_offset: int | None

    @classmethod
    def from_document(cls, document: Mapping[str, Any], *, host: str) -> Remembered | None:
        """Out of a replica's document in the store; ``None`` if it had no process.

        :param host: the configured address, for documents that do not name one.
        :raises KeyError, TypeError, ValueError: if the document is not what a daemon writes.
        """
        run = document["run"]
        if run is None:
            return None
        return cls(
            identity=identity_from_json(run["identity"]),
            host=str(run.get("host", host)),
            port=int(run["port"]),
            binary=_path(run.get("binary")),
            model=_path(run["model"]),
            devices=tuple(run.get("devices", ())),
            need=need_from_document(document),
            slots=int(run["slots"]),
            version=run["version"],
            spawned_at=float(run["spawned_at"]),
            log_offset=int(run["log_offset"]),
            was_ready=bool(run["was_ready"]),
            ready_offset=None if run.get("ready_offset") is None else int(run["ready_offset"]),
        )

    @classmethod
    def from_handoff(cls, handoff: Mapping[str, Any], *, now: float) -> Remembered:
        """Out of a handoff file, which is there only for an engine that has been Ready.

        :raises KeyError, TypeError, ValueError: if the file is not what a daemon writes.
        """
        host, _, port = str(handoff["url"]).rpartition("://")[2].rpartition(":")
        return cls(
            identity=identity_from_json(handoff),
            host=host.strip("[]"),
            port=int(port),
            binary=None,
            model=_path(handoff["model"]["path"]),
            devices=tuple(handoff["device_mask"]),
            need=None,
            slots=int(handoff["slots"]),
            version=handoff["engine_version"],
            spawned_at=now,
            log_offset=None,
            was_ready=True,
            ready_offset=None,
        )


def need_from_document(document: Mapping[str, Any]) -> Need | None:
    """The memory that a replica needs, as planned for its last attempt; ``None`` where that is not known.

    :raises KeyError, TypeError, ValueError: if the document is not what a daemon writes.
    """
    need = document.get("need")
    if need is None:
        return None
    return Need(tuple(DeviceShare(**share) for share in need["shares"]), int(need["ram"]), str(need["basis"]))


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
