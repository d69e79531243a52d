"""What the stand-in can be told: its flags, which are also keys of ``[pool.simulated]`` and of the control file.

One table, so that flags, configuration, control file and documentation can't drift apart. Standard library only.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing these costs more than all the rest of this module
    from collections.abc import Callable
    from typing import Any

ANYTHING = object()


class Option:
    """One thing that the stand-in can be told.

    :param name: the key; the flag is ``--`` and the name with dashes.
    :param kind: ``int``, ``float``, ``bool``, ``str``, ``size`` (bytes, or a string such as ``"6GiB"``) or ``list``.
    :param action: done once when read, rather than a state that lasts.
    :param start_only: read at the start; a change while running has no effect before the next start.
    """

    __slots__ = ("action", "default", "help", "name", "start_only", "type")

    def __init__(
        self, name: str, kind: str, default: Any, text: str, *, action: bool = False, start_only: bool = False
    ) -> None:
        self.name = name
        self.type = kind
        self.default = default
        self.help = text
        self.action = action
        self.start_only = start_only


OPTIONS: tuple[Option, ...] = (
    # loading
    Option("listen_ms", "int", 0, "time from the start until the socket listens", start_only=True),
    Option("load_ms", "int", 0, "time from the start until the health check answers 200"),
    Option("never_ready", "bool", False, "the health check says 503 Loading model for as long as this is set"),
    Option("version", "str", "simulated-1", "version in /version, /props and /info"),
    Option("http_version", "str", "1.1", "1.1, or 1.0: answers as HTTP/1.0 and closes after each"),
    # memory
    Option("vram_bytes", "size", None, "GPU memory to hold, divided over the devices by the split; 0 is none"),
    Option("sticky_ms", "int", 0, "how long the memory stays taken after the process has ended"),
    Option("wrong_device", "str", "", "UUID of a device outside the mask on which memory is held too"),
    Option("wrong_device_bytes", "size", 1 << 30, "how much of it"),
    Option("cpu_offload", "bool", False, "says that it offloaded half of its layers only, and holds half the memory"),
    Option("ram_bytes", "size", 0, "host memory to touch and hold", start_only=True),
    # work
    Option("tokens_per_s", "float", 200.0, "tokens generated per second and request; 0: healthy, but never a token"),
    Option("max_tokens", "int", 16, "tokens of a completion that does not say max_tokens"),
    Option("completion_status", "int", 0, "HTTP status of completions, whatever they ask for; 0: tokens"),
    Option("busy_slots", "int", 0, "slots that /slots shows as busy beside those really at work"),
    Option("slots_reported", "int", None, "number of slots that /slots and /props claim, if not the true one"),
    Option("echo_prompts", "bool", False, "writes every prompt into the log, as a line of its own prefix"),
    # answers
    Option("health_status", "int", 0, "HTTP status of the health check, whatever the state; 0: by the state"),
    Option("health_failures", "int", 0, "answers 500 to this many health checks, then is well again", action=True),
    Option("hang", "bool", False, "accepts connections and answers nothing, until this is cleared"),
    Option("answer_ms", "int", 0, "delay before each answer"),
    # ends
    Option("exit_code", "int", None, "ends with this exit code", action=True),
    Option("signal", "str", "", "ends itself by this signal, such as SIGSEGV", action=True),
    Option("oom", "bool", False, "logs llama.cpp's CUDA out-of-memory lines and exits with 1", action=True),
    Option(
        "port_in_use", "bool", False, "says that its port is taken and exits with 1, as llama-server does", action=True
    ),
    Option("exit_after_ms", "int", 0, "delay of exit_code, signal and oom, from the moment that `when` names"),
    Option(
        "when",
        "str",
        "start",
        "delays count from the start (or from the control file's writing), or from readiness: start or ready",
    ),
    # lines
    Option("stdout", "list", [], "lines to write to stdout", action=True),
    Option("stderr", "list", [], "lines to write to stderr", action=True),
    Option("cuda_error", "str", "", "logs a fatal CUDA error with this text, and lives on", action=True),
    Option("log_after_ms", "int", 0, "delay of stdout, stderr and cuda_error, from the moment that `when` names"),
    # stopping and children
    Option("ignore_sigterm", "bool", False, "takes no notice of SIGTERM"),
    Option("term_ms", "int", 0, "time from SIGTERM to the end"),
    Option("term_exit_code", "int", 0, "exit code after SIGTERM"),
    Option(
        "child",
        "str",
        "",
        "starts a sleeping child: group (same group), session (its own session), orphan (and no parent) or "
        "stray (and no environment)",
        action=True,
    ),
    Option("child_vram_bytes", "size", 0, "GPU memory that this child holds on the first device"),
    Option(
        "reject_unknown",
        "bool",
        False,
        "an unknown argument ends it with exit code 2, instead of being ignored",
        start_only=True,
    ),
)
BY_NAME: dict[str, Option] = {option.name: option for option in OPTIONS}

#: Keys of a control file that say when the rest of it holds.
CONTROL_KEYS = {
    "id": "name of this document, for the acknowledgement; written by write_control",
    "times": "number of starts for which the document holds; without it states always hold and actions are done once",
    "model": "holds only for an engine that serves a model of this file name",
}

_UNITS = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}


def parse_size(value: object) -> int:
    """Bytes from a number or a string such as ``"6GiB"``.

    :raises ValueError: if it is neither.
    """
    if isinstance(value, bool):
        raise ValueError("not a size")  # noqa: TRY004  # one error type for the caller
    if isinstance(value, (int, float)):
        return int(value)
    text = str(value).strip()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = text[len(number) :].strip().lower()
    if unit not in _UNITS:
        raise ValueError(f"unknown unit {unit!r}")
    return int(float(number) * _UNITS[unit])


def convert(option: Option, value: object) -> Any:
    """A value of ``option`` in its own type, from a TOML, JSON or command-line value.

    :raises ValueError: with what was expected.
    """
    try:
        return _convert(option.type, value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{option.name}: {value!r} is no {option.type} ({error})") from error


def _convert(kind: str, value: object) -> Any:
    if kind == "bool":
        return _truth(value)
    if kind == "list":
        if isinstance(value, str) and value.startswith("["):
            value = json.loads(value)
        return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]
    if isinstance(value, bool):
        raise ValueError("a truth value")  # noqa: TRY004  # one error type for the caller
    plain: dict[str, Callable[[object], Any]] = {
        "size": parse_size,
        "int": _whole,
        "float": lambda given: float(str(given)),
        "str": str,
    }
    return plain[kind](value)


def _truth(value: object) -> bool:
    if value not in (True, False, "true", "false"):
        raise ValueError("true or false")
    return value in (True, "true")


def _whole(value: object) -> int:
    return int(value) if isinstance(value, (int, str)) else int(float(str(value)))


def flags(values: dict[str, Any]) -> list[str]:
    """The command-line flags for keys and values that were checked before, in the order of :data:`OPTIONS`."""
    result: list[str] = []
    for option in OPTIONS:
        value = values.get(option.name)
        if value is None:
            continue
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, (list, tuple)):
            value = json.dumps(list(value))
        result += [f"--{option.name.replace('_', '-')}", str(value)]
    return result
