"""The work done under leases: streaming completions."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.background import Completion
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.keywords.leases import LeaseKeywords
from PoolManagerLibrary.units import seconds, show_seconds


class CompletionKeywords(Keywords):
    """Keywords about completions."""

    @keyword
    def start_completion(
        self,
        tokens: int = 10,
        url: str | None = None,
        name: str = "the pool",
        lease: bool = True,
        prompt: str = "Hi.",
        triton_model: str | None = None,
    ) -> None:
        """Starts a streaming completion in the background and waits for its first token.

        It goes to ``url``, else to the url of *the lease* (a new one, if none is held), or with ``lease=False``
        straight to the engine's url in the handoff file. ``triton_model`` names a model of a real Triton server that
        is asked by the generate extension, for as many words, instead of OpenAI's completions.

        Example:
        | Start Completion | tokens=40 |
        | Completion Should End Whole | within=3 s |
        """
        target = url or (self._lease_url(name) if lease else self._handoff_url(name))
        completion = Completion(target, tokens, prompt=prompt, triton_model=triton_model).start()
        self.scenario.memory.setdefault("completions", []).append(completion)
        if not completion.first_token.wait(10) or completion.error:
            raise ExpectationFailed(f"The completion at {target} gave no token: {completion.error}")

    def _lease_url(self, name: str) -> str:
        pool_id = self.scenario.pool_id(name)
        held = [lease for lease in self.scenario.leases if lease.pool_id == pool_id and not lease.released]
        if not held:
            LeaseKeywords(self.world).take_leases(1, name)
            held = self.scenario.leases[-1:]
        return str(held[-1].url)

    def _handoff_url(self, name: str) -> str:
        pool = self.scenario.pool(name)
        path = self.daemon.handoff_path(pool.pool_id)
        return str(json.loads(path.read_text(encoding="utf-8"))["url"])

    @keyword
    def completion_should_end_whole(
        self, within: timedelta = timedelta(seconds=10), tokens: int | None = None
    ) -> Completion:
        """Waits for the end of the newest completion, which must get its end mark and all its tokens.

        Example:
        | Completion Should End Whole | within=3 s |
        """
        completion = self._completion()
        if not completion.done.wait(seconds(within)):
            raise ExpectationFailed(
                f"The completion should end within {show_seconds(seconds(within))}, "
                f"it has {len(completion.tokens)} tokens so far."
            )
        wanted = completion.tokens_wanted if tokens is None else tokens
        if not completion.whole or len(completion.tokens) != wanted:
            raise ExpectationFailed(
                f"The completion should end whole with {wanted} tokens, it ended with {len(completion.tokens)}: "
                f"{completion.error or completion.finish_reason}"
            )
        return completion

    @keyword
    def completion_should_be_cut_off(self, within: timedelta = timedelta(seconds=10)) -> None:
        """Waits for the end of the newest completion and checks that it did not get its end mark.

        Example:
        | Completion Should Be Cut Off | within=3 s |
        """
        completion = self._completion()
        if not completion.done.wait(seconds(within)) or completion.whole:
            state = "ended whole" if completion.whole else "is still running"
            raise ExpectationFailed(
                f"The completion should be cut off, it {state} with {len(completion.tokens)} tokens."
            )

    @keyword
    def completion_should_be_running(self) -> None:
        """Checks that the newest completion has neither ended nor been cut off.

        Example:
        | Completion Should Be Running |
        """
        completion = self._completion()
        if completion.done.is_set():
            raise ExpectationFailed(f"The completion should be running, it has ended: {completion.error or 'whole'}")

    @keyword
    def get_completion(
        self,
        field: str = "tokens",
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> Any:
        """Returns a fact of the newest completion: ``tokens`` (how many), ``text whole model error times``.

        Example:
        | Get Completion | model | contains | other |
        """
        completion = self._completion()
        facts: dict[str, Any] = {
            "tokens": len(completion.tokens),
            "text": "".join(completion.tokens),
            "whole": completion.whole,
            "model": completion.model,
            "error": completion.error,
            "times": completion.times,
        }
        return check(facts[field], assertion_operator, assertion_expected, f"{field} of the completion")

    def _completion(self) -> Completion:
        completions: list[Completion] = self.scenario.memory.get("completions", [])
        if not completions:
            raise UsageError("No completion has been started in this scenario.")
        return completions[-1]
