"""The kinds of values that the config knows beside plain numbers and text: sizes, addresses, paths, device masks."""

import math
import os
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

#: The longest duration that the config takes, in ms: a week. More is a slip of the pen.
MAX_MS = 7 * 24 * 3600 * 1000
#: The largest size that the config takes, in bytes: 1 PiB.
MAX_BYTES = 1 << 50
#: Text of a size: a number and a unit. ``KiB`` counts 1024 bytes, ``kB`` 1000.
SIZE_PATTERN = r"^[0-9]{1,18}(\.[0-9]{1,6})? ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$"

_UNITS = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")


def fault(message: str, hint: str) -> PydanticCustomError:
    """An error of one value, to be raised by a validator: what is wrong, and what to write instead."""
    # The braces are pydantic's template language, so text goes in as context.
    return PydanticCustomError("config", "{message}", {"message": message, "hint": hint})


def kind_of(value: object) -> str:
    """What a TOML value is, in the words of somebody who writes one."""
    names: tuple[tuple[type, str], ...] = (
        (bool, "a boolean"),
        (int, "a whole number"),
        (float, "a number"),
        (str, "text"),
        (list, "a list"),
        (tuple, "a list"),
        (dict, "a table"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "a date or time")


def parse_size(value: object) -> int:
    """Bytes from a whole number or from text like ``"6GiB"``.

    :raises ValueError: if it is neither, negative, not a whole number of bytes, or more than 1 PiB.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"must be a size, not {kind_of(value)}")  # noqa: TRY004  # one error type for the caller
    if isinstance(value, int):
        size: float = value
    else:
        match = re.fullmatch(r"(?P<number>[0-9.]+) ?(?P<unit>[A-Za-z]*)", value)
        if match is None or re.fullmatch(SIZE_PATTERN, value) is None:
            raise ValueError("is not a size")
        number = match["number"]
        size = (float(number) if "." in number else int(number)) * _UNITS[match["unit"]]
    if not 0 <= size <= MAX_BYTES:
        raise ValueError(f"must be from 0 to {MAX_BYTES} bytes (1 PiB)")
    if size != math.floor(size):
        raise ValueError("is not a whole number of bytes")
    return int(size)


def format_size(size: int) -> str:
    """The inverse of :func:`parse_size`, in the largest unit that needs no fraction: ``"512MiB"``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return f"{size}B"


class Address(NamedTuple):
    """Where a server listens. Port 0 lets the kernel pick one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this host can connect. A name other than ``localhost`` is taken as reachable."""
        import ipaddress  # noqa: PLC0415  # 8 ms that a client command need not pay

        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_host(host: str) -> bool:
    """Whether this is an IP address or can be a host name."""
    import ipaddress  # noqa: PLC0415  # 8 ms that a client command need not pay

    try:
        ipaddress.ip_address(host)
    except ValueError:
        # Dotted numbers that are no IPv4 address are a mistyped one, not a name.
        return _HOST_NAME.fullmatch(host) is not None and re.fullmatch(r"[0-9.]+", host) is None
    return True


def parse_address(text: str) -> Address:
    """``host:port`` or ``[IPv6]:port``.

    :raises ValueError: if it is neither.
    """
    match = re.fullmatch(r"(?:\[(?P<v6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})", text)
    if match is None:
        raise ValueError("is not an address")
    host = match["v6"] or match["host"]
    if not is_host(host) or (match["v6"] is not None) != (":" in host):
        raise ValueError(f"is not an address: {host!r} is neither an IP address nor a host name")
    port = int(match["port"])
    if port > 65535:
        raise ValueError(f"is not an address: there is no port {port}")
    return Address(host, port)


def base_folder(info: ValidationInfo) -> Path:
    """The folder that relative paths are relative to: the config file's, else the current one."""
    context = info.context if isinstance(info.context, dict) else {}
    return Path(context.get("base") or Path.cwd())


def resolve(base: Path, text: str) -> Path:
    """``text`` as an absolute path without ``..``; symbolic links stay."""
    return Path(os.path.normpath(base / text))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise fault(f"must be text, not {kind_of(value)}", "put it in quotes")
    return value


def _size(value: object) -> int:
    try:
        return parse_size(value)
    except ValueError as error:
        raise fault(str(error), 'write bytes as a whole number, or a size like "512MiB" or "6GiB"') from None


def _positive_size(value: object) -> int:
    size = _size(value)
    if size == 0:
        raise fault("must be at least 1 byte", 'write a size like "64MiB"')
    return size


def _size_or_auto(value: object) -> int | None:
    if value == "auto":
        return None
    try:
        return parse_size(value)
    except ValueError as error:
        raise fault(str(error), 'write "auto", or a size like "6GiB"') from None


def _address(value: object) -> Address:
    try:
        return parse_address(_text(value))
    except ValueError as error:
        raise fault(str(error), 'write host:port, for instance "127.0.0.1:9200" or "[::1]:9200"') from None


def _host(value: object) -> str:
    text = _text(value)
    if not is_host(text):
        raise fault("is neither an IP address nor a host name", 'write for instance "127.0.0.1"')
    return text


def _path(value: object, info: ValidationInfo) -> Path:
    text = _text(value)
    if not text:
        raise fault("is empty", "write a path; a relative one is relative to the config file's folder")
    return resolve(base_folder(info), text)


def _path_or_none(value: object, info: ValidationInfo) -> Path | None:
    text = _text(value)
    return resolve(base_folder(info), text) if text else None


def _program(value: object, info: ValidationInfo) -> Path | None:
    text = _text(value)
    if not text:
        return None
    return resolve(base_folder(info), text) if "/" in text else Path(text)


def _command(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """The program in front becomes an absolute path, like ``binary``."""
    if not value or "/" not in value[0]:
        return value
    return (str(resolve(base_folder(info), value[0])), *value[1:])


def _text_or_none(value: object) -> str | None:
    return _text(value) or None


def _url_path(value: object) -> str | None:
    text = _text(value)
    if not text:
        return None
    if re.fullmatch(r"/[!-~]*", text) is None:
        raise fault("is not the path of a URL", 'start it with a slash, for instance "/health"')
    return text


#: What `devices` holds as written: nothing, one mask, or a list (of devices or of masks, that depends on `replicas`).
DeviceSetting = str | tuple[str | int | tuple[str | int, ...], ...]


def _devices(value: object) -> DeviceSetting:
    if isinstance(value, str):
        return value
    hint = 'write "0,1", ["0", "1"] or, with several replicas, a list of masks: ["0,1", "2,3"]'
    if not isinstance(value, (list, tuple)):
        raise fault(f"must be text or a list, not {kind_of(value)}", hint)
    items: list[str | int | tuple[str | int, ...]] = []
    for item in value:
        inner = item if isinstance(item, (list, tuple)) else (item,)
        for device in inner:
            if isinstance(device, bool) or not isinstance(device, (str, int)):
                raise fault(f"names a device by {kind_of(device)}", hint)
        items.append(tuple(inner) if isinstance(item, (list, tuple)) else item)
    return tuple(items)


#: A value of the open table ``[pool.simulated]``.
SimulatedValue = int | float | str | bool | list[Any]


def _simulated(value: object) -> dict[str, SimulatedValue]:
    if not isinstance(value, dict):
        raise fault(f"must be a table, not {kind_of(value)}", "write [pool.simulated] and its settings below")
    settings: dict[str, SimulatedValue] = {}
    for name, item in value.items():
        if not isinstance(item, (int, float, str, list)):
            raise fault(f"{name} must be a number, text, a boolean or a list, not {kind_of(item)}", "write it flat")
        if isinstance(item, float) and not math.isfinite(item):
            raise fault(f"{name} must be a finite number, and is {item}", "write a number")
        settings[name] = item
        if name.endswith("_bytes"):
            try:
                settings[name] = parse_size(item)
            except ValueError as error:
                raise fault(f"{name} {error}", 'write bytes as a whole number, or a size like "6GiB"') from None
    return settings


_SIZE_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "integer", "minimum": 0, "maximum": MAX_BYTES}, {"type": "string", "pattern": SIZE_PATTERN}]
}
_DEVICE_SCHEMA: dict[str, Any] = {"type": ["string", "integer"]}

Ms = Annotated[int, Field(ge=0, le=MAX_MS)]
PositiveMs = Annotated[int, Field(ge=1, le=MAX_MS)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Factor = Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65535)]
#: Lists in TOML, tuples here: everything in a config is frozen. Strictness goes on inside the list.
Texts = Annotated[tuple[str, ...], Field(strict=False)]
Command = Annotated[Texts, AfterValidator(_command)]
Weights = Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(strict=False)]
Size = Annotated[int, PlainValidator(_size), WithJsonSchema(_SIZE_SCHEMA)]
PositiveSize = Annotated[int, PlainValidator(_positive_size), WithJsonSchema(_SIZE_SCHEMA)]
SizeOrAuto = Annotated[
    int | None,
    PlainValidator(_size_or_auto),
    WithJsonSchema({"anyOf": [{"const": "auto"}, *_SIZE_SCHEMA["anyOf"]]}),
]
ListenAddress = Annotated[Address, PlainValidator(_address), WithJsonSchema({"type": "string", "pattern": ":[0-9]+$"})]
Host = Annotated[str, PlainValidator(_host), WithJsonSchema({"type": "string", "minLength": 1})]
PathValue = Annotated[Path, PlainValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]
PathValues = Annotated[tuple[PathValue, ...], Field(strict=False)]
PathOrNone = Annotated[Path | None, PlainValidator(_path_or_none), WithJsonSchema({"type": "string"})]
Program = Annotated[Path | None, PlainValidator(_program), WithJsonSchema({"type": "string"})]
TextOrNone = Annotated[str | None, PlainValidator(_text_or_none), WithJsonSchema({"type": "string"})]
UrlPath = Annotated[str | None, PlainValidator(_url_path), WithJsonSchema({"type": "string", "pattern": "^(/.*)?$"})]
Devices = Annotated[
    DeviceSetting,
    PlainValidator(_devices),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "items": {"anyOf": [_DEVICE_SCHEMA, {"type": "array", "items": _DEVICE_SCHEMA}]},
                },
            ]
        }
    ),
]
SimulatedSettings = Annotated[
    dict[str, SimulatedValue],
    PlainValidator(_simulated),
    WithJsonSchema(
        {"type": "object", "additionalProperties": {"type": ["integer", "number", "string", "boolean", "array"]}}
    ),
]
