"""Keeps the history of terms in the store: who began to lead, and why it ended, each written by the leader itself.

Nothing of it is on the way of a hand-over: a beginning is written a moment after the claim, an end a moment after the entry is out.
What could not be written, because the store was away or another wrote first, is written later; what a killed leader could not say,
its successor closes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from leaderd.election.events import Event, WriteRequested
from leaderd.election.history import TermRecord, history_bytes, noted, read_history
from leaderd.election.records import NOTHING, RecordKind
from leaderd.election.state import ElectionView, Phase, Snapshot

BEGAN_AFTER_S = 0.5
"""By then the hand-over is over, and who led before has said why it ended."""
ENDED_AFTER_S = 0.02
"""The successor's claim was sent when our entry went, and is through by then. A draining core waits for this write."""
AGAIN_AFTER_S = 1.0
_MAX_NOTES = 20
_LEAVING = frozenset({Phase.RELEASING, Phase.WITHDRAWING})

Later = Callable[[float, Callable[[], None]], None]
"""`later(seconds, call)`: call once, that much later."""


@dataclass(slots=True)
class _Book:
    """What is to be written about one election."""

    notes: list[TermRecord] = field(default_factory=list)
    leading: TermRecord | None = None
    leaving: bool = False
    """A term has ended, and its entry is not out yet."""
    ticket: int | None = None
    """Of the write under way, and how many notes it carries."""
    carried: int = 0


class Recorder:
    """An observer of the runner that writes the history. `wall_s`: seconds since the epoch, of what is being told; `later` calls
    back on the same thread."""

    def __init__(self, deliver: Callable[[Event], None], wall_s: Callable[[], float], later: Later) -> None:
        self._deliver = deliver
        self._wall_s = wall_s
        self._later = later
        self._books: dict[str, _Book] = {}
        self._tickets = itertools.count(1)
        self._shown: Snapshot | None = None

    def published(self, old: Snapshot, new: Snapshot, now_s: float) -> None:
        """Compare with what was noticed last."""
        self._shown = new
        for view in new.elections.values():
            book = self._books.setdefault(view.name, _Book())
            self._see_term(book, view, new.instance, now_s)
            self._see_outcome(book, view)
            if book.leaving and view.phase not in _LEAVING:
                book.leaving = False
                self._soon(book, view.name, ENDED_AFTER_S)

    def renewed(self, duration_s: float, margin_s: float | None) -> None:
        """Renewals are no history."""

    # ---- what is noticed

    def _see_term(self, book: _Book, view: ElectionView, instance: str, now_s: float) -> None:
        token = view.term.token if view.term is not None else None
        leading = book.leading
        if leading is not None and leading.token != token:
            self._note(book, replace(leading, ended_at_s=self._wall_s(), reason=view.reason.value))
            book.leading, book.leaving = None, True
        if view.term is not None and book.leading is None:
            started_at_s = self._wall_s() - (now_s - view.term.started_s)
            book.leading = TermRecord(view.term.token, instance, started_at_s)
            self._note(book, book.leading)
            self._soon(book, view.name, BEGAN_AFTER_S)

    def _note(self, book: _Book, note: TermRecord) -> None:
        book.notes.append(note)
        if len(book.notes) > _MAX_NOTES and book.ticket is None:
            del book.notes[0]

    def _see_outcome(self, book: _Book, view: ElectionView) -> None:
        settled = view.settled.get(RecordKind.HISTORY)
        if book.ticket is None or settled is None or settled.ticket != book.ticket:
            return
        book.ticket = None
        if settled.done:
            del book.notes[: book.carried]
        if book.notes:
            self._soon(book, view.name, ENDED_AFTER_S if settled.done else AGAIN_AFTER_S)

    # ---- writing

    def _soon(self, book: _Book, name: str, after_s: float) -> None:
        # An end must not wait for the timer of a beginning: each sets its own, and who comes second finds nothing to do.
        self._later(after_s, lambda: self._write(book, name))

    def _write(self, book: _Book, name: str) -> None:
        if self._shown is None or not book.notes or book.ticket is not None or book.leaving:
            return
        if not self._shown.session_live:
            self._soon(book, name, AGAIN_AFTER_S)
            return
        record = self._shown.elections[name].records.get(RecordKind.HISTORY, NOTHING)
        terms = read_history(record)
        for note in book.notes:
            terms = noted(terms, note)
        book.ticket, book.carried = next(self._tickets), len(book.notes)
        self._deliver(WriteRequested(name, RecordKind.HISTORY, history_bytes(terms), record.version, book.ticket))
