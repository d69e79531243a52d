"""Write down how long each suite took, for the shares of parallel runs.

Usage: ``python scripts/suite_times.py results/output.xml``. What that run did not run keeps its time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from PoolManagerLibrary.shares import TIMES

SUITES = Path(__file__).resolve().parent.parent / "robot"


def read_times(output: str) -> dict[str, float]:
    """Seconds by suite file, of each suite that has tests of its own."""
    times = {}
    for suite in ET.parse(output).getroot().iter("suite"):  # noqa: S314 - our own run wrote it
        status = suite.find("status")
        if suite.find("test") is not None and status is not None:
            name = Path(suite.attrib["source"]).resolve().relative_to(SUITES).as_posix()
            times[name] = round(float(status.attrib["elapsed"]), 1)
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
