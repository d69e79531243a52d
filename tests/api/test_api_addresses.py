from __future__ import annotations

import pytest
from fake_api_service import FakeService

from pool_managerd.api.addresses import bind_sockets, format_address, parse_address
from pool_managerd.api.auth import Auth
from pool_managerd.api.grpc_server import start_grpc
from pool_managerd.api.http_facade import start_http


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:9200", "127.0.0.1", 9200), ("[::1]:0", "::1", 0), (":80", "0.0.0.0", 80), ("host:1", "host", 1)],
)
def test_addresses(text, host, port):
    assert parse_address(text) == (host, port)
    assert parse_address(format_address(host, port)) == (host, port)


@pytest.mark.parametrize("text", ["", "9200", "host", "host:", "host:x", "host:70000", "::1:9200", "host:-1"])
def test_what_is_no_address_is_named(text):
    with pytest.raises(ValueError, match="not an address"):
        parse_address(text)


async def test_a_busy_port_is_named_by_both_servers():
    with bind_sockets("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"cannot listen on {address}: Address already in use"):
            bind_sockets(address)
        with pytest.raises(OSError, match=f"cannot listen on {address}"):
            await start_http(FakeService(), address=address, auth=Auth(), metrics=bytes, max_request_bytes=9)
        with pytest.raises(OSError, match=f"cannot listen on {address}: Address already in use"):
            await start_grpc(FakeService(), address=address, auth=Auth(), max_message_bytes=999)


async def test_two_control_planes_do_not_share_a_port():
    first = await start_grpc(FakeService(), address="127.0.0.1:0", auth=Auth(), max_message_bytes=999)
    address = f"127.0.0.1:{first.port}"
    with pytest.raises(OSError, match="Address already in use"):
        await start_grpc(FakeService(), address=address, auth=Auth(), max_message_bytes=999)
    await first.stop(0)
    again = await start_grpc(FakeService(), address=address, auth=Auth(), max_message_bytes=999)
    await again.stop(0)


async def test_a_socket_taken_early_is_served_later():
    sock = bind_sockets("127.0.0.1:0")
    port = sock.getsockname()[1]
    server = await start_http(FakeService(), address="", auth=Auth(), metrics=bytes, max_request_bytes=9, sock=sock)
    assert server.port == port
    await server.stop()


def test_a_host_that_is_not_ours_is_named():
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:9"):
        bind_sockets("192.0.2.1:9")
