"""What the written documents say of the code is true of it."""

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pool_managerd.core.errors import Code
from pool_managerd.core.replica import TRANSITIONS
from pool_managerd.core.replica_state import Signal

TOP = Path(__file__).resolve().parents[2]


def rows(page, heading):
    """The first cells and the second cells of the first table under a heading."""
    section = page.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_operators_guide_has_advice_for_every_code():
    page = (TOP / "docs" / "operators-guide.md").read_text()
    named = [code for row in rows(page, "What to do at each error code") for code in row[0].split(", ")]
    assert sorted(named) == sorted(map(str, Code))


def test_the_architecture_page_shows_the_replicas_table():
    page = (TOP / "docs" / "architecture.md").read_text()
    shown = {
        (row[0].strip("`"), name)
        for row in rows(page, "The replica's life")
        for name in row[1].replace("`", "").split()
    }
    assert shown == {(str(phase), str(signal)) for phase, signal in TRANSITIONS if signal is not Signal.RESET}


def test_links_between_the_documents_lead_somewhere():
    pages = [TOP / "README.md", TOP / "CONTRIBUTING.md", *sorted((TOP / "docs").glob("*.md"))]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
        if not target.startswith("http") and not (page.parent / target).exists()
    ]
    assert broken == []


def test_no_table_is_cut_in_two():
    """Every block of lines that begin with a bar has a head: what a blank line splits off is shown as plain text."""
    headless = [
        f"{page.name}: {block.splitlines()[0]}"
        for page in [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
        for block in re.findall(r"(?:^\|.*\n?)+", page.read_text(), re.MULTILINE)
        if not re.match(r".*\n\|[-:| ]+\|$", block, re.MULTILINE)
    ]
    assert headless == []


def test_each_time_limit_of_the_unit_file_stands_below_what_is_said_of_it():
    lines = (TOP / "packaging" / "pool-managerd.service").read_text().splitlines()
    said = {line.partition("=")[0]: before for before, line in itertools.pairwise(lines) if "=" in line}
    assert "shutdown_drain_ms" in said["TimeoutStopSec"]
    assert "pings" in said["WatchdogSec"]


def test_the_unit_file_is_a_good_one(tmp_path):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    executable = tmp_path / "pool-managerd"
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    text = (TOP / "packaging" / "pool-managerd.service").read_text()
    unit = tmp_path / "pool-managerd.service"
    unit.write_text(text.replace("/opt/pool-managerd/bin/pool-managerd", str(executable)))
    done = subprocess.run(
        [program, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False, timeout=30
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if not _of_an_older_systemd(line)]
    assert (done.returncode, said) == (0, [])


def _of_an_older_systemd(line: str) -> bool:
    """Before systemd 254 this key is not known, and passed over: engines then have no group beside the daemon's."""
    return "Unknown key 'DelegateSubgroup'" in line


def test_ci_runs_the_readmes_own_test_command():
    readme = (TOP / "README.md").read_text()
    command = re.search(r"<!-- the test command.*?\n```console\n(.*?)\n```", readme, re.DOTALL)
    assert command is not None
    assert command[1].startswith("python3 -m venv")
    assert "<!-- the test command" in (TOP / ".ci" / "run").read_text()
