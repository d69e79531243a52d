"""Watchers of the scenario's own, over HTTP or gRPC."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.errors import UsageError, WaitTimeout
from PoolManagerLibrary.event_log import EventStream, SeenEvent
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.units import seconds


class WatcherKeywords(Keywords):
    """Keywords about watchers."""

    @keyword
    def start_watching(self, since: int | None = None, protocol: str = "HTTP", name: str = "watcher") -> None:
        """Starts a watcher of the scenario's own, over HTTP or gRPC, from a revision on or from now on.

        Example:
        | Start Watching | since=${list}[revision] | protocol=gRPC |
        """
        watcher = _Watcher(*self._source(since, protocol))
        self.scenario.memory.setdefault("watchers", {})[name] = watcher
        self.scenario.cleanups.append((f"the watcher {name}", watcher.stop))

    def _source(
        self, since: int | None, protocol: str
    ) -> tuple[Callable[[], Iterator[SeenEvent]], Callable[[], object]]:
        daemon = self.daemon
        if protocol.strip().lower() == "grpc":
            messages, cancel = daemon.grpc.stream("Watch", {"since": since}, timeout=120)
            return lambda: (SeenEvent.parse(message) for message in messages), cancel
        stream = EventStream(daemon.http_address or "", since=since, token=daemon.token)
        return lambda: iter(stream), stream.close

    @keyword
    def get_watched_events(
        self, name: str = "watcher", at_least: int = 0, within: timedelta = timedelta(seconds=2)
    ) -> list[dict[str, Any]]:
        """Returns what a watcher has received, after waiting for all that is published by now.

        Example:
        | ${events} = | Get Watched Events | at_least=3 |
        """
        watcher = self._watcher(name)
        if at_least and not watcher.wait(at_least, seconds(within)):
            raise WaitTimeout(
                f"The {name} should receive {at_least} events within {within}, it has {len(watcher.events)}."
            )
        outcome = self.world.daemon.http.request("GET", "/v2/pools")
        if outcome.ok:
            watcher.wait_revision(int(outcome.body["revision"]), 2.0)
        return [event.document for event in watcher.list()]

    @keyword
    def stop_watching(self, name: str = "watcher") -> list[dict[str, Any]]:
        """Ends a watcher and returns all that it received.

        Example:
        | ${events} = | Stop Watching |
        """
        watcher = self._watcher(name)
        watcher.stop()
        return [event.document for event in watcher.list()]

    @keyword
    def get_watched_frames(self, name: str = "watcher") -> list[dict[str, Any]]:
        """Returns the server-sent frames of an HTTP watcher: ``id``, ``event``, ``data``.

        Example:
        | ${frames} = | Get Watched Frames |
        """
        return [
            {"id": event.frame_id, "event": event.frame_event, "data": event.document}
            for event in self._watcher(name).list()
        ]

    def _watcher(self, name: str) -> _Watcher:
        watchers: dict[str, _Watcher] = self.scenario.memory.get("watchers", {})
        if name not in watchers:
            raise UsageError(f"There is no watcher '{name}': use Start Watching first.")
        return watchers[name]


class _Watcher:
    """A thread that reads one stream."""

    def __init__(self, source: Callable[[], Iterator[SeenEvent]], stop: Callable[[], object]) -> None:
        self.events: list[SeenEvent] = []
        self._condition = threading.Condition()
        self._stop = stop
        self._source = source
        threading.Thread(target=self._run, name="watcher", daemon=True).start()

    def _run(self) -> None:
        try:
            for event in self._source():
                with self._condition:
                    self.events.append(event)
                    self._condition.notify_all()
        except Exception:  # noqa: BLE001  # the end of a stream, whatever the protocol calls it
            return

    def list(self) -> list[SeenEvent]:
        with self._condition:
            return list(self.events)

    def wait(self, count: int, timeout: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: len(self.events) >= count, timeout)

    def wait_revision(self, revision: int, timeout: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: bool(self.events) and self.events[-1].revision >= revision, timeout)

    def stop(self) -> None:
        self._stop()
