from pathlib import Path

import pytest
from config_texts import Load, Refuse

from pool_managerd.config_load import load_config
from pool_managerd.config_problems import ConfigError


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a config of this text; no environment unless one is given."""

    def load(text: str, *, env: dict[str, str] | None = None, **overrides: object):
        file = tmp_path / "pools.toml"
        file.write_text(text)
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        return load_config(file, env=env or {}, overrides=dotted)

    return load


@pytest.fixture
def refuse(load: Load) -> Refuse:
    """Load a config that must be refused; gives its problems."""

    def refuse(text: str, **more: object):
        with pytest.raises(ConfigError) as error:
            load(text, **more)
        for problem in error.value.problems:
            assert problem.message
            assert problem.hint
            assert problem.file.endswith("pools.toml") or problem.line is None
        return list(error.value.problems)

    return refuse
