"""Shows on stderr what happens to a pool while a command waits for it: a bar on a terminal, else plain lines."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pool_managerd.cli.client import Client, EventStream
from pool_managerd.cli.common import note
from pool_managerd.cli.errors import CommandError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: How far a replica is on its way to ready, by phase.
_STEPS = {"preflight": 1, "starting": 2, "half_open": 1, "loading": 3, "ready": 4}
_WAY = 4
_SHOWN = {"phase", "pool_ready", "pool_unready", "drain", "reload", "restart_scheduled", "breaker", "storm"}


class PoolProgress:
    """Follows one pool's events while the ``with`` block runs. The stream is open before the block begins.

    :param steps: how far each replica is now on its way to ready, see :func:`steps_to_ready`; ``None`` where nobody can
        say how long the way is: the bar then only shows that something goes on.
    """

    def __init__(self, client: Client, pool: str, *, steps: Mapping[str, int] | None, what: str) -> None:
        self._client = client
        self._pool = pool
        self._what = what
        self._total = None if steps is None else max(1, len(steps)) * _WAY
        self._steps = dict(steps or {})
        self._events: EventStream | None = None
        self._thread: threading.Thread | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._events = self._client.events()
        stream = iter(self._events)
        next(stream, None)  # the frame that says from where on we follow
        if sys.stderr.isatty():
            self._start_bar()
        self._thread = threading.Thread(target=self._follow, args=(stream,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._events and self._thread:
            if kind is None or issubclass(kind, CommandError):
                # What led to the answer may still be on its way.
                self._thread.join(0.1)
            self._events.stream.interrupt()
            self._thread.join(1)
            if not self._thread.is_alive():
                self._events.stream.close()
        if self._bar:
            self._bar.stop()

    def _follow(self, stream: Any) -> None:
        try:
            for event in stream:
                if event["pool_id"] == self._pool and event["kind"] in _SHOWN:
                    self._show(event)
        except (CommandError, TimeoutError):
            return  # the command's own call says what is wrong

    def _show(self, event: dict[str, Any]) -> None:
        if self._bar is None or self._task is None:
            note(describe(event))
            return
        if event["kind"] == "phase" and self._total is not None:
            self._steps[event["replica_id"]] = _STEPS.get(event["to"], 0)
            self._bar.update(self._task, completed=sum(self._steps.values()))
        self._bar.update(self._task, now=short(event))

    def _start_bar(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(
            self._what, total=self._total, completed=sum(self._steps.values()), now="asked the daemon"
        )
        self._bar.start()


def steps_to_ready(replicas: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How far the replicas of a status are on their way to ready, in steps, by their ids."""
    return {replica["replica_id"]: _STEPS.get(replica["phase"], 0) for replica in replicas}


def describe(event: dict[str, Any]) -> str:
    """An event in one line for people."""
    parts = [event["at"], short(event)]
    if event["reason"]:
        parts.append(f"({event['reason']})")
    return " ".join(_printable(part) for part in parts)


def short(event: dict[str, Any]) -> str:
    """What happened to whom, without the reason."""
    who = "/".join(part for part in (event["pool_id"], event["replica_id"]) if part) or event["device"] or "daemon"
    kind = event["kind"]
    if kind == "phase":
        what = f"{event['from']} → {event['to']}" if event["from"] != event["to"] else event["to"]
    else:
        action = (event["details"] or {}).get("action") or event["to"]
        what = f"{kind} {action}" if action else kind
    return f"{who} {what}" + (f" {event['code']}" if event["code"] else "")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
