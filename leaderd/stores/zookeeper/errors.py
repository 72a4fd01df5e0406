"""kazoo's exceptions, mapped once."""

from __future__ import annotations

from kazoo import exceptions as kz

from leaderd.election.problems import Outcome, Problem, Reason

SKIPPED = (kz.RolledBackError, kz.RuntimeInconsistency)
"""What a failed `multi` answers for the operations before and after the one that failed."""
SILENT = (kz.ConnectionLoss, kz.ConnectionClosedError, kz.OperationTimeoutError, kz.SessionMovedError, TimeoutError)
"""No answer: whether it was done is not known."""
_UNKNOWN_WHO = (kz.AuthFailedError, kz.SessionClosedRequireSaslError)
_DENIED = (kz.NoAuthError, kz.InvalidACLError)


class BadAnswerError(kz.KazooException):  # type: ignore[misc]
    """The server answered something that cannot be read."""


class RefusedError(Exception):
    """Standing cannot go on, for a reason that is no failed call."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(Outcome.FAILED, reason, detail)


def problem_of(error: Exception, doing: str) -> Problem:
    """What a failed call means. `doing` says, for a human, what was tried and where. Raises what is no failed call."""
    name = type(error).__name__
    if isinstance(error, RefusedError):
        return error.problem
    if isinstance(error, kz.SessionExpiredError):
        return Problem(Outcome.FAILED, Reason.SESSION_GONE, "the session expired, or was closed by somebody else")
    if isinstance(error, _UNKNOWN_WHO):
        return Problem(Outcome.FAILED, Reason.AUTH_FAILED, f"{doing}: ZooKeeper refused the credentials")
    if isinstance(error, _DENIED):
        detail = f"{doing}: no permission; needed are CREATE, DELETE and READ there, and WRITE on our own records"
        return Problem(Outcome.FAILED, Reason.PERMISSION_DENIED, detail)
    if isinstance(error, SILENT):
        return Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, f"{doing}: no answer ({name})")
    if isinstance(error, BadAnswerError):
        return Problem(Outcome.UNKNOWN, Reason.STORE_ERROR, f"{doing}: an answer that cannot be read ({error})")
    if isinstance(error, kz.KazooException):
        return Problem(Outcome.FAILED, Reason.STORE_ERROR, f"{doing}: {name}")
    raise error
