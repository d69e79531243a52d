"""The log as a projection of the events: one line per event, its level by kind and code, and a sentence to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pool_managerd.core.errors import Code
from pool_managerd.core.events import Event, EventKind
from pool_managerd.core.times import rfc3339
from pool_managerd.observe.logs import LEVELS, get_logger

#: What a line says of the pool and replica beside the event itself: engine, engine_version, model, device_mask …
Context = Mapping[str, Any]

_EVENT_FIELDS = (
    "time",
    "level",
    "event",
    "human",
    "revision",
    "kind",
    "pool_id",
    "replica_id",
    "device",
    "from",
    "to",
    "code",
    "reason",
    "correlation_id",
)
_RESERVED = frozenset({*_EVENT_FIELDS, "exc_info", "stack_info"})

#: What happened, in words; other kinds say their name and ``to``.
_WORDS: Mapping[EventKind, str] = {
    EventKind.PHASE: "{change}",
    EventKind.POOL_READY: "the pool is ready",
    EventKind.POOL_UNREADY: "the pool is not ready",
    EventKind.PRELOAD: "load {to}",
    EventKind.LEASE: "lease {action}",
    EventKind.RESTART_SCHEDULED: "restart scheduled",
    EventKind.BREAKER: "circuit breaker {change}",
    EventKind.DEVICE: "{change}",
    EventKind.XID: "XID {xid}",
    EventKind.GAP: "a watcher has a gap",
}
#: What the line of a replica's transition always has, with ``None`` for what is not known or does not apply.
_OF_A_TRANSITION = (
    "engine", "engine_version", "device_mask", "model", "restart_count", "backoff_ms", "last_error",
)  # fmt: skip

#: Level by kind and ``to``; the empty text stands for any other.
_LEVELS: Mapping[EventKind, Mapping[str, str]] = {
    EventKind.PHASE: {"": "info"},
    EventKind.POOL_READY: {"": "info"},
    EventKind.POOL_UNREADY: {"": "info"},
    # The failure itself is the phase's line, of level error: one such line for each.
    EventKind.PRELOAD: {"failed": "warning", "": "info"},
    EventKind.DRAIN: {"forced": "warning", "": "info"},
    EventKind.RELOAD: {"failed": "error", "": "info"},
    EventKind.LEASE: {"": "info"},
    EventKind.RESTART_SCHEDULED: {"": "warning"},
    EventKind.BREAKER: {"open": "error", "": "info"},
    EventKind.STORM: {"opened": "critical", "": "warning"},
    EventKind.DEVICE: {"ok": "info", "forgotten": "info", "fresh": "info", "lost": "error", "": "warning"},
    EventKind.XID: {"": "warning"},
    EventKind.CONFIG: {"refused": "error", "": "info"},
    EventKind.ADOPTED: {"": "info"},
    EventKind.DAEMON: {"warning": "warning", "store_unavailable": "error", "": "info"},
    EventKind.GAP: {"": "warning"},
}
_LEASE_LEVELS = {"expired": "warning", "forced": "warning", "renewed": "debug"}
_XID_LEVELS = {"lost": "error", "reset": "error", "recovery_action": "error", "ignore": "info"}


def event_projection(context: Callable[[Event], Context] | None = None) -> Callable[[Event], None]:
    """Make the projection that logs each event; ``context`` tells of the pool as it is at that moment."""

    def project(event: Event) -> None:
        log_event(event, context(event) if context else None)

    return project


def log_event(event: Event, context: Context | None = None) -> None:
    """Write the one line of an event. Values of the event come before those of ``context``."""
    get_logger().log(LEVELS[level_of(event)], str(event.kind), **line_of(event, context))


def level_of(event: Event) -> str:
    """The level of an event's line (``docs/events.md`` has the table)."""
    by_to = _LEVELS[event.kind]
    level = by_to.get(event.to or "", by_to[""])
    details = event.details
    if event.kind is EventKind.PHASE and event.code:
        level = _failure_level(event)
    elif _is_worth_a_warning(event):
        level = "warning"
    elif event.kind is EventKind.RELOAD and event.to == "failed" and details.get("restored") is False:
        level = "critical"
    elif event.kind is EventKind.LEASE:
        level = _LEASE_LEVELS.get(str(details.get("action")), level)
    elif event.kind is EventKind.XID:
        level = _XID_LEVELS.get(str(details.get("xid_class")), level)
    return level


def line_of(event: Event, context: Context | None = None) -> dict[str, Any]:
    """The fields of an event's line, but for ``event`` and ``level``, which the logger adds."""
    line: dict[str, Any] = {
        "time": rfc3339(event.at),
        "human": sentence(event),
        "revision": event.revision,
        "kind": str(event.kind),
        "pool_id": event.pool_id,
        "replica_id": event.replica_id,
        "device": event.device,
        "from": event.from_,
        "to": event.to,
        "code": event.code,
        "reason": event.reason,
        "correlation_id": event.correlation_id,
    }
    for key, value in event.details.items():
        line[f"details_{key}" if key in _RESERVED else key] = value
    for key, value in (context or {}).items():
        if key not in _RESERVED:
            line.setdefault(key, value)
    if event.code:
        line["last_error"] = {"code": event.code, "message": event.reason, "hint": event.details.get("hint")}
    if event.kind is EventKind.PHASE:
        for key in _OF_A_TRANSITION:
            line.setdefault(key, None)
    return line


def sentence(event: Event) -> str:
    """Say in words who, what and why: ``chat/r0: loading → ready: it answers``."""
    subject = "/".join(part for part in (event.pool_id, event.replica_id, event.device) if part)
    what = _what(event)
    text = f"{subject}: {what}" if subject else what
    if event.code:
        text += f" ({event.code})"
    return f"{text}: {event.reason}" if event.reason else text


def _what(event: Event) -> str:
    words = _WORDS.get(event.kind, "{kind} {to}")
    if event.kind is EventKind.DRAIN and event.to in {"drained", "forced"}:
        words = "drain ended, {to}"
    elif event.kind is EventKind.DEVICE and not event.device:
        words = "GPUs: {to}"
    elif event.kind is EventKind.DAEMON and event.pool_id:
        words = "{to}"
    to = event.to or ""
    return words.format(
        kind=event.kind,
        to=to,
        change=f"{event.from_} → {to}" if event.from_ and event.from_ != to else to,
        action=event.details.get("action"),
        xid=event.details.get("xid"),
    ).strip()


def _is_worth_a_warning(event: Event) -> bool:
    if event.kind is EventKind.POOL_UNREADY:
        return event.code is not None
    return event.kind is EventKind.DRAIN and event.to == "started" and bool(event.details.get("active_leases"))


def _failure_level(event: Event) -> str:
    if event.code == Code.OUT_OF_MEMORY:
        return "critical"
    if event.code == Code.ENGINE_EXITED and event.details.get("exit_code") == 0 and event.to == "stopped":
        return "warning"
    return "error"
