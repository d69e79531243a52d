import io
import os
import re
import subprocess
import sys
import time

import pytest
from PoolManagerLibrary.summary import NothingToRead, write_summary
from PoolManagerLibrary.summary.outputs import completed, read_run
from PoolManagerLibrary.summary.run import FAIL, PASS, SKIP
from robot import running

EVIL = '<img src=x onerror="alert(1)"></pre><script>alert(1)</script>'
CATALOGUE = (
    "id\tchapter\trequirement\tlevel\tbehaviour\n"
    "B-ONE-001\tone\tOC-1\tmust\tIt passes, and `code` is code.\n"
    "B-ONE-002\tone\tOC-1,OC-2\tshould\tIt fails.\n"
    "B-ONE-003\tone\t-\tmust\tIt is skipped.\n"
    "B-ONE-004\tone\tOC-2\tmust\tNobody proves it.\n"
)
SUITE = f"""*** Test Cases ***
A good one
    [Tags]    B-ONE-001    OC-1
    No Operation
A bad one
    [Tags]    B-ONE-002
    Fail    {EVIL} ```
Nothing to see
    [Tags]    B-ONE-003
    Skip    There is nothing here.
Without an id
    No Operation
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a catalogue, and the results of a run with all that can come of one."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "docs").mkdir()
    (folder / "docs/behaviours.tsv").write_text(CATALOGUE)
    (folder / "docs/requirements.tsv").write_text("id\trequirement\nOC-1\tIt works.\nOC-2\tIt <b>must</b>.\n")
    (folder / "results/failed/A.A-bad-one").mkdir(parents=True)
    for name in ("daemon.log", "timeline-chat.svg"):
        (folder / "results/failed/A.A-bad-one" / name).write_text("")
    suite = running.TestSuite.from_string(SUITE)
    suite.name = "A"
    suite.run(output=str(folder / "results/output.xml"), stdout=io.StringIO(), stderr=io.StringIO())
    write_summary(folder / "results", folder)
    return folder


@pytest.fixture(scope="module")
def page(project):
    return (project / "results/summary.html").read_text()


def rows_of(page):
    """The matrix as requirement, behaviour, scenario, verdict."""
    rows = []
    for requirement, table in re.findall(
        r'class="name">(.*?)</span>.*?<table class="matrix">(.*?)</table>', page, re.DOTALL
    ):
        for behaviour, body in re.findall(r'class="id">(.*?)</span>(.*?)</tbody>', table, re.DOTALL):
            for scenario, verdict in re.findall(r'log\.html#[^"]+">(.*?)</a>.*?data-verdict="(\w+)"', body, re.DOTALL):
                rows.append((requirement, behaviour, scenario, verdict))
    return rows


def test_the_matrix_has_each_behaviour_under_each_of_its_requirements(page):
    assert rows_of(page) == [
        ("OC-1", "B-ONE-002", "A bad one", "failed"),
        ("OC-1", "B-ONE-001", "A good one", "passed"),
        ("OC-2", "B-ONE-002", "A bad one", "failed"),
        ("Other behaviours", "B-ONE-003", "Nothing to see", "skipped"),
    ]
    assert "1 behaviours had no scenario in this run" in page
    assert '<li title="Nobody proves it.">B-ONE-004</li>' in page
    assert "<code>code</code>" in page


def test_the_page_has_nothing_that_jenkins_policy_forbids(page):
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=\"|data:|javascript:|https?://|<base|<iframe|<form", page)
    kept = {f"failed/A.A-bad-one/{name}" for name in ("daemon.log", "timeline-chat.svg")}
    assert set(re.findall(r'(?:src|href)="([^"#]*)', page)) == {"summary.css", "log.html", "output.xml", *kept}


def test_what_a_scenario_says_is_never_markup(page, project):
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert "It &lt;b&gt;must&lt;/b&gt;." in page
    text = (project / "results/summary.md").read_text()
    fence = re.search(r"^(`{3,})text\n(.*?)\n\1$", text, re.DOTALL | re.MULTILINE)
    assert fence
    assert fence[1] == "````"
    assert fence[2] == f"{EVIL} ```"


def test_the_markdown_has_totals_failures_skips_and_the_slowest(project):
    text = (project / "results/summary.md").read_text()
    assert text.startswith("## ❌ A: 1 of 4 failed\n")
    assert re.search(r"^\| 4 \| 2 \| 1 \| 1 \| 0 \| [\d.]+ s \|$", text, re.MULTILINE)
    assert re.search(r"^\*\*A bad one\*\* \(A\), [\d.]+ s, B-ONE-002$", text, re.MULTILINE)
    assert "- There is nothing here. (1)" in text
    assert text.index("### Failures") < text.index("### Skipped") < text.index("### Slowest")
    assert "Robot Framework: Robot" in text


def test_a_summary_needs_no_catalogue(project, tmp_path):
    (tmp_path / "output.xml").write_bytes((project / "results/output.xml").read_bytes())
    page = write_summary(tmp_path, tmp_path).read_text()
    assert "A bad one" in page
    assert "requirements" not in page


def test_an_output_that_ends_anywhere_is_read_as_far_as_it_goes(project, tmp_path):
    whole = (project / "results/output.xml").read_bytes()
    cut = tmp_path / "output.xml"
    statuses = [(one.name, one.status) for one in read_run(project / "results").scenarios]
    assert [status for _, status in statuses] == [PASS, FAIL, SKIP, PASS]
    for end in range(whole.index(b"</kw>") + 5, len(whole) - 20, 97):
        cut.write_bytes(whole[:end])
        seen = read_run(tmp_path)
        assert seen.broken == "The run was stopped before its end."
        assert [one.name for one in seen.scenarios] == [name for name, _ in statuses][: len(seen.scenarios)]
        complete = whole[:end].count(b"</test>")
        assert [(one.name, one.status) for one in seen.scenarios][:complete] == statuses[:complete]
        # The one that was under way has not passed.
        assert all(one.status == FAIL for one in seen.scenarios[complete:])
    assert completed(project / "results/output.xml") is None


def test_an_output_that_robot_wrote_when_it_was_forced_to_stop_is_read(tmp_path):
    test = '<test id="s1-t1" name="One" line="2"><kw name="Sleep" owner="BuiltIn"><arg>9</arg>'
    end = '<errors><msg time="2026-11-27T17:27:41.0" level="ERROR">stopped</msg></errors></robot>'
    suite = '<suite id="s1" name="A" source="/a.robot">'
    (tmp_path / "output.xml").write_text(f'<robot generator="Robot 7.5" schemaversion="5">{suite}{test}{end}')
    seen = read_run(tmp_path)
    assert [(one.name, one.status) for one in seen.scenarios] == [("One", FAIL)]
    assert seen.scenarios[0].message == "The run was stopped while this scenario was under way."
    assert seen.verdict == "broken off, 1 failed"


def test_parts_that_pabot_did_not_put_together_are_read(project, tmp_path):
    for number in ("0", "1"):
        part = tmp_path / "pabot_results" / number
        part.mkdir(parents=True)
        (part / "output.xml").write_bytes((project / "results/output.xml").read_bytes())
    seen = read_run(tmp_path)
    assert len(seen.scenarios) == 8
    assert "not put together" in seen.broken
    assert "broken off" in seen.verdict


def test_what_an_older_run_has_left_is_not_read(project):
    with pytest.raises(NothingToRead, match=r"there is no output\.xml of this run"):
        read_run(project / "results", began=time.time() + 60)
    old = project / "results/output.xml"
    os.utime(old, (time.time() - 60,) * 2)
    with pytest.raises(NothingToRead):
        read_run(project / "results", began=time.time())


def test_what_is_no_result_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "output.xml").write_text("this is no XML")
    with pytest.raises(ValueError, match=r"output\.xml cannot be read"):
        read_run(tmp_path)


def runner(folder, *arguments):
    command = [sys.executable, "-m", "PoolManagerLibrary.runner", *arguments]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=60)


def test_the_runner_writes_it_and_removes_that_of_the_run_before(tmp_path):
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot/one.robot").write_text("*** Test Cases ***\nOne\n    No Operation\n")
    (tmp_path / "results").mkdir()
    text = tmp_path / "results/summary.md"
    text.write_text("of another run")
    assert runner(tmp_path, "--output", "NONE").returncode == 0
    assert not text.exists()
    done = runner(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Summary: {tmp_path}/results/summary.html" in done.stdout
    assert text.read_text().startswith("## ✅ pool-managerd: passed")


def test_a_summary_that_cannot_be_written_does_not_change_the_verdict(tmp_path):
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot/one.robot").write_text("*** Test Cases ***\nOne\n    No Operation\n")
    (tmp_path / "results/summary.css/in-the-way").mkdir(parents=True)
    done = runner(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the summary could not be made" in done.stderr


def test_the_runner_reads_no_result_before_the_run():
    code = "import sys, PoolManagerLibrary.runner; print([name for name in sys.modules if 'summary' in name])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
