"""Looking at what a caller got: status, fields, headers, and errors by their stable code."""

from __future__ import annotations

import json
import math
import re
import uuid
from datetime import timedelta
from typing import Any

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.codes import CODES, PROBLEM_FIELDS
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check, dig, says
from PoolManagerLibrary.operations import protocol_of
from PoolManagerLibrary.outcome import Outcome, Protocol
from PoolManagerLibrary.units import is_size, parse_size, seconds, show_seconds, sizes_in
from PoolManagerLibrary.waiting import wait_until


class AnswerKeywords(Keywords):
    """Keywords about answers and errors."""

    @keyword
    def answer_should_be(self, *expected: str, within: timedelta | None = None) -> None:
        """Checks the last answer: ``200``, ``OK``, ``accepted`` (any success), ``404 POOL_NOT_FOUND``, ``exit code 3``.

        A refusal is checked as a whole: its code, the status that belongs to the code on that protocol,
        ``retriable``, and on HTTP
        the form of the problem document. ``within`` limits the time that the caller waited.

        Example:
        | Answer Should Be | 404 POOL_NOT_FOUND |
        | Answer Should Be | INSUFFICIENT_VRAM | within=100 ms |
        """
        outcome = self.scenario.last_outcome()
        text = " ".join(expected).strip().removeprefix("with ").removeprefix("exit code ")
        words = text.split()
        code = next((word for word in words if word in CODES and word != "NOT_FOUND"), None)
        if code is None and words and words[-1] == "NOT_FOUND" and (len(words) > 1 or words[0] in CODES):
            code = "NOT_FOUND"
        if code is not None:
            self._refusal(outcome, code, [word for word in words if word != code])
        elif text in {"accepted", "success", "2xx"}:
            if not outcome.ok:
                raise ExpectationFailed(f"The call should succeed, but: {outcome.describe()}")
        elif str(outcome.status) != text:
            raise ExpectationFailed(f"The answer should be {text}, but: {outcome.describe()}")
        if within is not None and outcome.elapsed > seconds(within):
            raise ExpectationFailed(
                f"The answer came after {show_seconds(outcome.elapsed)}, {show_seconds(seconds(within))} are allowed: "
                f"{outcome.describe()}"
            )

    def _refusal(self, outcome: Outcome, code: str, more: list[str]) -> None:
        if outcome.ok:
            raise ExpectationFailed(f"The call should be refused with {code}, but: {outcome.describe()}")
        if outcome.code != code:
            raise ExpectationFailed(f"The refusal should be {code}, but: {outcome.describe()}")
        row = CODES[code]
        self.scenario.memory["error"] = outcome.problem
        if outcome.protocol is Protocol.CLI:
            return
        status: int | str = row.http if outcome.protocol is Protocol.HTTP else row.grpc
        if outcome.status != status or (more and str(outcome.status) not in more):
            raise ExpectationFailed(
                f"{code} should come with {more or status}, it came with {outcome.status}: {outcome.describe()}"
            )
        if outcome.protocol is Protocol.HTTP:
            _check_problem(outcome, row.retriable)
        elif not (outcome.problem or {}).get("has_error_info"):
            raise ExpectationFailed(f"The gRPC error carries no google.rpc.ErrorInfo: {outcome.describe()}")

    @keyword
    def ask_for_status(self, name: str, protocol: str = "HTTP") -> Outcome:
        """Asks for a pool's status over a protocol, and notes the answer without judging it.

        Example:
        | Ask For Status | nobody | gRPC |
        | Answer Should Be | NOT_FOUND POOL_NOT_FOUND |
        """
        return self.operate("status", protocol=protocol_of(protocol), pool_id=self.scenario.pool_id(name))

    @keyword
    def answer_field(
        self,
        field: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> Any:
        """Returns a field of the last answer's body by its dotted path, and checks it if an operator is given.

        Example:
        | Answer Field | outcome | == | drained |
        """
        outcome = self.scenario.last_outcome()
        body = outcome.body if outcome.ok or outcome.protocol is Protocol.HTTP else outcome.problem
        return check(dig(body, field), assertion_operator, assertion_expected, f"{field} of the answer")

    @keyword
    def answer_header(
        self,
        header: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> str | None:
        """Returns a header (gRPC: metadata) of the last answer, None if it is not there.

        Example:
        | Answer Header | X-Correlation-Id | == | abc |
        """
        outcome = self.scenario.last_outcome()
        value = next((val for key, val in outcome.headers.items() if key.lower() == header.lower()), None)
        check(value, assertion_operator, assertion_expected, f"The header {header}")
        return value

    @keyword
    def answer_body(self) -> Any:
        """Returns the last answer's body, decoded if it is JSON.

        Example:
        | ${body} = | Answer Body |
        """
        outcome = self.scenario.last_outcome()
        return outcome.body if outcome.body is not None else outcome.text

    @keyword
    def answer_text(self, assertion_operator: AssertionOperator | None = None, assertion_expected: Any = None) -> str:
        """Returns the last answer as text: the HTTP body, or what a command wrote to its standard output and error.

        Example:
        | Answer Text | contains | pool_managerd_pool_ready |
        """
        outcome = self.scenario.last_outcome()
        text = outcome.text
        if outcome.protocol is Protocol.CLI:
            text = outcome.headers.get("stdout", outcome.text) + outcome.headers.get("stderr", "")
        check(text, assertion_operator, assertion_expected, "The answer")
        return text

    @keyword
    def answer_time(
        self, assertion_operator: AssertionOperator | None = None, assertion_expected: timedelta | None = None
    ) -> float:
        """Returns how many seconds the caller waited for the last answer.

        Example:
        | Answer Time | < | 100 ms |
        """
        elapsed = self.scenario.last_outcome().elapsed
        expected = None if assertion_expected is None else seconds(assertion_expected)
        check(elapsed, assertion_operator, expected, "Seconds until the answer")
        return elapsed

    @keyword
    def correlation_id_should_be_new(self) -> str:
        """Checks that the last answer carries a correlation id that is a UUID and has not been seen in this scenario.

        Example:
        | Http Request | GET | /health |
        | Correlation Id Should Be New |
        """
        value = self.answer_header("X-Correlation-Id")
        try:
            uuid.UUID(str(value))
        except ValueError:
            raise ExpectationFailed(f"The correlation id should be a new UUID, it is {value!r}.") from None
        seen = self.scenario.memory.setdefault("correlation_ids", set())
        if value in seen:
            raise ExpectationFailed(f"The correlation id {value} has been seen before.")
        seen.add(value)
        return str(value)

    # -- errors -------------------------------------------------------------------------------------------------

    @keyword
    def last_error_should_be(
        self, name: str, code: str, within: timedelta = timedelta(seconds=1)
    ) -> dict[str, Any] | None:
        """Waits until a pool's last error has a code (``none``: no error), with text, time, hint, right ``retriable``.

        It is then *the error* that `Error Should Name` looks at.

        Example:
        | Last Error Should Be | the pool | ENGINE_EXITED |
        """
        pool_id = self.scenario.pool_id(name)
        wanted = says(code)
        error: dict[str, Any] | None = wait_until(
            lambda: self.status(pool_id)["last_error"],
            lambda seen: (seen is None) if wanted is None else (seen is not None and seen["code"] == wanted),
            timeout=seconds(within),
            expected=f"the last error of pool {pool_id} to be {code}",
            show=lambda seen: "none" if seen is None else f"{seen['code']}: {seen['message']}",
            context=lambda: self.explain(pool_id),
        ).value
        self.scenario.memory["error"] = error
        if error is None:
            return None
        missing = [field for field in ("code", "message", "hint", "at") if not error.get(field)]
        if missing:
            raise ExpectationFailed(f"The last error has no {', '.join(missing)}: {error}")
        if error["retriable"] is not CODES[error["code"]].retriable:
            raise ExpectationFailed(f"retriable of {error['code']} should be {CODES[error['code']].retriable}: {error}")
        for refusal in self.scenario.refusals:
            refusal.examined = refusal.examined or refusal.code == error["code"]
        return error

    @keyword
    def error_should_name(self, *things: str) -> None:
        """Checks that *the error* (the last one looked at) names all of these, in its text, hint or details.

        A thing is ``the device`` (or ``GPU big``), ``the pool``, a size with any words behind it (``7 GiB
        required``), a text in
        double quotes, or any other text. A single argument may list several, with commas and ``and``.

        Example:
        | Error Should Name | the device, 7 GiB required and 6 GiB free |
        | Error Should Name | "/path/to/binary" | the pool |
        """
        error = self._error()
        error_text = " ".join(str(error.get(key) or "") for key in ("message", "detail", "hint"))
        details = json.dumps(error.get("details") or {}, ensure_ascii=False)
        for thing in _split(things):
            if not self._named(thing, error_text, details):
                raise ExpectationFailed(f"The error should name {thing}, it says: {error_text.strip()} {details}")

    def _named(self, thing: str, text: str, details: str) -> bool:
        both = f"{text} {details}"
        if thing in {"the device", "the GPU"} or re.fullmatch(r"(the )?GPU [\w-]+", thing):
            gpu = self.scenario.gpu("the GPU" if thing == "the device" else thing)
            return gpu.uuid in both
        if thing == "the pool" or re.fullmatch(r"pool [\w-]+", thing):
            return self.scenario.pool_id(thing) in both
        size = re.match(r"(\d+(?:\.\d+)? ?[KMGT]?i?B)\b", thing)
        if size and is_size(size[1]):
            wanted = parse_size(size[1])
            numbers = [int(number) for number in re.findall(r"\b\d{4,}\b", both)]
            return any(math.isclose(seen, wanted, rel_tol=0.006) for seen in [*sizes_in(both), *numbers])
        return thing.strip('"').lower() in both.lower()

    @keyword
    def error_field(
        self,
        field: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> Any:
        """Returns a field of *the error*: ``message``, ``hint``, ``details.field`` and others.

        Example:
        | Error Field | details.field | == | deadline_ms |
        """
        return check(dig(self._error(), field), assertion_operator, assertion_expected, f"{field} of the error")

    def _error(self) -> dict[str, Any]:
        error = self.scenario.memory.get("error")
        outcome = self.scenario.outcome
        if error is None and outcome is not None and outcome.problem is not None:
            outcome.examined = True
            error = outcome.problem
        if error is None:
            raise UsageError("No error has been looked at yet in this scenario.")
        return dict(error)

    @keyword
    def refusals_are_expected(self) -> None:
        """Says that refusals so far need no look of their own, for which a scenario otherwise fails.

        Example:
        | Refusals Are Expected |
        """
        for refusal in self.scenario.refusals:
            refusal.examined = True


def _split(things: tuple[str, ...]) -> list[str]:
    found = []
    for thing in things:
        found += re.split(r',\s+(?=(?:[^"]*"[^"]*")*[^"]*$)|\s+and\s+(?=(?:[^"]*"[^"]*")*[^"]*$)', thing.strip())
    return [part.strip() for part in found if part.strip()]


def _check_problem(outcome: Outcome, retriable: bool | None) -> None:
    content_type = next((val for key, val in outcome.headers.items() if key.lower() == "content-type"), "")
    if not content_type.startswith("application/problem+json"):
        raise ExpectationFailed(
            f"A refusal should be application/problem+json, it is {content_type!r}: {outcome.describe()}"
        )
    body = outcome.problem or {}
    missing = [field for field in PROBLEM_FIELDS if field not in body]
    if missing:
        raise ExpectationFailed(f"The problem document has no {', '.join(missing)}: {body}")
    if body["status"] != outcome.status or (retriable is not None and body["retriable"] is not retriable):
        raise ExpectationFailed(f"status should be {outcome.status} and retriable {retriable}: {body}")
    if not body["message"] or not body["title"]:
        raise ExpectationFailed(f"The problem document says nothing: {body}")
