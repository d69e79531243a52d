"""Where a failed scenario's logs, config and pictures are kept, beside log.html."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

#: The folder of all of them, in the results.
FAILED = "failed"
#: Lies in each scenario's folder: only what has it is removed before the next run, for the results may be written
#: into a folder where somebody else's ``failed`` lies.
MARK = ".bdd-runner"


def failed_folder(suite: str, name: str) -> str:
    """The name of the folder of one scenario, from its suite's full name and its own."""
    return re.sub(r"[^\w.-]+", "-", f"{suite}.{name}").strip("-")[:150]


def make_failed_folder(folder: Path) -> None:
    """Make the folder of one scenario, marked as a run's own. One that somebody else has filled stays theirs."""
    theirs = folder.is_dir() and any(folder.iterdir())
    folder.mkdir(parents=True, exist_ok=True)
    if not theirs:
        (folder / MARK).touch()


def kept_files(folder: Path) -> list[str]:
    """The names of what a scenario has left in its folder."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != MARK)


def clear_failed(results: Path) -> None:
    """Remove what earlier runs kept of failed scenarios, and nothing that somebody else has put there."""
    top = results / FAILED
    # It may not be there, and one in which somebody else's files lie is not empty and stays.
    with contextlib.suppress(OSError):
        for folder in [path for path in top.iterdir() if (path / MARK).is_file()]:
            shutil.rmtree(folder, ignore_errors=True)
        top.rmdir()
