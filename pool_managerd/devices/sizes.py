"""Sizes for people."""

from __future__ import annotations


def human(count: int) -> str:
    """Bytes as ``7.00 GiB``, with the unit that suits them."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.2f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"
