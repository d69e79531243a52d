import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
HEAD = "id\tchapter\trequirement\tlevel\tbehaviour\n"
ROWS = (
    HEAD + "B-API-001\tapi\t-\tmust\tIt answers.\n"
    "B-API-002\tapi\tOC-POOL-3001\tmust\tIt does not lie.\n"
    "B-LEASE-001\tleases\t-\tshould\tIt lends.\n"
)


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, str(TOP / "scripts" / script), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(TOP / "libraries")},
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def coverage(tmp_path):
    """The coverage script on a small catalogue, and on one suite with the given text."""

    def call(suite, *options, rows=ROWS):
        (tmp_path / "rows.tsv").write_text(rows)
        (tmp_path / "robot").mkdir(exist_ok=True)
        (tmp_path / "robot" / "a.robot").write_text(suite)
        return run("behaviour_coverage.py", tmp_path / "rows.tsv", tmp_path / "robot", *options)

    return call


TAGGED = "*** Test Cases ***\nOne\n    [Tags]    B-API-001\n    ...       B-LEASE-001\n    Log    B-API-002\n"


def test_only_tags_count_and_they_go_on_over_lines(coverage):
    code, out, _ = coverage(TAGGED)
    assert code == 0
    assert "2 of 3 behaviours have a scenario; 1 `must` have none" in out
    assert "B-API-002       It does not lie." in out


def test_the_coverage_needs_nothing_but_python(tmp_path):
    script = TOP / "scripts" / "behaviour_coverage.py"
    command = [sys.executable, "-S", "-E", str(script), "--quiet"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "behaviours have a scenario" in done.stdout


def test_the_catalogue_knows_one_kind_of_row():
    program = (
        "import sys; sys.path.insert(0, 'scripts'); from catalogue import Behaviour as one; print(one.of_row.__code__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=TOP, timeout=60
    )
    assert str(TOP / "libraries" / "PoolManagerLibrary" / "summary" / "catalogue.py") in done.stdout


def test_strict_fails_for_a_must_without_a_scenario_in_the_named_chapters_alone(coverage):
    assert coverage(TAGGED, "--strict")[0] == 1
    assert coverage(TAGGED, "--strict", "--chapters", "leases")[0] == 0
    assert coverage(TAGGED.replace("B-LEASE-001", "B-API-002"), "--strict")[0] == 0


def test_a_tag_without_a_behaviour_is_named_with_its_place(coverage):
    suite = "*** Settings ***\nTest Tags    B-API-001    B-API-002    B-LEASE-001    B-API-999\n"
    code, out, _ = coverage(suite, "--strict")
    assert code == 1
    assert "a.robot:2" in out
    assert "B-API-999" in out


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("id\tsentence\n", "the first line"),
        (HEAD + "B-API-001\tapi\n", ":2: 2 columns"),
        (ROWS + "B-API-001\tapi\t-\tmust\tAgain.\n", ":5: B-API-001 is there twice"),
        (HEAD + "first\tapi\t-\tmust\tIt.\n", "'first' is no id"),
    ],
)
def test_a_faulty_catalogue_is_refused_by_its_line(coverage, rows, said):
    code, _, err = coverage(TAGGED, rows=rows)
    assert code == 2
    assert said in err


def test_an_unknown_chapter_is_refused(coverage):
    assert coverage(TAGGED, "--chapters", "apy")[0] == 2


@pytest.mark.parametrize("script", ["configuration_page.py", "requirements_page.py", "keyword_pages.py"])
def test_a_generated_page_is_current(script):
    assert run(script, "--check") == (0, "", "")


def test_the_catalogue_is_the_one_that_is_kept_beside_the_repository():
    kept = TOP.parent / "shared" / "behaviours.tsv"
    if not kept.exists():
        pytest.skip("no catalogue beside this checkout")
    assert (TOP / "docs" / "behaviours.tsv").read_bytes() == kept.read_bytes()
