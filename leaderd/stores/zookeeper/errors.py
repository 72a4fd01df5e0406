"""kazoo's exceptions, mapped once."""

from __future__ import annotations

from kazoo import exceptions as kz

from leaderd.election.problems import Outcome, Problem, Reason

_GONE = (kz.SessionExpiredError,)
_DENIED = (kz.NoAuthError, kz.InvalidACLError)
_AUTH = (kz.AuthFailedError,)
_SILENT = (kz.ConnectionLoss, kz.ConnectionClosedError, kz.OperationTimeoutError, kz.SessionMovedError, TimeoutError)


def problem_of(error: Exception, doing: str) -> Problem:
    """What a failed call means. `doing` says, for a human, what was tried and where."""
    name = type(error).__name__
    if isinstance(error, _GONE):
        return Problem(Outcome.FAILED, Reason.SESSION_GONE, "the session expired, or was closed by somebody else")
    if isinstance(error, _AUTH):
        return Problem(Outcome.FAILED, Reason.AUTH_FAILED, f"{doing}: ZooKeeper refused the credentials")
    if isinstance(error, _DENIED):
        detail = f"{doing}: no permission; needed are CREATE, DELETE and READ there, and WRITE on our own records"
        return Problem(Outcome.FAILED, Reason.PERMISSION_DENIED, detail)
    if isinstance(error, _SILENT):
        return Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, f"{doing}: no answer ({name})")
    if isinstance(error, kz.KazooException):
        return Problem(Outcome.FAILED, Reason.STORE_ERROR, f"{doing}: {name}")
    raise error
