"""A pause: an election that nobody shall lead, for a reason, until resumed or until its time is up. Kept in the store."""

from __future__ import annotations

from dataclasses import dataclass

from leaderd.election.records import Record, decoded, encoded, instant_in, text_in

UNREADABLE = "the pause record cannot be read; `leaderd resume` removes it"


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused the election, why, and until when: `expires_at_s` in seconds since the epoch, None for "until resumed"."""

    by: str
    reason: str
    expires_at_s: float | None

    def over(self, wall_s: float) -> bool:
        """Whether its time is up."""
        return self.expires_at_s is not None and wall_s >= self.expires_at_s

    def text(self) -> str:
        """For `detail`: who and why, as far as they said."""
        return ": ".join(filter(None, (f"by {self.by}" if self.by else "", self.reason)))


def read_pause(record: Record) -> Pause | None:
    """The pause in a record. One that cannot be read pauses all the same: whoever wrote it wanted nobody to lead."""
    if record.value is None:
        return None
    document = decoded(record.value)
    if document is None:
        return Pause("", UNREADABLE, None)
    return Pause(text_in(document, "by"), text_in(document, "reason"), instant_in(document, "expires_at"))


def pause_bytes(pause: Pause) -> bytes:
    """The record of a pause."""
    return encoded({"by": pause.by, "reason": pause.reason, "expires_at": pause.expires_at_s})
