"""What every engine kind answers: its command line, environment, readiness, slots, version and log lines.

An adapter is a value without state. It starts nothing and asks nothing: it says what to start, what to ask,
and how to read the answer.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.engines.log_lines import ExitClass, LogPattern, lacks_library, plain

CPU_HINT = "inference on the CPU is never used as a fallback; remove the argument and let the engine use its GPUs"


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What one replica is to run.

    :param binary: absolute path of the program; ``argv[0]``.
    :param context: tokens per slot.
    :param devices: UUIDs of the GPUs in mask order.
    :param split: one normalised weight per device; empty with one device.
    :param simulated: the pool's ``[pool.simulated]`` table.
    :param simulated_dir: folder of simulated devices, or ``None`` on real ones.
    :param need: planned bytes of GPU memory by UUID; empty where it is not known.
    """

    pool_id: str
    replica_id: str
    kind: str
    binary: Path
    model: Path | None
    host: str
    port: int
    slots: int
    context: int
    kv_type: str
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    split: tuple[float, ...] = ()
    simulated: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    simulated_dir: Path | None = None
    need: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


class PoolLike(Protocol):
    """The part of a pool's configuration that :meth:`Engine.check_args` looks at."""

    @property
    def args(self) -> tuple[str, ...]:
        """The operator's own engine arguments."""

    @property
    def command(self) -> tuple[str, ...]:
        """The operator's command (kind ``command`` only)."""

    @property
    def binary(self) -> Path | None:
        """The operator's own program, or ``None`` for the kind's usual one."""


@dataclass(frozen=True, slots=True)
class SlotsReport:
    """What a running engine says about its slots; ``None`` for what it does not say.

    :param total: slots it has.
    :param busy: slots at work, requests that wait for one included where the engine tells.
    :param context: tokens per slot.
    """

    total: int | None
    busy: int | None
    context: int | None = None


@dataclass(frozen=True, slots=True)
class CanaryRequest:
    """A request that makes the engine generate one token, and how to tell that it did.

    :param is_success: takes the HTTP status and the body.
    """

    method: str
    path: str
    body: bytes
    is_success: Callable[[int, bytes], bool]


class Engine(ABC):
    """One engine kind."""

    #: The word in the configuration.
    kind: ClassVar[str]
    #: The program's name on PATH, or ``None`` where there is no usual one.
    default_binary: ClassVar[str | None] = None
    #: Answers 200 when, and only when, the model is loaded.
    readiness_path: ClassVar[str] = "/health"
    #: Whether the engine can divide a model only into equal parts.
    even_split_only: ClassVar[bool] = False
    needs_model: ClassVar[bool] = True
    #: The variable that says where its own unix sockets lie: a path to which it adds ``-<rank>``.
    socket_variable: ClassVar[str | None] = None
    #: Whether it takes a share of whatever GPU it is on, so that what it holds says nothing of what it needs.
    takes_share: ClassVar[bool] = False
    #: Asked for :meth:`parse_slots`; ``None`` where the engine has nothing to ask.
    slots_path: ClassVar[str | None] = None
    #: Asked for :meth:`parse_version`.
    version_path: ClassVar[str | None] = None
    #: Asked for :meth:`parse_progress`.
    progress_path: ClassVar[str | None] = None
    log_patterns: ClassVar[tuple[LogPattern, ...]] = ()
    #: Asked for a token; see :meth:`canary_for`.
    canary: ClassVar[CanaryRequest | None] = None

    def program(self, pool: PoolLike) -> str | None:
        """The program as configured, or else the kind's usual one: a path, or a name to be looked up on PATH."""
        return self.default_binary if pool.binary is None else str(pool.binary)

    def check_args(self, pool: PoolLike) -> None:  # noqa: B027  # most kinds add to it, and one has nothing to refuse
        """Refuse the operator's arguments and environment where they would leave the GPUs or contradict the daemon.

        :raises PoolManagerError: CPU_SPILLOVER, INVALID_SPLIT or INVALID_REQUEST naming the argument or variable.
        """

    @abstractmethod
    def check_model(self, path: Path) -> None:
        """Refuse a model that the engine could not load. Reads headers only.

        :raises PoolManagerError: MODEL_NOT_FOUND with the path and what is wrong with it.
        """

    @abstractmethod
    def command_line(self, spec: EngineSpec) -> tuple[str, ...]:
        """The whole argument vector; the first is the binary's path."""

    def environment(self, spec: EngineSpec) -> Mapping[str, str]:  # noqa: ARG002  # an interface
        """Environment beyond what every engine gets (device mask, markers, the pool's own ``env``)."""
        return {}

    def parse_slots(self, body: bytes) -> SlotsReport | None:  # noqa: ARG002  # an interface
        """Read the answer of :attr:`slots_path`; ``None`` if it can't be understood."""
        return None

    def parse_version(self, body: bytes) -> str | None:  # noqa: ARG002  # an interface
        """Read the answer of :attr:`version_path`; ``None`` if it can't be understood."""
        return None

    def parse_progress(self, body: bytes) -> float | None:  # noqa: ARG002  # an interface
        """Read from the answer of :attr:`progress_path` what rises while the engine works for its callers.

        With each step, if it tells: the tokens of a request are often counted only when it has ended.
        """
        return None

    def canary_for(self, spec: EngineSpec) -> CanaryRequest | None:  # noqa: ARG002  # an interface
        """The request for one token; ``None`` if there is no way to ask."""
        return self.canary

    def version_command(self, binary: Path) -> tuple[str, ...] | None:  # noqa: ARG002  # an interface
        """A command that prints the version, for an engine that has no way to be asked while it runs."""
        return None

    def parse_version_output(self, output: str) -> str | None:
        """Read the output of :meth:`version_command`."""
        found = re.search(r"\d+(?:\.\d+)+\S*", output)
        return found.group(0) if found else None

    def log_fault(self, line: str) -> LogPattern | None:
        """The pattern that ``line`` of the engine's log matches, or ``None``."""
        line = plain(line)
        return next((pattern for pattern in self.log_patterns if pattern.matches(line)), None)

    def exit_class(self, code: int | None, lines: Sequence[str]) -> ExitClass | None:
        """What the exit code (``None``: not known, or a signal) and the run's lines say about an exit while loading.

        :param lines: what the run wrote, the last 64 KiB of it: a usage error may stand above a long usage text.
        """
        if code is None or code == 0:
            return None
        if lacks_library(code, lines):
            return "missing_library"
        return self.usage_error(code, [plain(line) for line in lines])

    def usage_error(self, code: int, lines: Sequence[str]) -> ExitClass | None:  # noqa: ARG002  # an interface
        """What the engine kind's own words say about an exit with an error code.

        :param lines: as for :meth:`exit_class`, without colours.
        """
        return None


def spillover(argument: str, reason: str, *, field: str = "args") -> PoolManagerError:
    """A CPU_SPILLOVER that names the argument, or the variable where ``field`` is ``env``."""
    return PoolManagerError(
        Code.CPU_SPILLOVER,
        f"{'variable' if field == 'env' else 'argument'} {argument!r}: {reason}",
        hint=CPU_HINT,
        details={"field": field, "argument": argument},
    )


def managed(argument: str, key: str) -> PoolManagerError:
    """An INVALID_REQUEST for an argument that the daemon sets itself from ``key``."""
    return PoolManagerError(
        Code.INVALID_REQUEST,
        f"argument {argument!r} is set by the daemon from the pool's key {key!r}",
        hint=f"remove it from args and set {key!r}",
        details={"field": "args", "argument": argument, "key": key},
    )


def bad_model(path: Path, problem: str, *, hint: str | None = None) -> PoolManagerError:
    """A MODEL_NOT_FOUND that names the path and what is wrong with it."""
    return PoolManagerError(
        Code.MODEL_NOT_FOUND,
        f"model {str(path)!r}: {problem}",
        hint=hint or "check the pool's model path and that the daemon may read it",
        details={"path": str(path), "problem": problem},
    )


def read_start(path: Path, length: int) -> bytes:
    """The first bytes of a model file.

    :raises PoolManagerError: MODEL_NOT_FOUND for a path that is no readable, non-empty regular file.
    """
    try:
        if not path.is_file():
            raise bad_model(path, "is a folder, not a file" if path.is_dir() else "does not exist")
        with path.open("rb") as file:
            start = file.read(length)
    except OSError as error:
        raise bad_model(path, f"cannot be read ({error.strerror})") from error
    if not start:
        raise bad_model(path, "is empty")
    return start


@dataclass(frozen=True, slots=True)
class Argument:
    """One option of an argument list: ``--name value``, ``--name=value`` or ``--name``.

    :param text: as the operator wrote it, for messages.
    :param value: what stands after ``=``, or else the next argument, or ``None`` at the end.
    """

    name: str
    value: str | None
    text: str


def arguments(args: Sequence[str]) -> list[Argument]:
    """Read options from an argument list, whichever way their values are attached."""
    found: list[Argument] = []
    for position, arg in enumerate(args):
        if not arg.startswith("-"):
            continue
        name, separator, value = arg.partition("=")
        if separator:
            found.append(Argument(name, value, arg))
        else:
            following = args[position + 1] if position + 1 < len(args) else None
            found.append(Argument(name, following, arg if following is None else f"{arg} {following}"))
    return found


_SECRET = re.compile(
    r"^-{1,2}(?:.*[-_])?(?:api[-_]?k(?:e|eys?)?|(?:auth|access|api|hf|hub|bearer)[-_]?token|token|secrets?|passw(?:or)?d)$",
    re.IGNORECASE,
)
_BEARER = re.compile(r"^(?:authorization:\s*)?bearer\s+\S", re.IGNORECASE)
REDACTED = "***"


def redact(argv: Sequence[str]) -> list[str]:
    """A copy of an argument list with ``***`` in place of API keys, tokens and passwords.

    An option may have several values (vLLM's ``--api-key one two``): every word up to the next option is hidden, and
    the first one whatever it looks like. It may be cut short (``--api-ke``) or go on behind a dot.
    """
    result: list[str] = []
    in_secret = first = False
    for arg in argv:
        if in_secret and (first or not arg.startswith("-")):
            result.append(REDACTED)
            first = False
            continue
        name, separator, _ = arg.partition("=")
        if _SECRET.match(name.partition(".")[0]):
            result.append(f"{name}={REDACTED}" if separator else name)
            in_secret = first = not separator
            continue
        in_secret = False
        result.append(REDACTED if _BEARER.match(arg) else arg)
    return result


def json_or_none(body: bytes) -> Any:
    """The JSON value in ``body``, or ``None`` if there is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def prometheus_sum(body: bytes, name: str) -> float | None:
    """The sum over all series of one metric in Prometheus' text format; ``None`` if it is not there."""
    total: float | None = None
    for line in body.decode("utf-8", "replace").splitlines():
        if not line.startswith(name) or line[len(name) : len(name) + 1] not in ("{", " "):
            continue
        try:
            value = float(line.rpartition("}")[2].split()[0] if "}" in line else line.split()[1])
        except (ValueError, IndexError):
            continue
        total = value if total is None else total + value
    return total


def progress_of(body: bytes, *names: str) -> float | None:
    """The sum of those of these metrics that are there; ``None`` if none is."""
    found = [value for name in names if (value := prometheus_sum(body, name)) is not None]
    return sum(found) if found else None


def completion_canary(path: str = "/v1/completions", model: str | None = None) -> CanaryRequest:
    """A one-token completion in OpenAI's form."""
    body: dict[str, Any] = {"prompt": "1", "max_tokens": 1, "temperature": 0, "stream": False}
    if model is not None:
        body["model"] = model

    def generated(status: int, answer: bytes) -> bool:
        value = json_or_none(answer)
        return status == 200 and isinstance(value, dict) and bool(value.get("choices"))

    return CanaryRequest("POST", path, json.dumps(body).encode(), generated)
