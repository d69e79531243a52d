"""Write down how long each suite took, for the shares of parallel runs.

Usage: ``python scripts/suite_times.py results/output.xml``. A suite that this run did not run whole keeps its time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from PoolManagerLibrary.shares import TIMES
from robot.api import TestSuite

SUITES = Path(__file__).resolve().parent.parent / "robot"


def read_times(output: str) -> dict[str, float]:
    """Seconds by suite file, of each suite that was run with all of its tests."""
    times = {}
    for suite in ET.parse(output).getroot().iter("suite"):  # noqa: S314 - our own run wrote it
        source, status = Path(suite.get("source", "")).resolve(), suite.find("status")
        if status is None or not source.is_file() or not source.is_relative_to(SUITES):
            continue
        if len(suite.findall("test")) == len(TestSuite.from_file_system(source).tests):
            times[source.relative_to(SUITES).as_posix()] = round(float(status.attrib["elapsed"]), 1)
    return times


def main() -> None:
    """Write ``robot/suite_times.json``."""
    file = SUITES / TIMES
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    times = known | read_times(sys.argv[1])
    times = {name: seconds for name, seconds in sorted(times.items()) if (SUITES / name).exists()}
    file.write_text(json.dumps(times, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
