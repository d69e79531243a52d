"""Many watchers of the event stream while many events happen: what is lost, in what order it comes, and how late."""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime

from harness import GPU, BenchDaemon, Figure, cpu_s, get, rss_mib, simulated_pool

WATCHERS = 20
EVENTS_PER_S = 2_000
DURATION_S = 5.0
#: How often the driver is made to report a batch of XIDs, in seconds.
TICK_S = 0.005
#: An XID of a class that changes nothing: it is one event.
XID = 43
_FRAME = re.compile(rb'^data: \{"revision":(\d+),"at":"([^"]+)","kind":"(\w+)"', re.MULTILINE)


def measure(rounds: int) -> list[Figure]:
    """Let the driver of a simulated GPU report XIDs at a steady rate, with every watcher in a process beside us."""
    del rounds  # one run is thousands of events
    with BenchDaemon([simulated_pool("a", preload=False)]) as daemon, _stalled(daemon.address):
        host, _, port = daemon.address.rpartition(":")
        begin = json.loads(get(daemon.address, "/v2/pools")[1])["revision"]
        count = round(EVENTS_PER_S * DURATION_S)
        watchers = subprocess.Popen(
            [sys.executable, __file__, host, port, str(begin), str(begin + count)], stdout=subprocess.PIPE, text=True
        )
        with watchers:
            assert watchers.stdout is not None  # noqa: S101 - it was asked for
            watchers.stdout.readline()  # all are connected
            rss, cpu, began = rss_mib(daemon.pid), cpu_s(daemon.pid), time.monotonic()
            _report(daemon, count)
            took = time.monotonic() - began
            seen = json.loads(watchers.stdout.readline())
        used = cpu_s(daemon.pid) - cpu
        grown = rss_mib(daemon.pid) - rss
    what = f"{WATCHERS} watchers, {count / took:.0f} events/s"
    return [
        Figure(f"event → watcher, {what}", tuple(seen["delays_ms"]), limit=1000.0, judged="max"),
        Figure("  events lost or out of order", (seen["wrong"],), limit=0.0, judged="max", unit=""),
        Figure("  daemon's CPU meanwhile", (used / took * 1000,), unit="ms/s"),
        Figure(
            "  growth of its resident memory, with one watcher more that reads nothing",
            (grown,),
            limit=64.0,
            unit="MiB",
        ),
    ]


def _report(daemon: BenchDaemon, count: int) -> None:
    line = json.dumps({"uuid": GPU, "xid": XID}) + "\n"
    began, written = time.monotonic(), 0
    with (daemon.devices / "xids.jsonl").open("a", encoding="utf-8") as file:
        while written < count:
            due = min(count, int((time.monotonic() - began) * EVENTS_PER_S) + 1)
            file.write(line * (due - written))
            file.flush()
            written = due
            time.sleep(TICK_S)


@contextlib.contextmanager
def _stalled(address: str) -> Iterator[None]:
    """A watcher that asks for the stream and never reads."""
    host, _, port = address.rpartition(":")
    with _connect(host, port, 0):
        yield


def _connect(host: str, port: str, since: int) -> socket.socket:
    connection = socket.create_connection((host, int(port)))
    connection.sendall(f"GET /v2/events?since={since} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    return connection


class Watcher:
    """One connection: which revision came last, and how late each came."""

    def __init__(self, connection: socket.socket, since: int) -> None:
        self.connection = connection
        self.last = since
        self.wrong = 0
        self.delays_ms: list[float] = []
        self._rest = b""

    def read(self) -> None:
        """Take what has come."""
        data = self._rest + self.connection.recv(1 << 20)
        now = time.time()
        end = 0
        for frame in _FRAME.finditer(data):
            revision = int(frame[1])
            self.wrong += revision != self.last + 1 or frame[3] == b"gap"
            self.last = revision
            self.delays_ms.append((now - datetime.fromisoformat(frame[2].decode()).timestamp()) * 1000)
            end = frame.end()
        self._rest = data[end:]


def watch(host: str, port: str, since: int, until: int) -> None:
    """Follow the stream on many connections until all have seen a revision; print what was seen."""
    watchers = [Watcher(_connect(host, port, since), since) for _ in range(WATCHERS)]
    selector = selectors.DefaultSelector()
    for watcher in watchers:
        selector.register(watcher.connection, selectors.EVENT_READ, watcher)
    print("connected", flush=True)
    deadline = time.monotonic() + 60
    while any(watcher.last < until for watcher in watchers) and time.monotonic() < deadline:
        for key, _ in selector.select(1):
            key.data.read()
    delays = [delay for watcher in watchers for delay in watcher.delays_ms]
    wrong = sum(watcher.wrong for watcher in watchers) + sum(max(0, until - watcher.last) for watcher in watchers)
    print(json.dumps({"delays_ms": delays, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    watch(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
