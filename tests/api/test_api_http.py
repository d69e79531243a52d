from __future__ import annotations

import asyncio
import json
import uuid

import httpx
import jsonschema
import pytest
from fake_api_service import LIMIT
from openapi_spec_validator import validate as validate_openapi

from pool_managerd.api.openapi import document
from pool_managerd.core.errors import CODES, Code

PROBLEM_FIELDS = {
    "type", "title", "status", "detail", "code", "message", "retriable", "retry_after_ms", "hint", "details",
    "correlation_id",
}  # fmt: skip


def assert_problem(response: httpx.Response, code: Code, field: str | None = None) -> dict:
    body = response.json()
    assert body.keys() == PROBLEM_FIELDS, response.text
    assert (body["code"], response.status_code) == (code, CODES[code].http_status), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert body["status"] == response.status_code
    assert body["retriable"] == CODES[code].retriable
    assert body["correlation_id"] == response.headers["x-correlation-id"]
    if field is not None:
        assert body["details"]["field"] == field
    return body


def assert_matches(response: httpx.Response, path: str) -> None:
    api = document("1.2.3")
    answers = api["paths"][path][response.request.method.lower()]["responses"]
    answer = answers.get(str(response.status_code), answers["default"])
    (media_type, content), *_ = answer["content"].items()
    assert response.headers["content-type"].split(";")[0] == media_type
    if media_type.endswith("json"):
        schema = {**content["schema"], "components": api["components"]}
        jsonschema.Draft202012Validator(schema).validate(response.json())


async def test_the_openapi_document_is_valid_and_the_one_that_is_served(daemon):
    response = await daemon.http.get("/openapi.json")
    validate_openapi(response.json())
    assert response.json() == document("1.2.3")


@pytest.mark.parametrize(
    ("method", "path", "template", "body", "status"),
    [
        ("GET", "/health", "/health", None, 200),
        ("GET", "/livez", "/livez", None, 200),
        ("GET", "/ready", "/ready", None, 503),
        ("GET", "/readyz", "/readyz", None, 503),
        ("GET", "/v2/pools", "/v2/pools", None, 200),
        ("GET", "/v2/pools/chat", "/v2/pools/{pool_id}", None, 200),
        ("GET", "/v2/pools/broken/status", "/v2/pools/{pool_id}/status", None, 200),
        ("GET", "/v2/pools/chat/health", "/v2/pools/{pool_id}/health", None, 200),
        ("POST", "/v2/pools/chat/preload", "/v2/pools/{pool_id}/preload", None, 200),
        ("POST", "/v2/pools/broken/preload", "/v2/pools/{pool_id}/preload", None, 202),
        ("POST", "/v2/pools/broken/preload?wait=1.5", "/v2/pools/{pool_id}/preload", None, 503),
        ("POST", "/v2/pools/chat/drain", "/v2/pools/{pool_id}/drain", {"deadline_ms": 0}, 202),
        ("POST", "/v2/pools/chat/drain?wait=0", "/v2/pools/{pool_id}/drain", {}, 200),
        ("DELETE", "/v2/pools/chat/drain", "/v2/pools/{pool_id}/drain", None, 200),
        ("POST", "/v2/pools/chat/reload", "/v2/pools/{pool_id}/reload", {"new_model_ref": "b.gguf"}, 202),
        ("POST", "/v2/pools/chat/reload?wait=9", "/v2/pools/{pool_id}/reload", {"new_model_ref": "b.gguf"}, 200),
        ("POST", "/v2/pools/chat/circuit/reset", "/v2/pools/{pool_id}/circuit/reset", None, 200),
        ("POST", "/v2/pools/broken/circuit/reset", "/v2/pools/{pool_id}/circuit/reset", None, 409),
        ("POST", "/v2/pools/chat/leases", "/v2/pools/{pool_id}/leases", {"holder": "me", "ttl_ms": 5}, 201),
        ("GET", "/v2/pools/chat/leases", "/v2/pools/{pool_id}/leases", None, 200),
        ("GET", "/v2/pools/chat/logs?tail=5&replica=r0", "/v2/pools/{pool_id}/logs", None, 200),
        ("GET", "/v2/devices", "/v2/devices", None, 200),
        ("POST", "/v2/config/reload?dry_run=true", "/v2/config/reload", None, 200),
        ("GET", "/metrics", "/metrics", None, 200),
    ],
)
async def test_every_route_answers_what_openapi_says(daemon, method, path, template, body, status):
    response = (
        await daemon.http.request(method, path, json=body)
        if body is not None
        else (await daemon.http.request(method, path))
    )
    assert response.status_code == status, response.text
    assert_matches(response, template)
    if status == 202:
        assert response.headers["location"] == f"/v2/pools/{path.split('/')[3]}"


async def test_integers_are_numbers_and_no_value_is_null(daemon):
    pool = (await daemon.http.get("/v2/pools/broken")).json()
    assert pool["revision"] == 2**40 + 7
    assert pool["vram"] == {"required_bytes": 2**40 + 7, "used_bytes": None}
    assert pool["engine_version"] is None
    assert pool["last_error"]["details"]["log"] == ["a", None, 1.5]


async def test_a_lease_is_taken_listed_renewed_and_released_twice(daemon):
    taken = await daemon.http.post("/v2/pools/chat/leases", json={"holder": "me"})
    lease = taken.json()["lease_id"]
    assert taken.headers["location"] == f"/v2/pools/chat/leases/{lease}"
    assert [found["lease_id"] for found in (await daemon.http.get("/v2/pools/chat/leases")).json()["leases"]] == [lease]
    renewed = await daemon.http.put(f"/v2/pools/chat/leases/{lease}", json={"ttl_ms": 1000})
    assert renewed.status_code == 200
    for _ in range(2):
        released = await daemon.http.delete(f"/v2/pools/chat/leases/{lease}")
        assert (released.status_code, released.content) == (204, b"")
    assert_problem(await daemon.http.put(f"/v2/pools/chat/leases/{lease}", json={}), Code.LEASE_NOT_FOUND)


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("content", "headers", "field"),
    [
        (b'{"deadline_ms": "5"}', JSON, "deadline_ms"),
        (b'{"deadline_ms": true}', JSON, "deadline_ms"),
        (b'{"deadline_ms": 1.0}', JSON, "deadline_ms"),
        (b'{"deadline_ms": -1}', JSON, "deadline_ms"),
        (b'{"deadline_ms": 1' + b"0" * 30 + b"}", JSON, "deadline_ms"),
        (b'{"deadline_ms": 1' + b"0" * 5000 + b"}", JSON, "body"),
        (b'{"deadline_ms": NaN}', JSON, "body"),
        (b'{"deadline_ms": 1, "deadline_ms": 2}', JSON, "deadline_ms"),
        (b'{"binary": "/bin/sh"}', JSON, "binary"),
        (b"[]", JSON, "body"),
        (b"{} {}", JSON, "body"),
        (b'{"deadline_ms": }', JSON, "body"),
        (b"\xff\xfe", JSON, "body"),
        (b"[" * 20_000, JSON, "body"),
        (b'{"a":' * 8_000, JSON, "body"),
        (b"{}", {"content-type": "text/plain"}, "Content-Type"),
        (b"{}", {"content-type": "application/json; charset=latin-1"}, "Content-Type"),
        (b"{}", {}, "Content-Type"),
    ],
)
async def test_a_bad_body_is_refused_and_names_its_field(daemon, content, headers, field):
    response = await daemon.http.post("/v2/pools/chat/drain", content=content, headers=headers)
    assert_problem(response, Code.INVALID_REQUEST, field)
    assert daemon.service.draining == set()
    assert (await daemon.http.get("/health")).status_code == 200


async def test_malformed_json_names_its_byte(daemon):
    response = await daemon.http.post("/v2/pools/chat/drain", content='{"ä": }'.encode(), headers=JSON)
    assert assert_problem(response, Code.INVALID_REQUEST)["details"]["byte"] == 7


async def test_a_string_that_never_ends_is_looked_at_once(daemon):
    """A search that begins anew at each quote takes hours for so many, and nobody else is served meanwhile."""
    content = (b'"' + b'\\"' * LIMIT)[:LIMIT]
    async with asyncio.timeout(2):
        response = await daemon.http.post("/v2/pools/chat/drain", content=content, headers=JSON)
    assert assert_problem(response, Code.INVALID_REQUEST)["details"]["byte"] == 0


async def test_null_is_called_by_its_name(daemon):
    response = await daemon.http.post("/v2/pools/chat/drain", content=b"null", headers=JSON)
    assert assert_problem(response, Code.INVALID_REQUEST)["message"] == "the body is null, not a JSON object"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "new_model_ref"),
        ({"new_model_ref": None}, "new_model_ref"),
        ({"new_model_ref": 5}, "new_model_ref"),
        ({"new_model_ref": "a\0b"}, "new_model_ref"),
        ({"new_model_ref": "\ud800"}, "new_model_ref"),
    ],
)
async def test_a_reload_needs_a_model_that_is_text(daemon, body, field):
    response = await daemon.http.post("/v2/pools/chat/reload", content=json.dumps(body), headers=JSON)
    assert_problem(response, Code.INVALID_REQUEST, field)


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("POST", "/v2/pools/chat/preload?wait=-1", "wait"),
        ("POST", "/v2/pools/chat/preload?wait=3601", "wait"),
        ("POST", "/v2/pools/chat/preload?wait=nan", "wait"),
        ("POST", "/v2/pools/chat/preload?wait=", "wait"),
        ("POST", "/v2/pools/chat/preload?wait=1e999", "wait"),
        ("POST", "/v2/pools/chat/preload?wait=1&wait=2", "wait"),
        ("POST", "/v2/pools/chat/preload?force=1", "force"),
        ("GET", "/v2/pools/chat/logs?tail=-5", "tail"),
        ("GET", "/v2/pools/chat/logs?tail=99999999", "tail"),
        ("GET", "/v2/pools/chat/logs?tail=ten", "tail"),
        ("GET", "/v2/pools/chat/logs?follow=1", "follow"),
        ("GET", "/v2/pools/chat/logs?replica=../../etc/passwd", "replica"),
        ("GET", "/v2/events?since=-1", "since"),
        ("GET", "/v2/events?since=99999999999999999999", "since"),
        ("GET", "/v2/events?since=1.5", "since"),
        ("POST", "/v2/config/reload?dry_run=yes", "dry_run"),
        ("GET", "/v2/pools?limit=5", "limit"),
    ],
)
async def test_a_bad_query_is_refused_and_names_its_parameter(daemon, method, path, field):
    assert_problem(await daemon.http.request(method, path), Code.INVALID_REQUEST, field)


async def test_a_bad_last_event_id_is_refused(daemon):
    response = await daemon.http.get("/v2/events", headers={"last-event-id": "x"})
    assert_problem(response, Code.INVALID_REQUEST, "Last-Event-ID")


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("nope", "nope"),
        ("Chat", "Chat"),
        ("a%2Fb", "a/b"),
        ("..%2f..%2fetc", "../../etc"),
        ("chat%2Fstatus", "chat/status"),
        ("%2e%2e", ".."),
        ("%00", "\\x00"),
        ("%ff", "\ufffd"),
        ("a" * 64, "a" * 64),
    ],
)
@pytest.mark.parametrize(
    ("method", "tail"),
    [("GET", ""), ("GET", "/status"), ("POST", "/drain"), ("PUT", "/leases/l"), ("GET", "/logs?bad=1")],
)
async def test_an_unknown_pool_is_named_on_every_route(daemon, asked, shown, method, tail):
    url = f"http://127.0.0.1:{daemon.http_server.port}/v2/pools/{asked}{tail}"
    body = assert_problem(await daemon.http.request(method, url), Code.POOL_NOT_FOUND)
    assert shown in body["message"]
    assert daemon.service.calls == []


async def test_an_escaped_letter_is_the_letter(daemon):
    assert (await daemon.http.get("/v2/p%6fols/ch%61t")).json()["pool_id"] == "chat"


@pytest.mark.parametrize("path", ["/nope", "/v2", "/v2/pools/", "/v2/pools/chat/nope", "/v1/pools"])
async def test_no_such_route(daemon, path):
    assert_problem(await daemon.http.get(path), Code.NOT_FOUND)


async def test_a_wrong_method_says_which_are_allowed(daemon):
    response = await daemon.http.put("/v2/pools/chat/drain")
    assert assert_problem(response, Code.METHOD_NOT_ALLOWED)["details"]["allowed"] == ["DELETE", "POST"] or (
        set(response.headers["allow"].split(", ")) == {"POST", "DELETE"}
    )
    assert_problem(await daemon.http.post("/health"), Code.METHOD_NOT_ALLOWED)


async def test_a_known_waiting_time_is_said_in_whole_seconds(daemon):
    response = await daemon.http.post("/v2/pools/broken/circuit/reset")
    assert assert_problem(response, Code.CIRCUIT_OPEN)["retry_after_ms"] == 1001
    assert response.headers["retry-after"] == "2"


async def test_the_callers_correlation_id_comes_back_and_reaches_the_service(daemon):
    response = await daemon.http.post("/v2/pools/chat/drain", headers={"X-Correlation-Id": "job 17/a"})
    assert response.headers["x-correlation-id"] == "job 17/a"
    assert daemon.service.calls[0] == ("drain", "chat", None, None, "job 17/a")
    error = await daemon.http.get("/v2/pools/nope", headers={"X-Correlation-Id": "job 18"})
    assert assert_problem(error, Code.POOL_NOT_FOUND)["correlation_id"] == "job 18"


@pytest.mark.parametrize("sent", [None, b"x" * 129, b"a\tb", "ü".encode()])
async def test_without_a_usable_id_each_answer_has_a_new_one(daemon, sent):
    headers = {} if sent is None else {"x-correlation-id": sent}
    ids = {(await daemon.http.get("/health", headers=headers)).headers["x-correlation-id"] for _ in range(3)}
    assert len({uuid.UUID(found) for found in ids}) == 3


async def test_a_fault_is_hidden_from_the_caller(daemon):
    daemon.service.fault = RuntimeError("secret /etc/shadow")
    response = await daemon.http.get("/v2/pools/chat")
    body = assert_problem(response, Code.INTERNAL)
    assert "secret" not in response.text
    assert body["correlation_id"] in body["hint"]
    assert "GET /v2/pools/chat" in body["message"]


async def test_a_page_of_another_site_may_not_change_anything(daemon):
    response = await daemon.http.post("/v2/pools/chat/drain", headers={"origin": "https://evil.example"})
    assert_problem(response, Code.FORBIDDEN)
    assert daemon.service.calls == []
    own = f"http://127.0.0.1:{daemon.http_server.port}"
    assert (await daemon.http.post("/v2/pools/chat/drain", headers={"origin": own})).status_code == 202


@pytest.mark.parametrize("host", ["evil.example:9200", "localhost.evil.example", "127.0.0.1.evil.example:9200"])
async def test_a_page_of_a_site_whose_name_leads_here_may_not_change_anything(daemon, host):
    headers = {"origin": f"http://{host}", "host": host}
    response = await daemon.http.post("/v2/pools/chat/drain", headers=headers)
    assert "localhost" in assert_problem(response, Code.FORBIDDEN)["hint"]
    assert daemon.service.calls == []


@pytest.mark.parametrize("host", ["evil.example:9200", "localhost.evil.example", "[::1", "x@localhost.evil.example"])
async def test_a_page_of_a_site_whose_name_leads_here_reads_nothing_that_a_token_would_guard(daemon, host):
    refused = assert_problem(await daemon.http.get("/v2/pools", headers={"host": host}), Code.FORBIDDEN)
    assert "token" in refused["hint"]
    assert (await daemon.http.get("/health", headers={"host": host})).status_code == 200
    assert (await daemon.http.get("/v2/pools", headers={"host": "localhost:1"})).status_code == 200


@pytest.mark.parametrize("host", ["localhost:9200", "127.0.0.1", "[::1]:9200", "10.1.2.3:80"])
async def test_a_page_from_an_address_may_change_things(daemon, host):
    headers = {"origin": f"http://{host}", "host": host}
    assert (await daemon.http.post("/v2/pools/chat/drain", headers=headers)).status_code == 202


async def test_with_a_token_the_page_may_come_from_any_name(guarded):
    headers = {"origin": "http://gpu7.lan", "host": "gpu7.lan", "authorization": "Bearer s3cret-token"}
    assert (await guarded.http.post("/v2/pools/chat/drain", headers=headers)).status_code == 202


async def test_a_drain_of_a_caller_that_hung_up_goes_on(daemon):
    with pytest.raises(httpx.ReadTimeout):
        await daemon.http.post("/v2/pools/chat/leases", json={"holder": "slow"}, timeout=0.2)
    daemon.service.gate.set()
    async with asyncio.timeout(5):
        while not daemon.service.leases:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0.01)
