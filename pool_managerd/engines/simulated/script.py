"""Making a program that plays another kind's engine: the stand-in under a name of its own, such as ``vllm``.

It takes that engine's flags (it reads those that it needs and passes over the others), so that a pool of that kind
can have it as its ``binary``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pool_managerd.engines.simulated.options import BY_NAME, convert, flags

_ROOT = Path(__file__).resolve().parents[3]
_SCRIPT = """#!{python} -IS
import sys

sys.path.append({root!r})

from pool_managerd.engines.simulated.standin import main

main([*{flags!r}, *sys.argv[1:]])
"""


def write_stand_in(path: Path, values: Mapping[str, Any] | None = None) -> Path:
    """Write an executable stand-in to ``path``.

    :param values: what it does from its start, by the keys of ``[pool.simulated]``.
    :raises KeyError: for an unknown key.
    :raises ValueError: for a value of the wrong type.
    """
    checked = {name: convert(BY_NAME[name], value) for name, value in (values or {}).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_SCRIPT.format(python=sys.executable, root=str(_ROOT), flags=flags(checked)), encoding="utf-8")
    path.chmod(0o755)
    return path
