from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import httpx
import pytest
from fake_api_service import LIMIT, FakeService

from pool_managerd.api.auth import Auth
from pool_managerd.api.grpc_server import GrpcServer, start_grpc
from pool_managerd.api.http_facade import HttpServer, start_http
from pool_managerd.proto.pool_managerd.v1 import pool_manager_pb2_grpc


@dataclass
class Daemon:
    """Both servers over one fake service, and a client of each."""

    service: FakeService
    http_server: HttpServer
    grpc_server: GrpcServer
    http: httpx.AsyncClient
    channel: grpc.aio.Channel
    stub: pool_manager_pb2_grpc.PoolManagerAsyncStub


async def no_metrics() -> bytes:
    return b"# HELP pool_managerd_up x\n"


async def serve(auth: Auth) -> AsyncIterator[Daemon]:
    service = FakeService()
    http_server = await start_http(
        service,
        address="127.0.0.1:0",
        auth=auth,
        metrics=no_metrics,
        max_request_bytes=LIMIT,
    )
    grpc_server = await start_grpc(service, address="127.0.0.1:0", auth=auth, max_message_bytes=LIMIT)
    url = f"http://127.0.0.1:{http_server.port}"
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{grpc_server.port}", options=[("grpc.enable_http_proxy", 0)])
    stub = pool_manager_pb2_grpc.PoolManagerStub(channel)
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as http:
            yield Daemon(service, http_server, grpc_server, http, channel, stub)
    finally:
        await channel.close()
        await grpc_server.stop(0.2)
        await http_server.stop()


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    async for running in serve(Auth()):
        yield running


@pytest.fixture
async def guarded() -> AsyncIterator[Daemon]:
    async for running in serve(Auth(token="s3cret-token", readonly_token="reader-token")):
        yield running
