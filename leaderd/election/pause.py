"""A pause: an election that nobody shall lead, for a reason, until resumed or until its time is up. Kept in the store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused the election, why, and until when: `expires_at_s` in seconds since the epoch, None for "until resumed"."""

    by: str
    reason: str
    expires_at_s: float | None
