"""Who may call: one token for everything, and one that only reads. Both protocols ask here."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import Enum

from pool_managerd.core.errors import Code, PoolManagerError

_SCHEME = "bearer"


class Role(Enum):
    """What a caller may do."""

    FULL = "full"
    READ_ONLY = "read_only"


@dataclass(frozen=True, slots=True)
class Auth:
    """The tokens that are configured; without any, every caller has full use.

    :param token: gives full use of the API.
    :param readonly_token: reads status, devices, events, logs and metrics.
    """

    token: str | None = field(default=None, repr=False)
    readonly_token: str | None = field(default=None, repr=False)

    @property
    def required(self) -> bool:
        """Whether a caller has to send a token."""
        return bool(self.token or self.readonly_token)

    def authenticate(self, authorization: str | None) -> Role:
        """Judge the value of an ``authorization`` header or metadata key.

        :raises PoolManagerError: UNAUTHENTICATED, with the same text whatever was wrong.
        """
        if not self.required:
            return Role.FULL
        scheme, _, presented = (authorization or "").partition(" ")
        known = scheme.lower() == _SCHEME
        # Both comparisons are always made, so that the time taken tells nothing.
        full = _same(presented, self.token)
        reads = _same(presented, self.readonly_token)
        if known and full:
            return Role.FULL
        if known and reads:
            return Role.READ_ONLY
        raise PoolManagerError(
            Code.UNAUTHENTICATED,
            "this call needs the daemon's token, and it is missing or wrong",
            hint="send 'Authorization: Bearer <token>' with the token that the daemon was started with",
        )

    def authorize(self, authorization: str | None, *, changes: bool) -> Role:
        """Like :meth:`authenticate`, and refuse a change by a token that only reads.

        :raises PoolManagerError: UNAUTHENTICATED or FORBIDDEN.
        """
        role = self.authenticate(authorization)
        if changes and role is Role.READ_ONLY:
            raise PoolManagerError(
                Code.FORBIDDEN,
                "this token only reads, and the call would change something",
                hint="use the token of server.token_file",
            )
        return role


def _same(presented: str, token: str | None) -> bool:
    expected = token or ""
    same = hmac.compare_digest(presented.encode("utf-8", "surrogateescape"), expected.encode("utf-8"))
    return bool(expected) and same
