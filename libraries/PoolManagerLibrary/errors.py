"""What keywords raise: one family of errors whose class name never clutters a report."""

from __future__ import annotations


class PoolManagerLibraryError(Exception):
    """Base of all errors of this library. The message alone is shown in reports."""

    ROBOT_SUPPRESS_NAME = True


class ExpectationFailed(PoolManagerLibraryError, AssertionError):  # noqa: N818  # reads as what happened
    """Something that can be seen from outside is not as the scenario says."""


class WaitTimeout(ExpectationFailed):
    """A state was not reached in time. The message says what was seen instead, and for how long."""


class Refused(PoolManagerLibraryError):  # noqa: N818  # reads as what happened
    """The daemon said no to a call that the keyword expected to succeed."""


class UsageError(PoolManagerLibraryError):
    """A keyword was used in a way that cannot work; the message says what to write instead."""


class DaemonError(PoolManagerLibraryError):
    """The daemon could not be started, or died under a scenario."""
