"""Wall-clock times as the outside sees them: RFC 3339 in UTC with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(epoch_s: float) -> str:
    """Render seconds since the epoch as ``2026-01-31T12:00:00.123Z``."""
    text = datetime.fromtimestamp(round(epoch_s * 1000) / 1000, tz=UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def rfc3339_or_none(epoch_s: float | None) -> str | None:
    """Like :func:`rfc3339`; ``None`` stays ``None``."""
    return None if epoch_s is None else rfc3339(epoch_s)


def parse_rfc3339(text: str) -> float:
    """The inverse of :func:`rfc3339`, in seconds since the epoch.

    :raises ValueError: if ``text`` is not such a time.
    """
    return datetime.fromisoformat(text).timestamp()
