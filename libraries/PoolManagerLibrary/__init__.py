"""Keywords that prove a live pool-managerd."""  # noqa: N999  # the name that Robot Framework users expect

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PoolManagerLibrary.library import PoolManagerLibrary

__all__ = ["PoolManagerLibrary"]


def __getattr__(name: str) -> Any:
    """The library's class is imported by who asks for it: ``bdd-runner`` and the programs in here need none of it."""
    if name == "PoolManagerLibrary":
        from PoolManagerLibrary.library import PoolManagerLibrary  # noqa: PLC0415  # see above

        return PoolManagerLibrary
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
