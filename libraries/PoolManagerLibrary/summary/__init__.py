"""What a run came to: ``summary.html`` for people and Jenkins, ``summary.md`` for pull requests."""  # noqa: N999  # see PoolManagerLibrary

# Imported after the run only: reading a result needs Robot Framework.
from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from PoolManagerLibrary.summary import environment, markdown, page
from PoolManagerLibrary.summary.catalogue import find_catalogue
from PoolManagerLibrary.summary.outputs import NothingToRead, read_run

__all__ = ["HTML", "MARKDOWN", "STYLE", "NothingToRead", "write_summary"]

HTML, MARKDOWN, STYLE = "summary.html", "summary.md", "summary.css"


def write_summary(results: Path, folder: Path, *, output: str = "output.xml", began: float = 0.0) -> Path:
    """Write the pages into the folder of the results; returns the path of the HTML page.

    :param results: where the output lies, or what is there of it.
    :param folder: where the run was started: the catalogue of behaviours is looked for in its ``docs/``.
    :param output: the name of the run's output.
    :param began: when the run began, in seconds since the epoch: what is older is of another run.
    :raises NothingToRead: if there is no output.
    :raises ValueError: if the output is no result of Robot Framework.
    :raises OSError: if a page cannot be written.
    """
    run = read_run(results, output=output, began=began)
    catalogue = find_catalogue([folder, *run.sources])
    facts = environment.facts(run)
    pages = {
        HTML: page.render(run, catalogue, facts, results),
        MARKDOWN: markdown.render(run, facts),
        STYLE: (files(__package__) / STYLE).read_text(encoding="utf-8"),
    }
    for name, text in pages.items():
        (results / name).write_text(text, encoding="utf-8")
    return results / HTML
