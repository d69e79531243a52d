"""docs/requirements.md: the requirements and behaviours as a page that the report's tags link to.

python scripts/requirements_page.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from catalogue import Behaviour, read_catalogue
from pages import TOP, write_or_check

REQUIREMENTS = TOP / "docs" / "requirements.tsv"
CATALOGUE = TOP / "docs" / "behaviours.tsv"
PAGE = TOP / "docs" / "requirements.md"
HEAD = """\
# Requirements and behaviours

Made from `requirements.tsv` and `behaviours.tsv` by `scripts/requirements_page.py`; change those. A *pool* is one
engine with one model on one host, in one or more *replicas* (processes), each on GPUs of its own. A *lease* is one
unit of work in flight that a caller holds on a pool. Each behaviour is proven by the scenarios in `robot/` that are
tagged with its id: `bdd-runner --include B-DRAIN-005`. `scripts/behaviour_coverage.py` says which have none.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check it."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()[1:]
    requirements = dict(line.split("\t") for line in lines)
    page = "\n".join(_page(requirements, read_catalogue(CATALOGUE)))
    return write_or_check({PAGE: page}, (__doc__ or "").splitlines()[0], arguments)


def _page(requirements: dict[str, str], rows: Sequence[Behaviour]) -> Iterator[str]:
    yield HEAD
    for name, sentence in requirements.items():
        yield f'## <a id="{name.lower()}"></a>{name}\n\n{sentence}\n'
        serving = [row for row in rows if name in row.requirements]
        yield f"Behaviours: {', '.join(f'[{row.id}](#{_anchor(row)})' for row in serving)}.\n"
    for chapter in dict.fromkeys(row.chapter for row in rows):
        yield f"## Chapter {chapter}\n\n| id | level | behaviour |\n|---|---|---|"
        for row in (row for row in rows if row.chapter == chapter):
            yield f'| <a id="{_anchor(row)}"></a>{row.id} | {row.level} | {_cell(row.sentence)} |'
        yield ""


def _anchor(row: Behaviour) -> str:
    # What robot makes of the link "#b-%1" for the tag pattern "B-*".
    return f"b-{row.id.removeprefix('B-')}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


if __name__ == "__main__":
    sys.exit(main())
