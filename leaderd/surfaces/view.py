"""The one rendering of an answer: HTTP, the Unix socket and every later surface show the same words, because they call this.

Nothing here awaits. An instant is read, the board is asked, and the result is text before anything else can run (I1, I10).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from leaderd.board import Answer, Board, Hold
from leaderd.clock import Clock
from leaderd.election.pause import Pause
from leaderd.election.state import ElectionView, Snapshot, State
from leaderd.election.timing import StoreRule, Timing

MAX_NAME_CHARS = 256
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What the surfaces say about the store without seeing it. `last_answer_s`: when it last answered, seconds since boot."""

    kind: str
    rule: StoreRule
    last_answer_s: Callable[[], float | None]


class View:
    """Asks the board at an instant of now, and renders what it says."""

    def __init__(
        self, board: Board, clock: Clock, store: StoreFacts, timing: Timing, incarnation: str, instance_uid: str | None = None
    ) -> None:
        self.board = board
        self._clock = clock
        self._store = store
        self._timing = timing
        self._incarnation = incarnation
        self._instance_uid = instance_uid
        self._started = (0, "")

    def names(self) -> tuple[str, ...]:
        """The elections that this daemon stands in."""
        return tuple(self.board.snapshot.elections)

    def ask(self, name: str, promise_s: float | None = None, min_valid_s: float = 0.0, token: int | None = None) -> Answer:
        """The answer now; a yes is entered in the ledger. Raises `KeyError` for an unknown election."""
        # Read here and nowhere earlier: whatever delayed the request, the answer is of this instant.
        return self.board.answer(name, self._clock.instant(), promise_s=promise_s, min_valid_s=min_valid_s, token=token)

    def hold(
        self, name: str, promise_s: float | None = None, min_valid_s: float = 0.0, token: int | None = None
    ) -> tuple[Answer, Hold | None]:
        """The same, with a hold on the promise, to be released or lost. Raises `KeyError` for an unknown election."""
        return self.board.hold(name, self._clock.instant(), promise_s=promise_s, min_valid_s=min_valid_s, token=token)

    def extend(self, hold: Hold) -> Answer:
        """Promise the holder as much again, from now on; a no leaves it what it was promised."""
        return hold.extend(self._clock.instant())

    def body(self, answer: Answer) -> Body:
        """The body of `/is-leader`, field by field as the contract lists them."""
        snapshot, view, now_s = self.board.snapshot, answer.view, answer.now_s
        found: Body = {
            "election": view.name,
            "leader": answer.leader,
            "state": answer.state.value,
            "reason": answer.reason.value,
            "token": answer.token,
            "token_text": None,
            "instance": clean(snapshot.instance),
            "leader_instance": leader_instance(answer, snapshot),
            "valid_for_ms": None,
            "valid_until_boottime_ns": None,
            "lease_remaining_ms": None,
            "term_started_at": None,
            "index": view.index,
            "store": self._store_body(now_s),
        }
        if answer.leader and view.term is not None and answer.promised_until_s is not None and answer.lease_until_s is not None:
            found["token_text"] = str(answer.token)
            found["valid_for_ms"] = whole_ms(answer.promised_until_s - now_s)
            found["valid_until_boottime_ns"] = math.floor(answer.promised_until_s * 1_000_000_000)
            found["lease_remaining_ms"] = whole_ms(answer.lease_until_s - now_s)
            found["term_started_at"] = self._started_at(now_s - view.term.started_s)
        return found

    def election(self, name: str) -> Body:
        """Everything about one election, as a mere look: no promise is given. Raises `KeyError` for an unknown one."""
        answer = self.ask(name, promise_s=0.0)
        detail = clean(answer.view.detail) or None
        more = {
            "detail": detail,
            "pause": pause_body(answer.view.pause),
            "candidates": _candidates(answer),
            "timing": self._timing_body(),
        }
        return {**self.body(answer), **more}

    def overview(self) -> Body:
        """This daemon, its store, and all its elections."""
        snapshot = self.board.snapshot
        return {
            "instance": clean(snapshot.instance),
            "instance_uid": self._instance_uid,
            "incarnation": self._incarnation,
            "store": self._store_body(self._clock.now_s()),
            "elections": [self.election(name) for name in snapshot.elections],
        }

    def _store_body(self, now_s: float) -> Body:
        snapshot = self.board.snapshot
        seen = [at_s for at_s in (snapshot.last_confirmed_s, self._store.last_answer_s()) if at_s is not None]
        last_seen_ms = max(0, whole_ms(now_s - max(seen))) if seen else None
        return {"kind": self._store.kind, "connected": snapshot.connected, "last_seen_ms": last_seen_ms}

    @property
    def tick_s(self) -> float:
        """How often streams tell validity anew: each third of the ttl has one, though timers are late at times."""
        return self._ttl_s / 4

    @property
    def _ttl_s(self) -> float:
        """What the store has granted, which may be less than what was asked for; that, while there is no session."""
        return self.board.snapshot.session_ttl_s or self._timing.ttl_s

    def _timing_body(self) -> Body:
        snapshot, timing, ttl_s = self.board.snapshot, self._timing, self._ttl_s
        return {
            "ttl_s": ttl_s,
            "renew_every_s": snapshot.renewal_period_s or timing.renewal_period_s(self._store.rule, ttl_s),
            "valid_for_max_s": round(max(0.0, timing.valid_for_s(self._store.rule, ttl_s)), 6),
            "promise_s": self.board.promise_s,
        }

    def _started_at(self, ago_s: float) -> str:
        second = round(self._clock.wall_s() - ago_s)
        if self._started[0] != second:
            self._started = (second, rfc3339(second))
        return self._started[1]


def leader_instance(answer: Answer, snapshot: Snapshot) -> str | None:
    """Who leads, by name, or None when unsure: our own name stands only beside a held term, whatever the store showed last."""
    if answer.state is State.LEADER or answer.state is State.SUSPENDED:
        return clean(snapshot.instance)
    leader = answer.view.leader
    # Another daemon under our name (I5) must not look like us to an app that compares names.
    return None if leader is None or leader == snapshot.instance or not snapshot.connected else clean(leader)


def clean(name: str) -> str:
    """A name from a store or a host as text that every reader can take: bounded, no lone surrogates."""
    if name.isascii() and len(name) <= MAX_NAME_CHARS:
        return name
    return name[:MAX_NAME_CHARS].encode("utf-8", "replace").decode("utf-8")


def clean_text(text: str) -> str:
    """Words of people or of a store as text that every reader can take: no lone surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")


def pause_body(pause: Pause | None) -> Body | None:
    """A pause as JSON has it; None if there is none."""
    if pause is None:
        return None
    until = None if pause.expires_at_s is None else rfc3339(round(pause.expires_at_s))
    return {"by": clean(pause.by), "reason": clean_text(pause.reason), "expires_at": until}


def rfc3339(second: int) -> str:
    """Seconds since the epoch as `2026-11-23T07:00:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def whole_ms(seconds: float) -> int:
    """Rounded down: a promise may be shown shorter than it is, never longer. (A float's own error, nanoseconds, is not rounded.)"""
    return math.floor(seconds * 1000 + 1e-5)


def _candidates(answer: Answer) -> list[Body]:
    view: ElectionView = answer.view
    found = []
    for place, contender in enumerate(view.contenders):
        leads = answer.leader if contender.own else view.led and place == 0
        token = contender.token
        found.append({"instance": clean(contender.instance), "token": token, "leader": leads, "own": contender.own})
    return found
