"""Several looks at the one event stream, and watchers that behave badly."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import socket
import time
from datetime import timedelta
from typing import Any

import grpc
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError, WaitTimeout
from PoolManagerLibrary.event_log import sse_frames
from PoolManagerLibrary.grpc_client import refusal
from PoolManagerLibrary.keywords.base import Keywords, says
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.outcome import Outcome, Protocol
from PoolManagerLibrary.units import seconds, show_seconds
from PoolManagerLibrary.waiting import wait_until

_COMPARED = ("kind", "pool_id", "replica_id", "from", "to", "code", "reason")


class StreamKeywords(Keywords):
    """Keywords about event streams side by side."""

    @keyword
    def streams_and_log_should_agree(self, http: list[dict[str, Any]], grpc: list[dict[str, Any]]) -> int:
        """Checks that an HTTP and a gRPC watcher received the same events, and that the daemon's log has each of them.

        The streams' documents must be equal; the log's line must have the same ``kind``, ``pool_id``, ``replica_id``,
        ``from``, ``to``, ``code`` and ``reason``. Each watcher's own first frame is left out.
        Returns how many there were.

        Example:
        | ${http} = | Stop Watching | one |
        | ${grpc} = | Stop Watching | other |
        | Streams And Log Should Agree | ${http} | ${grpc} |
        """
        by_http = {event["revision"]: event for event in http if event["to"] != "watching"}
        by_grpc = {event["revision"]: event for event in grpc if event["to"] != "watching"}
        both = set(by_http) & set(by_grpc)
        last = min(max(by_http), max(by_grpc))
        first = max(min(by_http), min(by_grpc))
        alone = {revision for revision in set(by_http) ^ set(by_grpc) if first <= revision <= last}
        if alone:
            raise ExpectationFailed(f"Only one of the streams has the revisions {sorted(alone)}.")
        for revision in sorted(both):
            if by_http[revision] != by_grpc[revision]:
                raise ExpectationFailed(
                    f"The streams differ: HTTP {json.dumps(by_http[revision])}, gRPC {json.dumps(by_grpc[revision])}"
                )
        self._log_should_have([by_http[revision] for revision in sorted(both)])
        return len(both)

    def _log_should_have(self, events: list[dict[str, Any]]) -> None:
        missing = {event["revision"] for event in events}
        logged: dict[int, dict[str, Any]] = {}
        deadline = time.monotonic() + 2
        while missing - set(logged) and time.monotonic() < deadline:
            records = self.world.selected.log_records(self.scenario.log_offset)
            # A watcher's gap has a line, too, with the revision of the last event that it missed.
            logged = {record["revision"]: record for record in records if record.get("kind") not in {None, "gap"}}
            time.sleep(0.02)
        for event in events:
            record = logged.get(event["revision"])
            if record is None:
                raise ExpectationFailed(f"The daemon's log has no line for the event {json.dumps(event)}")
            differing = [key for key in _COMPARED if record.get(key) != event[key]]
            if differing:
                raise ExpectationFailed(f"{differing} differ: the event is {json.dumps(event)}, the log says {record}")

    @keyword
    def readiness_events_should_fit_the_statuses(self, name: str = "the pool") -> int:
        """Ends the sampling of a pool's status, and checks its ``ready`` against pool_ready and pool_unready.

        These must alternate, and every status must show what the last of them up to the status' own revision says.
        Returns how many statuses there were.

        Example:
        | Start Sampling Surfaces | the pool | HTTP status | gRPC status |
        | Readiness Events Should Fit The Statuses |
        """
        pool = self.scenario.pool(name)
        sampler = self.scenario.memory.get("samplers", {}).get(pool.pool_id)
        if sampler is None:
            raise UsageError("Nothing was sampled: begin with 'the status is watched'.")
        samples = sampler.stop()
        self.world.sync_events()
        changes = [
            (event.revision, event.kind == "pool_ready")
            for event in self.pool_events(pool)
            if event.kind in {"pool_ready", "pool_unready"}
        ]
        for (_, before), (revision, after) in itertools.pairwise(changes):
            if before == after:
                raise ExpectationFailed(
                    f"pool_ready and pool_unready should alternate, #{revision} repeats the one before it."
                )
        statuses = [sample.value for sample in samples if isinstance(sample.value, dict) and "revision" in sample.value]
        for status in statuses:
            said = [ready for revision, ready in changes if revision <= status["revision"]]
            expected = said[-1] if said else False
            if status["ready"] is not expected:
                raise ExpectationFailed(
                    f"At revision {status['revision']} the status says {status['ready']}, the events {expected}.\n"
                    f"{self.explain(pool)}"
                )
        return len(statuses)

    @keyword
    def call_grpc_stream(
        self,
        method: str,
        at_most: int = 1_000,
        timeout: timedelta = timedelta(seconds=5),
        metadata: dict[str, str] | None = None,
        **fields: Any,
    ) -> Outcome:
        """Calls a streaming method of ``pool_managerd.v1.PoolManager``, and notes its messages as the answer's body.

        It reads until the stream ends, or has given ``at_most`` messages. Fields as for `Call Grpc`.

        Example:
        | Call Grpc Stream | GetLogs | pool_id=chat | tail=10 |
        | Answer Should Be | OK |
        """
        given = {key: value if key in {"pool_id", "replica"} else says(str(value)) for key, value in fields.items()}
        if "pool_id" in given:
            given["pool_id"] = self.scenario.pool_id(given["pool_id"])
        daemon = self.daemon
        self.scenario.act(f"gRPC {method}")
        at, started = time.time(), time.monotonic()
        messages, cancel = daemon.grpc.stream(method, given, timeout=seconds(timeout), metadata=metadata)
        try:
            body = list(itertools.islice(messages, at_most))
        except grpc.RpcError as error:
            return self.scenario.answered(refusal(error, f"gRPC {method}", at=at, elapsed=time.monotonic() - started))
        finally:
            cancel()
        return self.scenario.answered(
            Outcome(
                Protocol.GRPC,
                f"gRPC {method}",
                ok=True,
                status="OK",
                body=body,
                at=at,
                elapsed=time.monotonic() - started,
            )
        )

    @keyword
    def open_stalled_watcher(self, since: int | None = None) -> None:
        """Opens an event stream over HTTP whose client reads nothing, until `Read Stalled Watcher`.

        Example:
        | Open Stalled Watcher |
        """
        daemon = self.daemon
        host, _, port = (daemon.http_address or "").rpartition(":")
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # A small window and small segments, so that what the kernel itself takes in stays small.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        connection.connect((host.strip("[]"), int(port)))
        path = "/v2/events" if since is None else f"/v2/events?since={since}"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {daemon.http_address}\r\n\r\n".encode())
        self.scenario.memory["stalled"] = connection
        self.scenario.cleanups.append(("the stalled watcher", connection.close))

    @keyword
    def read_stalled_watcher(self, until: int, within: timedelta = timedelta(seconds=10)) -> list[dict[str, Any]]:
        """Lets the stalled watcher read until it is cut off, gets a gap or has seen a revision; returns its events.

        Example:
        | ${events} = | Read Stalled Watcher | ${revision} |
        """
        connection: socket.socket | None = self.scenario.memory.get("stalled")
        if connection is None:
            raise UsageError("Open Stalled Watcher first.")
        connection.settimeout(seconds(within))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        events: list[dict[str, Any]] = []
        with contextlib.suppress(TimeoutError, ConnectionError), connection.makefile("rb") as reader:
            for _, _, data in sse_frames(_unchunked(reader)):
                events.append(json.loads(data))
                if events[-1]["kind"] == "gap" or events[-1]["revision"] >= until:
                    break
        return events

    @keyword
    def read_event_stream(
        self,
        until: int,
        since: int | None = None,
        last_event_id: int | None = None,
        within: timedelta = timedelta(seconds=5),
    ) -> list[dict[str, Any]]:
        """Opens ``GET /v2/events``, reads until a revision has come, and returns the events of all frames.

        Where it resumes is said by ``since`` (the query) or ``last_event_id`` (the header).

        Example:
        | ${events} = | Read Event Stream | until=${last} | last_event_id=${seen} |
        """
        daemon = self.daemon
        connection = http.client.HTTPConnection(daemon.http_address or "", timeout=seconds(within))
        events: list[dict[str, Any]] = []
        with contextlib.closing(connection):
            headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
            connection.request("GET", "/v2/events" if since is None else f"/v2/events?since={since}", headers=headers)
            response = connection.getresponse()
            try:
                for frame_id, frame_event, data in sse_frames(iter(response.readline, b"")):
                    event = json.loads(data)
                    if frame_id != str(event["revision"]) or frame_event != event["kind"]:
                        raise ExpectationFailed(
                            f"The frame says id {frame_id} and event {frame_event}, its data {data}"
                        )
                    events.append(event)
                    if event["revision"] >= until:
                        return events
            except TimeoutError:
                pass
        raise WaitTimeout(f"Revision {until} should come within {within}; last was {events[-1:]}")

    @keyword
    def make_many_events(self, count: int, name: str = "the pool") -> int:
        """Makes so many events, by lease requests that an unready pool refuses. Returns the last revision.

        Example:
        | ${revision} = | Make Many Events | 100 |
        """
        pool_id = self.scenario.pool_id(name)
        for _ in range(count):
            call(self.daemon, "acquire", pool_id=pool_id)
        return self._revision()

    @keyword
    def flood_with_events(self, count: int, gpu: str = "the GPU", within: timedelta = timedelta(seconds=20)) -> int:
        """Makes so many events at once, by XIDs of a class that changes nothing. Returns the last revision.

        Example:
        | ${revision} = | Flood With Events | 12000 |
        """
        uuid = self.scenario.gpu(gpu).uuid
        before = self._revision()
        self.scenario.act(f"{count} XIDs")
        lines = "".join(json.dumps({"uuid": uuid, "xid": 43}) + "\n" for _ in range(count))
        with (self.world.selected.simulated_dir / "xids.jsonl").open("a", encoding="utf-8") as file:
            file.write(lines)
        return wait_until(
            self._revision,
            lambda revision: revision >= before + count,
            timeout=seconds(within),
            expected=f"{count} XIDs to become events",
            show=lambda revision: f"{revision - before} events",
        ).value

    @keyword
    def event_delays_should_be_short(self, at_most: timedelta = timedelta(seconds=1)) -> None:
        """Checks for the run's own watcher how long after its own time each event since the last act arrived.

        Example:
        | Event Delays Should Be Short | 1 s |
        """
        self.world.sync_events()
        seen = [one for one in self.world.selected.events.events() if one.at >= self.scenario.act_at - 0.002]
        slow = [one for one in seen if one.received - one.at > seconds(at_most)]
        if not seen or slow:
            raise ExpectationFailed(
                f"{len(slow)} of {len(seen)} events came more than {show_seconds(seconds(at_most))} late: "
                f"{slow[0].describe() if slow else 'none came at all'}"
            )

    def _revision(self) -> int:
        return int(self.must(self.daemon.http.request("GET", "/v2/pools")).body["revision"])


def _unchunked(reader: Any) -> Any:
    """The lines of a chunked HTTP answer's body; the daemon sends each frame as chunks of its own."""
    while reader.readline().strip():
        pass
    rest = b""
    while size := reader.readline():
        count = int(size.split(b";")[0], 16)
        if count == 0:
            return
        rest += reader.read(count)
        reader.readline()
        *lines, rest = rest.split(b"\n")
        for line in lines:
            yield line + b"\n"
