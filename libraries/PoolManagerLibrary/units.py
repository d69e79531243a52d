"""Sizes, durations and times as people write them in scenarios."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from robot.utils import secs_to_timestr, timestr_to_secs  # type: ignore[import-untyped]  # Robot Framework types its API, not this part

from PoolManagerLibrary.errors import UsageError

_UNITS = {"b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?i?B)\b", re.IGNORECASE)


def parse_size(text: str | int) -> int:
    """``"6 GiB"``, ``"512MiB"`` or a number of bytes, as bytes."""
    if isinstance(text, int):
        return text
    stripped = text.strip()
    if stripped.isdigit():
        return int(stripped)
    match = _SIZE.fullmatch(stripped)
    if match is None or match["unit"].lower() not in _UNITS:
        raise UsageError(f"'{text}' is no size: write for instance '6 GiB', '512 MiB' or a number of bytes.")
    return round(float(match["number"]) * _UNITS[match["unit"].lower()])


def is_size(text: str) -> bool:
    """Whether ``text`` is a number with a unit of bytes."""
    match = _SIZE.fullmatch(text.strip())
    return match is not None and match["unit"].lower() in _UNITS


def show_size(size: int) -> str:
    """The shortest exact form: 6442450944 is ``6 GiB``."""
    for unit, scale in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale and size % (scale // 4) == 0:
            return f"{size / scale:g} {unit}"
    return f"{size} B"


def sizes_in(text: str) -> list[int]:
    """All sizes that a text names, in bytes. Numbers are rounded as the text rounds them."""
    return [
        round(float(match["number"]) * _UNITS[match["unit"].lower()])
        for match in _SIZE.finditer(text)
        if match["unit"].lower() in _UNITS
    ]


def seconds(duration: timedelta | float | str) -> float:
    """Any way to write a duration, in seconds."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, str):
        return float(timestr_to_secs(duration))
    return float(duration)


def milliseconds(duration: timedelta | float | str) -> int:
    """Any way to write a duration, in whole milliseconds."""
    return round(seconds(duration) * 1000)


def show_seconds(value: float) -> str:
    """A duration for people: ``340 ms``, ``2.5 s``, ``1 minute 4 seconds``."""
    if abs(value) < 1:
        return f"{value * 1000:.0f} ms"
    if abs(value) < 60:
        return f"{value:.3g} s"
    return str(secs_to_timestr(round(value)))


def epoch(rfc3339: str) -> float:
    """Seconds since the epoch of an RFC 3339 time in UTC."""
    return datetime.fromisoformat(rfc3339).timestamp()


def show_time(epoch_s: float) -> str:
    """Wall clock time in UTC to the millisecond, without the date."""
    return datetime.fromtimestamp(epoch_s, tz=UTC).strftime("%H:%M:%S.%f")[:-3]
