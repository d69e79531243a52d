"""Which behaviours of the catalogue have no scenario, and which tags name no behaviour.

    python scripts/behaviour_coverage.py                                      what there is and what is lacking
    python scripts/behaviour_coverage.py --strict --chapters api,preload      exit code 1 if a `must` there is lacking

With --strict a tag that names no behaviour is an error, too. Nothing but Python is needed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from catalogue import Behaviour, Tag, read_catalogue, read_tags

TOP = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found; 0, or 1 where --strict says so, or 2 for a catalogue that can't be read."""
    given = _arguments(arguments)
    try:
        rows = read_catalogue(given.catalogue)
        tags = read_tags(given.suites)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    chapters = list(dict.fromkeys(row.chapter for row in rows))
    wanted = given.chapters.split(",") if given.chapters else chapters
    if unknown := sorted(set(wanted) - set(chapters)):
        print(f"no such chapter: {', '.join(unknown)}; there are {', '.join(chapters)}", file=sys.stderr)
        return 2
    proven = {tag.id for tag in tags}
    stray = [tag for tag in tags if tag.id not in {row.id for row in rows}]
    in_scope = [row for row in rows if row.chapter in wanted]
    _print_table(in_scope, proven)
    lacking = [row for row in in_scope if row.id not in proven]
    if not given.quiet:
        _print_lacking(lacking)
    _print_stray(stray)
    missing = [row for row in lacking if row.level == "must"]
    done = len(in_scope) - len(lacking)
    print(f"\n{done} of {len(in_scope)} behaviours have a scenario; {len(missing)} `must` have none")
    return 1 if given.strict and (missing or stray) else 0


def _print_table(rows: Iterable[Behaviour], proven: set[str]) -> None:
    rows = list(rows)
    levels = list(dict.fromkeys(row.level for row in rows))
    print(f"{'':15}" + "".join(f"{level:>12}" for level in levels))
    for chapter in dict.fromkeys(row.chapter for row in rows):
        cells = []
        for level in levels:
            here = [row for row in rows if row.chapter == chapter and row.level == level]
            done = sum(row.id in proven for row in here)
            cells.append(f"{f'{done}/{len(here)}' if here else '':>12}")
        print(f"{chapter:15}" + "".join(cells).rstrip())


def _print_lacking(rows: Sequence[Behaviour]) -> None:
    groups: dict[tuple[str, str], list[Behaviour]] = {}
    for row in rows:
        groups.setdefault((row.chapter, row.level), []).append(row)
    for (chapter, level), members in groups.items():
        print(f"\n{chapter}, {level}: without a scenario")
        for row in members:
            print(f"  {row.id:15} {row.sentence}")


def _print_stray(tags: Sequence[Tag]) -> None:
    if tags:
        print("\ntags without a behaviour")
    for tag in tags:
        print(f"  {tag.id:15} {tag.file}:{tag.line}")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("catalogue", nargs="?", type=Path, default=TOP / "docs" / "behaviours.tsv")
    parser.add_argument("suites", nargs="*", type=Path, default=[TOP / "robot"], help="suite files or folders (robot/)")
    parser.add_argument("--chapters", metavar="A,B", help="only these")
    parser.add_argument("--strict", action="store_true", help="exit code 1 if a `must` has no scenario")
    parser.add_argument("--quiet", action="store_true", help="no list of the behaviours that are lacking")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
