"""The catalogue that the summary is ordered by: requirements, and the behaviours that serve them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: Beside each other in the repository's ``docs/``.
BEHAVIOURS, REQUIREMENTS = "behaviours.tsv", "requirements.tsv"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One row of the catalogue."""

    id: str
    chapter: str
    requirements: tuple[str, ...]
    level: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All rows, and the requirements' own sentences; both empty where there is no catalogue."""

    behaviours: tuple[Behaviour, ...] = ()
    requirements: tuple[tuple[str, str], ...] = ()


def find_catalogue(places: Iterable[Path]) -> Catalogue:
    """The catalogue in the ``docs/`` of one of these folders, or of one above it."""
    for place in places:
        for folder in (place, *place.parents):
            if (folder / "docs" / BEHAVIOURS).is_file():
                return read_catalogue(folder / "docs")
    return Catalogue()


def read_catalogue(docs: Path) -> Catalogue:
    """The catalogue as it is; a line that is none of its rows is left out: its own check finds those."""
    behaviours = []
    for cells in _rows(docs / BEHAVIOURS, columns=5):
        name, chapter, requirements, level, sentence = cells
        needed = () if requirements == "-" else tuple(requirements.split(","))
        behaviours.append(Behaviour(name, chapter, needed, level, sentence))
    sentences = docs / REQUIREMENTS
    known = [(name, sentence) for name, sentence in _rows(sentences, columns=2)] if sentences.is_file() else []
    return Catalogue(tuple(behaviours), tuple(known))


def _rows(path: Path, *, columns: int) -> list[list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [cells for line in lines if len(cells := line.split("\t")) == columns]
