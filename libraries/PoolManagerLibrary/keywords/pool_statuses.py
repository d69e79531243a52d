"""What a pool's status says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords, check, dig, says
from PoolManagerLibrary.operations import protocol_of
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until


class PoolStatusKeywords(Keywords):
    """Keywords that look at pools."""

    @keyword
    def get_pool(self, name: str = "the pool", protocol: str = "HTTP") -> dict[str, Any]:
        """Returns a pool's whole status document, as the given protocol shows it.

        Example:
        | ${status} = | Get Pool | chat | gRPC |
        """
        pool_id = self.pool_ids(name)[0]
        return self.status(pool_id, protocol_of(protocol))

    @keyword
    def get_pool_field(
        self,
        name: str,
        field: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        protocol: str = "HTTP",
    ) -> Any:
        """Returns one field of a pool's status, by its dotted path, and checks it if an operator is given.

        Example:
        | Get Pool Field | chat | slots_free | == | 3 |
        | Get Pool Field | chat | replicas.0.breaker.state | == | closed |
        """
        value = dig(self.get_pool(name, protocol), field)
        return check(value, assertion_operator, assertion_expected, f"{field} of {name}")

    @keyword
    def get_pool_state(
        self,
        name: str = "the pool",
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        protocol: str = "HTTP",
    ) -> str:
        """Returns a pool's phase. Upper and lower case are the same.

        Example:
        | Get Pool State | chat | == | READY |
        """
        phase = str(self.get_pool(name, protocol)["phase"])
        expected = assertion_expected.lower() if isinstance(assertion_expected, str) else assertion_expected
        check(phase, assertion_operator, expected, f"The phase of {name}")
        return phase

    @keyword
    def get_replica_field(
        self,
        replica: str,
        field: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
    ) -> Any:
        """Returns one field of a replica's status: ``r0``, ``chat/r1``, ``engine r1 of pool chat``.

        Example:
        | ${pid} = | Get Replica Field | chat/r0 | pid | > | 0 |
        """
        pool, replica_id = self.scenario.replica(replica)
        replicas = self.status(pool.pool_id)["replicas"]
        document = next((one for one in replicas if one["replica_id"] == replica_id), None)
        if document is None:
            raise ExpectationFailed(
                f"Pool {pool.pool_id} shows no replica {replica_id}: {[one['replica_id'] for one in replicas]}"
            )
        return check(dig(document, field), assertion_operator, assertion_expected, f"{field} of {replica}")

    @keyword
    def get_pool_list(self, protocol: str = "HTTP") -> dict[str, Any]:
        """Returns the list of all pools of the daemon, with its revision.

        Example:
        | ${list} = | Get Pool List |
        | Should Be True | $list['revision'] > 0 |
        """
        return dict(self.must(self.operate("list", protocol=protocol_of(protocol))).body)

    @keyword
    def pool_should_show(self, name: str, *fields: str, within: timedelta = timedelta(0)) -> None:
        """Checks fields of a pool's status, each as ``field value``, at once or ``within`` a time.

        ``null``, ``true``, numbers and words mean what they look like. For several pools each must show them.

        Example:
        | Pool Should Show | the pool | desired stopped | live false | last_error.code null | within=500 ms |
        """
        pairs = [field_and_value(field) for field in fields]
        for pool_id in self.pool_ids(name):
            self._show(pool_id, pairs, seconds(within))

    def _show(self, pool_id: str, pairs: list[tuple[str, Any]], limit: float) -> None:
        def look() -> dict[str, Any]:
            document = self.status(pool_id)
            return {path: dig_or_none(document, path) for path, _ in pairs}

        wanted = dict(pairs)
        wait_until(
            look,
            lambda seen: all(is_same(seen[path], value) for path, value in wanted.items()),
            timeout=limit,
            expected=f"pool {pool_id} to show " + ", ".join(f"{path} {value!r}" for path, value in pairs),
            show=lambda seen: ", ".join(f"{path} {value!r}" for path, value in seen.items()),
            context=lambda: self.explain(pool_id),
        )


def field_and_value(text: str) -> tuple[str, Any]:
    """What a cell such as ``phase ready`` or ``last_error null`` says: the dotted path, and the value."""
    path, _, value = text.strip().partition(" ")
    value = value.strip().removeprefix("is ").removeprefix("= ")
    return path, says(value)


def dig_or_none(document: Any, path: str) -> Any:
    """The member at a dotted path; None where a list is too short or a value has no members."""
    place = document
    for part in path.split("."):
        if isinstance(place, dict):
            if part not in place:
                raise ExpectationFailed(f"The status has no field '{part}' (of '{path}'); it has {', '.join(place)}.")
            place = place[part]
        elif isinstance(place, list) and part.isdigit() and int(part) < len(place):
            place = place[int(part)]
        else:
            return None
    return place


def is_same(seen: Any, wanted: Any) -> bool:
    """Whether a status has the value that a phrase asked for."""
    if isinstance(seen, bool) or isinstance(wanted, bool):
        return seen is wanted
    return bool(seen == wanted) or (seen is not None and str(seen) == str(wanted))
