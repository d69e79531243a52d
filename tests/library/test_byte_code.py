import os
import subprocess
import sys
from pathlib import Path

import pytest
from PoolManagerLibrary import byte_code
from PoolManagerLibrary.byte_code import FORBIDDEN, PREFIX, shared_byte_code


@pytest.fixture
def forbidden(monkeypatch, tmp_path):
    """A Python that must not write byte code, and sources that were never compiled."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setattr(byte_code, "__file__", str(tmp_path / "byte_code.py"))
    monkeypatch.setenv(FORBIDDEN, "1")
    monkeypatch.delenv(PREFIX, raising=False)


def test_processes_of_a_run_share_their_compiled_modules_and_leave_none(forbidden, tmp_path):
    (tmp_path / "imported.py").write_text("")
    with shared_byte_code():
        folder = Path(os.environ[PREFIX])
        subprocess.run([sys.executable, "-c", "import imported"], cwd=tmp_path, check=True)
        compiled = list(folder.joinpath(*tmp_path.parts[1:]).glob("imported.*"))
        assert len(compiled) == 1
        assert sys.pycache_prefix == str(folder)
    assert not folder.exists()
    assert sys.dont_write_bytecode
    assert sys.pycache_prefix is None
    assert PREFIX not in os.environ
    assert os.environ[FORBIDDEN] == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["imported.py"]


def test_what_most_of_them_import_is_compiled_in_advance(forbidden):
    with shared_byte_code(in_advance=True):
        names = {name.partition(".")[0] for _, _, files in os.walk(os.environ[PREFIX]) for name in files}
    assert {"world", "app", "grpc_server", "run"} <= names


def test_an_environment_in_which_python_compiles_as_usual_stays_as_it_is(forbidden, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = dict(os.environ)
    with shared_byte_code(in_advance=True):
        assert dict(os.environ) == before


def test_sources_that_are_compiled_already_are_compiled_no_further(forbidden, tmp_path):
    tag = sys.implementation.cache_tag
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / f"byte_code.{tag}.pyc").write_bytes(b"")
    before = dict(os.environ)
    with shared_byte_code(in_advance=True):
        assert dict(os.environ) == before
