import base64
import sys
import zlib

import pytest
from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.suite_run import SuiteRun, html_text


def run(folder, code, **environment):
    return SuiteRun(folder, [sys.executable, "-c", code], environment)


def test_it_runs_in_folders_of_its_own(tmp_path):
    done = run(tmp_path, "import os; print(os.getcwd(), os.environ['TMPDIR'], os.environ['A'])", A="b")
    assert done.wait(30) == 0
    assert done.console.split() == [str(tmp_path / "project"), str(tmp_path / "tmp"), "b"]
    assert done.left_behind() == []


def test_files_outside_results_are_found(tmp_path):
    done = run(tmp_path, "import os; os.mkdir('results'); [open(f, 'w') for f in ('results/a', 'b', '../tmp/c')]")
    assert done.wait(30) == 0
    assert done.left_behind() == [
        f"The file {tmp_path}/project/b is left.",
        f"The temporary file {tmp_path}/tmp/c is left.",
    ]


def test_a_process_that_is_left_is_found_and_ended(tmp_path):
    sleeper = "import subprocess; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    done = run(tmp_path, sleeper)
    assert done.wait(30) == 0
    assert done.left_behind() == [f"Process {done.console.strip()} is left: sleep 600"]
    done.kill()
    assert done.left_behind() == []


def test_one_that_does_not_end_is_ended(tmp_path):
    slow = run(tmp_path, "import time; time.sleep(600)")
    with pytest.raises(ExpectationFailed, match=r"should end within 0\.1 s"):
        slow.wait(0.1)
    assert slow.code == -9
    assert slow.left_behind() == []


def test_only_serve_counts_as_a_daemon(tmp_path):
    calls = (
        "for words in (['--version'], ['serve', '--help']): subprocess.run([os.environ['BDD_POOL_MANAGERD'], *words])"
    )
    done = run(tmp_path, f"import os, subprocess\n{calls}")
    assert done.wait(60) == 0
    assert done.daemons == 1


def test_packed_texts_of_a_page_are_read(tmp_path):
    packed = base64.b64encode(zlib.compress(b"a long text that is packed")).decode()
    (tmp_path / "log.html").write_text(f'["*plain", "{packed}", "AAAABBBBCCCCDDDDEEEE"]')
    assert "*plain" in html_text(tmp_path / "log.html")
    assert "a long text that is packed" in html_text(tmp_path / "log.html")
