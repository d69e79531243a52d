"""Callers that talk to an engine all the time, while something happens to its daemon."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from robot.api import logger
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.units import seconds, show_seconds, show_time
from PoolManagerLibrary.waiting import wait_until


class SteadyCallKeywords(Keywords):
    """Keywords about a steady flow of completions straight to an engine."""

    @keyword
    def start_calling_engine(self, engine: str = "the engine", pause: timedelta = timedelta(milliseconds=20)) -> None:
        """Asks an engine for completions of two tokens in the background, one after the other, until the scenario ends.

        It goes to the url that the status shows now, and returns when the first has been answered.

        Example:
        | Start Calling Engine | chat/r1 |
        | Kill Daemon |
        | Engine Should Go On Answering | chat/r1 |
        | Engine Should Have Answered Every Call | chat/r1 |
        """
        pool, replica = self.scenario.replica(engine)
        url = next(one["url"] for one in self.status(pool.pool_id)["replicas"] if one["replica_id"] == replica)
        calls = _Calls(url, seconds(pause))
        self._calls()[pool.pool_id, replica] = calls
        self.scenario.cleanups.append((f"the calls to {engine}", calls.end))
        if not calls.first.wait(10):
            raise ExpectationFailed(f"{engine} at {url} gave no answer within 10 s.")

    @keyword
    def engine_should_go_on_answering(
        self, engine: str = "the engine", answers: int = 10, within: timedelta = timedelta(seconds=5)
    ) -> None:
        """Waits until the engine has answered so many more calls of `Start Calling Engine` since the last act.

        Example:
        | Engine Should Go On Answering | the engine | answers=20 |
        """
        calls = self._of(engine)
        wait_until(
            lambda: sum(at >= self.scenario.act_at for at in list(calls.answered)),
            lambda count: count >= answers or bool(calls.failures),
            timeout=seconds(within),
            expected=f"{engine} to answer {answers} calls after {self.scenario.act_name}",
            show=lambda count: f"{count} answers",
        )
        self._no_failure(engine, calls)

    @keyword
    def engine_should_have_answered_every_call(
        self, engine: str = "the engine", gap: timedelta = timedelta(seconds=1)
    ) -> None:
        """Ends the calls of `Start Calling Engine` and checks that each was answered in full.

        No two answers may have come further apart than ``gap``.

        Example:
        | Engine Should Have Answered Every Call | the engine |
        """
        calls = self._of(engine)
        calls.end()
        self._no_failure(engine, calls)
        longest = max((after - before for before, after in itertools.pairwise(calls.answered)), default=0.0)
        logger.info(f"{len(calls.answered)} answers, the longest time between two was {show_seconds(longest)}.")
        if longest > seconds(gap):
            raise ExpectationFailed(f"{engine} gave no answer for {show_seconds(longest)}.")

    def _of(self, engine: str) -> _Calls:
        pool, replica = self.scenario.replica(engine)
        calls = self._calls().get((pool.pool_id, replica))
        if calls is None:
            raise UsageError("Start Calling Engine first.")
        return calls

    @staticmethod
    def _no_failure(engine: str, calls: _Calls) -> None:
        if calls.failures:
            at, failure = calls.failures[0]
            raise ExpectationFailed(f"{engine} should answer every call, at {show_time(at)} it did not: {failure}")

    def _calls(self) -> dict[tuple[str, str], _Calls]:
        calls: dict[tuple[str, str], _Calls] = self.scenario.memory.setdefault("steady_calls", {})
        return calls


@dataclass
class _Calls:
    """A thread that asks, waits for the whole answer, and asks again."""

    url: str
    pause_s: float
    answered: list[float] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)
    first: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steady calls", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        body = json.dumps({"prompt": "Hi.", "max_tokens": 2})
        parts = urlsplit(self.url)
        while not self._stop.is_set():
            connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=5)
            try:
                connection.request("POST", "/v1/completions", body=body, headers={"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status == http.client.OK and json.loads(text)["choices"]:
                    self.answered.append(time.time())
                    self.first.set()
                else:
                    self.failures.append((time.time(), f"HTTP {answer.status}: {text[:200]!r}"))
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.failures.append((time.time(), f"{type(error).__name__}: {error}"))
            finally:
                connection.close()
            self._stop.wait(self.pause_s)

    def end(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._thread.join(10)
