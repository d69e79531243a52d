"""Checks of what callers send that are the same on both protocols. Each refusal names its field.

Here is only what a value must be to be understood at all (type, range of its type, bounds that hold for
every pool); what a pool's config allows is judged by the service.
"""

from __future__ import annotations

import math
import re

from pool_managerd.core.errors import SHOWN, Code, PoolManagerError, invalid_request, pool_not_found, shown
from pool_managerd.service_protocol import Service

#: The longest ``wait`` in seconds: an hour, as the longest drain deadline and lease TTL have by default.
MAX_WAIT_S = 3600.0
#: The most lines of ``tail``.
MAX_TAIL = 100_000
#: The largest whole number that a JSON number holds exactly in every client.
MAX_INTEGER = 2**53 - 1

POOL_ID_PATTERN = "[a-z0-9][a-z0-9-]{0,62}"
LEASE_ID_PATTERN = "[A-Za-z0-9_-]{1,128}"
REPLICA_ID_PATTERN = "r[0-9]{1,4}"
_POOL_ID = re.compile(POOL_ID_PATTERN)
_LEASE_ID = re.compile(LEASE_ID_PATTERN)
_REPLICA_ID = re.compile(REPLICA_ID_PATTERN)


def pool_id(service: Service, value: str, *, of_lease: bool = False) -> str:
    """Refuse the id of a pool that is not there, ids that no pool can have included.

    :param of_lease: what is asked for is a lease: a pool that is on its way out is still there for those.
    :raises PoolManagerError: POOL_NOT_FOUND.
    """
    there = _POOL_ID.fullmatch(value) is not None and service.pool_ready(value) is not None
    if not there and not (of_lease and service.is_leaving(value)):
        well_formed = _POOL_ID.fullmatch(value) is not None
        raise pool_not_found(value, more="" if well_formed else f"; a pool's id matches {POOL_ID_PATTERN}")
    return value


def lease_id(value: str) -> str:
    """Refuse an id that no lease can have.

    :raises PoolManagerError: LEASE_NOT_FOUND.
    """
    if _LEASE_ID.fullmatch(value) is None:
        raise PoolManagerError(
            Code.LEASE_NOT_FOUND, f"there is no lease {shown(value)}", details={"lease_id": value[:SHOWN]}
        )
    return value


def replica_id(value: str | None) -> str | None:
    """Refuse what cannot be a replica's id; whether the pool has that replica is for the service to say."""
    if value is not None and _REPLICA_ID.fullmatch(value) is None:
        raise invalid_request("replica", f"replica {shown(value)} is no replica id, such as r0")
    return value


def wait_s(value: float | None) -> float | None:
    """A time to wait, in seconds."""
    if value is not None and not (math.isfinite(value) and 0 <= value <= MAX_WAIT_S):
        raise invalid_request("wait", f"wait {value} is not between 0 and {MAX_WAIT_S:.0f} seconds")
    return value


def bounded(field: str, value: int | None, low: int, high: int) -> int | None:
    """A whole number within bounds."""
    if value is not None and not low <= value <= high:
        raise invalid_request(field, f"{field} {_digits(value)} is not between {low} and {high}")
    return value


def tail(value: int | None) -> int | None:
    """A number of lines."""
    return bounded("tail", value, 0, MAX_TAIL)


def since(value: int | None, field: str = "since") -> int | None:
    """A revision."""
    return bounded(field, value, 0, MAX_INTEGER)


def text(field: str, value: str | None) -> str | None:
    """A text that can be stored and shown: no NUL, no half of a surrogate pair."""
    if value is not None and ("\0" in value or any("\ud800" <= char <= "\udfff" for char in value)):
        raise invalid_request(field, f"{field} holds a character that is no text (NUL or half a surrogate pair)")
    return value


def _digits(value: int) -> str:
    # The decimal form of a huge number is slow to make, and Python refuses it above 4300 digits.
    return str(value) if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"
