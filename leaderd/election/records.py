"""The records beside one election, as far as this session has been told: bytes with versions, and what became of our writes.

What a record means is said by `pause`, `transfer` and `history`. A record is somebody else's text: whatever it is, reading it
raises nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from leaderd.election.commands import WriteRecord
from leaderd.election.events import RecordRefused, RecordSeen, RecordWritten
from leaderd.election.problems import Outcome, Problem, Reason

MAX_BYTES = 65536
"""No record is longer; a longer one in the store is not read."""
RETRY_S = 1.0
"""How long the core waits before it repeats a write of its own that was refused."""
_TEXT_CHARS = 500


class RecordKind(StrEnum):
    """What a record is about."""

    PAUSE = "pause"
    TRANSFER = "transfer"
    HISTORY = "history"


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was told last. `value` is None where there is none, with the version that a writer has to name."""

    value: bytes | None
    version: int


NOTHING = Record(None, 0)


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of the write `ticket`: done, or not (`conflict`: the record is of another version; else `problem`)."""

    ticket: int
    done: bool
    conflict: bool = False
    problem: Problem | None = None


_NO_SESSION = Problem(Outcome.FAILED, Reason.STORE_UNREACHABLE, "there is no session in the store at the moment")
_SESSION_OVER = Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, "the session ended while the record was being written")


class Records:
    """The records of one election, and at most one write outstanding for each kind."""

    __slots__ = ("_election", "_writing", "retry_at_s", "seen", "settled")

    def __init__(self, election: str) -> None:
        self._election = election
        self._writing: dict[str, tuple[int, bytes | None, int]] = {}
        self.retry_at_s = -math.inf
        self.seen: Mapping[str, Record] = {}
        """By kind; replaced, never changed, so that a snapshot may keep it."""
        self.settled: Mapping[str, Settled] = {}
        """The last outcome, by kind."""

    def of(self, kind: RecordKind) -> Record:
        """The record as it was told last."""
        return self.seen.get(kind, NOTHING)

    def told(self, event: RecordSeen) -> None:
        """The store showed a record."""
        if event.kind in set(RecordKind):
            self.seen = {**self.seen, event.kind: Record(event.value, event.version)}

    def write(self, epoch: int, kind: str, value: bytes | None, version: int, ticket: int) -> list[WriteRecord]:
        """Ask for a write, unless one of this kind is outstanding; what became of it is in `settled`."""
        if kind in self._writing:
            self._settle(kind, Settled(ticket, False, conflict=True))
            return []
        self._writing[kind] = (ticket, value, version)
        return [WriteRecord(epoch, self._election, kind, value, version)]

    @property
    def busy(self) -> bool:
        """Whether any write is outstanding."""
        return bool(self._writing)

    def writing(self, kind: str) -> bool:
        """Whether a write of this kind is outstanding."""
        return kind in self._writing

    def unreachable(self, kind: str, ticket: int) -> None:
        """A write was asked for while there is no session."""
        self._settle(kind, Settled(ticket, False, problem=_NO_SESSION))

    def written(self, event: RecordWritten) -> None:
        """Our write is committed: nobody need wait for the watch to say so too."""
        asked = self._writing.pop(event.kind, None)
        if asked is None:
            return
        ticket, value, version = asked
        known = self.seen.get(event.kind, NOTHING)
        # The watch may have told a later one already.
        if known.version == version or (value is not None and event.version > known.version):
            self.seen = {**self.seen, event.kind: Record(value, event.version)}
        self._settle(event.kind, Settled(ticket, True))

    def refused(self, event: RecordRefused, now_s: float) -> None:
        """Our write failed."""
        asked = self._writing.pop(event.kind, None)
        if asked is not None:
            self.retry_at_s = now_s + RETRY_S
            self._settle(event.kind, Settled(asked[0], False, conflict=event.problem is None, problem=event.problem))

    def session_began(self) -> None:
        """What the new session does not tell is not there."""
        self.seen = {}

    def session_ended(self) -> None:
        """No write will be answered any more. What was seen stays in sight until another session tells anew."""
        for kind, (ticket, _, _) in list(self._writing.items()):
            self._settle(kind, Settled(ticket, False, problem=_SESSION_OVER))
        self._writing.clear()

    def _settle(self, kind: str, outcome: Settled) -> None:
        self.settled = {**self.settled, kind: outcome}


def decoded(value: bytes | None) -> dict[str, Any] | None:
    """A record's JSON object, or None if it is none."""
    if value is None or len(value) > MAX_BYTES:
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def encoded(document: dict[str, Any]) -> bytes:
    """The bytes of a record."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def text_in(document: dict[str, Any], name: str) -> str:
    """A text of a record, bounded and fit for a terminal; empty if there is none."""
    found = document.get(name)
    return "".join(char if char.isprintable() else " " for char in found[:_TEXT_CHARS]) if isinstance(found, str) else ""


def instant_in(document: dict[str, Any], name: str) -> float | None:
    """An instant of a record, in seconds since the epoch; None if there is none that makes sense."""
    found = document.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1e11:
        return None
    return float(found)


def token_in(document: dict[str, Any], name: str) -> int | None:
    """A fencing token of a record; None if there is none."""
    found = document.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 < found < 2**64 else None
