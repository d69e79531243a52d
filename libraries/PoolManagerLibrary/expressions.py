"""Python expressions over a status document, as a suite writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NAMES: dict[str, Any] = {"all": all, "any": any, "len": len, "sum": sum, "sorted": sorted, "set": set, "abs": abs}


def over_status(expression: str) -> Callable[[dict[str, Any]], bool]:
    """The expression as a function of ``status``."""
    code = compile(expression, "expression", "eval")

    def holds(status: dict[str, Any]) -> bool:
        # The suite's own text, which could run anything anyway; the few names keep it an expression.
        return bool(eval(code, {"__builtins__": NAMES, "status": status}))  # noqa: S307  # see above

    return holds
