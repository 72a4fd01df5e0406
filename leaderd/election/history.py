"""The terms an election has seen: who led, with which token, from when to when, and why it ended. Kept in the store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TermRecord:
    """One term. Instants in seconds since the epoch, by the clock of the leader, for humans only.

    `ended_at_s` and `reason` are None while it goes on. A leader that could not say why it ended is closed by its successor, with
    `ended_without_saying` and the instant at which the successor began.
    """

    token: int
    leader: str
    started_at_s: float
    ended_at_s: float | None = None
    reason: str | None = None
