"""The first and the last moments of a daemon that serves."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from datetime import timedelta
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.http_client import raw_exchange
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.outcome import Outcome, Protocol
from PoolManagerLibrary.units import seconds


class ServingKeywords(Keywords):
    """Keywords about calls at the edges of a daemon's life, and about calls that are never finished."""

    @keyword
    def start_calling(self, path: str, port: int, within: timedelta = timedelta(seconds=15)) -> None:
        """Connects to a port of 127.0.0.1 again and again; the first connection that is taken asks for a path.

        Say it before the daemon is started. `First Call Should Be Answered` tells what came of it.

        Example:
        | ${port} = | Find Free Port |
        | Prepare Daemon | server.http=127.0.0.1:${port} |
        | Start Calling | /health | ${port} |
        """
        caller = _FirstCall(path, port, time.monotonic() + seconds(within))
        self.scenario.memory["first_call"] = caller
        caller.thread.start()

    @keyword
    def first_call_should_be_answered(self, status: int = 200) -> Any:
        """Checks the answer to the first connection that the port took (see `Start Calling`) and returns its document.

        Example:
        | ${health} = | First Call Should Be Answered | 200 |
        """
        caller: _FirstCall | None = self.scenario.memory.get("first_call")
        if caller is None:
            raise UsageError("Start Calling first.")
        caller.thread.join(20)
        if caller.status != status:
            raise ExpectationFailed(
                f"The first connection should be answered with {status}: {caller.status or 'no answer'} {caller.error}"
            )
        return caller.body

    @keyword
    def announce_body(self, path: str, size: int, method: str = "POST") -> Outcome:
        """Sends the head of a request that announces a body of so many bytes, and none of the body; notes the answer.

        Example:
        | Announce Body | /v2/pools/{pool}/drain | 100000000 |
        | Answer Should Be | 413 REQUEST_TOO_LARGE |
        """
        path = path.replace("{pool}", self.scenario.pool_id("the pool"))
        daemon = self.daemon
        self.scenario.act(f"{method} {path} with {size} bytes announced")
        at, started = time.time(), time.monotonic()
        connection = http.client.HTTPConnection(daemon.http_address or "", timeout=10)
        with contextlib.closing(connection):
            connection.putrequest(method, path)
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(size))
            connection.endheaders()
            try:
                response = connection.getresponse()
                text = response.read().decode()
            except (OSError, http.client.HTTPException) as error:
                raise ExpectationFailed(f"The daemon should answer before the body has come: {error!r}") from None
        body = json.loads(text)
        ok = response.status < http.client.BAD_REQUEST
        headers = dict(response.getheaders())
        problem = None if ok else body
        call = f"{method} {path}"
        return self.scenario.answered(
            Outcome(
                Protocol.HTTP,
                call,
                ok,
                response.status,
                body,
                text,
                headers,
                problem,
                at=at,
                elapsed=time.monotonic() - started,
            )
        )

    @keyword
    def call_and_hang_up(self, path: str, after: timedelta = timedelta(milliseconds=100), method: str = "POST") -> None:
        """Sends a request and closes the connection after a while, without reading the answer.

        Example:
        | Call And Hang Up | /v2/pools/{pool}/preload?wait=10 | after=100 ms |
        """
        path = path.replace("{pool}", self.scenario.pool_id("the pool"))
        daemon = self.daemon
        self.scenario.act(f"{method} {path}, and hanging up")
        payload = f"{method} {path} HTTP/1.1\r\nHost: {daemon.http_address}\r\nContent-Length: 0\r\n\r\n".encode()
        raw_exchange(daemon.http_address or "", payload, timeout=seconds(after))


class _FirstCall:
    """A thread that waits for a port to take connections, and asks once."""

    def __init__(self, path: str, port: int, deadline: float) -> None:
        self.status = 0
        self.body: Any = None
        self.error = "no connection was taken"
        self._path = path
        self._port = port
        self._deadline = deadline
        self.thread = threading.Thread(target=self._run, name="first-call", daemon=True)

    def _run(self) -> None:
        while time.monotonic() < self._deadline:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                connection.connect()
            except ConnectionRefusedError:
                time.sleep(0.001)
                continue
            try:
                connection.request("GET", self._path)
                response = connection.getresponse()
                self.status, self.body = response.status, json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.error = repr(error)
            finally:
                connection.close()
            return
