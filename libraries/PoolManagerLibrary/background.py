"""Work that goes on while the scenario's steps go on: held leases, streaming completions, callers at once."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from PoolManagerLibrary.daemon_process import Daemon
from PoolManagerLibrary.errors import PoolManagerLibraryError
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.outcome import Outcome, Protocol

T = TypeVar("T")


def at_once(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Run all jobs side by side, let go at one moment, and return their results in order."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], T]) -> T:
        barrier.wait(10)
        return job()

    with ThreadPoolExecutor(max_workers=len(jobs)) as executor:
        return list(executor.map(run, jobs))


@dataclass(slots=True)
class Lease:
    """A lease that the scenario holds, or held."""

    pool_id: str
    lease_id: str
    url: str
    replica_id: str
    document: dict[str, Any]
    released: bool = False


@dataclass
class Completion:
    """A streaming completion in a thread of its own: what came, when, and how it ended.

    :param triton_model: the model of a Triton server to ask by its generate extension, which has no end mark but the
        end of the answer itself; ``None`` for OpenAI's completions.
    """

    url: str
    tokens_wanted: int
    tokens: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    whole: bool = False
    error: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    first_token: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    prompt: str = "Say something."
    triton_model: str | None = None

    def start(self) -> Completion:
        """Begin."""
        threading.Thread(target=self._run, name="completion", daemon=True).start()
        return self

    def _run(self) -> None:
        try:
            self._stream()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self.done.set()
            self.first_token.set()

    def _stream(self) -> None:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=30)
        path, body = self._request()
        with contextlib.closing(connection):
            connection.request("POST", path, body=json.dumps(body), headers={"Content-Type": "application/json"})
            with connection.getresponse() as response:
                self._read(response)

    def _read(self, response: http.client.HTTPResponse) -> None:
        if response.status != http.client.OK:
            self.error = f"HTTP {response.status}: {response.read(500)!r}"
            return
        for raw in iter(response.readline, b""):
            line = raw.decode().strip()
            if not line.startswith("data:"):
                continue
            data = line.removeprefix("data:").strip()
            if data == "[DONE]":
                self.whole = True
                return
            self._take(json.loads(data))
        if self.triton_model is None:
            self.error = "The stream ended without its end mark."
        else:
            self.whole = self.error is None

    def _request(self) -> tuple[str, dict[str, Any]]:
        if self.triton_model is not None:
            words = " ".join(f"word{number}" for number in range(self.tokens_wanted))
            return f"/v2/models/{self.triton_model}/generate_stream", {"text_input": words}
        # A real model would end by itself when it has said enough; here so many tokens are wanted and no fewer.
        body = {"prompt": self.prompt, "max_tokens": self.tokens_wanted, "ignore_eos": True, "stream": True}
        # llama.cpp sends a character of several tokens as one piece; letters can be counted.
        return "/v1/completions", {**body, "grammar": "root ::= [a-zA-Z ,.]+"}

    def _take(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            self.error = str(chunk["error"])
        if "text_output" in chunk:
            self.model = chunk["model_name"]
            self._token(chunk["text_output"])
        self.model = chunk.get("model", self.model)
        for choice in chunk.get("choices", []):
            text = choice.get("text") or (choice.get("delta") or {}).get("content")
            # A real token may be a part of a character, and its text empty.
            if text or (text is not None and choice.get("finish_reason") is None):
                self._token(text)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def _token(self, text: str) -> None:
        self.tokens.append(text)
        self.times.append(time.time())
        self.first_token.set()


class HeldLease:
    """A lease acquired, kept alive and given back by a thread."""

    def __init__(self, daemon: Daemon, lease: Lease, *, hold_s: float | None, renew_every_s: float | None) -> None:
        self.daemon = daemon
        self.lease = lease
        self.hold_s = hold_s
        self.renew_every_s = renew_every_s
        self.released_at: float | None = None
        self.outcome: Outcome | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        ends = None if self.hold_s is None else time.monotonic() + self.hold_s
        while not self._stop.is_set():
            pause = self.renew_every_s
            if ends is not None:
                remaining = ends - time.monotonic()
                if remaining <= 0:
                    break
                pause = remaining if pause is None else min(pause, remaining)
            if self._stop.wait(pause):
                break
            if self.renew_every_s is not None and (ends is None or time.monotonic() < ends):
                self._call("renew")
        self.released_at = time.time()
        self.outcome = self._call("release")
        self.lease.released = True

    def _call(self, operation: str) -> Outcome:
        try:
            return call(self.daemon, operation, pool_id=self.lease.pool_id, lease_id=self.lease.lease_id, timeout=10)
        except PoolManagerLibraryError as error:
            return Outcome(Protocol.HTTP, operation, False, 0, text=str(error))

    def end(self) -> None:
        """Give the lease back now, if it is not yet."""
        self._stop.set()
        self._thread.join(10)
