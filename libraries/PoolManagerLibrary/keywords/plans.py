"""The placement plan that ``pool-managerd devices --plan`` makes."""

from __future__ import annotations

import json
import math
from typing import Any

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check, says
from PoolManagerLibrary.keywords.cli import CliKeywords
from PoolManagerLibrary.settings import parse_rows
from PoolManagerLibrary.units import parse_size, show_size


class PlanKeywords(Keywords):
    """Keywords about plans."""

    @keyword
    def make_plan(self) -> dict[str, Any]:
        """Runs ``devices --plan`` with the scenario's config, without a daemon, and returns the plan.

        Whether all fits is the answer's exit code: 0 or 1, which is not judged here.

        Example:
        | ${plan} = | Make Plan |
        """
        outcome = CliKeywords(self.world).run_pool_managerd("devices --plan {config} --json", daemon=False)
        try:
            plan: dict[str, Any] = json.loads(outcome.text)
        except ValueError:
            raise ExpectationFailed(f"There is no plan: {outcome.describe()}") from None
        outcome.examined = True
        self.scenario.memory["plan"] = plan
        return plan

    @keyword
    def get_planned(
        self,
        name: str,
        field: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        gpu: str | None = None,
        replica: str = "r0",
    ) -> Any:
        """Returns a field of a pool's line in the plan; of several GPUs name the one that is meant.

        Example:
        | Get Planned | the pool | ratio | == | 0.75 | gpu=big |
        """
        rows = self._rows(name, gpu, replica)
        if len(rows) != 1:
            raise ExpectationFailed(f"The plan has {len(rows)} lines for {name}, {gpu or 'any GPU'}: {rows}")
        if field not in rows[0]:
            raise UsageError(f"A line of the plan has no {field}; it has {', '.join(rows[0])}.")
        expected = assertion_expected
        if isinstance(expected, str) and field.endswith("_bytes"):
            expected = parse_size(expected)
        return check(rows[0][field], assertion_operator, expected, f"{field} of {name} in the plan")

    @keyword
    def plan_should_say(self, *rows: str) -> None:
        """Checks lines of the plan against a table, whose first row names ``pool``, ``gpu`` and any fields.

        Fields that end in ``_bytes`` are sizes, ratios hold within 0.000001, ``verdict`` is a part of the text.

        Example:
        | Plan Should Say | pool/gpu/ratio/weights_bytes | chat/big/0.75/3 GiB | chat/small/0.25/1 GiB |
        """
        wrong = []
        for wanted in parse_rows(rows):
            pool, gpu = wanted.pop("pool", "the pool"), wanted.pop("gpu", None)
            replica = wanted.pop("replica", "r0")
            for field, value in wanted.items():
                seen = self.get_planned(pool, field, gpu=gpu, replica=replica)
                if not _same(field, seen, value):
                    shown = show_size(seen) if field.endswith("_bytes") and isinstance(seen, int) else seen
                    wrong.append(f"{field} of {pool} {gpu or ''} should be {value}, it is {shown}")
        if wrong:
            raise ExpectationFailed("; ".join(wrong))

    def _rows(self, name: str, gpu: str | None, replica: str) -> list[dict[str, Any]]:
        plan = self.scenario.memory.get("plan") or self.make_plan()
        pool_id = self.scenario.pool(name).pool_id
        uuid = None if gpu is None else self.scenario.gpu(gpu).uuid
        return [
            row
            for row in plan["placements"]
            if row["pool_id"] == pool_id and row["replica_id"] == replica and uuid in {None, row["device"]}
        ]


def _same(field: str, seen: Any, wanted: str) -> bool:
    if field.endswith("_bytes") and isinstance(seen, int):
        return seen == parse_size(wanted)
    if field == "ratio" and isinstance(seen, float):
        return math.isclose(seen, float(wanted), abs_tol=1e-6)
    if field in {"verdict", "hint"}:
        return wanted in str(seen)
    return bool(seen == says(wanted))
