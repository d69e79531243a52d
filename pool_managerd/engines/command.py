"""The operator's own command: an engine that this package knows nothing about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pool_managerd.engines import llamacpp_log, torch_log
from pool_managerd.engines.base import CanaryRequest, Engine, EngineSpec, PoolLike, bad_model, completion_canary
from pool_managerd.engines.log_lines import ExitClass, LogPattern


class Command(Engine):
    """Any program that serves HTTP: the mask and the residency check hold for it, too."""

    kind: ClassVar[str] = "command"
    needs_model: ClassVar[bool] = False
    #: Sent only if the operator says so; many such programs speak OpenAI's protocol.
    canary: ClassVar[CanaryRequest | None] = completion_canary()
    log_patterns: ClassVar[tuple[LogPattern, ...]] = (*llamacpp_log.patterns(stamped=False), *torch_log.PATTERNS)

    def program(self, pool: PoolLike) -> str | None:
        """The command's first word."""
        return pool.command[0] if pool.command else super().program(pool)

    def check_model(self, path: Path) -> None:
        """Refuse a path with nothing there; what it must hold is the operator's affair."""
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise bad_model(path, "does not exist") from error
        except OSError as error:
            raise bad_model(path, f"cannot be read ({error.strerror})") from error

    def command_line(self, spec: EngineSpec) -> tuple[str, ...]:
        """The command with {host}, {port}, {model} and {devices} filled in, and other braces left alone."""
        values = {
            "{host}": spec.host,
            "{port}": str(spec.port),
            "{model}": "" if spec.model is None else str(spec.model),
            "{devices}": ",".join(spec.devices),
        }
        return (str(spec.binary), *(_fill(word, values) for word in spec.command[1:]), *spec.args)

    def usage_error(self, code: int, lines: Sequence[str]) -> ExitClass | None:  # noqa: ARG002  # the lines tell all
        """Known words for a taken port; whether arguments were wrong can't be told."""
        patterns = (llamacpp_log.PORT_IN_USE, torch_log.PORT_IN_USE)
        return "port_in_use" if any(pattern.match(line) for pattern in patterns for line in lines) else None


def _fill(word: str, values: dict[str, str]) -> str:
    """Fill in place by place, so that a value is never searched for placeholders of its own."""
    result = ""
    while word:
        name = next((name for name in values if word.startswith(name)), None)
        result += word[0] if name is None else values[name]
        word = word[1:] if name is None else word[len(name) :]
    return result
