# ruff: noqa: ASYNC221 - a test may block its own loop
from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.runtime.store import REVISION_BLOCK, Append, Delete, Put, Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path / "state" / "state.db"


@pytest.fixture
async def store(path):
    opened = await Store.open(path)
    yield opened
    await opened.close()


class Availability:
    """Keeps what the store says of itself, and waits for it."""

    def __init__(self, store: Store) -> None:
        self.seen: list[bool] = []
        self._queue: asyncio.Queue[bool] = asyncio.Queue()
        store.on_availability = self._note

    def _note(self, value: bool) -> None:
        self.seen.append(value)
        self._queue.put_nowait(value)

    async def until(self, value: bool) -> None:
        async with asyncio.timeout(5):
            while await self._queue.get() is not value:
                pass


def event(revision: int) -> Append:
    return Append({"revision": revision, "kind": "phase", "reason": f"event {revision}"})


async def revisions(store: Store, since: int = 0, limit: int = 100_000) -> list[int]:
    return [found["revision"] for found in await store.events_since(since, limit)]


async def reopened(store: Store, path: Path) -> Store:
    await store.close()
    return await Store.open(path)


async def test_documents_come_back_after_a_restart(store, path):
    await store.commit([Put("pool", "chat", {"desired": "running"}), Put("pool", "embed", {"n": 1})])
    store.post([Put("lease", "l1", {"ttl_ms": 5}), Delete("pool", "embed")])
    assert await store.flush()
    again = await reopened(store, path)
    assert again.load("pool") == {"chat": {"desired": "running"}}
    assert again.load("lease") == {"l1": {"ttl_ms": 5}}
    assert again.load("nothing") == {}
    await again.close()


async def test_the_files_are_for_the_daemons_user_only(store, path):
    await store.commit([Put("pool", "chat", {})])
    found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert found == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_document_is_stored_as_it_was_when_it_was_handed_over(store):
    document = {"n": 1}
    store.post([Put("pool", "chat", document)])
    document["n"] = 2
    await store.flush()
    assert store.load("pool") == {"chat": {"n": 1}}


async def test_many_commits_at_once_are_all_durable_and_quick(store, path):
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(store.commit([Put("lease", str(number), {"n": number})]) for number in range(2000)))
    assert loop.time() - began < 2
    again = await reopened(store, path)
    assert len(again.load("lease")) == 2000
    await again.close()


async def test_the_last_of_several_writes_counts(store):
    store.post([Put("pool", "a", {"n": 1})])
    first = asyncio.create_task(store.commit([Put("pool", "a", {"n": 2})]))
    await asyncio.sleep(0)
    store.post([Put("pool", "a", {"n": 3}), Delete("pool", "a"), Put("pool", "a", {"n": 4})])
    await first
    await store.flush()
    assert store.load("pool") == {"a": {"n": 4}}


async def test_events_are_read_in_order_and_in_pages(store):
    store.post([event(number) for number in range(1, 51)])
    assert await revisions(store, since=10, limit=5) == [11, 12, 13, 14, 15]
    assert await revisions(store, since=48) == [49, 50]
    assert await store.forgotten_revision() == 0


async def test_only_the_newest_events_are_kept(path):
    store = await Store.open(path, event_retention=100)
    for start in range(1, 1000, 10):
        await store.commit([event(number) for number in range(start, start + 10)])
    kept = await revisions(store)
    assert kept[-1] == 1000
    assert 100 <= len(kept) <= 120
    assert await store.forgotten_revision() == kept[0] - 1
    store = await reopened(store, path)
    assert await store.forgotten_revision() == kept[0] - 1
    await store.close()


async def test_revisions_go_on_after_an_orderly_end(store, path):
    assert store.first_revision == 1
    await store.commit([event(1), event(2)])
    again = await reopened(store, path)
    assert again.first_revision == 3
    await again.close()


KILLED = """
import asyncio, os, sys, pathlib
from pool_managerd.runtime.store import *
async def main():
    store = await Store.open(pathlib.Path(sys.argv[1]))
    first = store.first_revision
    revision = first + int(sys.argv[2])
    store.post([Append({"revision": number}) for number in range(first, revision)])
    await store.commit([Put("lease", "promised", {"n": 1})])
    os.write(1, b"%d\\n" % (revision + 3))  # three more that never reached the store
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""


@pytest.mark.parametrize("count", [1, REVISION_BLOCK + 7])
async def test_no_promise_and_no_revision_is_lost_when_the_daemon_is_killed(path, count):
    highest = 0
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(path), str(count)], stdout=subprocess.PIPE, check=False
        )
        assert done.returncode == -signal.SIGKILL
        assert int(done.stdout) > highest
        highest = int(done.stdout)
        store = await Store.open(path)
        assert store.first_revision > highest
        assert store.load("lease") == {"promised": {"n": 1}}
        highest = store.first_revision
        await store.close()


@pytest.mark.parametrize(
    "content",
    [b"this is no database at all, whatever its name says" * 20, b"SQLite format 3\0" + b"\xff" * 4096],
    ids=["foreign", "damaged"],
)
async def test_a_damaged_database_is_set_aside(path, content):
    path.write_bytes(content)
    store = await Store.open(path)
    assert store.set_aside is not None
    assert store.set_aside.read_bytes() == content
    assert store.first_revision > 1_700_000_000_000, "above every revision that may have been handed out"
    await store.commit([Put("pool", "a", {})])
    await store.close()


async def test_another_programs_database_and_a_link_are_set_aside(path, tmp_path):
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()
    store = await Store.open(path)
    assert store.set_aside is not None
    await store.close()

    target = tmp_path / "target"
    target.write_bytes(b"")
    path.unlink()
    path.symlink_to(target)
    store = await Store.open(path)
    await store.commit([Put("pool", "a", {})])
    await store.close()
    assert target.read_bytes() == b""
    assert not path.is_symlink()
    assert len(list(path.parent.glob("state.db.damaged-*"))) == 2


async def test_a_page_that_is_damaged_while_the_daemon_runs_costs_no_promise(store, path):
    for number in range(500):
        store.post([Put("pool", str(number), {"fill": "x" * 500})])
    await store.flush()
    # Into the main file, past the header page.
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    await store.commit([Put("pool", str(number), {"n": number}) for number in range(500)])
    assert list(path.parent.glob("state.db.damaged-*"))
    again = await reopened(store, path)
    assert len(again.load("pool")) == 500
    await again.close()


async def test_a_database_that_cannot_be_opened_at_the_start_is_named(path):
    path.mkdir()
    with pytest.raises(PoolManagerError) as caught:
        await Store.open(path)
    assert caught.value.code is Code.STORE_UNAVAILABLE
    assert str(path) in caught.value.message


async def test_a_database_made_unusable_refuses_commits_until_it_is_back(store, path):
    availability = Availability(store)
    await store.commit([Put("lease", "before", {}), event(1)])
    hidden = path.with_name("hidden.db")
    path.rename(hidden)
    path.mkdir()
    with pytest.raises(PoolManagerError) as caught:
        await store.commit([Put("lease", "refused", {})])
    assert caught.value.code is Code.STORE_UNAVAILABLE
    assert str(path) in caught.value.message
    assert caught.value.details["path"] == str(path)
    await availability.until(False)
    assert not store.available
    store.post([Put("pool", "posted", {"n": 1}), event(2)])
    store.post([Put("pool", "posted", {"n": 2}), event(3)])
    assert not await store.flush()
    assert store.load("pool") == {"posted": {"n": 2}}
    with pytest.raises(PoolManagerError, match="cannot be read") as caught:
        await store.events_since(0, 10)
    assert caught.value.code is Code.STORE_UNAVAILABLE

    path.rmdir()
    hidden.rename(path)
    await availability.until(True)
    assert availability.seen == [False, True]
    # Between the two renames the store may have made a new file: then its events went with that one.
    await store.commit([Put("lease", "after", {}), event(4)])
    assert (await revisions(store))[-1] == 4
    again = await reopened(store, path)
    assert set(again.load("lease")) == {"before", "after"}
    assert again.load("pool") == {"posted": {"n": 2}}
    await again.close()


@pytest.mark.parametrize("loss", ["deleted", "replaced", "folder"])
async def test_a_database_lost_under_the_running_daemon_is_written_anew(store, path, loss):
    await store.commit([Put("lease", "l1", {"n": 1}), Put("pool", "chat", {}), event(1), event(2)])
    if loss == "folder":
        shutil.rmtree(path.parent)
        with pytest.raises(PoolManagerError) as caught:
            await store.commit([Put("lease", "refused", {})])
        assert caught.value.code is Code.STORE_UNAVAILABLE
        path.parent.mkdir(mode=0o700)
    else:
        path.unlink()
    if loss == "replaced":
        path.write_bytes(b"something else")
    await store.commit([Put("lease", "l2", {"n": 2}), event(3)])
    assert await revisions(store) == [3]
    assert await store.forgotten_revision() == 2
    again = await reopened(store, path)
    assert again.load("lease") == {"l1": {"n": 1}, "l2": {"n": 2}}
    assert set(again.load("pool")) == {"chat"}
    assert again.first_revision == 4
    await again.close()


@pytest.mark.parametrize("suffixes", [["-wal"], ["-wal", "-shm"]])
async def test_a_journal_removed_under_the_running_daemon_costs_no_promise(store, path, suffixes):
    await store.commit([Put("lease", "before", {}), event(1)])
    for suffix in suffixes:
        path.with_name(f"{path.name}{suffix}").unlink()
    await store.commit([Put("lease", "after", {}), event(2)])
    # As the next daemon finds it after a kill: read by another process, while this one has written nothing more.
    program = (
        "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT key FROM documents ORDER BY key'))"
    )
    found = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert found.stdout == "('after',) ('before',)\n"


async def test_where_there_can_be_no_journal_none_is_missed(tmp_path, monkeypatch, caplog):
    connect = sqlite3.connect
    # As on a file system without shared memory, where SQLite keeps to its older kind of journal.
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **more: connect(f"file:{path}?vfs=unix-dotfile", uri=True, **more)
    )
    store = await Store.open(tmp_path / "state.db")
    for number in range(3):
        await store.commit([Put("lease", str(number), {})])
    await store.close()
    assert not caplog.records


async def test_a_commit_waits_its_turn_behind_what_was_kept(store, path):
    availability = Availability(store)
    path.unlink()
    path.mkdir()
    store.post([Put("pool", "a", {"n": 1})])
    await availability.until(False)
    path.rmdir()
    await store.commit([Put("pool", "a", {"n": 2})])
    assert store.load("pool") == {"a": {"n": 2}}


async def test_a_lock_held_by_another_program_refuses_commits_meanwhile(store, path):
    await store.commit([Put("pool", "a", {"n": 1})])
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(PoolManagerError) as caught:
            await store.commit([Put("pool", "a", {"n": 2})])
        assert "locked" in caught.value.message
        other.execute("ROLLBACK")
    other.close()
    await store.commit([Put("pool", "b", {})])
    assert store.load("pool") == {"a": {"n": 1}, "b": {}}


async def test_a_cancelled_commit_leaves_nothing_behind(store, path):
    await store.commit([Put("pool", "a", {"n": 1})])
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        commit = asyncio.create_task(store.commit([Put("pool", "a", {"n": 2}), Put("pool", "b", {})]))
        await asyncio.sleep(0.05)  # the writer is inside its transaction now, waiting for the lock
        commit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await commit
        other.execute("COMMIT")
    other.close()
    await store.flush()
    assert store.load("pool") == {"a": {"n": 1}}
    await store.flush()
    again = await reopened(store, path)
    assert again.load("pool") == {"a": {"n": 1}}
    await again.close()


DISK_FULL = """
import asyncio, json, pathlib, resource, sys
from pool_managerd.core.errors import PoolManagerError
from pool_managerd.runtime.store import *
def limit(size): resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
async def main():
    store = await Store.open(pathlib.Path(sys.argv[1]))
    back = asyncio.Event()
    store.on_availability = lambda value: value and back.set()
    await store.commit([Put("lease", "granted", {"n": 1})])
    limit(4096)  # no file may grow beyond this: the disk is full
    refused = 0
    for number in range(20):
        store.post([Put("pool", f"posted-{number}", {"fill": "x" * 9000}), Append({"revision": number + 1})])
        try:
            await store.commit([Put("lease", f"refused-{number}", {})])
        except PoolManagerError as error:
            assert error.code == "STORE_UNAVAILABLE", error
            refused += 1
    assert refused == 20 and not store.available, refused
    assert "granted" in store.load("lease")
    limit(resource.RLIM_INFINITY)
    await asyncio.wait_for(back.wait(), 5)
    await store.commit([Put("lease", "after", {})])
    assert store.available
    await store.close()
asyncio.run(main())
"""


async def test_a_full_disk_refuses_commits_and_loses_no_promise(path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DISK_FULL, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    store = await Store.open(path)
    assert store.set_aside is None
    assert set(store.load("lease")) == {"granted", "after"}
    assert set(store.load("pool")) == {f"posted-{number}" for number in range(20)}
    assert await revisions(store) == list(range(1, 21))
    await store.close()


async def test_any_json_value_is_kept(store, path):
    document = {"text": "größe \u2028 \U0001f600", "list": [1, 2.5, None, True], "nested": {"": {}}}
    await store.commit([Put("pool", "ü/€", document)])
    again = await reopened(store, path)
    assert again.load("pool") == {"ü/€": document}
    assert json.dumps(again.load("pool"))
    await again.close()


async def test_a_suspended_store_writes_nothing_until_it_is_resumed(store, path):
    availability = Availability(store)
    await store.commit([Put("lease", "before", {})])
    store.suspend("the folder is somebody else's")
    await availability.until(False)
    assert store.unavailable_because == "the folder is somebody else's"
    store.post([Put("pool", "posted", {})])
    with pytest.raises(PoolManagerError, match="somebody else's"):
        await store.commit([Put("lease", "refused", {})])
    path.unlink()
    assert not await store.flush()
    assert not path.exists()
    store.resume()
    await availability.until(True)
    again = await reopened(store, path)
    assert (set(again.load("lease")), set(again.load("pool"))) == ({"before"}, {"posted"})
    await again.close()
