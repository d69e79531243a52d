from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pool_managerd.runtime import log_files, logs
from pool_managerd.runtime.log_files import LogReader, Rotation, archive_limit
from pool_managerd.runtime.logs import MAX_LINE_BYTES, LogWatcher, archives, tail_lines


class Lines:
    """What a watch handed over."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    def __call__(self, line: str) -> None:
        self.seen.append(line)
        self._queue.put_nowait(line)

    async def until(self, line: str) -> list[str]:
        async with asyncio.timeout(5):
            while await self._queue.get() != line:
                pass
        return self.seen


def write(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "engine-p-r0.log"


@pytest.fixture
async def watcher() -> AsyncIterator[LogWatcher]:
    made = LogWatcher()
    yield made
    await made.close()


async def rotated(watcher: LogWatcher, log: Path) -> None:
    """Wait until no rotation is under way: what an engine writes just before the cut may be lost."""
    if (rotation := watcher._files[log].rotation) is not None:
        await rotation


async def collect(source: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in source])


async def test_lines_from_before_the_run_are_left_out(watcher, log):
    log.write_text("CUDA error of the run before\nan unfinished line")
    lines = Lines()
    watcher.watch(log, log.stat().st_size, lines)
    write(log, "first", "second")
    assert await lines.until("second") == ["first", "second"]


async def test_lines_that_came_before_the_watch_are_handed_over(watcher, log):
    write(log, "old", "new")
    lines = Lines()
    watcher.watch(log, len("old\n"), lines)
    assert await lines.until("new") == ["new"]


async def test_a_line_is_whole_before_it_is_handed_over(watcher, log):
    lines = Lines()
    watcher.watch(log, 0, lines)
    with log.open("ab", buffering=0) as file:
        for part in (b"gr\xc3", b"\xbcn ", b"\xff\r\nnext\n"):
            file.write(part)
            await asyncio.sleep(0.01)
    assert await lines.until("next") == ["grün \ufffd", "next"]


async def test_the_rest_of_a_line_too_long_is_no_line(watcher, log):
    lines = Lines()
    watcher.watch(log, 0, lines)
    write(log, "x" * MAX_LINE_BYTES * 5 + "CUDA error", "after")
    assert await lines.until("after") == ["x" * MAX_LINE_BYTES, "after"]


async def test_an_offset_beyond_the_end_means_that_the_log_was_rotated(watcher, log):
    write(log, "of this run")
    lines = Lines()
    watcher.watch(log, 5000, lines)
    assert await lines.until("of this run") == ["of this run"]


async def test_without_an_offset_only_what_comes_counts(watcher, log):
    write(log, "old")
    lines = Lines()
    watcher.watch(log, None, lines)
    write(log, "new")
    assert await lines.until("new") == ["new"]


async def test_a_watch_can_be_ended_by_its_own_callback(watcher, log):
    seen, called = [], asyncio.Event()

    def once(line: str) -> None:
        seen.append(line)
        called.set()
        watcher.unwatch(log)

    watcher.watch(log, 0, once)
    write(log, "one", "two")
    other = Lines()
    watcher.watch(log, 0, once)
    async with asyncio.timeout(10):
        await called.wait()
    assert seen == ["one"]
    watcher.watch(log, 0, other)
    await other.until("two")
    assert seen == ["one"]


async def test_a_failing_callback_does_not_end_the_watch(watcher, log, caplog):
    lines = Lines()

    def fail(line: str) -> None:
        lines(line)
        raise ValueError(line)

    watcher.watch(log, 0, fail)
    write(log, "one", "two")
    assert await lines.until("two") == ["one", "two"]
    assert "could not be judged" in caplog.text
    assert {(record.pool_id, record.replica_id) for record in caplog.records} == {("p", "r0")}


async def test_many_logs_are_watched_at_once(watcher, tmp_path):
    found = [(tmp_path / f"{number}.log", Lines()) for number in range(50)]
    for path, lines in found:
        watcher.watch(path, 0, lines)
    for path, _ in found:
        write(path, path.name)
    for path, lines in found:
        assert await lines.until(path.name) == [path.name]


async def test_a_log_too_long_is_rotated_and_no_line_lost_or_doubled(log):
    watcher = LogWatcher(max_bytes=10_000, keep=2)
    lines = Lines()
    watcher.watch(log, 0, lines)
    following = asyncio.create_task(collect(watcher.read(log, follow=True)))
    expected = []
    # As an engine does: one descriptor for all its life, opened for appending.
    with log.open("ab", buffering=0) as engine:
        for number in range(2000):
            expected.append(f"line {number} {'x' * 40}")
            engine.write(expected[-1].encode() + b"\n")
            if number % 20 == 0:
                await lines.until(expected[-1])
                await rotated(watcher, log)
        await lines.until(expected[-1])
        assert lines.seen == expected
        assert [file.name for file in archives(log)] == [f"{log.name}.1", f"{log.name}.2"]
        assert log.stat().st_size < 12_000
        assert stat.S_IMODE(archives(log)[0].stat().st_mode) == 0o600
        engine.write(b"the end\n")
        await lines.until("the end")
    assert log.read_text().endswith("the end\n")
    assert tail_lines(log, 300) == [*expected, "the end"][-300:]
    await watcher.close()
    followed = await following
    assert followed.decode().splitlines() == [*expected, "the end"]
    assert not [file for file in log.parent.iterdir() if file.name.startswith(".tmp")]


async def test_a_slow_reader_gets_each_byte_once_over_many_rotations(log):
    watcher = LogWatcher(max_bytes=1000, keep=1)
    lines = Lines()
    watcher.watch(log, 0, lines)
    reading = watcher.read(log, follow=True)
    write(log, "begin")
    got = await anext(reading)
    for number in range(200):
        write(log, f"{number} {'x' * 100}")
        await lines.until(f"{number} {'x' * 100}")
        await rotated(watcher, log)
    while not got.endswith(b"199 " + b"x" * 100 + b"\n"):
        got += await asyncio.wait_for(anext(reading), 5)
    assert got.decode().splitlines() == ["begin", *(f"{number} {'x' * 100}" for number in range(200))]
    await reading.aclose()
    await watcher.close()


async def test_without_rotated_files_nothing_is_lost_for_who_reads_along(log):
    watcher = LogWatcher(max_bytes=1000, keep=0)
    lines = Lines()
    watcher.watch(log, 0, lines)
    write(log, *(f"{number}" * 10 for number in range(500)))
    write(log, "end")
    await lines.until("end")
    assert len(lines.seen) == 501
    async with asyncio.timeout(5):
        while log.stat().st_size or watcher._files[log].rotation:  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.005)
    assert [file.name for file in log.parent.iterdir()] == [log.name]
    await watcher.close()


async def test_limits_change_while_logs_are_watched(log):
    watcher = LogWatcher(max_bytes=1 << 30, keep=3)
    lines = Lines()
    watcher.watch(log, 0, lines)
    write(log, "x" * 5000)
    await lines.until("x" * 5000)
    assert archives(log) == []
    watcher.configure(1000, 1)
    write(log, "more")
    await lines.until("more")
    async with asyncio.timeout(5):
        while not archives(log):  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.005)
    await watcher.close()


async def test_a_rotation_that_fails_leaves_the_log_whole(log, caplog):
    watcher = LogWatcher(max_bytes=100, keep=1)
    (log.parent / f".tmp-{log.name}").mkdir()  # in the way of the copy
    lines = Lines()
    watcher.watch(log, 0, lines)
    write(log, "x" * 200)
    await lines.until("x" * 200)
    write(log, "on it goes")
    assert await lines.until("on it goes") == ["x" * 200, "on it goes"]
    async with asyncio.timeout(5):
        while "could not be rotated" not in caplog.text:  # noqa: ASYNC110 - a log record sets no event
            await asyncio.sleep(0.005)
    assert log.read_text() == "x" * 200 + "\non it goes\n"
    await watcher.close()


async def test_a_log_is_read_to_its_end_or_from_its_last_lines(watcher, log):
    write(log, *(f"line {number}" for number in range(10_000)))
    assert await collect(watcher.read(log)) == log.read_bytes()
    assert await collect(watcher.read(log, tail=2)) == b"line 9998\nline 9999\n"
    assert await collect(watcher.read(log, tail=0)) == b""
    assert await collect(watcher.read(log, tail=20_000)) == log.read_bytes()
    assert await collect(watcher.read(log.with_name("none.log"))) == b""
    assert not log.with_name("none.log").exists()


@pytest.mark.parametrize(
    ("content", "count", "expected"),
    [
        ("", 3, []),
        ("a", 3, ["a"]),
        ("a\n", 1, ["a"]),
        ("a\nb", 1, ["b"]),
        ("\n\n\n", 2, ["", ""]),
        ("a\n" * 3 + "z" * 200_000 + "\n", 2, ["a", "z" * 200_000]),
    ],
)
def test_the_last_lines(log, content, count, expected):
    log.write_text(content)
    assert tail_lines(log, count) == expected


def test_the_last_lines_go_back_into_rotated_files(log):
    log.with_name(f"{log.name}.2").write_text("1\n2\n")
    log.with_name(f"{log.name}.1").write_text("3\n4\n")
    log.with_name(f"{log.name}.old").write_text("no\n")
    log.write_text("5\n")
    assert tail_lines(log, 1) == ["5"]
    assert tail_lines(log, 2) == ["4", "5"]
    assert tail_lines(log, 4) == ["2", "3", "4", "5"]
    assert tail_lines(log, 9) == ["1", "2", "3", "4", "5"]
    assert tail_lines(log.with_name("none"), 9) == []


async def test_following_goes_on_with_what_is_written(watcher, log):
    write(log, "old", "last")
    reading = watcher.read(log, tail=1, follow=True)
    assert await anext(reading) == b"last\n"
    pending = asyncio.ensure_future(anext(reading))
    await asyncio.sleep(0.01)
    assert not pending.done()
    write(log, "new")
    assert await asyncio.wait_for(pending, 5) == b"new\n"
    await reading.aclose()


async def test_following_begins_before_the_engines_first_start_and_ends_with_the_watcher(watcher, log):
    following = asyncio.create_task(collect(watcher.read(log, follow=True)))
    await asyncio.sleep(0.01)
    lines = Lines()
    watcher.watch(log, 0, lines)
    write(log, "first")
    await lines.until("first")
    await watcher.close()
    assert await asyncio.wait_for(following, 5) == b"first\n"


async def test_a_log_deleted_by_somebody_is_followed_into_the_next_run(watcher, log):
    write(log, "old")
    reading = watcher.read(log, follow=True)
    assert await anext(reading) == b"old\n"
    log.unlink()
    write(log, "new")
    lines = Lines()
    watcher.watch(log, 0, lines)
    assert await lines.until("new") == ["new"]
    assert await asyncio.wait_for(anext(reading), 5) == b"new\n"
    await reading.aclose()


async def test_a_planted_link_is_not_followed(watcher, log, tmp_path):
    (tmp_path / "secret").write_text("secret")
    log.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic"):
        watcher.watch(log, 0, print)
    assert await collect(watcher.read(log)) == b""


async def test_without_inotify_the_logs_are_looked_at_now_and_then(log, monkeypatch):
    def none_left() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(logs, "Inotify", none_left)
    monkeypatch.setattr(logs, "POLL_S", 0.01)
    watcher = LogWatcher()
    lines = Lines()
    watcher.watch(log, 0, lines)
    await asyncio.sleep(0.02)
    write(log, "seen")
    await lines.until("seen")
    await watcher.close()


async def test_nothing_stays_open(log):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the number is needed
    watcher = LogWatcher()
    for _ in range(3):
        watcher.watch(log, 0, print)
        reading = watcher.read(log, tail=5, follow=True)
        pending = asyncio.ensure_future(anext(reading))
        await asyncio.sleep(0)
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
        watcher.unwatch(log)
    assert watcher._files == {}
    await watcher.close()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208 - only the number is needed


# an engine that writes faster than its log can be copied --------------------------------------------------------------

#: Writes numbered lines of 100 bytes, in blocks of 1 MB, as fast as it can, until it has written so many MB.
FLOOD = """
import os, sys
number = 0
for _ in range(int(sys.argv[2])):
    block = b"".join(b"%099d\\n" % count for count in range(number, number + 10_000))
    number += 10_000
    with open(sys.argv[1], "ab", buffering=0) as log:
        log.write(block)
"""


def flood(log: Path, megabytes: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", FLOOD, str(log), str(megabytes)])


def test_a_rotation_copies_no_more_than_its_limit_and_drops_the_rest(log):
    limit = archive_limit(1000)
    text = b"".join(b"%07d\n" % number for number in range(600_000))
    log.write_bytes(text)
    reader, at_end = LogReader(log, 0), LogReader(log, None)
    rotation = Rotation(log, 2, 1000)
    copied = rotation.copy()
    assert copied == limit
    assert rotation.finish(copied, [reader, at_end]) == len(text) - limit
    assert [path.stat().st_size for path in (log, *archives(log))] == [0, limit]
    with log.open("ab") as file:
        file.write(b"after\n")
    assert (at_end.read(), at_end.gaps) == (b"after\n", 0)
    seen = b""
    while data := reader.read():
        seen += data
    assert (seen, reader.gaps) == (text[:limit] + b"after\n", 1)
    for one in (reader, at_end):
        one.close()


def test_a_rotation_comes_to_its_end_while_the_log_is_still_being_written(log):
    with flood(log, 400) as writer:
        while not log.exists() or log.stat().st_size < 4 << 20:
            time.sleep(0.001)
        rotation = Rotation(log, 1, 2 << 20)
        copied = rotation.copy()
        assert copied == archive_limit(2 << 20)
        rotation.finish(copied, [])
        writer.kill()
    assert [path.stat().st_size for path in archives(log)] == [copied]


async def test_a_flood_is_bounded_on_the_disk_told_and_never_makes_up_a_line(log, caplog):
    lines = Lines()
    watcher = LogWatcher(max_bytes=4 << 20, keep=2)
    log.touch()
    watcher.watch(log, 0, lines)
    with flood(log, 60) as writer:
        await asyncio.to_thread(writer.wait)
    async with asyncio.timeout(30):
        while not lines.seen or lines.seen[-1] != "the end":
            # What is written right before a cut may be lost.
            await rotated(watcher, log)
            write(log, "the end")
            await asyncio.sleep(0.02)
    await rotated(watcher, log)
    entry = watcher._files[log]
    kept = sum(path.stat().st_size for path in archives(log))
    assert kept <= 2 * archive_limit(4 << 20)
    assert log.stat().st_size <= archive_limit(4 << 20)
    # Whatever was handed over is a line as it was written.
    numbered = [line for line in lines.seen if line != "the end"]
    assert all(len(line) == 99 for line in numbered)
    numbers = [int(line) for line in numbered]
    assert numbers == sorted(set(numbers))
    told = [record for record in caplog.records if "grows faster" in record.getMessage()]
    assert bool(told) == bool(entry.dropped)
    assert len(told) <= 2
    await watcher.close()


def test_a_slow_reader_keeps_no_more_of_the_disk_than_is_bearable(log, monkeypatch):
    monkeypatch.setattr(log_files, "BACKLOG_BYTES", 25_000)
    write(log, "x" * 99)
    reader = LogReader(log, 0)
    for number in range(6):
        write(log, *[f"{number}" * 99] * 100)
        rotation = Rotation(log, 1, 1000)
        rotation.finish(rotation.copy(), [reader])
    held = [part for part in reader._segments if part.end is not None]
    assert (len(held), reader.gaps) == (2, 4)
    assert reader.read(10) == b"4" * 10
    reader.close()
