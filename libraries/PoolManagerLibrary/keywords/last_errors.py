"""A pool's last error, which is the same wherever it is shown."""

from __future__ import annotations

from typing import Any

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords, check, dig
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.outcome import Protocol
from PoolManagerLibrary.units import epoch

#: What an error is, on whatever surface.
ERROR_FIELDS = ("code", "message", "at", "hint")


class LastErrorKeywords(Keywords):
    """Keywords about last errors."""

    @keyword
    def get_last_error(
        self,
        name: str = "the pool",
        field: str = "code",
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> Any:
        """Returns a field of a pool's last error (``code``, ``message``, ``details.exit_code`` …), None if it has none.

        Example:
        | Get Last Error | chat | code | == | ENGINE_EXITED |
        """
        error = self.status(self.pool_ids(name)[0])["last_error"]
        value = None if error is None else dig(error, field)
        return check(value, assertion_operator, assertion_expected, f"{field} of the last error of {name}")

    @keyword
    def error_should_be_the_same_everywhere(self, name: str = "the pool") -> dict[str, Any]:
        """Checks that a failed pool's code, text, time and hint are the same in the HTTP status, the list that the
        dashboard reads, gRPC status, /ready over both protocols, ``status --json`` and the event of the failure.
        Returns the error.

        Example:
        | Error Should Be The Same Everywhere |
        """  # noqa: D205  # one list
        pool = self.scenario.pool(name)
        daemon = self.daemon
        seen = {
            "HTTP status": call(daemon, "status", pool_id=pool.pool_id).body["last_error"],
            "dashboard (/v2/pools)": _of_pool(call(daemon, "list").body, pool.pool_id)["last_error"],
            "gRPC status": call(daemon, "status", protocol=Protocol.GRPC, pool_id=pool.pool_id).body["last_error"],
            "/ready": _of_pool(call(daemon, "ready").body, pool.pool_id)["last_error"],
            "gRPC GetReady": _of_pool(call(daemon, "ready", protocol=Protocol.GRPC).body, pool.pool_id)["last_error"],
            "CLI status --json": call(daemon, "status", protocol=Protocol.CLI, pool_id=pool.pool_id).body["last_error"],
        }
        self.world.sync_events()
        failures = [event for event in self.pool_events(pool) if event.kind == "phase" and event.code]
        if not failures:
            raise ExpectationFailed(f"No event of a failure.\n{self.explain(pool)}")
        event = failures[-1]
        seen["event stream"] = {
            "code": event.code, "message": event.reason, "at": event.document["at"], "hint": event.details.get("hint"),
        }  # fmt: skip
        short = {
            surface: {field: (error or {}).get(field) for field in ERROR_FIELDS} for surface, error in seen.items()
        }
        wanted = short["HTTP status"]
        empty = [field for field in ERROR_FIELDS if not wanted[field]]
        if empty:
            raise ExpectationFailed(f"The last error has no {', '.join(empty)}: {wanted}")
        for surface, error in short.items():
            if error != wanted:
                raise ExpectationFailed(f"{surface} shows another error than the HTTP status:\n{error}\n{wanted}")
        return wanted

    @keyword
    def last_error_should_tell_the_event(self, name: str = "the pool") -> None:
        """Checks that a pool's last error has code, text, time and hint of its newest event of a failure.

        Example:
        | Last Error Should Tell The Event | the pool |
        """
        pool = self.scenario.pool(name)
        self.world.sync_events()
        events = [event for event in self.pool_events(pool) if event.kind == "phase" and event.code]
        error = self.status(pool.pool_id)["last_error"]
        if error is None or not events:
            raise ExpectationFailed(f"There is no failure to look at.\n{self.explain(pool)}")
        event = events[-1]
        if (error["code"], error["message"]) != (event.code, event.reason) or abs(epoch(error["at"]) - event.at) > 0.1:
            raise ExpectationFailed(f"The last error {error} should tell the event {event.describe()}.")
        if event.details.get("hint") != error["hint"] or not error["hint"]:
            raise ExpectationFailed(f"The hint should be that of the event, {event.details.get('hint')!r}: {error}")


def _of_pool(document: dict[str, Any], pool_id: str) -> dict[str, Any]:
    return next(one for one in document["pools"] if one["pool_id"] == pool_id)
