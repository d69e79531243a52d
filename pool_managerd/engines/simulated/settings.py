"""Reading the stand-in engine's command line. Standard library only."""

from __future__ import annotations

import sys

from pool_managerd.engines.simulated.options import BY_NAME, OPTIONS, convert

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing this costs more than all the rest of this module
    from typing import Any, NoReturn

#: How the engines that the stand-in can play call what it needs to know.
ALIASES = {
    "--host": "host",
    "--hostname": "host",
    "--http-address": "host",
    "--port": "port",
    "-p": "port",
    "--http-port": "port",
    "--model": "model",
    "-m": "model",
    "--model-id": "model",
    "--model-repository": "model",
    "--slots": "slots",
    "-np": "slots",
    "--parallel": "slots",
    "--max-num-seqs": "slots",
    "--max-concurrent-requests": "slots",
    "--context": "context",
    "--max-model-len": "context",
    "--max-total-tokens": "context",
    "-c": "context_of_all",
    "--ctx-size": "context_of_all",
    "--split": "split",
    "-ts": "split",
    "--tensor-split": "split",
    "--device-bytes": "device_bytes",
    "--api-key": "api_key",
}
NUMBERS = ("port", "slots", "context", "context_of_all")


class Settings:
    """What the command line says.

    :param context: tokens per slot.
    :param split: weights of the devices; empty: equal.
    :param device_bytes: GPU memory to hold per device in mask order; empty: not said.
    :param values: one value for each of :data:`~pool_managerd.engines.simulated.options.OPTIONS`.
    """

    __slots__ = ("context", "device_bytes", "host", "model", "port", "slots", "split", "values")

    def __init__(
        self,
        host: str,
        port: int,
        model: str,
        slots: int,
        context: int,
        split: tuple[float, ...],
        device_bytes: tuple[int, ...],
        values: dict[str, Any],
    ) -> None:
        self.host = host
        self.port = port
        self.model = model
        self.slots = slots
        self.context = context
        self.split = split
        self.device_bytes = device_bytes
        self.values = values


def refuse(message: str) -> NoReturn:
    """End with exit code 2, as programs do that don't understand their arguments."""
    sys.stderr.write(f"error: {message}\n")
    sys.stderr.flush()
    raise SystemExit(2)


def parse(argv: list[str]) -> Settings:
    """Read the flags of :data:`OPTIONS`, and of real engines where they say the same.

    Others are passed over unless ``--reject-unknown`` is set.

    :raises SystemExit: 2, if a value can't be understood.
    """
    plain: dict[str, Any] = {"host": "127.0.0.1", "port": 8080, "model": "", "slots": 1, "context": 4096}
    values = {option.name: option.default for option in OPTIONS}
    unknown: list[str] = []
    rest = list(argv)
    while rest:
        flag, separator, value = rest.pop(0).partition("=")
        name = flag[2:].replace("-", "_") if flag.startswith("--") else ""
        if name not in BY_NAME and not _is_alias(flag, value if separator else "".join(rest[:1])):
            if flag == "serve" and rest and not rest[0].startswith("-"):
                plain["model"] = rest.pop(0)
            elif flag.startswith("-"):
                unknown.append(flag)
            continue
        if not separator:
            value = rest.pop(0) if rest else refuse(f"argument {flag}: a value is missing")
        try:
            if name in BY_NAME:
                values[name] = convert(BY_NAME[name], value)
            else:
                plain[ALIASES[flag]] = int(value) if ALIASES[flag] in NUMBERS else value
        except ValueError as error:
            refuse(f"argument {flag}: {error}")
    if unknown and values["reject_unknown"]:
        refuse(f"unrecognized arguments: {' '.join(unknown)}")
    if "context_of_all" in plain:
        plain["context"] = plain["context_of_all"] // max(1, plain["slots"])
    return Settings(
        plain["host"],
        plain["port"],
        plain["model"],
        plain["slots"],
        plain["context"],
        _list(plain.get("split", ""), float),
        _list(plain.get("device_bytes", ""), int),
        values,
    )


def _is_alias(flag: str, following: str) -> bool:
    """Whether a flag says one of the plain settings; llama-server's own ``--slots`` is a switch without a value."""
    return flag in ALIASES and (flag != "--slots" or following.isdigit())


def _list(text: str, kind: type) -> Any:
    try:
        return tuple(kind(part) for part in text.split(",") if part)
    except ValueError as error:
        refuse(str(error))
