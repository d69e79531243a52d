"""A pool's phases over time as an SVG picture, with a mark for whatever else happened. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from PoolManagerLibrary.event_log import SeenEvent
from PoolManagerLibrary.units import show_seconds, show_time

COLOURS = {
    "stopped": "#b8bec5",
    "preflight": "#8ecae6",
    "starting": "#4ea8de",
    "loading": "#3a7ca5",
    "ready": "#2a9d3f",
    "draining": "#e9c46a",
    "stopping": "#d9a441",
    "backoff": "#f4845f",
    "circuit_open": "#9d4edd",
    "half_open": "#c77dff",
    "failed": "#c1121f",
}
#: The sign and colour of each kind of event that is no bar.
MARKS = {
    "pool_ready": ("▲", "#2a9d3f"),
    "pool_unready": ("▼", "#c1121f"),
    "preload": ("▹", "#3a7ca5"),
    "drain": ("⇣", "#b08900"),
    "reload": ("⟳", "#3a7ca5"),
    "lease": ("•", "#2a6f97"),
    "restart_scheduled": ("↻", "#d1603d"),
    "breaker": ("◆", "#9d4edd"),
    "storm": ("≋", "#c1121f"),
    "device": ("▣", "#6a040f"),
    "xid": ("✖", "#c1121f"),
    "config": ("✎", "#444444"),
    "adopted": ("⊕", "#2a9d3f"),
    "daemon": ("●", "#444444"),
    "gap": ("…", "#c1121f"),
}
#: Of a kind that a later daemon may have.
OTHER_MARK = ("?", "#777777")
WIDTH, LEFT, ROW, BAR = 900, 60, 34, 20
#: Height of the lane of marks, and how many pixels two marks of a kind must lie apart to be drawn both.
LANE, APART = 16, 6


def timeline_svg(events: Sequence[SeenEvent], *, until: float) -> str:
    """One row per replica, one bar per phase, from the first phase to ``until`` (seconds since the epoch).

    Above the rows each other event has a mark of its kind; marks of a kind that would cover each other are one, with
    their number. What a bar or mark stands for is its title. Empty without phase events.
    """
    phases = [event for event in events if event.kind == "phase" and event.to]
    if not phases:
        return ""
    begin = phases[0].at
    span = max(until - begin, 0.001)

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * min(max((at - begin) / span, 0), 1)

    replicas = sorted({event.replica_id or "" for event in phases})
    height = ROW * len(replicas) + 44
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'role="img" font-family="sans-serif" font-size="11">'
        ),
        f"<title>Phases from {show_time(begin)} to {show_time(until)}</title>",
    ]
    for row, replica in enumerate(replicas):
        mine = [event for event in phases if (event.replica_id or "") == replica]
        y = LANE + row * ROW
        parts.append(f'<text x="4" y="{y + 14}" fill="#444">{escape(replica or "pool")}</text>')
        for event, end in zip(mine, [*(after.at for after in mine[1:]), until], strict=True):
            parts.append(_bar(event, x(event.at), max(x(end) - x(event.at), 1.5), y, end - event.at))
    for kind in dict.fromkeys(event.kind for event in events):
        of_kind = [event for event in events if event.kind == kind and event.at >= begin]
        if kind != "phase":
            parts += _marks(kind, [(x(event.at), event) for event in of_kind])
    base = LANE + ROW * len(replicas) + 12
    parts.append(f'<text x="{LEFT}" y="{base}" fill="#444">{show_time(begin)}</text>')
    parts.append(
        f'<text x="{WIDTH - 10}" y="{base}" fill="#444" text-anchor="end">+{escape(show_seconds(span))}</text></svg>'
    )
    return "".join(parts)


def story_of(events: Iterable[SeenEvent], pool_id: str) -> list[SeenEvent]:
    """The events of a pool's timeline: its own, and those of the daemon, its config and its devices that concern it."""
    return [event for event in events if _concerns(event, pool_id)]


def _concerns(event: SeenEvent, pool_id: str) -> bool:
    if event.pool_id is not None or event.kind in {"daemon", "gap"}:
        return event.pool_id in {pool_id, None}
    return any(pool_id in (event.details.get(key) or ()) for key in ("pools", "added", "changed", "removed"))


def _marks(kind: str, places: Sequence[tuple[float, SeenEvent]]) -> Iterator[str]:
    sign, colour = MARKS.get(kind, OTHER_MARK)
    groups: list[tuple[float, list[SeenEvent]]] = []
    for place, event in places:
        if groups and place - groups[-1][0] < APART:
            groups[-1][1].append(event)
        else:
            groups.append((place, [event]))
    for place, group in groups:
        tip = "\n".join(event.describe() for event in group[:10])
        if len(group) > 10:
            tip += f"\n… {len(group)} in all"
        yield (
            f'<text x="{place:.1f}" y="{LANE - 4}" fill="{colour}" text-anchor="middle" data-kind="{escape(kind)}">'
            f"{sign}<title>{escape(tip)}</title></text>"
        )


def _bar(event: SeenEvent, left: float, width: float, y: float, lasted: float) -> str:
    label = escape(str(event.to))
    cause = escape(f"{event.code}: {event.reason}" if event.code else (event.reason or ""))
    tip = f"{label} for {escape(show_seconds(lasted))}" + (f" ({cause})" if cause else "")
    bar = (
        f'<g data-kind="phase"><rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" '
        f'fill="{COLOURS.get(str(event.to), "#777777")}"><title>{tip}</title></rect>'
    )
    if width > 7 * len(label):
        bar += f'<text x="{left + 4:.1f}" y="{y + 14}" fill="#111">{label}</text>'
    return bar + "</g>"
