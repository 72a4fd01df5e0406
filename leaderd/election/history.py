"""The terms an election has seen: who led, with which token, from when to when, and why it ended. Kept in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from leaderd.election.records import MAX_BYTES, Record, decoded, encoded, instant_in, text_in, token_in

KEPT = 100
"""Terms kept."""
WITHOUT_SAYING = "ended_without_saying"


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


def read_history(record: Record) -> tuple[TermRecord, ...]:
    """The terms in a record, oldest first; what cannot be read is left out."""
    document = decoded(record.value)
    terms = document.get("terms") if document is not None else None
    return tuple(filter(None, map(_read_term, terms[-KEPT:]))) if isinstance(terms, list) else ()


def _read_term(found: object) -> TermRecord | None:
    if not isinstance(found, dict):
        return None
    token, started_at_s = token_in(found, "token"), instant_in(found, "started_at")
    if token is None or started_at_s is None:
        return None
    return TermRecord(
        token, text_in(found, "leader"), started_at_s, instant_in(found, "ended_at"), text_in(found, "reason") or None
    )


def history_bytes(terms: Sequence[TermRecord]) -> bytes:
    """The record of these terms, as many of the last ones as there is room for."""
    kept = list(terms[-KEPT:])
    while len(value := encoded({"terms": [_term(term) for term in kept]})) > MAX_BYTES:
        del kept[: max(1, len(kept) // 10)]
    return value


def _term(term: TermRecord) -> dict[str, Any]:
    return {
        "token": term.token,
        "leader": term.leader,
        "started_at": term.started_at_s,
        "ended_at": term.ended_at_s,
        "reason": term.reason,
    }


def noted(terms: Sequence[TermRecord], note: TermRecord) -> tuple[TermRecord, ...]:
    """The terms with what the leader of one of them says about it; those before it that seem to go on have ended by then."""
    before = [term for term in terms if term.token < note.token]
    after = [term for term in terms if term.token > note.token]
    known = next((term for term in terms if term.token == note.token), None)
    if known is not None and (note.ended_at_s is None or known.reason not in {None, WITHOUT_SAYING}):
        note = known  # it said as much, or more, before
    if after and note.ended_at_s is None:
        note = replace(note, ended_at_s=after[0].started_at_s, reason=WITHOUT_SAYING)
    if before and before[-1].ended_at_s is None:
        before[-1] = replace(before[-1], ended_at_s=note.started_at_s, reason=WITHOUT_SAYING)
    return (*before, note, *after)[-KEPT:]
