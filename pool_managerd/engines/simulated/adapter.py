"""The daemon's side of the stand-in engine."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.engines import llamacpp_log
from pool_managerd.engines.base import Engine, EngineSpec, PoolLike, json_or_none, read_start
from pool_managerd.engines.llamacpp import LlamaCpp, check_gguf, check_gpu_only
from pool_managerd.engines.log_lines import ExitClass, LogPattern
from pool_managerd.engines.simulated.options import BY_NAME, convert, flags

PROGRAM = Path(__file__).with_name("__main__.py")


class Simulated(LlamaCpp):
    """The stand-in engine. It answers like llama-server, and takes flags of its own."""

    kind: ClassVar[str] = "simulated"
    default_binary: ClassVar[str | None] = None
    version_path: ClassVar[str | None] = "/version"
    # It can be told to write any line, so that a line needs no time and level to count as llama.cpp's.
    log_patterns: ClassVar[tuple[LogPattern, ...]] = llamacpp_log.patterns(stamped=False)

    def program(self, pool: PoolLike) -> str:
        """The interpreter that runs the stand-in."""
        return sys.executable if pool.binary is None else str(pool.binary)

    def check_args(self, pool: PoolLike) -> None:
        """Refuse what llama-server would have to refuse, and keys of ``[pool.simulated]`` that are not known."""
        Engine.check_args(self, pool)
        check_gpu_only(pool.args)
        table = getattr(pool, "simulated", None)
        if isinstance(table, Mapping):
            check_table(table)

    def check_model(self, path: Path) -> None:
        """Refuse a file that is missing or unreadable, and one named ``.gguf`` that is no whole GGUF file.

        A GGUF file without tensors will do: the stand-in reads no weights.
        """
        start = read_start(path, 16)
        if start[:4] == b"GGUF" and start[8:] == bytes(8):
            return
        if start[:4] == b"GGUF" or path.suffix == ".gguf":
            check_gguf(path)

    def command_line(self, spec: EngineSpec) -> tuple[str, ...]:
        """The interpreter, the stand-in program, and its flags."""
        argv = [str(spec.binary), "-I", "-S", str(PROGRAM)]
        argv += ["--host", spec.host, "--port", str(spec.port)]
        if spec.model is not None:
            argv += ["--model", str(spec.model)]
        argv += ["--slots", str(spec.slots), "--context", str(spec.context)]
        if len(spec.devices) > 1 and spec.split:
            argv += ["--split", ",".join(format(weight, ".6g") for weight in spec.split)]
        if spec.need:
            argv += ["--device-bytes", ",".join(str(spec.need.get(uuid, 0)) for uuid in spec.devices)]
        argv += flags({name: convert(BY_NAME[name], value) for name, value in spec.simulated.items()})
        return (*argv, *spec.args)

    def environment(self, spec: EngineSpec) -> Mapping[str, str]:
        """Where the simulated devices are."""
        return {} if spec.simulated_dir is None else {"POOL_MANAGERD_SIMULATED_DIR": str(spec.simulated_dir)}

    def parse_version(self, body: bytes) -> str | None:
        """Read ``/version``."""
        answer = json_or_none(body)
        version = answer.get("version") if isinstance(answer, dict) else None
        return version if isinstance(version, str) else None

    def version_command(self, binary: Path) -> tuple[str, ...] | None:  # noqa: ARG002  # it answers /version
        """No command: the stand-in is asked while it runs."""
        return None

    def usage_error(self, code: int, lines: Sequence[str]) -> ExitClass | None:
        """Exit code 2 with an ``error:`` line means bad arguments."""
        if code == 2 and any(line.startswith("error: ") for line in lines):
            return "bad_arguments"
        return super().usage_error(code, lines)


def check_table(table: Mapping[str, Any]) -> None:
    """Refuse a ``[pool.simulated]`` table with unknown keys or values of a wrong type.

    :raises PoolManagerError: INVALID_REQUEST naming the key and, if it is unknown, the nearest known one.
    """
    for name, value in table.items():
        field = f"simulated.{name}"
        option = BY_NAME.get(name)
        if option is None:
            near = difflib.get_close_matches(name, BY_NAME, n=1)
            raise PoolManagerError(
                Code.INVALID_REQUEST,
                f"{field}: the stand-in engine knows no such key",
                hint=f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(BY_NAME)}",
                details={"field": field},
            )
        try:
            convert(option, value)
        except ValueError as error:
            raise PoolManagerError(Code.INVALID_REQUEST, f"{field}: {error}", details={"field": field}) from error
