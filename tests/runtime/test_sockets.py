from __future__ import annotations

import os
import socket
import time

import pytest

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.runtime.listeners import _by_proc, _by_sock_diag
from pool_managerd.runtime.sockets import PortAllocator, listener_pids, owned_by, port_holder, port_is_free

LISTEN = """
import socket, time
s = socket.create_server(({host!r}, {port}), family={family})
print(s.getsockname()[1], flush=True)
time.sleep(60)
"""


def listening(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1"])
async def test_a_socket_belongs_to_the_process_that_holds_it(run, log_lines, host):
    process = await run(
        LISTEN.format(host=host, port=0, family=int(socket.AF_INET6 if ":" in host else socket.AF_INET))
    )
    port = int((await log_lines(1))[0])
    asked = "::1" if ":" in host else "127.0.0.1"
    assert owned_by(port, [process.pid], host=asked)
    assert not owned_by(port, [os.getpid()], host=asked)
    assert listener_pids(asked, port) == {process.pid}
    if ":" in host:
        assert not owned_by(port, [process.pid], host="127.0.0.1")


def test_both_sources_of_the_kernel_agree():
    with listening("127.0.0.1") as one, listening("::1", port_of(one)), listening("127.0.0.2", port_of(one)):
        port = port_of(one)
        by_diag = {*_by_sock_diag(port, socket.AF_INET), *_by_sock_diag(port, socket.AF_INET6)}
        assert {str(found.address) for found in by_diag} == {"127.0.0.1", "127.0.0.2", "::1"}
        assert {(found.address, found.inode) for found in by_diag} == {
            (found.address, found.inode) for found in _by_proc(port)
        }


def test_a_socket_for_ipv6_alone_takes_no_ipv4_connection():
    with socket.socket(socket.AF_INET6) as six:
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        six.bind(("::", 0))
        six.listen()
        assert not owned_by(port_of(six), [os.getpid()], host="127.0.0.1")
        assert owned_by(port_of(six), [os.getpid()], host="::1")


def test_nobody_owns_a_port_without_a_listener():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert not owned_by(port_of(bound), [os.getpid()])
        assert listener_pids("127.0.0.1", port_of(bound)) == set()


def test_a_listener_at_another_address_is_not_asked():
    with listening("127.0.0.2") as server:
        assert not owned_by(port_of(server), [os.getpid()], host="127.0.0.1")
        assert owned_by(port_of(server), [os.getpid()], host="127.0.0.2")


async def test_a_port_shared_with_a_stranger_is_not_owned(run, log_lines):
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        code = (
            "import socket, time; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1);"
            f"s.bind(('127.0.0.1', {port_of(ours)})); s.listen(); print('up', flush=True); time.sleep(60)"
        )
        process = await run(code)
        await log_lines(1)
        assert not owned_by(port_of(ours), [os.getpid()])
        assert owned_by(port_of(ours), [os.getpid(), process.pid])


def test_ownership_is_answered_quickly():
    with listening() as server:
        owned_by(port_of(server), [os.getpid()])
        began = time.perf_counter()
        for _ in range(20):
            assert owned_by(port_of(server), [os.getpid()])
        assert (time.perf_counter() - began) / 20 < 0.002


def test_the_holder_of_a_taken_port_is_named():
    with listening() as server:
        holder = port_holder("127.0.0.1", port_of(server))
        assert holder is not None
        assert holder.pids == (os.getpid(),)
        assert f"{port_of(server)} held by pid {os.getpid()}" in str(holder)
        assert not port_is_free("127.0.0.1", port_of(server))
        port = port_of(server)
    assert port_holder("127.0.0.1", port) is None


def test_ports_are_handed_out_once_and_only_if_free():
    with listening() as server:
        taken = port_of(server)
        allocator = PortAllocator((taken - 3, taken + 3))
        free = [port for port in range(taken - 3, taken + 4) if port_is_free("127.0.0.1", port)]
        allocator.mark(free[0])
        ports = [allocator.allocate() for _ in free[1:]]
        assert sorted(ports) == free[1:]
        with pytest.raises(PoolManagerError) as caught:
            allocator.allocate()
        assert caught.value.code is Code.SPAWN_FAILED
        assert "port_range" in caught.value.message
        allocator.release(ports[0])
        allocator.release(1)
        assert allocator.allocate() == ports[0]
        allocator.set_range((20000, 20500))
        assert 20000 <= allocator.allocate() <= 20500


def test_a_host_that_is_not_ours_is_named():
    with pytest.raises(PoolManagerError) as caught:
        PortAllocator((20000, 20100)).allocate("192.0.2.1")
    assert "192.0.2.1" in caught.value.message


def test_connections_that_time_out_do_not_take_a_port():
    with listening() as server:
        port = port_of(server)
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the server closes first, so its side waits
            client.recv(1)
    assert port_is_free("127.0.0.1", port)
