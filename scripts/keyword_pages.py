"""docs/keywords/: the pages of libdoc for the keyword library and for the steps of the resource files.

    python scripts/keyword_pages.py [--check]

Needs pool-managerd installed. What differs between machines (paths, times, versions) is left out, so that a page
changes only when a keyword does; ``--check`` compares the keywords, not the page around them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pages import TOP
from robot.libdoc import libdoc  # type: ignore[import-untyped]  # shipped without types

FOLDER = TOP / "docs" / "keywords"
RESOURCES = TOP / "resources" / "PoolManagerResources"
_DATA = re.compile(r"^libdoc = (\{.*\})$", re.MULTILINE)
_GENERATOR = re.compile(r'content="Robot Framework [^"]*"')
#: An embedded argument with the pattern that it has to match, which only robot needs to know.
_PATTERN = re.compile(r"\$\{(\w+):(?:[^{}\\]|\\.|\{[^}]*\})*\}")
_INTRODUCTION = """\
*** Settings ***
Documentation    All steps of ``PoolManagerResources/*.resource``; the tag of a step is its file. A suite imports
...              ``PoolManagerResources/scenario.resource``, which imports the others.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit code 1 if a page is not current")
    parser.add_argument("--write", action="store_true", help="write the pages that are not current (default)")
    check = parser.parse_args(arguments).check
    stale = False
    for name, text in (("PoolManagerLibrary", _library()), ("PoolManagerResources", _steps())):
        page = FOLDER / f"{name}.html"
        if page.is_file() and data_of(page.read_text(encoding="utf-8")) == data_of(text):
            continue
        stale = True
        if check:
            print(f"{page.relative_to(TOP)} is not current: run python scripts/keyword_pages.py", file=sys.stderr)
        else:
            FOLDER.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
            print(f"wrote {page.relative_to(TOP)}")
    return 1 if check and stale else 0


def data_of(page: str) -> dict[str, Any] | None:
    """What a page says about keywords, or ``None`` if it is no page of libdoc."""
    found = _DATA.search(page)
    return json.loads(found[1]) if found else None


def _library() -> str:
    return _page("PoolManagerLibrary", "PoolManagerLibrary")


def _steps() -> str:
    """All resource files as one, so that one search finds a step."""
    with tempfile.TemporaryDirectory() as folder:
        together = Path(folder) / "PoolManagerResources.resource"
        parts = [_INTRODUCTION]
        for file in sorted(RESOURCES.glob("*.resource")):
            _, _, keywords = file.read_text(encoding="utf-8").partition("*** Keywords ***\n")
            parts.append("*** Keywords ***\n" + _tagged(keywords, file.stem))
        together.write_text("\n".join(parts), encoding="utf-8")
        return _page(str(together), "PoolManagerResources")


def _tagged(keywords: str, tag: str) -> str:
    """The keywords, each with its file as a tag."""
    lines = []
    for line in keywords.splitlines():
        lines.append(line)
        if line and not line[0].isspace() and not line.startswith("#"):
            lines.append(f"    [Tags]    {tag}")
    return "\n".join(lines) + "\n"


def _page(source: str, name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "page.html"
        if (code := libdoc(source, str(out), name=name, quiet=True)) != 0:
            raise SystemExit(f"libdoc could not read {source} (exit code {code})")
        text = out.read_text(encoding="utf-8")
    data = data_of(text)
    if data is None:
        raise SystemExit("libdoc wrote a page that this script does not know: look at data_of")
    data["generated"] = "1970-01-01T00:00:00+00:00"
    for part in (data, *data["keywords"], *data["inits"], *data["typedocs"]):
        part.pop("source", None)
        part.pop("lineno", None)
    for keyword in data["keywords"]:
        keyword["name"] = _PATTERN.sub(r"${\1}", keyword["name"])
    line = "libdoc = " + json.dumps(data, ensure_ascii=False, sort_keys=True).replace("</", "<\\/")
    text = _DATA.sub(lambda _: line, text)
    return _GENERATOR.sub('content="Robot Framework"', text)


if __name__ == "__main__":
    sys.exit(main())
