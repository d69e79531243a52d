"""What can be done to the store, and how it travels to the writer thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pool_managerd.runtime.database import Name


@dataclass(frozen=True, slots=True)
class Put:
    """Store a document (a JSON object), or replace it."""

    kind: str
    key: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a document, if it is there."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Append:
    """Store an event, in the form of :meth:`pool_managerd.core.events.Event.as_json`."""

    event: Mapping[str, Any]


Operation = Put | Delete | Append


@dataclass(slots=True)
class Write:
    """Operations on their way to the writer thread, as text, so that later changes of the objects do not count."""

    documents: dict[Name, str | None] = field(default_factory=dict)
    events: list[tuple[int, str]] = field(default_factory=list)
    answer: asyncio.Future[None] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    settled: bool = False
    abandoned: bool = False

    def settle(self) -> bool:
        """The writer's last word; false if nobody waits any more."""
        with self.lock:
            self.settled = not self.abandoned
            return self.settled

    def abandon(self) -> bool:
        """The caller's last word; false if the writer was quicker."""
        with self.lock:
            self.abandoned = not self.settled
            return self.abandoned


def encode(operations: Iterable[Operation]) -> Write:
    """The operations as they are now; what becomes of the objects later does not count."""
    write = Write()
    for operation in operations:
        match operation:
            case Put(kind, key, document):
                write.documents[kind, key] = json.dumps(document, separators=(",", ":"))
            case Delete(kind, key):
                write.documents[kind, key] = None
            case Append(event):
                write.events.append((int(event["revision"]), json.dumps(event, separators=(",", ":"))))
    return write
