"""The end of a scenario, and what does not fit elsewhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from robot.api import logger
from robot.api.deco import keyword
from robot.libraries.BuiltIn import BuiltIn

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.expressions import over_status
from PoolManagerLibrary.keywords.base import Keywords, dig
from PoolManagerLibrary.report import report_failure
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until


class ScenarioKeywords(Keywords):
    """Keywords about the scenario itself."""

    @keyword
    def finish_scenario(self) -> None:
        """Ends the scenario: reports a failure, removes what the scenario made, and fails if anything is left behind.

        Every test that imports the library gets this as (the end of) its teardown by itself; nobody needs to write it.

        Example:
        | Finish Scenario |
        """
        failed = str(BuiltIn().get_variable_value("${TEST_STATUS}", "PASS")) == "FAIL"
        scenario = self.scenario
        unseen = [refusal for refusal in scenario.refusals if not refusal.examined]
        internal = [refusal for refusal in unseen if refusal.code == "INTERNAL"]
        problems: list[str] = []
        if internal or (unseen and not failed):
            problems.append(f"A call was refused and no step looked at it: {(internal or unseen)[0].describe()}")
        faults = [f"The daemon logged an unhandled fault: {fault}" for fault in self._faults()]
        reported = failed or bool(problems or faults)
        if reported:
            self._report()
        try:
            left = self.world.finish()
            if left and not reported:
                self._report()
        finally:
            self.world.scenario = type(scenario)(name="outside a test")
        problems += left + faults
        if problems:
            raise ExpectationFailed("\n".join(problems))

    def _report(self) -> None:
        try:
            report_failure(self.world)
        except Exception as error:  # noqa: BLE001  # a report that fails must not hide the failure itself
            logger.warn(f"The failure's report could not be made: {error!r}")

    def _faults(self) -> list[Any]:
        daemon = self.scenario.daemon
        if daemon is None or daemon.remote or self.scenario.memory.get("faults_expected"):
            return []
        text = daemon.output(self.scenario.log_offset)
        if "Traceback" not in text and '"exception"' not in text:
            return []
        lines = [line for line in text.splitlines() if "Traceback" in line or '"exception"' in line]
        return [lines[0][:1500] if lines else text[-1500:]]

    @keyword
    def unhandled_faults_are_expected(self) -> None:
        """Says that a traceback in the daemon's log does not fail this scenario.

        Example:
        | Unhandled Faults Are Expected |
        """
        self.scenario.memory["faults_expected"] = True

    @keyword
    def skip_unless_local(self, what: str = "a daemon that this run has started") -> None:
        """Skips the test, with the reason, when a daemon was given by ``--variable URL:…``.

        Keywords that need local processes, files or simulated devices do this by themselves.

        Example:
        | Skip Unless Local | the process table |
        """
        self.world.need_local(what)

    @keyword
    def get_field(self, document: Any, path: str) -> Any:
        """Returns a member of any document by its dotted path.

        Example:
        | ${pid} = | Get Field | ${status} | replicas.0.pid |
        """
        return dig(document, path)

    @keyword
    def wait_until_expression(self, expression: str, within: timedelta = timedelta(seconds=2)) -> None:
        """Waits until a Python expression over a status is true. For what no other wait covers; prefer those.

        ``status`` is the pool's status document, asked anew for each look.

        Example:
        | Wait Until Expression | status['restart_count'] >= 2 | within=3 s |
        """
        pool = self.scenario.pool()
        wait_until(
            lambda: self.status(pool.pool_id),
            over_status(expression),
            timeout=seconds(within),
            expected=f"'{expression}' to be true",
            show=str,
            context=lambda: self.explain(pool),
        )

    @keyword
    def begin_act(self, name: str = "now") -> None:
        """Says that something happens now that no keyword of this library does; ``within`` counts from here.

        Example:
        | Begin Act | the file is deleted |
        | Remove File | ${path} |
        """
        self.scenario.act(name)
