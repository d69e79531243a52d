"""Compiled modules that all processes of a run share, where Python is told to write none beside the sources.

A run starts the daemon and its command line a hundred times. With ``PYTHONDONTWRITEBYTECODE`` set, as in many
containers, and a checkout that has never been compiled, each of them would compile all modules anew, which costs it
a third of its start.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

FORBIDDEN = "PYTHONDONTWRITEBYTECODE"
PREFIX = "PYTHONPYCACHEPREFIX"
#: What nearly every process of a run imports.
EVERYWHERE = "import robot.run, PoolManagerLibrary, pool_managerd.cli.app, pool_managerd.app"


@contextlib.contextmanager
def shared_byte_code(*, in_advance: bool = False) -> Iterator[None]:
    """Keep this process's and its children's compiled modules in a temporary folder, if Python may keep them nowhere.

    Changes nothing where Python writes them beside the sources, or they are there already.

    :param in_advance: compile now: for processes that start at the same time, of which each would do it for itself.
    """
    if not sys.dont_write_bytecode or Path(importlib.util.cache_from_source(__file__)).exists():
        yield
        return
    before = {name: os.environ.get(name) for name in (FORBIDDEN, PREFIX)}
    with tempfile.TemporaryDirectory(prefix="pool-managerd-bdd-modules-", ignore_cleanup_errors=True) as folder:
        os.environ.pop(FORBIDDEN, None)
        os.environ[PREFIX] = sys.pycache_prefix = folder
        sys.dont_write_bytecode = False
        try:
            if in_advance:
                subprocess.run([sys.executable, "-c", EVERYWHERE], check=False, stdin=subprocess.DEVNULL)
            yield
        finally:
            sys.dont_write_bytecode = True
            sys.pycache_prefix = before[PREFIX]
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
