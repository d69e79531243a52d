"""Writing generated pages, or checking that they are current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def write_or_check(pages: Mapping[Path, str], description: str, arguments: Sequence[str] | None = None) -> int:
    """Write the pages that differ; with ``--check`` name them and write nothing.

    :returns: the exit code: 1 if ``--check`` found one that is not current.
    """
    parser = argparse.ArgumentParser(description=description)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--check", action="store_true", help="exit code 1 if a page is not current")
    way.add_argument("--write", action="store_true", help="write the pages that are not current (default)")
    check = parser.parse_args(arguments).check
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        name = path.relative_to(TOP)
        if check:
            print(f"{name} is not current: run python {Path(sys.argv[0]).name} in scripts/", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[path], encoding="utf-8")
            print(f"wrote {name}")
    return 1 if check and stale else 0
