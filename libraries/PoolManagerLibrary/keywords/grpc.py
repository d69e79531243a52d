"""The gRPC control plane: any method, health, reflection."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta
from typing import Any

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check
from PoolManagerLibrary.outcome import Outcome
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until


class GrpcKeywords(Keywords):
    """Keywords about gRPC."""

    @keyword
    def call_grpc(
        self,
        method: str,
        request: dict[str, Any] | str | None = None,
        timeout: timedelta = timedelta(seconds=10),
        metadata: dict[str, str] | None = None,
        **fields: Any,
    ) -> Outcome:
        """Calls a method of ``pool_managerd.v1.PoolManager`` and notes the answer without judging it.

        ``pool_id=chat`` may be a pool of the scenario; numbers and truth values mean what they look like.

        Example:
        | Call Grpc | GetPool | pool_id=chat |
        | Answer Field | phase | == | ready |
        """
        given: dict[str, Any] = json.loads(request) if isinstance(request, str) else dict(request or {})
        given |= {key: _value(key, value) for key, value in fields.items()}
        if "pool_id" in given:
            given["pool_id"] = self.scenario.pool_id(given["pool_id"])
        self.scenario.act(f"gRPC {method}")
        return self.scenario.answered(self.daemon.grpc.call(method, given, timeout=seconds(timeout), metadata=metadata))

    @keyword
    def get_grpc_health(
        self,
        name: str = "",
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        within: timedelta = timedelta(0),
    ) -> str:
        """Returns what ``grpc.health.v1`` Check says about the daemon (no name) or a pool, such as ``SERVING``.

        Example:
        | Get Grpc Health | chat | == | SERVING |
        """
        service = self.scenario.pool_id(name) if name else ""

        def look() -> tuple[str, Exception | None]:
            value = self.daemon.grpc.health(service)
            try:
                check(value, assertion_operator, assertion_expected, f"gRPC health of {name or 'the daemon'}")
            except ExpectationFailed as error:
                return value, error
            return value, None

        value, _ = wait_until(
            look,
            lambda seen: seen[1] is None,
            timeout=seconds(within),
            expected=f"gRPC health of {name or 'the daemon'} {assertion_expected}",
            show=lambda seen: seen[0],
        ).value
        return value

    @keyword
    def start_watching_grpc_health(self, name: str) -> None:
        """Starts ``grpc.health.v1`` Watch for a pool, for `Watched Grpc Health Should Be`.

        Example:
        | Start Watching Grpc Health | the pool |
        """
        statuses, cancel = self.daemon.grpc.watch_health(self.scenario.pool_id(name), timeout=120)
        pushed: list[tuple[float, str]] = []
        self.scenario.memory["pushed_health"] = pushed
        self.scenario.cleanups.append(("the health watch", cancel))

        def run() -> None:
            try:
                pushed.extend((time.time(), status) for status in statuses)
            except Exception:  # noqa: BLE001  # the end of the call, however gRPC calls it
                return

        threading.Thread(target=run, name="health-watch", daemon=True).start()
        wait_until(lambda: len(pushed), bool, timeout=3, expected="a first status to be pushed")

    @keyword
    def watched_grpc_health_should_be(self, *statuses: str, within: timedelta = timedelta(seconds=2)) -> None:
        """Waits until the health watch has been pushed exactly these, in this order.

        Example:
        | Watched Grpc Health Should Be | SERVING | NOT_SERVING | SERVING |
        """
        pushed: list[tuple[float, str]] | None = self.scenario.memory.get("pushed_health")
        if pushed is None:
            raise UsageError("Start Watching Grpc Health first.")
        wait_until(
            lambda: [status for _, status in pushed],
            lambda seen: seen == list(statuses),
            timeout=seconds(within),
            expected=f"gRPC health to push {', '.join(statuses)}",
            show=", ".join,
        )

    @keyword
    def get_grpc_services(self) -> list[str]:
        """Returns the services that server reflection lists.

        Example:
        | ${services} = | Get Grpc Services |
        | Should Contain | ${services} | pool_managerd.v1.PoolManager |
        """
        return self.daemon.grpc.services()


def _value(key: str, value: Any) -> Any:
    if not isinstance(value, str) or key in {"pool_id", "lease_id", "holder", "new_model_ref", "replica"}:
        return value
    try:
        return json.loads(value.lower() if value.lower() in {"true", "false"} else value)
    except ValueError:
        return value
