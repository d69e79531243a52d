from __future__ import annotations

import asyncio
import time
import uuid

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from pool_managerd.api.grpc_convert import message_to_json
from pool_managerd.api.grpc_errors import error_metadata, rich_status, status_code
from pool_managerd.core.errors import CODES, Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.proto.pool_managerd.v1 import pool_manager_pb2 as pb


async def refusal(call) -> grpc.aio.AioRpcError:
    async def answer() -> None:
        if isinstance(call, grpc.aio.UnaryUnaryCall):
            await call
        while await call.read() is not grpc.aio.EOF:
            pass

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await answer()
    return refused.value


def details_of(error: grpc.aio.AioRpcError) -> dict[str, object]:
    kinds = {
        kind.DESCRIPTOR.full_name: kind
        for kind in (
            error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo, error_details_pb2.BadRequest,
            error_details_pb2.Help,
        )
    }  # fmt: skip
    found = {}
    for part in rpc_status.from_call(error).details:
        kind = kinds[part.type_url.rsplit("/", 1)[-1]]
        found[kind.DESCRIPTOR.name] = kind.FromString(part.value)
    return found


async def test_grpc_and_http_show_the_same(daemon):
    pools = message_to_json(await daemon.stub.ListPools(pb.ListPoolsRequest()))
    assert pools == (await daemon.http.get("/v2/pools")).json()
    assert message_to_json(await daemon.stub.GetPool(pb.GetPoolRequest(pool_id="broken"))) == pools["pools"][0]
    assert message_to_json(await daemon.stub.GetReady(pb.GetReadyRequest())) == (await daemon.http.get("/ready")).json()
    assert message_to_json(await daemon.stub.GetHealth(pb.GetHealthRequest())) == (
        (await daemon.http.get("/health")).json()
    )
    devices = (await daemon.http.get("/v2/devices")).json()
    assert message_to_json(await daemon.stub.ListDevices(pb.ListDevicesRequest())) == devices
    changes = (await daemon.http.post("/v2/config/reload?dry_run=true")).json()
    assert message_to_json(await daemon.stub.ReloadConfig(pb.ReloadConfigRequest(dry_run=True))) == changes


async def test_what_one_protocol_did_the_other_shows(daemon):
    lease = await daemon.stub.AcquireLease(pb.AcquireLeaseRequest(pool_id="chat", holder="me", ttl_ms=5))
    leases = message_to_json(await daemon.stub.ListLeases(pb.ListLeasesRequest(pool_id="chat")))
    assert leases == (await daemon.http.get("/v2/pools/chat/leases")).json()
    renewed = await daemon.stub.RenewLease(pb.RenewLeaseRequest(pool_id="chat", lease_id=lease.lease_id))
    assert renewed == lease
    await daemon.stub.ReleaseLease(pb.ReleaseLeaseRequest(pool_id="chat", lease_id=lease.lease_id))
    assert (await daemon.http.get("/v2/pools/chat/leases")).json() == {"leases": []}
    drained = await daemon.stub.Drain(pb.DrainRequest(pool_id="chat", deadline_ms=0, wait=2.5))
    assert drained.result.outcome == "drained"
    assert (await daemon.http.get("/v2/pools/chat")).json()["draining"] is True
    assert not (await daemon.stub.CancelDrain(pb.CancelDrainRequest(pool_id="chat"))).draining
    assert (await daemon.stub.Preload(pb.PreloadRequest(pool_id="chat"))).done
    assert (await daemon.stub.Reload(pb.ReloadRequest(pool_id="chat", new_model_ref="b", wait=1))).done
    assert (await daemon.stub.ResetCircuit(pb.ResetCircuitRequest(pool_id="chat"))).pool_id == "chat"
    assert ("drain", "chat", 0, 2.5) in [call[:4] for call in daemon.service.calls]


async def test_a_refusal_carries_code_details_hint_and_waiting_time(daemon):
    error = await refusal(daemon.stub.ResetCircuit(pb.ResetCircuitRequest(pool_id="broken")))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    details = details_of(error)
    assert (details["ErrorInfo"].reason, details["ErrorInfo"].domain) == ("CIRCUIT_OPEN", "pool-managerd")
    assert details["ErrorInfo"].metadata["open_until"]
    assert details["RetryInfo"].retry_delay.ToMilliseconds() == 1001

    error = await refusal(daemon.stub.Preload(pb.PreloadRequest(pool_id="broken", wait=1)))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    details = details_of(error)
    assert details["ErrorInfo"].metadata["required_bytes"] == str(2**40 + 7)
    assert details["ErrorInfo"].metadata["log"] == '["a",null,1.5]'
    assert details["Help"].links[0].description == "free some"


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("Preload", pb.PreloadRequest(pool_id="chat", wait=-1), "wait"),
        ("Preload", pb.PreloadRequest(pool_id="chat", wait=float("nan")), "wait"),
        ("Drain", pb.DrainRequest(pool_id="chat", deadline_ms=-1), "deadline_ms"),
        ("Drain", pb.DrainRequest(pool_id="chat", wait=1e9), "wait"),
        ("Reload", pb.ReloadRequest(pool_id="chat"), "new_model_ref"),
        ("AcquireLease", pb.AcquireLeaseRequest(pool_id="chat", ttl_ms=2**62), "ttl_ms"),
        ("AcquireLease", pb.AcquireLeaseRequest(pool_id="chat", holder="a\0"), "holder"),
        ("GetLogs", pb.GetLogsRequest(pool_id="chat", tail=-1), "tail"),
        ("GetLogs", pb.GetLogsRequest(pool_id="chat", replica="../x"), "replica"),
        ("Watch", pb.WatchRequest(since=-1), "since"),
    ],
)
async def test_an_out_of_range_value_names_its_field(daemon, method, request_, field):
    error = await refusal(getattr(daemon.stub, method)(request_))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = details_of(error)
    assert details["ErrorInfo"].metadata["field"] == field
    assert details["BadRequest"].field_violations[0].field == field


@pytest.mark.parametrize("pool_id", ["nope", "", "../etc", "A", "a" * 64, "\0"])
async def test_an_unknown_pool_is_not_found(daemon, pool_id):
    error = await refusal(daemon.stub.GetPool(pb.GetPoolRequest(pool_id=pool_id)))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert details_of(error)["ErrorInfo"].reason == "POOL_NOT_FOUND"


async def test_bytes_that_are_no_message_are_refused(daemon):
    call = daemon.channel.unary_unary("/pool_managerd.v1.PoolManager/GetPool")
    error = await refusal(call(b"\xff\xff\xff"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_over_the_limit_and_garbage_on_the_port_disturb_nobody(daemon):
    error = await refusal(daemon.stub.Reload(pb.ReloadRequest(pool_id="chat", new_model_ref="x" * 100_000)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    _, writer = await asyncio.open_connection("127.0.0.1", daemon.grpc_server.port)
    writer.write(b"garbage\r\n\r\n" * 50)
    await writer.drain()
    assert (await daemon.stub.GetHealth(pb.GetHealthRequest())).status == "ok"
    writer.close()


async def test_a_fault_is_hidden_from_the_caller(daemon):
    daemon.service.fault = RuntimeError("secret")
    error = await refusal(daemon.stub.GetPool(pb.GetPoolRequest(pool_id="chat")))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in error.details() + error.debug_error_string()
    assert details_of(error)["ErrorInfo"].reason == "INTERNAL"


async def test_the_correlation_id_comes_back_in_both_metadata(daemon):
    call = daemon.stub.Drain(pb.DrainRequest(pool_id="chat"), metadata=(("x-correlation-id", "job-9"),))
    await call
    assert dict(await call.initial_metadata())["x-correlation-id"] == "job-9"
    assert dict(await call.trailing_metadata())["x-correlation-id"] == "job-9"
    assert daemon.service.calls[0][-1] == "job-9"
    error = await refusal(daemon.stub.GetPool(pb.GetPoolRequest(pool_id="nope")))
    assert uuid.UUID(dict(error.initial_metadata())["x-correlation-id"])
    assert uuid.UUID(dict(error.trailing_metadata())["x-correlation-id"])


async def test_a_watch_gives_events_and_ends_with_the_server(daemon):
    watch = daemon.stub.Watch(pb.WatchRequest())
    assert (await watch.read()).kind == "daemon"
    published = daemon.service.bus.publish(
        EventKind.PHASE, pool_id="chat", from_="ready", to="stopping", details={"n": 1, "x": [None, 0.5]}
    )
    assert message_to_json(await watch.read()) == published.as_json()
    health = health_pb2_grpc.HealthStub(daemon.channel).Watch(health_pb2.HealthCheckRequest(service="chat"))
    assert (await health.read()).status == 1
    began = time.monotonic()
    await daemon.grpc_server.stop()
    assert time.monotonic() - began < 1
    assert (await refusal(watch)).code() is grpc.StatusCode.UNAVAILABLE
    assert (await health.read()).status == 2


async def test_a_watch_whose_past_cannot_be_read_is_refused(daemon):
    daemon.service.fault = PoolManagerError(Code.STORE_UNAVAILABLE, "the disk is gone")
    error = await refusal(daemon.stub.Watch(pb.WatchRequest(since=1)))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert details_of(error)["ErrorInfo"].reason == "STORE_UNAVAILABLE"


async def test_logs_are_followed_until_the_caller_leaves(daemon):
    logs = daemon.stub.GetLogs(pb.GetLogsRequest(pool_id="chat", follow=True))
    assert [(await logs.read()).data for _ in range(2)] == [b"one\n", b"two \xff\n"]
    logs.cancel()
    async with asyncio.timeout(5):
        while daemon.service.followers:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0.01)


async def test_a_lease_asked_for_by_a_caller_that_left_is_still_granted(daemon):
    call = daemon.stub.AcquireLease(pb.AcquireLeaseRequest(pool_id="chat", holder="slow"), timeout=0.2)
    assert (await refusal(call)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    daemon.service.gate.set()
    async with asyncio.timeout(5):
        while not daemon.service.leases:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0.01)


async def test_health_of_pools_and_daemon(daemon):
    health = health_pb2_grpc.HealthStub(daemon.channel)

    async def check(name: str) -> int:
        return (await health.Check(health_pb2.HealthCheckRequest(service=name))).status

    assert [await check(name) for name in ("", "chat", "broken")] == [1, 1, 2]
    assert (await refusal(health.Check(health_pb2.HealthCheckRequest(service="nope")))).code() is (
        grpc.StatusCode.NOT_FOUND
    )
    listed = await health.List(health_pb2.HealthListRequest())
    statuses = {name: answer.status for name, answer in listed.statuses.items()}
    assert statuses == {"": 1, "chat": 1, "small": 1, "broken": 2}


async def test_a_health_watch_is_told_each_change(daemon):
    watch = health_pb2_grpc.HealthStub(daemon.channel).Watch(health_pb2.HealthCheckRequest(service="chat"))
    assert (await watch.read()).status == 1
    for ready in (False, True):
        daemon.service.set_ready("chat", ready)
        assert (await watch.read()).status == (1 if ready else 2)
    unknown = health_pb2_grpc.HealthStub(daemon.channel).Watch(health_pb2.HealthCheckRequest(service="later"))
    assert (await unknown.read()).status == 3
    daemon.service.set_ready("later", True)
    assert (await unknown.read()).status == 1


async def test_reflection_lists_the_services_and_knows_the_file(daemon):
    stub = reflection_pb2_grpc.ServerReflectionStub(daemon.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="pool_managerd.v1.PoolManager"),
    ]
    answers = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    assert {service.name for service in answers[0].list_services_response.service} == {
        "pool_managerd.v1.PoolManager",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert answers[1].file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_its_status(code):
    error = PoolManagerError(code, "x")
    assert status_code(error).name == CODES[code].grpc_status
    assert rich_status(error).code == status_code(error).value[0]


def test_a_status_fits_into_the_metadata_that_grpc_allows():
    log = ["ä" * 500] * 50
    details = {"field": "f" * 3000, "log": log, **{f"k{i}": "v" * 3000 for i in range(50)}}
    error = PoolManagerError(Code.INVALID_REQUEST, "ü" * 9000, hint="h" * 9000, retry_after_ms=5, details=details)
    status = rich_status(error)
    # base64 makes four bytes of three, percent-encoding three of one.
    assert len(status.SerializeToString()) * 4 / 3 + len(status.message.encode()) * 3 < 8_192
    assert error_metadata({"a": None, "b": True, "c": 5, "d": "t"}) == {"a": "null", "b": "true", "c": "5", "d": "t"}
