from __future__ import annotations

import os
import pwd
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.engines import get_engine
from pool_managerd.runtime.engine_sockets import LONGEST, socket_environment
from pool_managerd.runtime.files import StateDir
from pool_managerd.runtime.spawning import overruled


def test_a_pools_environment_cannot_say_what_the_daemon_says():
    env = {
        "CUDA_VISIBLE_DEVICES": "0,1",
        "CUDA_DEVICE_ORDER": "x",
        "POOL_MANAGERD_MARKER": "y",
        "CUDA_CACHE_PATH": "/z",
    }
    assert overruled(env) == ["CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "POOL_MANAGERD_MARKER"]
    assert overruled({}) == []


def sockets_of(state: Path, *, pool_id: str = "p", user=None, engine="tgi", **env: str):
    """What a replica's engine is told of its sockets."""
    host = SimpleNamespace(state_dir=StateDir(state))
    pool = SimpleNamespace(id=pool_id, user=user, env=env)
    return socket_environment(host, pool, "r0", get_engine(engine))


def test_an_engines_sockets_lie_in_its_own_folder_whatever_else_cannot_be_written(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/nowhere")
    state = Path("/var/lib/pool-managerd")
    assert sockets_of(state) == {"SHARD_UDS_PATH": "/var/lib/pool-managerd/work/p-r0/shard"}
    longest = sockets_of(state, pool_id="p" * 63)["SHARD_UDS_PATH"]
    assert longest.startswith("/var/lib/pool-managerd/work/")
    assert len(f"{longest}-999") <= LONGEST
    assert sockets_of(state, SHARD_UDS_PATH="/x") == {}
    assert sockets_of(state, engine="vllm") == {}
    assert sockets_of(state, user=pwd.getpwuid(os.geteuid()).pw_name) == sockets_of(state)


@pytest.mark.parametrize("why", ["a long path", "another user"])
def test_they_lie_in_tmpdir_where_its_own_folder_will_not_do_under_a_name_that_nobody_knows(tmp_path, why):
    state, user = (tmp_path / ("x" * 100), None) if why == "a long path" else (Path("/s"), "somebody")
    # Not below tmp_path, which may be too long itself.
    with tempfile.TemporaryDirectory() as folder:
        found = [sockets_of(state, user=user, TMPDIR=folder)["SHARD_UDS_PATH"] for _ in range(2)]
        assert [Path(one).parent for one in found] == [Path(folder), Path(folder)]
        assert found[0] != found[1]
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"{found[0]}-999")


@pytest.mark.parametrize("tmpdir", ["/nowhere", "relative", "/", "long"])
def test_where_there_is_no_place_for_them_that_is_said_with_what_would_help(tmp_path, monkeypatch, tmpdir):
    monkeypatch.setattr(os, "access", lambda path, _mode: str(path) != "/")
    if tmpdir == "long":
        (tmp_path / ("x" * 100)).mkdir()
        tmpdir = str(tmp_path / ("x" * 100))
    with pytest.raises(PoolManagerError) as caught:
        sockets_of(tmp_path / ("y" * 100), TMPDIR=tmpdir)
    assert caught.value.code is Code.INVALID_REQUEST
    assert tmpdir in caught.value.message
    assert "TMPDIR" in caught.value.hint
