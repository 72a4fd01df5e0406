"""A `Problem` on its way up from the file to the command that met it."""

from __future__ import annotations

from leaderd.election.problems import Outcome, Problem, Reason


class LocalError(Exception):
    """The local store cannot do what was asked; `problem` says why in one line."""

    def __init__(self, reason: Reason, detail: str, outcome: Outcome = Outcome.FAILED) -> None:
        super().__init__(detail)
        self.problem = Problem(outcome, reason, detail)


class SessionLost(LocalError):
    """Our session is not in the store any more: expired, revoked, or the whole file was replaced."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.SESSION_GONE, detail)
