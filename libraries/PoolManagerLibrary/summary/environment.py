"""Where a run took place, for the one who wonders why it is slow, or fails here only."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from PoolManagerLibrary import chromium
from PoolManagerLibrary.summary.run import Run

#: What CI servers say of the present build: GitHub, GitLab, Jenkins.
BUILD_ADDRESSES = ("BUILD_URL", "CI_JOB_URL")


def facts(run: Run) -> list[tuple[str, str]]:
    """Names and values, in the order in which they are shown."""
    found = [
        ("pool-managerd", _version("pool-managerd-bdd")),
        ("Robot Framework", run.generator or _version("robotframework")),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("System", f"{_distribution()}, kernel {platform.release()}, {platform.machine()}"),
        ("Processors", f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}"),
        ("Browser", chromium.what_is_missing() or "Chromium and chromedriver"),
    ]
    found += [("Build", os.environ[name]) for name in BUILD_ADDRESSES if os.environ.get(name)]
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
