"""The listener that begins and ends each scenario."""

from __future__ import annotations

from robot import result, running

from PoolManagerLibrary.scenario import Scenario
from PoolManagerLibrary.world import World

FINISH = "PoolManagerLibrary.Finish Scenario"


class ScenarioListener:
    """Begins each test with an empty scenario, and gives it the teardown that removes what it made.

    The teardown is a keyword of its own, `Finish Scenario`, put behind the test's own teardown, so that it shows in
    the log, has Robot's timeouts, and may fail the test for what is left behind.
    """

    ROBOT_LISTENER_API_VERSION = 3

    def __init__(self, world: World) -> None:
        self.world = world

    def start_test(self, data: running.TestCase, result: result.TestCase) -> None:
        """Begin a scenario."""
        del result
        self.world.note_given()
        self.world.scenario = Scenario(name=data.name, suite=data.parent.full_name if data.parent else "")
        teardown = data.teardown
        if not teardown or not teardown.name:
            data.teardown.config(name=FINISH, args=())
        elif teardown.name != FINISH and FINISH not in teardown.args:
            data.teardown.config(name="BuiltIn.Run Keywords", args=(teardown.name, *teardown.args, "AND", FINISH))

    def end_test(self, data: running.TestCase, result: result.TestCase) -> None:
        """Say why the iterations of a template were skipped, which Robot Framework keeps to itself."""
        del data
        if result.skipped and result.message == "All iterations skipped." and self.world.skip_reason:
            result.message = f"{self.world.skip_reason} {result.message}"
        self.world.skip_reason = ""

    def close(self) -> None:
        """End everything that the run has started."""
        self.world.close()
