"""A real Triton server, where one is installed: the package nvidia-pytriton in an environment of its own."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from robot.api import SkipExecution
from robot.api.deco import keyword

from PoolManagerLibrary.keywords.base import Keywords

#: Names the virtual environment that has nvidia-pytriton.
ENVIRONMENT = "POOL_MANAGERD_TRITON_ENV"
_HOLD = "pool-managerd-simulated-hold"
#: Answers a text with its words, one by one, ten in a second.
_MODEL = """\
import time

import numpy as np
import triton_python_backend_utils as utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            text = utils.get_input_tensor_by_name(request, "text_input").as_numpy()[0].decode()
            sender = request.get_response_sender()
            for word in text.split():
                answer = utils.Tensor("text_output", np.array([word.encode()], dtype=object))
                sender.send(utils.InferenceResponse([answer]))
                time.sleep(0.1)
            sender.send(flags=utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
_CONFIG = """\
backend: "python"
max_batch_size: 0
input [ { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "text_output" data_type: TYPE_STRING dims: [ 1 ] } ]
model_transaction_policy { decoupled: true }
"""


class RealTritonKeywords(Keywords):
    """Keywords about a real Triton server."""

    @keyword
    def define_real_triton_pool(self, name: str = "pool", model: str = "words", **settings: Any) -> str:
        """Defines a pool that runs the real Triton server with a repository of one Python model.

        The model answers a text with its words, ten in a second. It computes on the CPU here, and a wrapper program
        holds the memory (64 MiB) on a simulated GPU. The environment variable ``POOL_MANAGERD_TRITON_ENV`` names a
        virtual environment that has the package nvidia-pytriton; the test is skipped without it.
        ``settings`` are those of `Define Pool`. Returns the pool's id.

        Example:
        | Define Real Triton Pool | chat | readiness.timeout_ms=60 s |
        """
        self.world.need_local("a program of its own")
        home, server = _triton()
        hold = Path(sys.executable).with_name(_HOLD)
        if not hold.exists():
            raise SkipExecution(f"Needs the program {_HOLD}, which is not installed beside {sys.executable}.")
        folder = self.world.selected.models_path.parent / "triton"
        program = folder / "tritonserver"
        self._provide(folder, server, f'#!/bin/sh\nexec "{hold}" 64MiB "{server / "bin" / "tritonserver"}" "$@"\n')
        self.create_real_triton_repository(model)
        libraries = [server.parents[1] / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR")]
        values = {
            "engine": "triton",
            "binary": str(program),
            "model": f"models/{model}",
            "vram_bytes": "64 MiB",
            "args": [f"--backend-directory={folder / 'backends'}"],
            # The Python backend's stub finds its packages by the first python on PATH.
            "env": {
                "PATH": f"{home / 'bin'}:{os.environ.get('PATH', os.defpath)}",
                "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            },
        }
        return self.world.define_pool(name, {**values, **settings}).pool_id

    @keyword
    def create_real_triton_repository(self, name: str, config: str = _CONFIG, code: str = _MODEL) -> str:
        """Puts a repository whose one model has the repository's name into the models folder. Returns its path.

        Example:
        | Create Real Triton Repository | other |
        """
        self.world.need_local("files of the daemon")
        repository = self.world.selected.models_path / name
        (repository / name / "1").mkdir(parents=True, exist_ok=True)
        (repository / name / "config.pbtxt").write_text(
            config.replace("{name}", name).replace("{{", "{").replace("}}", "}")
        )
        (repository / name / "1" / "model.py").write_text(code, encoding="utf-8")
        return str(repository)

    @staticmethod
    def _provide(folder: Path, server: Path, script: str) -> None:
        """The server's program and its Python backend, with the stub for this version of Python."""
        backend = folder / "backends" / "python"
        backend.mkdir(parents=True, exist_ok=True)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
        for source in (*(server / "backends" / "python").glob("*.*"), stub):
            target = backend / source.name
            if not target.exists():
                target.symlink_to(source)
        program = folder / "tritonserver"
        program.write_text(script, encoding="utf-8")
        program.chmod(0o755)


def _triton() -> tuple[Path, Path]:
    """The virtual environment, and the folder of the server in it.

    :raises SkipExecution: naming what is missing.
    """
    said = os.environ.get(ENVIRONMENT, "")
    if not said:
        raise SkipExecution(
            "Needs a real Triton: python3 -m venv triton && triton/bin/pip install nvidia-pytriton, "
            f"then {ENVIRONMENT}=triton"
        )
    home = Path(said).resolve()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    server = home / "lib" / f"python{version}" / "site-packages" / "pytriton" / "tritonserver"
    if not (server / "bin" / "tritonserver").exists() or not (server / "python_backend_stubs" / version).exists():
        raise SkipExecution(f"Needs a real Triton: {ENVIRONMENT}={said} has no nvidia-pytriton for Python {version}.")
    library = Path(str(sysconfig.get_config_var("LIBDIR"))) / str(sysconfig.get_config_var("INSTSONAME"))
    if not sysconfig.get_config_var("Py_ENABLE_SHARED") or not library.exists():
        raise SkipExecution(f"Triton's Python backend needs Python as a shared library, and {library} is not there.")
    return home, server
