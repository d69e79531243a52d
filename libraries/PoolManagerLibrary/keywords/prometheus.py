"""A real Prometheus that scrapes the daemon."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.errors import DaemonError, ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.keywords.exposition import program
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until

JOB = "pool-managerd"
START_TIMEOUT_S = 20.0
_CONFIG = """
global:
  scrape_interval: 500ms
  scrape_timeout: 500ms
  evaluation_interval: 100ms
rule_files: {rules}
scrape_configs:
  - job_name: {job}
    authorization: {authorization}
    static_configs:
      - targets: [{target}]
"""


class PrometheusKeywords(Keywords):
    """Keywords about a real Prometheus."""

    @keyword
    def start_prometheus(self, rules: str | None = None, token_file: str | None = None) -> str:
        """Starts a Prometheus that scrapes the daemon twice a second, until the scenario ends. Returns its address.

        A Prometheus looks for its targets every 5 s, so that long may pass before the first scrape.
        ``rules`` is a file of rules to evaluate, ``token_file`` one with the token to send. Skips the test where
        Prometheus is not installed.

        Example:
        | Start Prometheus | rules=${CURDIR}/../../packaging/prometheus/pool-managerd.rules.yml |
        """
        executable = program("prometheus")
        daemon = self.daemon
        folder = tempfile.TemporaryDirectory(prefix="prometheus-")
        self.scenario.cleanups.append(("the folder of Prometheus", folder.cleanup))
        config = Path(folder.name) / "prometheus.yml"
        authorization = {} if token_file is None else {"credentials_file": str(token_file)}
        config.write_text(
            _CONFIG.format(
                job=JOB,
                target=json.dumps(daemon.http_address),
                rules=json.dumps([] if rules is None else [str(Path(rules).resolve())]),
                authorization=json.dumps(authorization),
            ),
            encoding="utf-8",
        )
        address = f"127.0.0.1:{_free_port()}"
        with (Path(folder.name) / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    executable,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder.name}/data",
                    f"--web.listen-address={address}",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.scenario.cleanups.append(("Prometheus", lambda: _end(process)))
        self.scenario.memory["prometheus"] = address

        def look() -> bool:
            if process.poll() is not None:
                raise DaemonError(f"Prometheus exited: {(Path(folder.name) / 'log').read_text(encoding='utf-8')}")
            return _answers(address)

        wait_until(look, bool, timeout=START_TIMEOUT_S, expected=f"Prometheus to answer at {address}")
        return address

    @keyword
    def query_prometheus(
        self,
        expression: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        within: timedelta = timedelta(seconds=20),
    ) -> float | None:
        """Returns the value of an expression, the first if it has several, None without any.

        ``{pool}`` in it becomes the pool's id. It is asked until the assertion holds, at most for ``within``.

        Example:
        | Query Prometheus | pool_managerd_pool_ready{pool_id="{pool}"} | == | 1 |
        """
        text = expression.replace("{pool}", self.scenario.pool_id("the pool")) if "{pool}" in expression else expression

        def look() -> tuple[float | None, Exception | None]:
            found = self._ask("/api/v1/query", query=text)["result"]
            value = float(found[0]["value"][1]) if found else None
            try:
                check(value, assertion_operator, assertion_expected, text)
            except ExpectationFailed as error:
                return value, error
            return value, None

        return wait_until(
            look,
            lambda seen: seen[1] is None,
            timeout=seconds(within),
            expected=f"{text} {assertion_operator.name if assertion_operator else ''} {assertion_expected}",
            show=lambda seen: f"{seen[0]}; the target: {self._target()}",
        ).value[0]

    @keyword
    def get_scrape_error(self) -> str:
        """Returns why the last scrape of the daemon failed, an empty text if it did not.

        Example:
        | ${error} = | Get Scrape Error |
        """
        return str(self._target()["lastError"])

    @keyword
    def all_rules_should_be_evaluated(self, within: timedelta = timedelta(seconds=20)) -> int:
        """Waits until Prometheus has evaluated each of its rules without a fault, and returns how many there are.

        Example:
        | All Rules Should Be Evaluated |
        """

        def look() -> list[dict[str, Any]]:
            return [rule for group in self._ask("/api/v1/rules")["groups"] for rule in group["rules"]]

        rules = wait_until(
            look,
            lambda found: bool(found) and all(rule["health"] == "ok" for rule in found),
            timeout=seconds(within),
            expected="all rules to be evaluated",
            show=lambda found: str([(rule["name"], rule["health"], rule.get("lastError")) for rule in found]),
        ).value
        return len(rules)

    def _target(self) -> dict[str, Any]:
        targets: list[dict[str, Any]] = self._ask("/api/v1/targets")["activeTargets"]
        return targets[0] if targets else {"lastError": "not scraped yet"}

    def _ask(self, path: str, **query: str) -> Any:
        address = self.scenario.memory.get("prometheus")
        if address is None:
            raise UsageError("No Prometheus runs: say Start Prometheus first.")
        connection = http.client.HTTPConnection(address, timeout=10)
        try:
            connection.request("GET", f"{path}?{urlencode(query)}")
            body = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if body["status"] != "success":
            raise ExpectationFailed(f"Prometheus refuses {path} {query}: {body.get('error')}")
        return body["data"]


def _answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
