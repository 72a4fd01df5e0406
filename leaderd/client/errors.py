"""What the client raises: one clear line each."""

from __future__ import annotations


class LeaderdError(Exception):
    """The base of all that the client raises."""


class NotLeader(LeaderdError):
    """This instance does not lead, or not for as long as was asked. `reason` is the daemon's word for why."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class DaemonUnreachable(LeaderdError):
    """No answer from a daemon; the text says what was tried and what to do."""
