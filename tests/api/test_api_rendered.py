"""An event's form is made once, and never taken for another event's."""

from pool_managerd.api.rendered import KEPT, Rendered
from pool_managerd.core.events import Event, EventKind


def test_an_event_is_rendered_once_for_all_watchers():
    made = []
    rendered = Rendered(lambda event: made.append(event) or event.revision)
    events = [Event(revision=number, at=0.0, kind=EventKind.PHASE) for number in range(10)]
    assert [rendered(event) for event in events * 3] == [*range(10)] * 3
    assert made == events


def test_another_event_of_the_same_revision_has_its_own_form():
    rendered = Rendered(lambda event: str(event.kind))
    phase = Event(revision=7, at=0.0, kind=EventKind.PHASE)
    gap = Event(revision=7, at=0.0, kind=EventKind.GAP)
    later = Event(revision=7 + KEPT, at=0.0, kind=EventKind.LEASE)
    assert [rendered(event) for event in (phase, gap, later, phase)] == ["phase", "gap", "lease", "phase"]
