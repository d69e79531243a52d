from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pool_managerd.api.auth import Auth, Role
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.proto.pool_managerd.v1 import pool_manager_pb2 as pb

FULL = {"authorization": "Bearer s3cret-token"}
READER = {"authorization": "Bearer reader-token"}
WRONG = [
    None, "", "s3cret-token", "Basic s3cret-token", "Bearer", "Bearer ", "Bearer s3cret-toke", "Bearer s3cret-tokenx",
    "Bearer 3cret-token", "Bearer S3CRET-TOKEN", "Bearer  s3cret-token", "Bearer s3cret-token,x",
]  # fmt: skip


def test_without_a_token_everybody_may_do_everything():
    assert Auth().authorize("Bearer whatever", changes=True) is Role.FULL


def test_a_token_is_never_shown():
    assert "s3cret" not in repr(Auth(token="s3cret"))


@pytest.mark.parametrize("sent", WRONG)
def test_anything_but_the_token_is_refused_alike(sent):
    with pytest.raises(PoolManagerError) as refused:
        Auth(token="s3cret-token", readonly_token="").authorize(sent, changes=False)
    assert refused.value.code is Code.UNAUTHENTICATED
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("sent", WRONG[:4])
async def test_http_is_closed_without_the_token(guarded, sent):
    headers = {} if sent is None else {"authorization": sent}
    bodies = set()
    for method, path in [
        ("GET", "/v2/pools"), ("GET", "/metrics"), ("GET", "/v2/events"), ("GET", "/v2/devices"), ("GET", "/v2/nope"),
        ("POST", "/v2/pools/chat/drain"), ("DELETE", "/v2/pools/chat/leases/x"), ("GET", "/%762/pools"),
        ("POST", "/v2/config/reload"),
    ]:  # fmt: skip
        response = await guarded.http.request(method, path, headers=headers | {"x-correlation-id": "c"})
        assert (response.status_code, response.json()["code"]) == (401, "UNAUTHENTICATED"), path
        assert response.headers["www-authenticate"].startswith("Bearer")
        bodies.add(response.text)
    assert len(bodies) == 1
    assert guarded.service.calls == []


async def test_what_stays_open(guarded):
    for path in ("/health", "/livez", "/ready", "/readyz", "/", "/docs", "/openapi.json"):
        assert (await guarded.http.get(path)).status_code in (200, 503), path


async def test_the_token_opens_everything_and_the_reader_only_reads(guarded):
    assert (await guarded.http.post("/v2/pools/chat/drain", headers=FULL)).status_code == 202
    calls = len(guarded.service.calls)
    assert (await guarded.http.get("/v2/pools/chat/leases", headers=READER)).status_code == 200
    assert (await guarded.http.get("/metrics", headers=READER)).status_code == 200
    for method, path in [("POST", "/v2/pools/chat/preload"), ("DELETE", "/v2/pools/chat/drain"),
                         ("POST", "/v2/config/reload?dry_run=true"), ("PUT", "/v2/pools/chat/leases/x")]:  # fmt: skip
        response = await guarded.http.request(method, path, headers=READER)
        assert (response.status_code, response.json()["code"]) == (403, "FORBIDDEN")
    assert len(guarded.service.calls) == calls


def metadata(headers):
    return tuple(headers.items())


async def test_grpc_is_closed_without_the_token(guarded):
    for call in (
        guarded.stub.ListPools(pb.ListPoolsRequest()),
        guarded.stub.Drain(pb.DrainRequest(pool_id="chat")),
        guarded.stub.Drain(pb.DrainRequest(pool_id="chat"), metadata=(("authorization", "Bearer x"),)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in guarded.stub.Watch(pb.WatchRequest()):
            pass
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert guarded.service.calls == []
    health = health_pb2_grpc.HealthStub(guarded.channel)
    assert (await health.Check(health_pb2.HealthCheckRequest(service="chat"))).status == 1


async def test_grpc_knows_both_tokens(guarded):
    assert (await guarded.stub.Drain(pb.DrainRequest(pool_id="chat"), metadata=metadata(FULL))).pool.draining
    assert len((await guarded.stub.ListPools(pb.ListPoolsRequest(), metadata=metadata(READER))).pools) == 3
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await guarded.stub.CancelDrain(pb.CancelDrainRequest(pool_id="chat"), metadata=metadata(READER))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert guarded.service.draining == {"chat"}
