"""The daemon's own description of its HTTP side: is it valid, is it true, and does it hold against made-up requests."""

from __future__ import annotations

import importlib.util
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import requests
from robot.api import SkipExecution, logger
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.http_client import outcome_of
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.outcome import Outcome
from PoolManagerLibrary.units import seconds

#: Answers of these types have no end of their own: only their head is looked at.
_STREAMS = ("text/event-stream", "text/plain")
#: Of the requests made up, all but each third name the scenario's own pool instead of one that does not exist.
_STRANGERS = 3
#: A made-up ``wait`` that is allowed (to 3600 s) is cut to so many seconds.
_LONGEST_WAIT_S = 0.02
_MAX_WAIT_S = 3600
_TIMEOUT_S = 5


#: What comes with the extra `test` and only these keywords need.
_EXTRA = ("hypothesis", "jsonschema", "openapi_spec_validator", "schemathesis")


def _need_extra() -> None:
    """Skip a test whose tools are not installed.

    :raises SkipExecution: with the reason.
    """
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise SkipExecution(f"Needs {', '.join(missing)}: pip install 'pool-managerd-bdd[test]'.")


class OpenapiKeywords(Keywords):
    """Keywords about ``/openapi.json``."""

    @keyword
    def openapi_should_be_valid(self) -> dict[str, Any]:
        """Checks ``/openapi.json`` against the OpenAPI specification and returns the document.

        Example:
        | ${document} = | Openapi Should Be Valid |
        """
        _need_extra()
        from openapi_spec_validator import validate  # noqa: PLC0415  # an extra that only these keywords need

        document = self._document()
        try:
            validate(document)
        except Exception as error:  # noqa: BLE001  # whatever the validator found
            raise ExpectationFailed(f"/openapi.json is no valid OpenAPI document: {error}") from None
        return document

    @keyword
    def openapi_should_list(self, *operations: str) -> None:
        """Checks that ``/openapi.json`` lists exactly these operations of ``/v2``, each as ``GET /v2/pools/{pool_id}``.

        The names of path parameters do not matter.

        Example:
        | Openapi Should List | GET /v2/pools | GET /v2/devices |
        """
        listed = {
            f"{method.upper()} {_anonymous(path)}"
            for path, methods in self._document()["paths"].items()
            for method in methods
            if path.startswith("/v2") and method in {"get", "put", "post", "delete", "patch"}
        }
        wanted = {_anonymous(operation) for operation in operations}
        if listed != wanted:
            raise ExpectationFailed(
                f"/openapi.json should list exactly the API's paths: missing {sorted(wanted - listed)}, "
                f"more {sorted(listed - wanted)}."
            )

    @keyword
    def answer_should_match_openapi(self, operation: str) -> None:
        """Checks the last answer (status, content type, document) against what ``/openapi.json`` says of an operation.

        Example:
        | Http Request | GET | /v2/pools/{pool} |
        | Answer Should Match Openapi | GET /v2/pools/{pool_id} |
        """
        _need_extra()
        method, _, path = operation.partition(" ")
        _check_answer(self._document(), method, path, self.scenario.last_outcome())

    @keyword
    def send_generated_requests(
        self, seed: int = 1, examples: int = 8, limit: timedelta = timedelta(seconds=6), name: str = "the pool"
    ) -> int:
        """Sends requests that schemathesis makes up from ``/openapi.json``, valid and not, and judges every answer.

        Two of three name a pool of the scenario, the others one that was made up. No answer may be INTERNAL or have a
        status of 500, and each must be one that the document describes. The same ``seed`` makes the same requests.
        At most ``examples`` per operation and kind; after ``limit`` no more are sent. Returns how many were sent.

        Example:
        | ${sent} = | Send Generated Requests | seed=7 | examples=10 |
        """
        _need_extra()
        document = self._document()
        pool_id = self.scenario.pool_id(name)
        daemon = self.daemon
        deadline = time.monotonic() + seconds(limit)
        self.scenario.act("generated requests")
        sent: Counter[str] = Counter()
        # Not raised where it is found: hypothesis would send the request again, to see whether it fails again.
        wrong: list[str] = []
        skipped = 0
        client = requests.Session()
        client.trust_env = False

        def send(method: str, path: str, request: Mapping[str, Any]) -> None:
            nonlocal skipped
            if wrong or time.monotonic() > deadline:
                skipped += 1
                return
            given = dict(request)
            number = sum(sent.values())
            if number % _STRANGERS:
                given["url"] = _with_pool(given["url"], path, pool_id)
            wait = (given.get("params") or {}).get("wait")
            if isinstance(wait, (int, float)) and _LONGEST_WAIT_S < wait <= _MAX_WAIT_S:
                given["params"] = {**given["params"], "wait": _LONGEST_WAIT_S}
            try:
                outcome = _exchange(client, given)
            except requests.RequestException as error:
                wrong.append(f"A made-up request got no answer: {error}\n{_show_request(given)}")
                return
            sent[f"{outcome.status}"] += 1
            if outcome.status == requests.codes.server_error or outcome.code == "INTERNAL":
                wrong.append(f"A made-up request was answered with {outcome.describe()}\n{_show_request(given)}")
                return
            try:
                _check_answer(document, method, path, outcome)
            except ExpectationFailed as error:
                wrong.append(f"{error}\n{_show_request(given)}")

        _make_up(document, f"http://{daemon.http_address}", seed, examples, send)
        client.close()
        if wrong:
            raise ExpectationFailed(wrong[0])
        total = sum(sent.values())
        logger.info(
            f"{total} requests ({skipped} more were made up too late): "
            + ", ".join(f"{count} of {status}" for status, count in sorted(sent.items()))
        )
        return total

    def _document(self) -> dict[str, Any]:
        found: dict[str, Any] | None = self.scenario.memory.get("openapi")
        if found is None:
            found = self.must(self.daemon.http.request("GET", "/openapi.json")).body
            self.scenario.memory["openapi"] = found
        return found


def _anonymous(path: str) -> str:
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def _operation(document: Mapping[str, Any], method: str, path: str) -> Mapping[str, Any]:
    for template, methods in document["paths"].items():
        if _anonymous(template) == _anonymous(path) and method.lower() in methods:
            operation: Mapping[str, Any] = methods[method.lower()]
            return operation
    raise UsageError(f"/openapi.json has no operation {method} {path}.")


def _check_answer(document: Mapping[str, Any], method: str, path: str, outcome: Outcome) -> None:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415  # an extra

    responses = _operation(document, method, path)["responses"]
    status = str(outcome.status)
    if status not in responses and outcome.ok:
        raise ExpectationFailed(f"/openapi.json knows no answer {status} to {method} {path}: {outcome.describe()}")
    described = responses.get(status, responses.get("default"))
    content = described.get("content", {})
    sent = next((value for key, value in outcome.headers.items() if key.lower() == "content-type"), "")
    media_type = sent.partition(";")[0].strip()
    if not content:
        if outcome.text:
            raise ExpectationFailed(f"{method} {path} should answer {status} without content: {outcome.describe()}")
        return
    if media_type not in content:
        raise ExpectationFailed(
            f"{method} {path} should answer {status} as {', '.join(content)}, it came as {media_type!r}: "
            f"{outcome.describe()}"
        )
    if media_type in _STREAMS:
        return
    schema = {**content[media_type]["schema"], "components": document["components"]}
    error = next(iter(Draft202012Validator(schema).iter_errors(outcome.body)), None)
    if error is not None:
        raise ExpectationFailed(
            f"The answer {status} to {method} {path} is not as /openapi.json says, at {error.json_path}: "
            f"{error.message[:500]}\n{outcome.describe()}"
        )


def _with_pool(url: str, path: str, pool_id: str) -> str:
    """The url of a made-up request with its pool's id replaced."""
    if "{pool_id}" not in path:
        return url
    before, after = path.split("{pool_id}")
    begin = url.index(before) + len(before)
    rest = url[begin:]
    end = rest.find("/") if after else len(rest)
    return url[:begin] + quote(pool_id) + (rest[end:] if end >= 0 else "")


def _exchange(client: requests.Session, request: Mapping[str, Any]) -> Outcome:
    started, at = time.monotonic(), time.time()
    with client.request(**{**request, "timeout": _TIMEOUT_S, "allow_redirects": False, "stream": True}) as response:
        if response.headers.get("content-type", "").partition(";")[0] in _STREAMS:
            # Its head is the answer; the rest has no end, so that the connection is of no more use.
            response.raw.close()
            response._content = b""  # noqa: SLF001  # keeps requests from reading on
        call = f"{request['method']} {request['url'].partition('/v2')[2] or request['url']}"
        content, elapsed = response.content, time.monotonic() - started
        return outcome_of(response.status_code, response.headers, content, call, at=at, elapsed=elapsed)


def _show_request(request: Mapping[str, Any]) -> str:
    shown = {key: request[key] for key in ("method", "url", "params", "json", "data", "headers") if request.get(key)}
    return f"The request was: {shown!r}"[:1500]


def _sender(
    send: Callable[[str, str, Mapping[str, Any]], None], method: str, path: str, base_url: str
) -> Callable[[Any], None]:
    def one(case: Any) -> None:
        send(method, path, case.as_transport_kwargs(base_url=base_url))

    return one


def _make_up(
    document: dict[str, Any],
    base_url: str,
    seed: int,
    examples: int,
    send: Callable[[str, str, Mapping[str, Any]], None],
) -> None:
    import hypothesis  # noqa: PLC0415  # an extra that only these keywords need
    import schemathesis  # noqa: PLC0415  # see above
    from hypothesis.errors import Unsatisfiable  # noqa: PLC0415  # see above

    settings = hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=False,
    )
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = result.ok()  # type: ignore[union-attr,unused-ignore]  # a valid document has no others
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            generated = hypothesis.given(case=operation.as_strategy(generation_mode=mode))(
                _sender(send, operation.method.upper(), operation.path, base_url)
            )
            try:
                hypothesis.seed(seed)(settings(generated))()
            except Unsatisfiable:
                logger.debug(f"{operation.method.upper()} {operation.path} takes nothing that could be wrong.")
