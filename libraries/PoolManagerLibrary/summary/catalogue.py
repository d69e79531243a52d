"""The catalogue that the summary is ordered by: requirements, and the behaviours that serve them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Beside each other in the repository's ``docs/``.
BEHAVIOURS, REQUIREMENTS = "behaviours.tsv", "requirements.tsv"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One row of the catalogue; the repository's scripts use it, too, and load this file alone.

    :ivar requirements: ids such as OC-POOL-3001; empty where the row serves none.
    :ivar level: must, should or may.
    """

    id: str
    chapter: str
    requirements: tuple[str, ...]
    level: str
    sentence: str

    @classmethod
    def of_row(cls, cells: Sequence[str]) -> Behaviour:
        """Read a row's five cells."""
        name, chapter, requirements, level, sentence = cells
        return cls(name, chapter, () if requirements == "-" else tuple(requirements.split(",")), level, sentence)


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
    behaviours = tuple(Behaviour.of_row(cells) for cells in _rows(docs / BEHAVIOURS, columns=5))
    sentences = docs / REQUIREMENTS
    known = [(name, sentence) for name, sentence in _rows(sentences, columns=2)] if sentences.is_file() else []
    return Catalogue(behaviours, tuple(known))


def _rows(path: Path, *, columns: int) -> list[list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [cells for line in lines if len(cells := line.split("\t")) == columns]
