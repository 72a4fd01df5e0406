"""One log line per transition, and one per trouble; nothing per poll, nothing per renewal, nothing twice.

An edge is logged, a level is not: the observer remembers what it said last, and speaks when that is no longer true.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from leaderd.election.problems import Problem, Reason
from leaderd.election.state import ElectionView, Snapshot, State, Term

Say = Callable[..., None]
"""`say(level, message, **fields)`."""

_EXPECTED = {Reason.RESIGNED, Reason.DRAINING, Reason.CORDONED, Reason.PAUSED}
_TROUBLE = {
    Reason.TOKEN_NOT_ABOVE_MARK,
    Reason.FOREIGN_ENTRY,
    Reason.PERMISSION_DENIED,
    Reason.AUTH_FAILED,
    Reason.STORE_ERROR,
    Reason.WRONG_PROTOCOL,
}


class TransitionLog:
    """An observer of the runner that turns published snapshots into log lines."""

    def __init__(self, say: Say, ttl_s: float) -> None:
        self._say = say
        self._ttl_s = ttl_s
        self._states: dict[str, tuple[State, Term | None]] = {}
        self._trouble: dict[str, Reason | None] = {}
        self._problem: Reason | None = None
        self._was_live = False
        self._jumps = 0
        self._twin_since_s: dict[str, float] = {}
        self._twins_named: set[str] = set()

    def published(self, old: Snapshot, new: Snapshot, now_s: float) -> None:
        """Compare with what was said last, and say what is new."""
        self._tell_store(new)
        if new.jumps > self._jumps:
            self._jumps = new.jumps
            self._say(logging.WARNING, "clock jumped: no term is held until the store confirms it anew", jumps=new.jumps)
        for view in new.elections.values():
            self._tell_state(view, now_s)
            self._tell_trouble(view)
            self._tell_twin(new.instance, view, now_s)

    def renewed(self, duration_s: float, margin_s: float | None) -> None:
        """Renewals are no news."""

    def _tell_store(self, new: Snapshot) -> None:
        reason = new.problem.reason if new.problem is not None else None
        if reason is not self._problem:
            if new.problem is not None and new.problem.reason is not Reason.LEASE_EXPIRED:
                self._say(logging.WARNING, f"store: {new.problem.detail}", **_problem_fields(new.problem))
            elif reason is None and self._was_live:
                self._say(logging.INFO, "store: answers again")
            self._problem = reason
        self._was_live = self._was_live or new.session_live

    def _tell_state(self, view: ElectionView, now_s: float) -> None:
        state = view.state_at(now_s)
        before, term_before = self._states.get(view.name, (State.STARTING, None))
        term = view.term if view.term is not None and view.term.held(now_s) else None
        self._states[view.name] = (state, term)
        token_before = term_before.token if term_before is not None else None
        token = term.token if term is not None else None
        if state is before and token == token_before:
            return
        fields: dict[str, Any] = {"election": view.name, "from": before.value, "to": state.value, "reason": view.reason.value}
        level = logging.INFO
        if term is not None:
            fields |= {"token": term.token, "valid_for_ms": round((term.valid_until_s - now_s) * 1000)}
        elif term_before is not None:
            fields |= {"token": term_before.token, "held_s": round(now_s - term_before.started_s, 3)}
            level = logging.INFO if view.reason in _EXPECTED else logging.WARNING
        if view.detail:
            fields["detail"] = view.detail
        if state is State.SUSPENDED:
            level = logging.WARNING
        self._say(level, f"{view.name}: {before.value} -> {state.value}", **fields)

    def _tell_trouble(self, view: ElectionView) -> None:
        trouble = view.reason if view.reason in _TROUBLE and view.term is None else None
        if trouble is self._trouble.get(view.name):
            return
        if trouble is not None and trouble is not self._problem:
            self._say(logging.WARNING, f"{view.name}: {view.detail}", election=view.name, reason=trouble.value)
        if trouble is not None or view.term is not None:
            # Between two attempts the reason may change for a moment; only leading proves that the trouble is over.
            self._trouble[view.name] = trouble

    def _tell_twin(self, instance: str, view: ElectionView, now_s: float) -> None:
        twin = any(c.instance == instance and not c.own for c in view.contenders)
        if not twin:
            self._twin_since_s.pop(view.name, None)
            return
        since_s = self._twin_since_s.setdefault(view.name, now_s)
        # Our own entry from before a crash is a twin too, for as long as its session lives: wait until that cannot be it.
        if now_s - since_s > 2.5 * self._ttl_s and view.name not in self._twins_named:
            self._twins_named.add(view.name)
            message = f"{view.name}: another daemon stands under our instance name {instance!r}: give each its own"
            self._say(logging.WARNING, message, election=view.name, instance=instance)


def _problem_fields(problem: Problem) -> dict[str, Any]:
    return {"reason": problem.reason.value, "outcome": problem.outcome.value}
