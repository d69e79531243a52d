"""docs/configuration.md: every key of the config with its type, default and meaning, from the models that check it.

python scripts/configuration_page.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pages import TOP, write_or_check
from pydantic import BaseModel

from pool_managerd.config import DevicesConfig, LogConfig, PoolConfig, ServerConfig
from pool_managerd.config_example import table_of, toml_value
from pool_managerd.config_schema import config_json_schema

PAGE = TOP / "docs" / "configuration.md"
HEAD = """\
# Configuration

One TOML file, given by `pool-managerd serve --config FILE`. `pool-managerd example-config` writes one with all keys
that runs on any machine; `pool-managerd check-config FILE` names everything that is wrong with a file, with line
and nearest key, and exits with 2. `pool-managerd devices --plan FILE` says what would fit where. Made by
`scripts/configuration_page.py` from the models that check the file.

- The command line goes before the environment (`POOL_MANAGERD_ADDR`, `POOL_MANAGERD_GRPC_ADDR`,
  `LLORCH_API_TOKEN`), that before the file, that before the default.
- Durations (`…_ms`) are milliseconds, at most a week. Sizes are bytes, or text such as `"6GiB"`. Relative paths are
  relative to the file.
- `SIGHUP` or `POST /v2/config/reload` reads the file again and restarts only what has to be; `?dry_run=true` says
  what that would be. A file with a fault changes nothing.
"""


#: Limits from here on only keep out what makes no sense, and are not shown.
_MANY = 1_000_000
_WORDS: dict[str, str] = {"string": "text", "object": "table", "boolean": "true or false"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check it."""
    return write_or_check({PAGE: "\n".join(_page())}, (__doc__ or "").splitlines()[0], arguments)


def _page() -> Iterator[str]:
    definitions = config_json_schema()["$defs"]
    yield HEAD
    for name, section in (("[server]", ServerConfig), ("[devices]", DevicesConfig), ("[log]", LogConfig)):
        yield from _table(name, section, definitions)
    yield from _table("[[pool]]", PoolConfig, definitions)
    for key, field in PoolConfig.model_fields.items():
        if (table := table_of(field)) is not None:
            yield from _table(f"[pool.{key}]", table, definitions)
    yield (
        '## `[pool.simulated]`\n\nWhat the stand-in engine does from its start, for `engine = "simulated"` only; '
        "its keys: [simulated-engine.md](simulated-engine.md).\n"
    )


def _table(name: str, section: type[BaseModel], definitions: dict[str, Any]) -> Iterator[str]:
    properties = definitions[section.__name__]["properties"]
    yield f"## `{name}`\n"
    yield f"{_sentence(section)}\n"
    yield "| key | takes | default | |\n|---|---|---|---|"
    for attribute, field in section.model_fields.items():
        key = field.alias or attribute
        if table_of(field) is not None or key == "simulated":
            continue
        default = "required" if field.is_required() else f"`{toml_value(field.default)}`"
        remark = "" if key == "engine" else field.description or ""
        yield f"| `{key}` | {_takes(properties[key])} | {default} | {_cell(remark)} |"
    yield ""


def _sentence(section: type[BaseModel]) -> str:
    text = " ".join((section.__doc__ or "").split("\n\n")[0].split()).partition(": ")[2]
    return text[:1].upper() + text[1:]


def _takes(schema: dict[str, Any]) -> str:
    """A JSON Schema type in a few words."""
    if "enum" in schema:
        return " ".join(f"`{toml_value(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{toml_value(schema['const'])}`"
    if "anyOf" in schema:
        parts = [part for part in schema["anyOf"] if part.get("type") != "null"]
        words = " or ".join(dict.fromkeys(_takes(part) for part in parts))
        return words.replace("integer ≥ 0 or text", "size")
    kind = schema.get("type", "value")
    if isinstance(kind, list):
        return " or ".join(_WORDS.get(str(each), str(each)) for each in kind)
    if kind == "array":
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"list of {_takes(items)}"
    limits = [
        f"{sign} {schema[key]:g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in schema and abs(schema[key]) < _MANY
    ]
    return f"{_WORDS.get(kind, kind)} {', '.join(limits)}".strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
