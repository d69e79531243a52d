import re
from pathlib import Path

import pytest
from PoolManagerLibrary import PoolManagerLibrary
from robot.libdocpkg import LibraryDocumentation

RESOURCES = Path(__file__).resolve().parents[2] / "resources" / "PoolManagerResources"


@pytest.fixture(scope="module")
def library():
    return LibraryDocumentation("PoolManagerLibrary")


def test_each_keyword_has_a_sentence_and_an_example(library):
    for keyword in library.keywords:
        assert keyword.short_doc, keyword.name
        assert "Example" in keyword.doc, keyword.name
        assert f"| {keyword.name.lower()} |" in re.sub(r"\$\{\w+\} = \| ", "", keyword.doc.lower()), keyword.name


def test_one_instance_serves_all_suites():
    assert PoolManagerLibrary.ROBOT_LIBRARY_SCOPE == "GLOBAL"


@pytest.mark.parametrize("path", sorted(RESOURCES.glob("*.resource")), ids=lambda path: path.stem)
def test_each_phrase_is_documented_and_none_hides_a_keyword(path, library):
    names = {keyword.name.lower() for keyword in library.keywords}
    resource = LibraryDocumentation(str(path))
    assert resource.doc
    for keyword in resource.keywords:
        assert keyword.doc, keyword.name
        assert keyword.name.lower() not in names, f"{keyword.name} calls itself"
        assert not keyword.error if hasattr(keyword, "error") else True
