"""What happened lately, in memory, and why an election is, or is not, led from here: for `/why` and `leaderd why`.

An observer of the runner, like the log; but it remembers, and puts a cause beside each effect: which failures lay between the last
confirmation and the end of a term, who led next. Bounded: equal failures in a row are one entry with a count.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from leaderd.election.history import TermRecord
from leaderd.election.problems import Problem
from leaderd.election.state import ElectionView, Snapshot, State, Term
from leaderd.why import Loss, Story, cause, clock_time, ended, led_by, plain, summary

KEPT = 200
"""Entries kept: for each election, and for the store."""
_DETAIL_LIMIT = 3
_TERMS_SHOWN = 20
"""Of the history: what happened before that explains nothing any more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened. `kind`: `state`, `leader`, `store`, `clock`, `operator`, or `term` for what the history in the store
    tells; `at_s` in seconds since the epoch, of the first time if it happened `times` in a row, `last_s` of the last."""

    at_s: float
    kind: str
    text: str
    token: int | None = None
    times: int = 1
    last_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Why:
    """One sentence, and what led to it, oldest first."""

    election: str
    summary: str
    entries: tuple[Entry, ...]


@dataclass(slots=True)
class _Told:
    """What of one election was noticed last."""

    state: State = State.STARTING
    term: Term | None = None
    leader: tuple[str, int | None] | None = None
    since_s: float | None = None
    """When that leader began, if we saw it."""
    lost: Loss | None = None
    """How the last term of ours ended."""
    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=KEPT))


class Journal:
    """An observer of the runner. `wall_s`: seconds since the epoch, for humans. `catch_up` is called before anybody is answered,
    and tells what has yet to be told."""

    def __init__(self, wall_s: Callable[[], float], catch_up: Callable[[], None] = lambda: None) -> None:
        self._wall_s = wall_s
        self._catch_up = catch_up
        self._elections: dict[str, _Told] = {}
        self._store: deque[Entry] = deque(maxlen=KEPT)
        self._problem: Problem | None = None
        self._failures: Counter[str] = Counter()
        """What failed since the last confirmation."""
        self._confirmed_s: float | None = None
        self._jumps = 0

    # ---- an observer

    def published(self, old: Snapshot, new: Snapshot, now_s: float) -> None:
        """Compare with what was noticed last."""
        self._see_store(new)
        if new.jumps > self._jumps:
            self._jumps = new.jumps
            self._store.append(Entry(self._wall_s(), "clock", "the clock jumped: terms wait for a fresh confirmation"))
        for view in new.elections.values():
            told = self._elections.setdefault(view.name, _Told())
            self._see_state(told, view, new, now_s)
            self._see_leader(told, view, new)

    def renewed(self, duration_s: float, margin_s: float | None) -> None:
        """Renewals are told by the snapshots that they cause."""

    def acted(self, election: str, text: str) -> None:
        """An operator did something."""
        self._elections.setdefault(election, _Told()).entries.append(Entry(self._wall_s(), "operator", text))

    # ---- asked

    def why(self, name: str, snapshot: Snapshot, now_s: float, terms: Sequence[TermRecord] = ()) -> Why:
        """Why the election is, or is not, led from here at `now_s`. `terms`: its history as the store has it, oldest first.

        Raises `KeyError` for an unknown election.
        """
        self._catch_up()
        view = snapshot.elections[name]
        told = self._elections.get(name, _Told())
        story = Story(view, snapshot, now_s, self._wall_s(), self._silence(snapshot, now_s), told.lost, told.since_s, terms)
        entries = sorted((*self._store, *told.entries, *self._past(told, terms)), key=lambda entry: entry.at_s)[-KEPT:]
        return Why(name, summary(story), tuple(entries))

    def _past(self, told: _Told, terms: Sequence[TermRecord]) -> list[Entry]:
        """Terms that ended, but for our own, whose end we saw ourselves."""
        own = {entry.token for entry in told.entries if entry.kind == "state"}
        over = [(term, term.ended_at_s) for term in terms[-_TERMS_SHOWN:] if term.ended_at_s is not None and term.token not in own]
        return [Entry(at_s, "term", ended(term, self._wall_s()), term.token) for term, at_s in over]

    # ---- what is noticed

    def _see_store(self, new: Snapshot) -> None:
        if new.last_confirmed_s != self._confirmed_s:
            self._confirmed_s = new.last_confirmed_s
            self._failures.clear()
        problem = new.problem
        if problem is self._problem:
            return
        before, self._problem = self._problem, problem
        wall_s = self._wall_s()
        if problem is None:
            self._store.append(Entry(wall_s, "store", "the store answers again"))
            return
        self._failures[problem.detail] += 1
        last = self._store[-1] if self._store else None
        if before is not None and last is not None and last.text == problem.detail:
            self._store[-1] = replace(last, times=last.times + 1, last_s=wall_s)
        else:
            self._store.append(Entry(wall_s, "store", problem.detail, last_s=wall_s))

    def _see_state(self, told: _Told, view: ElectionView, new: Snapshot, now_s: float) -> None:
        state = view.state_at(now_s)
        term = view.term if view.term is not None and view.term.held(now_s) else None
        before, term_before = told.state, told.term
        told.state, told.term = state, term
        wall_s = self._wall_s()
        if term_before is not None and (term is None or term.token != term_before.token):
            told.lost = Loss(wall_s, term_before.token, cause(view, self._silence(new, now_s)))
            told.entries.append(Entry(wall_s, "state", f"lost: {told.lost.cause}", term_before.token))
        if term is not None and (term_before is None or term.token != term_before.token):
            told.entries.append(Entry(wall_s, "state", f"leads with token {term.token}", term.token))
        elif state is not before and term_before is None:
            told.entries.append(Entry(wall_s, "state", f"{before.value} -> {state.value}: {plain(view)}"))
        elif state is State.SUSPENDED and before is State.LEADER:
            told.entries.append(
                Entry(wall_s, "state", f"in doubt: {self._silence(new, now_s)}", told.term.token if told.term else None)
            )
        elif state is State.LEADER and before is State.SUSPENDED:
            told.entries.append(Entry(wall_s, "state", "confirmed again", told.term.token if told.term else None))

    def _see_leader(self, told: _Told, view: ElectionView, new: Snapshot) -> None:
        first = view.contenders[0] if view.led and view.contenders else None
        ours = first.own if first is not None else view.leader == new.instance
        if view.leader is None or ours:
            told.leader = None if ours else told.leader
            return
        leader = (view.leader, first.token if first is not None else None)
        if leader == told.leader:
            return
        # Who led already when we looked first may have done so for long.
        seen_before = told.leader is not None or told.lost is not None
        told.leader, told.since_s = leader, self._wall_s() if seen_before else None
        told.entries.append(Entry(self._wall_s(), "leader", f"{led_by(*leader)} leads", leader[1]))

    # ---- words

    def _silence(self, new: Snapshot, now_s: float) -> str:
        if new.last_confirmed_s is None:
            return "no quorum answer yet"
        wall_s = self._wall_s()
        since = clock_time(wall_s - (now_s - new.last_confirmed_s), wall_s)
        failures = [f"{text} x{count}" if count > 1 else text for text, count in self._failures.most_common(_DETAIL_LIMIT)]
        return f"no quorum answer since {since}" + (f" ({'; '.join(failures)})" if failures else "")
