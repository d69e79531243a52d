"""The JSON Schema of the config file, for editors and for checking a file without the daemon."""

from typing import Any

from pydantic import Field

from pool_managerd.config import DevicesConfig, LogConfig, PoolConfig, Section, ServerConfig


class _File(Section):
    """A whole config file."""

    server: ServerConfig = Field(default_factory=ServerConfig)
    devices: DevicesConfig = Field(default_factory=DevicesConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    pool: list[PoolConfig] = Field(default_factory=list)


def config_json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of the file; what must hold between keys is for check-config alone to say."""
    schema = _File.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "pool-managerd config"
    pool = schema["$defs"]["PoolConfig"]
    pool["if"] = {"properties": {"engine": {"const": "command"}}, "required": ["engine"]}
    pool["then"] = {"required": ["command"]}
    pool["else"] = {"required": ["model"]}
    return schema
