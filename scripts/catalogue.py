"""The catalogue of behaviours (``docs/behaviours.tsv``) and the tags of the suites that prove them."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PoolManagerLibrary.summary.catalogue import Behaviour
else:
    # By its file: these scripts need nothing but Python, and the library's package needs Robot Framework.
    _LIBRARY = Path(__file__).resolve().parent.parent / "libraries" / "PoolManagerLibrary"
    Behaviour = runpy.run_path(str(_LIBRARY / "summary" / "catalogue.py"))["Behaviour"]

__all__ = ["Behaviour", "Tag", "read_catalogue", "read_tags"]

HEAD = ("id", "chapter", "requirement", "level", "behaviour")
#: A behaviour's id as a tag.
ID = re.compile(r"\bB-[A-Z]+-\d+\b")
#: Where robot looks for tags; a line of dots goes on with the last one.
_TAGS = re.compile(r"^\s*(\[Tags\]|Test Tags|Force Tags|Default Tags|Keyword Tags)(\s|$)", re.IGNORECASE)
_CONTINUED = re.compile(r"^\s*\.\.\.(\s|$)")


@dataclass(frozen=True, slots=True)
class Tag:
    """A behaviour's id, where a suite says it."""

    id: str
    file: Path
    line: int


def read_catalogue(path: Path) -> tuple[Behaviour, ...]:
    """All rows, in their order.

    :raises ValueError: naming the line, if it is no such file or an id comes twice.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or tuple(lines[0].split("\t")) != HEAD:
        raise ValueError(f"{path}: the first line must be the columns {', '.join(HEAD)}, separated by tabs")
    rows: dict[str, Behaviour] = {}
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != len(HEAD):
            raise ValueError(f"{path}:{number}: {len(cells)} columns instead of {len(HEAD)}")
        name = cells[0]
        if not ID.fullmatch(name):
            raise ValueError(f"{path}:{number}: {name!r} is no id such as B-API-001")
        if name in rows:
            raise ValueError(f"{path}:{number}: {name} is there twice")
        rows[name] = Behaviour.of_row(cells)
    return tuple(rows.values())


def read_tags(folders: Sequence[Path]) -> tuple[Tag, ...]:
    """The behaviours' ids among the tags of all suites in the folders."""
    files = [file for folder in folders for file in ([folder] if folder.is_file() else sorted(folder.rglob("*.robot")))]
    return tuple(tag for file in files for tag in _tags_of(file))


def _tags_of(file: Path) -> Iterator[Tag]:
    inside = False
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        inside = bool(_TAGS.match(line)) or (inside and bool(_CONTINUED.match(line)))
        if inside:
            yield from (Tag(name, file, number) for name in ID.findall(line.partition("    #")[0]))
