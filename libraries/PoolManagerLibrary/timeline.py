"""A pool's phases over time as an SVG picture, from its events. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Sequence
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
WIDTH, LEFT, ROW, BAR = 900, 60, 34, 20


def timeline_svg(events: Sequence[SeenEvent], *, until: float) -> str:
    """One row per replica, one bar per phase, from the first event to ``until`` (seconds since the epoch).

    Marks above a row show the pool becoming ready (▲) or unready (▼). Empty without phase events.
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
        y = 16 + row * ROW
        parts.append(f'<text x="4" y="{y + 14}" fill="#444">{escape(replica or "pool")}</text>')
        for event, end in zip(mine, [*(after.at for after in mine[1:]), until], strict=True):
            parts.append(_bar(event, x(event.at), max(x(end) - x(event.at), 1.5), y, end - event.at))
    for event in events:
        if event.kind in {"pool_ready", "pool_unready"}:
            mark = "▲" if event.kind == "pool_ready" else "▼"
            colour = "#2a9d3f" if event.kind == "pool_ready" else "#c1121f"
            parts.append(f'<text x="{x(event.at):.1f}" y="12" fill="{colour}" text-anchor="middle">{mark}</text>')
    base = 16 + ROW * len(replicas) + 12
    parts.append(f'<text x="{LEFT}" y="{base}" fill="#444">{show_time(begin)}</text>')
    parts.append(
        f'<text x="{WIDTH - 10}" y="{base}" fill="#444" text-anchor="end">+{escape(show_seconds(span))}</text></svg>'
    )
    return "".join(parts)


def _bar(event: SeenEvent, left: float, width: float, y: float, lasted: float) -> str:
    label = escape(str(event.to))
    cause = escape(f"{event.code}: {event.reason}" if event.code else (event.reason or ""))
    tip = f"{label} for {escape(show_seconds(lasted))}" + (f" ({cause})" if cause else "")
    bar = (
        f'<g><rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" '
        f'fill="{COLOURS.get(str(event.to), "#777777")}"><title>{tip}</title></rect>'
    )
    if width > 7 * len(label):
        bar += f'<text x="{left + 4:.1f}" y="{y + 14}" fill="#111">{label}</text>'
    return bar + "</g>"
