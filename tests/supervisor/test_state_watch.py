"""The state directory taken away under the running daemon, in every way that its path can lose it."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from supervisor_world import World, alive, until

from pool_managerd.app import Daemon
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.failures import FailureClass
from pool_managerd.runtime import state_watch
from pool_managerd.runtime.files import StateDir
from pool_managerd.runtime.state_watch import StateWatch


@contextlib.asynccontextmanager
async def watched(here):
    """A daemon's supervision whose state directory lies two folders deep, and is watched."""
    here.state = here.path / "a" / "b" / "state"
    async with World(here) as w:
        w.host.start_task(StateWatch(w.host, w.registry.write_anew).run(), "state directory")
        await w.phase("ready")
        await w.service.acquire_lease("p")
        await w.host.store.flush()
        yield w


async def refused(w):
    with pytest.raises(PoolManagerError) as caught:
        await w.service.acquire_lease("p")
    assert caught.value.code is Code.STORE_UNAVAILABLE


async def whole(here, w):
    """Everything is there again, and grants work."""
    await until(lambda: w.host.store.available)
    await w.service.acquire_lease("p")
    assert here.handoff()["pid"] == here.pid_file() == w.replica().run.process.pid
    assert StateDir(here.state).state_id() == w.host.state_id
    with pytest.raises(PoolManagerError, match="another daemon"):
        StateDir(here.state).lock()


@pytest.mark.parametrize("what", ["a", "a/b", "a/b/state"])
async def test_it_is_missed_when_it_or_a_folder_above_it_is_removed(place, what):
    here = place()
    async with watched(here) as w:
        shutil.rmtree(here.path / what)
        await until(lambda: not w.host.store.available, timeout_s=2)
        await refused(w)
        assert not here.state.exists()
        assert alive(w.replica().run.process.pid)
        here.state.mkdir(parents=True)
        await whole(here, w)
        assert len(w.service.list_leases("p")) == 2


@pytest.mark.parametrize("what", ["a", "a/b", "a/b/state"])
async def test_it_is_missed_when_it_or_a_folder_above_it_is_moved_and_used_again_when_it_is_back(place, what):
    here = place()
    async with watched(here) as w:
        moved = (here.path / what).rename(here.path / "elsewhere")
        await until(lambda: not w.host.store.available, timeout_s=2)
        await refused(w)
        moved.rename(here.path / what)
        await whole(here, w)


async def test_a_removed_journal_is_missed_though_nothing_else_is_written(place):
    here = place()
    async with watched(here) as w:
        journal = here.state / "state.db-wal"
        journal.unlink()
        await until(journal.exists)
        await w.host.store.flush()
        # As the next daemon would find it; by another process, because closing a file here would take its locks away.
        program = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT kind FROM documents'))"
        found = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", program, here.state / "state.db"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "('lease',)" in found.stdout


async def test_a_lost_log_is_told_once_for_each_run_and_one_that_is_back_is_not(place):
    here = place()

    def told(w):
        return [event for event in w.of("daemon", to="warning", pool_id="p") if "log" in event.reason]

    async with watched(here) as w:
        moved = here.state.rename(here.path / "elsewhere")
        await until(lambda: not w.host.store.available, timeout_s=2)
        moved.rename(here.state)
        await whole(here, w)
        assert told(w) == []
        for _ in range(2):
            shutil.rmtree(here.state)
            await until(lambda: not w.host.store.available, timeout_s=2)
            here.state.mkdir()
            await whole(here, w)
        (event,) = told(w)
        assert (event.code, event.details["path"]) == ("STORE_UNAVAILABLE", str(w.replica().log_path))
        await w.service.drain("p", deadline_ms=0, wait_s=5)
        await w.service.preload("p", wait_s=5)
        assert w.replica().log_path.exists()


@pytest.mark.parametrize("what", ["the link", "the folder", "a folder above it"])
async def test_it_is_missed_although_a_link_leads_to_it(place, what):
    here = place()
    real = here.path / "disk" / "state"
    real.mkdir(parents=True)
    (here.path / "a" / "b").mkdir(parents=True)
    (here.path / "a" / "b" / "state").symlink_to(real)
    async with watched(here) as w:
        if what == "the link":
            here.state.unlink()
        else:
            shutil.rmtree(real if what == "the folder" else real.parent)
        await until(lambda: not w.host.store.available, timeout_s=2)
        await refused(w)
        if what == "the link":
            here.state.symlink_to(real)
        else:
            real.mkdir(parents=True)
        await whole(here, w)


async def test_one_that_another_daemon_took_meanwhile_is_left_to_it(place):
    here = place()
    async with watched(here) as w:
        away = here.state.rename(here.path / "elsewhere")
        other = StateDir(here.state)
        other.prepare()
        other.lock()
        theirs = other.state_id()
        await until(lambda: w.of("daemon", to="warning", code="CONFLICT"))
        await refused(w)
        assert other.state_id() == theirs
        assert not (here.state / "state.db").exists()
        other.unlock()
        await whole(here, w)
        shutil.rmtree(away)


async def test_neighbours_and_the_daemons_own_files_are_no_reason_to_write_anything_anew(place):
    here = place()
    async with watched(here) as w:
        (here.state.parent / "neighbour").mkdir()
        (here.state.parent / "neighbour").rmdir()
        (here.state / "unknown").touch()
        (here.state / "unknown").unlink()
        await w.service.drain("p", deadline_ms=0, wait_s=5)
        await asyncio.sleep(0.3)
        assert w.host.store.available
        assert not w.of("daemon")


async def test_a_lost_lock_or_id_is_written_anew(place):
    here = place()
    async with watched(here) as w:
        for name in ("daemon.lock", "state.id", "state.db"):
            (here.state / name).unlink()
            await until(lambda name=name: (here.state / name).exists())
        await whole(here, w)


async def test_where_daemon_json_cannot_be_written_it_is_written_later_and_the_directory_is_watched_on(place):
    here = place()
    where = {"http": "127.0.0.1:1"}
    async with World(here) as w:
        daemon = Daemon(w.host.config, lambda: w.host.config)
        watch = StateWatch(w.host, lambda: daemon._write_anew(w.registry, where))
        w.host.start_task(watch.run(), "state directory")
        await w.phase("ready")
        in_its_place = here.state / "daemon.json"
        in_its_place.mkdir()
        for name in ("state.id", "daemon.lock"):
            (here.state / name).unlink()
            await until(lambda name=name: (here.state / name).exists())
        await until(lambda: w.of("daemon", to="warning", code="STORE_UNAVAILABLE"))
        in_its_place.rmdir()
        await until(in_its_place.exists)
        assert json.loads(in_its_place.read_text()) == where
        await whole(here, w)


async def test_the_directory_is_watched_on_after_a_look_at_it_that_failed(place, monkeypatch):
    here = place()
    failures = []

    def write_anew() -> None:
        failures.append("failed")
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(state_watch, "RETRY_S", 0.05)
    async with World(here) as w:
        w.host.start_task(StateWatch(w.host, write_anew).run(), "state directory")
        await w.phase("ready")
        for count in (1, 2):
            (here.state / "state.id").unlink()
            await until(lambda count=count: len(failures) == count)
        await whole(here, w)


async def test_an_engine_that_ends_meanwhile_is_started_as_soon_as_the_directory_is_back_and_nothing_is_counted(place):
    here = place()
    async with watched(here) as w:
        shutil.rmtree(here.state)
        os.kill(w.replica().run.process.pid, signal.SIGKILL)
        await until(lambda: w.replica().state.waits_for is FailureClass.STORE)
        history = w.replica().state.history
        assert (w.replica().state.failure.code, history.failures) == (Code.STORE_UNAVAILABLE, 1)
        await until(lambda: len(w.of("preload", to="failed")) > 2)
        assert w.replica().state.history.failures == 1
        here.state.mkdir()
        await w.phase("ready")
        await whole(here, w)
        assert w.replica().state.history.restart_count == 1
