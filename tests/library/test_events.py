import xml.etree.ElementTree as ET

from PoolManagerLibrary.codes import EVENT_FIELDS, EVENT_KINDS
from PoolManagerLibrary.event_log import SeenEvent, sse_frames
from PoolManagerLibrary.timeline import story_of, timeline_svg

from pool_managerd.core.events import Event, EventKind

SPACE = "{http://www.w3.org/2000/svg}"


def event(revision, at, to, *, from_="stopped", replica="r0", kind=EventKind.PHASE, code=None, reason=None):
    made = Event(revision, at, kind, "chat", replica, from_=from_, to=to, code=code, reason=reason)
    return SeenEvent.parse(made.as_json())


def test_the_harness_knows_the_events_of_the_daemon():
    assert set(EVENT_KINDS) == {kind.value for kind in EventKind}
    assert list(Event(1, 0.0, EventKind.XID).as_json()) == EVENT_FIELDS


def test_frames_of_a_server_sent_event_stream():
    stream = [
        b": hello\n",
        b"\n",
        b"id: 7\n",
        b"event: phase\n",
        b'data: {"a":\n',
        b"data: 1}\n",
        b"\n",
        b"data: x\r\n",
        b"\r\n",
    ]
    assert list(sse_frames(iter(stream))) == [("7", "phase", '{"a":\n1}'), ("7", None, "x")]


def test_an_event_is_read_and_described():
    seen = event(3, 60.25, "ready", from_="loading", reason="it answered")
    assert (seen.revision, seen.at, seen.to, seen.from_) == (3, 60.25, "ready", "loading")
    assert seen.describe() == "#3 00:01:00.250 phase chat/r0 loading → ready it answered"


def test_the_timeline_has_a_bar_per_phase_and_a_mark_per_change_of_readiness():
    events = [
        event(1, 100.0, "preflight"),
        event(2, 100.1, "loading"),
        event(3, 101.0, "ready"),
        event(4, 101.0, "ready", replica=None, kind=EventKind.POOL_READY),
        event(5, 102.0, "failed", code="CPU_SPILLOVER", reason="<none> & more"),
        event(6, 100.5, "loading", replica="r1"),
    ]
    svg = ET.fromstring(timeline_svg(events, until=104.0))
    bars = svg.findall(".//{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 5
    widths = [float(bar.get("width")) for bar in bars]
    assert widths[3] > widths[2] > widths[1] > widths[0]
    titles = [title.text for title in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert "failed for 2 s (CPU_SPILLOVER: <none> & more)" in titles
    assert "▲" in "".join(svg.itertext())


def test_no_phase_no_timeline():
    assert timeline_svg([], until=1.0) == ""


def test_marks_that_would_cover_each_other_are_one_with_their_number():
    events = [event(1, 100.0, "ready")]
    events += [event(number, 100.0 + number / 1000, None, kind=EventKind.LEASE) for number in range(2, 20)]
    svg = ET.fromstring(timeline_svg([*events, event(20, 109.0, None, kind=EventKind.LEASE)], until=110.0))
    marks = svg.findall(f".//{SPACE}text[@data-kind='lease']")
    assert len(marks) == 2
    assert marks[0].findtext(f"{SPACE}title").endswith("… 18 in all")


def test_a_pools_story_has_what_concerns_it_and_nothing_else():
    def other(revision, kind, pool_id=None, **details):
        made = Event(revision, 100.0, kind, pool_id, to="x", details=details)
        return SeenEvent.parse(made.as_json())

    mine = [
        event(1, 100.0, "ready"),
        other(2, EventKind.XID, pools=["chat", "code"]),
        other(3, EventKind.CONFIG, added=["chat"]),
        other(4, EventKind.DAEMON),
    ]
    others = [
        other(5, EventKind.XID, pools=["code"]),
        other(6, EventKind.CONFIG, added=["code"]),
        other(7, EventKind.PHASE, "code"),
        other(8, EventKind.DEVICE),
    ]
    assert story_of([*mine, *others], "chat") == mine
