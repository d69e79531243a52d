from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
import time
from pathlib import Path

from log_tools import Lines, collect, rotated, write

from pool_managerd.runtime import log_files
from pool_managerd.runtime.log_files import LogReader, Rotation, archive_limit
from pool_managerd.runtime.logs import LogWatcher, archives, tail_lines


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
