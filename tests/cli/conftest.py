"""Fixtures: a facade to ask, and a way to run a command."""

import pytest
from cli_facade import Facade
from typer.testing import CliRunner

from pool_managerd.cli.app import app


@pytest.fixture(scope="module")
def facade():
    facade = Facade()
    yield facade
    facade.close()


@pytest.fixture
def run():
    """Run a command in this process and give its exit code, stdout and stderr."""

    def run(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
        given = dict.fromkeys(("POOL_MANAGERD_ADDR", "POOL_MANAGERD_GRPC_ADDR", "LLORCH_API_TOKEN")) | (env or {})
        done = CliRunner().invoke(app, list(map(str, arguments)), env=given, prog_name="pool-managerd")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    return run
