"""The text of ``pool-managerd example-config``: made from the config's own keys, defaults and descriptions."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pool_managerd.config import DevicesConfig, LogConfig, PoolConfig, ServerConfig

_INTRODUCTION = """\
# A config for pool-managerd that runs on any laptop: simulated GPUs, and a stand-in for the engines.
#
#   pool-managerd example-config > pools.toml
#   pool-managerd serve --config pools.toml
#
# A line that begins with "# key =" shows a key with its default; take the "# " away and change the value.
# The stand-in engine takes any readable file for a model; these came with pool-managerd.
# Durations (_ms) are milliseconds; sizes are bytes, or text like "6GiB"; relative paths are relative to this file.
# Command line, environment, this file, default: the first that has a value wins.
"""

_CHAT = """
# One engine on the first GPU. All keys that a pool can have are shown here.
[[pool]]
"""

_OTHERS = """
# The same engine twice, on both GPUs. The pool is Ready while one of the two is.
[[pool]]
id = "embed"
engine = "simulated"
model = "@models@/embed.txt"
replicas = 2
min_ready = 1
devices = ["0", "1"]              # one mask per replica
share_devices = true
vram_bytes = "2GiB"
ram_bytes = "64MiB"

# One engine over both GPUs: two thirds on the second. It waits for a preload.
[[pool]]
id = "large"
engine = "simulated"
model = "@models@/large.txt"
devices = "0,1"
tensor_split = [1, 2]             # never split by default: one weight per device
share_devices = true
preload = false
vram_bytes = "6GiB"
ram_bytes = "64MiB"

[pool.simulated]
load_ms = 2000
tokens_per_s = 50
"""

#: Files that stand for models; the stand-in engine asks only that they can be read.
EXAMPLE_MODELS = Path(__file__).parent / "example_models"

#: Values that make the example run on a laptop, by table and key.
_DEVICES = {"source": "simulated"}
_LOG = {"format": "console"}
_POOL: dict[str, Any] = {
    "id": "chat",
    "engine": "simulated",
    "model": "@models@/chat.txt",
    "devices": "0",
    "share_devices": True,
    "vram_bytes": "4GiB",
    "ram_bytes": "64MiB",
}
_SIMULATED = """
[pool.simulated]                  # what the stand-in engine does from its start; for engine = "simulated" only
load_ms = 500
tokens_per_s = 100
"""


def example_config(models: Path = EXAMPLE_MODELS) -> str:
    """A commented config with every key; it is a good one as it stands. ``models`` is where its models lie."""
    parts = [_INTRODUCTION]
    for name, section, values in (
        ("server", ServerConfig, {}),
        ("devices", DevicesConfig, _DEVICES),
        ("log", LogConfig, _LOG),
    ):
        parts.append(f"\n[{name}]\n" + "\n".join(_lines(section, values)) + "\n")
    parts.append(_CHAT + "\n".join(_lines(PoolConfig, _POOL)) + "\n")
    for name, field in PoolConfig.model_fields.items():
        if (table := table_of(field)) is not None:
            parts.append(f"\n[pool.{name}]\n" + "\n".join(_lines(table, {})) + "\n")
    parts += [_SIMULATED, _OTHERS]
    return "".join(parts).replace("@models@", str(models))


def table_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a key that is a table of its own, else None."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def toml_value(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + "}"
    return str(value)


def _lines(section: type[BaseModel], values: Mapping[str, Any]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        key = field.alias or name
        if table_of(field) is not None or key == "simulated":
            continue
        default = "" if field.is_required() else f"; default {toml_value(field.default)}"
        if key in values:
            setting, remark = (
                f"{key} = {toml_value(values[key])}",
                f"{field.description}{default if key != 'model' else ''}",
            )
        else:
            setting, remark = f"# {key} = {toml_value(field.default)}", str(field.description)
        first, *rest = textwrap.wrap(remark, 84)
        yield f"{setting:<33} # {first}"
        yield from (f"{'':<33} # {line}" for line in rest)
