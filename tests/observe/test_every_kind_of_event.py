"""Each kind of event has its metric, its line in the log, its mark in a timeline and its documentation.

These tests walk the enum, so that a new kind cannot be forgotten anywhere.
"""

import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PoolManagerLibrary.event_log import SeenEvent
from PoolManagerLibrary.timeline import MARKS, timeline_svg
from prometheus_client.parser import text_string_to_metric_families

from pool_managerd.core.events import Event, EventKind
from pool_managerd.observe.bus import EventBus
from pool_managerd.observe.eventlog import event_projection
from pool_managerd.observe.logs import close_logging, configure_logging
from pool_managerd.observe.metrics import Metrics

every_kind = pytest.mark.parametrize("kind", list(EventKind))


class Daemon:
    """The bus with the projections that the daemon gives it, and a log file."""

    def __init__(self, path: Path):
        self.path = path
        self.writer = configure_logging(fd=os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), level="debug")
        self.bus = EventBus(lambda: 1_700_000_000.0, 1, lambda _: None, ring_size=10)
        self.metrics = Metrics(bus=self.bus)
        self.bus.add_projection(self.metrics.on_event)
        self.bus.add_projection(event_projection())

    async def happen(self, kind: EventKind) -> None:
        """Let an event of this kind happen as it does in the daemon."""
        if kind is not EventKind.GAP:
            self.bus.publish(kind, pool_id="chat", replica_id="r0", to="x", reason="so it is")
            return
        async with self.bus.subscribe() as slow:
            for _ in range(20):
                self.bus.publish(EventKind.LEASE)
            await anext(slow)

    def lines(self) -> list[dict]:
        assert self.writer.flush()
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def counted(self, kind: EventKind) -> float:
        families = text_string_to_metric_families(self.metrics.render().decode())
        samples = [sample for family in families for sample in family.samples]
        return sum(
            one.value
            for one in samples
            if one.name == "pool_managerd_events_total" and one.labels == {"kind": str(kind)}
        )


@pytest.fixture
def daemon(tmp_path):
    yield Daemon(tmp_path / "log")
    close_logging()


@every_kind
async def test_every_kind_has_its_metric_from_the_start_and_raises_it(daemon, kind):
    assert f'pool_managerd_events_total{{kind="{kind}"}} 0.0' in daemon.metrics.render().decode()
    await daemon.happen(kind)
    assert daemon.counted(kind) == 1


@every_kind
async def test_every_kind_has_its_one_line_in_the_log_with_a_sentence(daemon, kind):
    await daemon.happen(kind)
    (line,) = [line for line in daemon.lines() if line["event"] == kind]
    assert line["human"]
    assert line["level"] in {"debug", "info", "warning", "error", "critical"}
    assert line["revision"]


@every_kind
def test_every_kind_has_its_own_mark_in_the_timeline(kind):
    phase = SeenEvent.parse(Event(1, 100.0, EventKind.PHASE, "chat", "r0", to="ready").as_json())
    seen = SeenEvent.parse(Event(2, 101.0, kind, "chat", "r0", to="ready", reason="so it is").as_json())
    svg = ET.fromstring(timeline_svg([phase] if kind is EventKind.PHASE else [phase, seen], until=102.0))
    (mark,) = svg.findall(f".//*[@data-kind='{kind}']")
    if kind is not EventKind.PHASE:
        sign, colour = MARKS[kind]
        assert (mark.text, mark.get("fill")) == (sign, colour)
        assert mark.find("{http://www.w3.org/2000/svg}title").text == seen.describe()


def test_no_two_kinds_have_the_same_sign():
    assert MARKS.keys() == {str(kind) for kind in EventKind} - {"phase"}
    assert len({sign for sign, _ in MARKS.values()}) == len(MARKS)


@every_kind
def test_every_kind_is_documented(kind):
    page = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
    assert re.search(rf"^\| `{kind}` \|", page, re.MULTILINE)
