"""Logs: one JSON object per line, one line per event, no secret, and a reader who stops stops nobody."""

import json
import logging
import os
import re
import subprocess
import sys
import time
import warnings

import pytest
import structlog

from pool_managerd.core.events import Event, EventKind
from pool_managerd.observe.correlation import CORRELATION_ID
from pool_managerd.observe.eventlog import event_projection, level_of, log_event, sentence
from pool_managerd.observe.logs import close_logging, configure_logging, get_logger, learn_secrets
from pool_managerd.observe.logwriter import LogWriter


@pytest.fixture
def log(tmp_path):
    """Configure logging into a file; calling the fixture's value gives the lines so far."""
    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook)

    class Log:
        def configure(self, **options):
            self.writer = configure_logging(fd=fd, **options)

        def text(self) -> str:
            assert self.writer.flush()
            return path.read_text()

        def lines(self) -> list[dict]:
            return [json.loads(line) for line in self.text().splitlines()]

    with warnings.catch_warnings():
        yield Log()
        close_logging()
    logging.captureWarnings(capture=False)
    root.handlers[:], level, sys.excepthook = before
    root.setLevel(level)
    structlog.reset_defaults()
    os.close(fd)


def event(kind: EventKind = EventKind.PHASE, **fields) -> Event:
    return Event(
        **{"revision": 7, "at": 1_700_000_000.25, "kind": kind, "pool_id": "chat", "replica_id": "r0"} | fields
    )


def test_a_line_is_one_json_object_whatever_its_values_hold(log):
    log.configure()
    get_logger().info("a\nb", value="x\r\n\x00\x1b[31m\u2028y", path=os.fsdecode(b"\xff"), obj=object())
    (line,) = log.lines()
    assert list(line)[:3] == ["time", "level", "event"]
    assert line["event"] == "a\nb"
    assert line["value"] == "x\r\n\x00\x1b[31m\u2028y"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_the_lines_of_libraries_and_warnings_take_the_same_form(log):
    log.configure()
    logging.getLogger("some.library").warning("port %d", 9200, extra={"key": "value"})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    try:
        raise ValueError("bad")  # noqa: TRY301
    except ValueError:
        logging.getLogger("x").exception("failed")
    library, warning, failure = log.lines()
    assert (library["event"], library["level"], library["logger"], library["key"]) == (
        "port 9200", "warning", "some.library", "value",
    )  # fmt: skip
    assert "DeprecationWarning: old" in warning["event"]
    assert failure["level"] == "error"
    assert "ValueError: bad" in failure["exception"]


def test_the_level_hides_what_is_below_it(log):
    log.configure(level="warning")
    get_logger().info("hidden")
    logging.getLogger("x").info("hidden")
    get_logger().error("shown")
    assert [line["event"] for line in log.lines()] == ["shown"]


def test_the_console_form_is_readable(log):
    log.configure(format_="console")
    get_logger().warning("something happened", pool_id="chat")
    text = log.text()
    assert "something happened" in text
    assert "pool_id=chat" in text
    assert "\x1b" not in text
    log_event(event(from_="loading", to="ready", reason="it answers"))
    assert log.text().splitlines()[-1].endswith("[info     ] chat/r0: loading → ready: it answers revision=7")
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


@pytest.mark.parametrize("options", [{"format_": "xml"}, {"level": "loud"}])
def test_an_unknown_format_or_level_is_refused(log, options):
    with pytest.raises(ValueError, match=next(iter(options.values()))):
        configure_logging(**options)


def test_secrets_are_blackened_wherever_they_stand(log):
    log.configure(secrets=["s3cr3t-token"])
    get_logger().info(
        "said s3cr3t-token",
        api_token="other",
        headers={"Authorization": "Bearer z"},
        values=["x s3cr3t-token y"],
        tokens_per_s=5,
    )
    text = log.text()
    assert "s3cr3t" not in text
    assert "other" not in text
    assert "Bearer" not in text
    assert log.lines()[0]["tokens_per_s"] == 5


def test_a_secret_that_is_learnt_later_is_blackened_from_then_on(log):
    log.configure(secrets=["s3cr3t-token"])
    learn_secrets(["hf_abcdef", "tiny"])
    get_logger().info("s3cr3t-token hf_abcdef tiny")
    assert log.lines()[0]["event"] == "[redacted] [redacted] tiny"


@pytest.mark.parametrize("format_", ["json", "console"])
def test_lost_lines_are_said_in_the_same_form(log, format_):
    log.configure(format_=format_)
    log.writer._lost = 7
    get_logger().info("the next line")
    first, second = log.text().splitlines()
    assert "log lines were lost" in first
    assert "the next line" in second
    assert first.startswith("{") is (format_ == "json")


def test_a_line_caused_by_a_request_has_its_correlation_id(log):
    log.configure()
    reset = CORRELATION_ID.set("caller-1")
    get_logger().info("within")
    CORRELATION_ID.reset(reset)
    get_logger().info("outside")
    within, outside = log.lines()
    assert within["correlation_id"] == "caller-1"
    assert "correlation_id" not in outside


def test_an_events_line_agrees_with_the_event_and_adds_what_is_known_of_the_pool(log):
    log.configure()
    happened = event(
        from_="loading",
        to="backoff",
        code="ENGINE_EXITED",
        reason="exit code 3\nlast words",
        details={"exit_code": 3, "hint": "see the log", "kind": "clash", "backoff_ms": 500},
        correlation_id="c-1",
    )
    event_projection(lambda _: {"engine": "simulated", "engine_version": "1.0", "backoff_ms": 0, "event": "no"})(
        happened
    )
    (line,) = log.lines()
    wire = happened.as_json()
    same = ("revision", "kind", "pool_id", "replica_id", "from", "to", "code", "reason", "correlation_id")
    assert {key: line[key] for key in same} == {key: wire[key] for key in same}
    assert line["time"] == wire["at"]
    assert (line["event"], line["level"]) == ("phase", "error")
    assert (line["engine"], line["engine_version"], line["exit_code"], line["backoff_ms"]) == (
        "simulated",
        "1.0",
        3,
        500,
    )
    assert line["details_kind"] == "clash"
    assert line["last_error"] == {"code": "ENGINE_EXITED", "message": "exit code 3\nlast words", "hint": "see the log"}
    assert line["human"].startswith("chat/r0: loading → backoff (ENGINE_EXITED): exit code 3")


def test_the_line_of_a_transition_has_all_that_is_known_of_the_replica(log):
    log.configure()
    log_event(event(from_="loading", to="ready"))
    (line,) = log.lines()
    for key in (
        "engine", "engine_version", "device_mask", "model", "restart_count", "backoff_ms", "last_error",
        "correlation_id",
    ):  # fmt: skip
        assert line[key] is None


@pytest.mark.parametrize(
    ("fields", "human"),
    [
        ({"from_": "loading", "to": "ready", "reason": "it answers"}, "chat/r0: loading → ready: it answers"),
        ({"from_": "preflight", "to": "preflight", "reason": "waits"}, "chat/r0: preflight: waits"),
        ({"kind": EventKind.POOL_READY, "to": "ready", "replica_id": None}, "chat: the pool is ready"),
        (
            {"kind": EventKind.POOL_UNREADY, "to": "unready", "replica_id": None, "code": "CUDA_ERROR", "reason": "x"},
            "chat: the pool is not ready (CUDA_ERROR): x",
        ),
        ({"kind": EventKind.PRELOAD, "to": "started"}, "chat/r0: load started"),
        ({"kind": EventKind.DRAIN, "to": "forced", "replica_id": None}, "chat: drain ended, forced"),
        ({"kind": EventKind.DRAIN, "to": "started", "replica_id": None}, "chat: drain started"),
        ({"kind": EventKind.LEASE, "details": {"action": "expired"}}, "chat/r0: lease expired"),
        ({"kind": EventKind.RESTART_SCHEDULED}, "chat/r0: restart scheduled"),
        ({"kind": EventKind.BREAKER, "from_": "closed", "to": "open"}, "chat/r0: circuit breaker closed → open"),
        (
            {"kind": EventKind.DEVICE, "pool_id": None, "replica_id": None, "device": "GPU-1", "from_": "ok",
             "to": "lost"},
            "GPU-1: ok → lost",
        ),
        ({"kind": EventKind.DEVICE, "pool_id": None, "replica_id": None, "to": "stale"}, "GPUs: stale"),
        (
            {"kind": EventKind.XID, "pool_id": None, "replica_id": None, "device": "GPU-1", "details": {"xid": 79}},
            "GPU-1: XID 79",
        ),
        ({"kind": EventKind.CONFIG, "pool_id": None, "replica_id": None, "to": "refused"}, "config refused"),
        ({"kind": EventKind.DAEMON, "pool_id": None, "replica_id": None, "to": "started"}, "daemon started"),
        ({"kind": EventKind.DAEMON, "to": "warning", "reason": "disk full"}, "chat/r0: warning: disk full"),
        ({"kind": EventKind.GAP, "pool_id": None, "replica_id": None, "reason": "lost"}, "a watcher has a gap: lost"),
    ],
)  # fmt: skip
def test_the_sentence_says_who_what_and_why(fields, human):
    assert sentence(event(**fields)) == human


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_has_its_one_line(log, kind):
    log.configure(level="debug")
    log_event(event(kind))
    (line,) = log.lines()
    assert line["event"] == line["kind"] == kind
    assert line["human"] == sentence(event(kind))


@pytest.mark.parametrize(
    ("fields", "level"),
    [
        ({"to": "ready"}, "info"),
        ({"to": "backoff", "code": "ENGINE_EXITED"}, "error"),
        ({"to": "backoff", "code": "OUT_OF_MEMORY"}, "critical"),
        ({"to": "stopped", "code": "ENGINE_EXITED", "details": {"exit_code": 0}}, "warning"),
        ({"kind": EventKind.POOL_UNREADY, "code": "CUDA_ERROR"}, "warning"),
        ({"kind": EventKind.PRELOAD, "to": "failed"}, "warning"),
        ({"kind": EventKind.DRAIN, "to": "started", "details": {"active_leases": 2}}, "warning"),
        ({"kind": EventKind.DRAIN, "to": "started", "details": {"active_leases": 0}}, "info"),
        ({"kind": EventKind.DRAIN, "to": "forced"}, "warning"),
        ({"kind": EventKind.RELOAD, "to": "failed", "details": {"restored": True}}, "error"),
        ({"kind": EventKind.RELOAD, "to": "failed", "details": {"restored": False}}, "critical"),
        ({"kind": EventKind.LEASE, "details": {"action": "expired"}}, "warning"),
        ({"kind": EventKind.LEASE, "details": {"action": "renewed"}}, "debug"),
        ({"kind": EventKind.RESTART_SCHEDULED}, "warning"),
        ({"kind": EventKind.BREAKER, "to": "open"}, "error"),
        ({"kind": EventKind.STORM, "to": "opened"}, "critical"),
        ({"kind": EventKind.STORM, "to": "warning"}, "warning"),
        ({"kind": EventKind.XID, "details": {"xid_class": "unknown"}}, "warning"),
        ({"kind": EventKind.XID, "details": {"xid_class": "lost"}}, "error"),
        ({"kind": EventKind.DEVICE, "to": "quarantined"}, "warning"),
    ],
)
def test_the_level_follows_kind_and_code(fields, level):
    assert level_of(event(**fields)) == level


def test_a_reader_who_stops_costs_lines_but_no_time():
    read_end, write_end = os.pipe()
    writer = LogWriter(write_end, max_waiting=100)
    began = time.monotonic()
    for _ in range(5_000):
        writer.write("x" * 100)
    assert time.monotonic() - began < 1
    assert writer.take_lost() > 0
    os.close(read_end)
    writer.close()
    os.close(write_end)


def test_lines_are_written_in_order_and_flushed_at_exit():
    program = (
        "from pool_managerd.observe.logs import configure_logging, get_logger\n"
        "configure_logging()\n"
        "for n in range(3000): get_logger().info('line', n=n)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=30)
    assert [json.loads(line)["n"] for line in done.stderr.splitlines()] == list(range(3000))


def test_an_uncaught_exception_is_a_line_too():
    program = "from pool_managerd.observe.logs import configure_logging\nconfigure_logging()\n1/0\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=30)
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert line["level"] == "critical"
    assert "ZeroDivisionError" in line["exception"]


def test_the_daemon_does_without_rich_and_whoever_has_it_keeps_it():
    """A fifth of the daemon's start would go to it."""
    code = (
        "import sys, {first}pool_managerd.app, structlog\n"
        "print('rich' in sys.modules, 'rich.console' in sys.modules, structlog.dev.rich)"
    )
    without, with_it = (
        subprocess.run(
            [sys.executable, "-c", code.format(first=first)], capture_output=True, text=True, timeout=30, check=True
        ).stdout.split()
        for first in ("", "rich, ")
    )
    assert without == ["False", "False", "None"]
    assert with_it == ["True", "False", "None"]
