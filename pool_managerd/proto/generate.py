"""Generate the Python code of the control plane from its proto file.

Run ``python pool_managerd/proto/generate.py`` (extra ``dev``) after a change of a ``.proto`` file, and
commit what it writes; ``--check`` writes nothing and exits with 1 if the committed code is not current.

protoc writes imports relative to its include folder (``from pool_managerd.v1 import …``). The generated
code lives inside the package, as ``pool_managerd.proto.pool_managerd.v1``, so those imports are put right here.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTO = "pool_managerd/v1/pool_manager.proto"
_RELATIVE = re.compile(r"^(from|import) (pool_managerd\.v1)\b", re.MULTILINE)
_PREFIX = "pool_managerd.proto."


def generate(into: Path) -> dict[str, str]:
    """Run protoc, and return the text of each generated file by its path relative to this folder.

    :raises SystemExit: if protoc refuses the file.
    """
    # A tool of the extra `dev`, shipped without types and not needed to import this module.
    protoc = import_module("grpc_tools.protoc")

    well_known = Path(str(protoc.__file__)).parent / "_proto"
    # protoc looks for its plugins (protoc-gen-mypy) on PATH; they lie beside this Python.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    status = protoc.main(
        [
            "protoc",
            f"-I{HERE}",
            f"-I{well_known}",
            f"--python_out={into}",
            f"--mypy_out={into}",
            f"--grpc_python_out={into}",
            f"--mypy_grpc_out={into}",
            PROTO,
        ]
    )
    if status != 0:
        raise SystemExit(status)
    return {str(path.relative_to(into)): _put_right(path.read_text()) for path in sorted(into.rglob("*.py*"))}


def _put_right(text: str) -> str:
    return _RELATIVE.sub(rf"\1 {_PREFIX}\2", text)


def main() -> int:
    """Write the generated files beside their proto file, or check them."""
    check = "--check" in sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        files = generate(Path(folder))
    stale = [name for name, text in files.items() if not _current(HERE / name, text)]
    if not check:
        for name in stale:
            (HERE / name).write_text(files[name])
    verb = "stale" if check else "wrote"
    sys.stdout.writelines(f"{verb} {name}\n" for name in stale)
    return 1 if check and stale else 0


def _current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    raise SystemExit(main())
