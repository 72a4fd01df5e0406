"""Everything the core can ask of the world: the whole vocabulary from the core to a store, in the imperative.

Each command names the session (`epoch`) it belongs to; its outcome comes back as an event of the same epoch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Open a new session of `ttl_s`, on a fresh connection if the last one is in doubt.

    Answered by `SessionOpened` or `SessionFailed`, always, within the driver's own bound.
    """

    epoch: int
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One of our entries: its election and the token it was given (None where only acquiring gives one)."""

    election: str
    token: int | None


@dataclass(frozen=True, slots=True)
class Renew:
    """Renew the session, and have a *quorum* of the store confirm that each of `entries` is ours.

    Both in as few requests as the store allows, whatever the number of entries. Answered by `Renewed` only when both succeeded,
    else by `RenewFailed` or `SessionGone`. At most one is outstanding; the core never repeats an unanswered one.
    """

    epoch: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class CloseSession:
    """Give the session up for good: revoke it if that is still possible, forget it, stop every watch. Never answered.

    Sent only when nothing that was promised under the session is left, so it may free everything at once.
    """

    epoch: int


@dataclass(frozen=True, slots=True)
class Stand:
    """Enter the election's queue (or race), recovering an entry of this same session whose creation went unanswered.

    Answered by `Queued`, then `Elected` when the store shows our entry first; or by `StandFailed`. Goes on, watching the
    predecessor only, until `Withdraw` or `CloseSession`. A `QueueSeen` tells of changes in passing.
    """

    epoch: int
    election: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Prove at a quorum that our entry with `token` is alive and first, and raise the high-water mark from `mark` to `token`.

    One atomic request where the store has one. Answered by `Claimed`; or by `Elected` again when the mark had moved;
    or by `EntryGone` or `StandFailed`.
    """

    epoch: int
    election: str
    token: int
    mark: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take our entry out, only if it is still ours (session, and token unless None). Answered by `Withdrawn`, always."""

    epoch: int
    election: str
    token: int | None


@dataclass(frozen=True, slots=True)
class RaiseMark:
    """Raise the election's high-water mark in the store to at least `mark`. Best effort; never answered, never lowers it."""

    epoch: int
    election: str
    mark: int


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """Put `value` (None: nothing) in place of the record of which `version` was told last (0: none has been there).

    Answered by `RecordWritten`, or by `RecordRefused`: with no problem where the record is of another version by now. At most one
    is outstanding for each election and kind. Given only to stores that keep records (`Store.keeps_records`).
    """

    epoch: int
    election: str
    kind: str
    value: bytes | None
    version: int


Command = OpenSession | Renew | CloseSession | Stand | Claim | Withdraw | RaiseMark | WriteRecord
