from __future__ import annotations

import asyncio
import os

import pytest
from log_tools import Lines, collect, write

from pool_managerd.runtime import logs
from pool_managerd.runtime.logs import MAX_LINE_BYTES, LogWatcher, tail_lines


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
