"""What happened lately, in memory, and why an election is, or is not, led from here: for `/why` and `leaderd why`.

An observer of the runner, like the log; but it remembers, and puts a cause beside each effect: which failures lay between the last
confirmation and the end of a term, who led next. Bounded: equal failures in a row are one entry with a count.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from leaderd.election.problems import Problem, Reason
from leaderd.election.state import ElectionView, Snapshot, State, Term

KEPT = 200
"""Entries kept: for each election, and for the store."""
_DETAIL_LIMIT = 3
_GIVEN_UP = {
    Reason.RESIGNED: "an operator had it resign",
    Reason.DRAINING: "the daemon was told to stop",
    Reason.CORDONED: "an operator took this instance out of the election",
    Reason.PAUSED: "an operator paused the election",
    Reason.SUSPENDED: "the connection to the store broke, and on_suspend is step_down",
}
_NOT_LEADING = {
    Reason.STARTING: "this daemon has just started",
    Reason.STANDING: "it has asked the store for a place in the queue, and waits for the answer",
    Reason.CORDONED: "an operator took this instance out of the election",
    Reason.PAUSED: "an operator paused the election",
    Reason.DRAINING: "this daemon is about to stop",
    Reason.RESIGNED: "it resigned, and waits before it stands again",
    Reason.LOCK_DELAY: "Consul holds the lock back after a session that ended early",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened. `kind`: `state`, `leader`, `store`, `clock` or `operator`; `at_s` in seconds since the epoch, of the
    first time if it happened `times` in a row, `last_s` of the last."""

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
    lost: tuple[float, str] | None = None
    """When and how the last term of ours ended."""
    next_leader: tuple[float, str] | None = None
    """When and by whom it was taken over."""
    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=KEPT))


class Journal:
    """An observer of the runner. `wall_s`: seconds since the epoch, for humans."""

    def __init__(self, wall_s: Callable[[], float]) -> None:
        self._wall_s = wall_s
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

    def why(self, name: str, snapshot: Snapshot, now_s: float) -> Why:
        """Why the election is, or is not, led from here at `now_s`. Raises `KeyError` for an unknown one."""
        view = snapshot.elections[name]
        told = self._elections.get(name, _Told())
        entries = sorted((*self._store, *told.entries), key=lambda entry: entry.at_s)[-KEPT:]
        return Why(name, self._summary(told, view, snapshot, now_s), tuple(entries))

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
            cause = self._cause(view, new, now_s)
            told.lost, told.next_leader = (wall_s, cause), None
            told.entries.append(Entry(wall_s, "state", f"lost: {cause}", term_before.token))
        if term is not None and (term_before is None or term.token != term_before.token):
            told.entries.append(Entry(wall_s, "state", f"leads with token {term.token}", term.token))
        elif state is not before and term_before is None:
            told.entries.append(Entry(wall_s, "state", f"{before.value} -> {state.value}: {_reason_text(view)}"))
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
            return
        leader = (view.leader, first.token if first is not None else None)
        if leader == told.leader:
            return
        told.leader = leader
        wall_s = self._wall_s()
        told.entries.append(Entry(wall_s, "leader", f"{_led_by(*leader)} leads", leader[1]))
        if told.lost is not None and told.next_leader is None:
            told.next_leader = (wall_s, _led_by(*leader))

    # ---- words

    def _time(self, at_s: float) -> str:
        """A time of day in UTC, with its date if that is not today."""
        at, today = time.gmtime(at_s), time.gmtime(self._wall_s())
        return time.strftime("%H:%M:%SZ" if at[:3] == today[:3] else "%Y-%m-%dT%H:%M:%SZ", at)

    def _cause(self, view: ElectionView, new: Snapshot, now_s: float) -> str:
        if view.reason in _GIVEN_UP:
            return _GIVEN_UP[view.reason]
        if view.reason in {Reason.LEASE_EXPIRED, Reason.STORE_SILENT, Reason.STORE_UNREACHABLE, Reason.STALE_STORE_NODE}:
            return self._silence(new, now_s)
        return view.detail or _plain(view.reason)

    def _silence(self, new: Snapshot, now_s: float) -> str:
        if new.last_confirmed_s is None:
            return "no quorum answer yet"
        since = self._time(self._wall_s() - (now_s - new.last_confirmed_s))
        failures = [f"{text} x{count}" if count > 1 else text for text, count in self._failures.most_common(_DETAIL_LIMIT)]
        return f"no quorum answer since {since}" + (f" ({'; '.join(failures)})" if failures else "")

    def _summary(self, told: _Told, view: ElectionView, snapshot: Snapshot, now_s: float) -> str:
        state = view.state_at(now_s)
        if view.term is not None and view.term.held(now_s):
            since = self._time(self._wall_s() - (now_s - view.term.started_s))
            leads = f"{snapshot.instance} leads since {since} with token {view.term.token}"
            if state is State.SUSPENDED:
                until = self._time(self._wall_s() + (view.term.valid_until_s - now_s))
                return f"{leads}, in doubt: {self._silence(snapshot, now_s)}; unless confirmed it ends at {until}"
            return leads
        now = self._now_text(view, snapshot, now_s)
        if told.lost is None:
            return now
        at_s, cause = told.lost
        lost = f"lost at {self._time(at_s)}: {cause}"
        if told.next_leader is None:
            return f"{lost}; {now}"
        at_s, who = told.next_leader
        return f"{lost}; {who} took over at {self._time(at_s)}"

    def _now_text(self, view: ElectionView, snapshot: Snapshot, now_s: float) -> str:
        if not snapshot.connected:
            return f"{self._silence(snapshot, now_s)}: it is not known who leads"
        if view.reason in _NOT_LEADING:
            return _NOT_LEADING[view.reason] + (f" ({view.detail})" if view.detail else "")
        if view.leader is not None and view.led:
            place = next((number for number, contender in enumerate(view.contenders) if contender.own), None)
            token = view.contenders[0].token if view.contenders else None
            leads = f"{_led_by(view.leader, token)} leads"
            return leads + (f"; this instance is number {place + 1} in the queue" if place else "")
        return view.detail or f"nobody leads: {_plain(view.reason)}"


def _reason_text(view: ElectionView) -> str:
    return view.detail or _plain(view.reason)


def _plain(reason: Reason) -> str:
    return reason.value.replace("_", " ")


def _led_by(name: str, token: int | None) -> str:
    return name if token is None else f"{name} (token {token})"
