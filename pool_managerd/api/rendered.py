"""An event's form on the wire is made once, however many watchers it is sent to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from pool_managerd.core.events import Event

#: How many of the newest forms are kept: watchers that are up to date are all within so many events.
KEPT = 1024

_T = TypeVar("_T")


class Rendered(Generic[_T]):
    """Renders events, and remembers the newest."""

    def __init__(self, render: Callable[[Event], _T]) -> None:
        self._render = render
        self._kept: list[tuple[Event, _T] | None] = [None] * KEPT

    def __call__(self, event: Event) -> _T:
        """The form of an event."""
        place = event.revision % KEPT
        kept = self._kept[place]
        # A gap has the revision of another event: only the very same event has the same form.
        if kept is not None and kept[0] is event:
            return kept[1]
        form = self._render(event)
        self._kept[place] = (event, form)
        return form
