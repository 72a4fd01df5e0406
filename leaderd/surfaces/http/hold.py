"""Holds over HTTP: a stream that keeps a promise open as long as the term and the connection last.

Rule 1: what an event says about validity is of the instant at which it is written, and what was written last is what counts: a
promise is extended only together with the event that tells of it, and never while the peer does not read.
Rule 2: that the holder closes the connection gives the promise back. That is how it says that it has finished, so a hand-over need
not wait for the rest of the promise; a holder that has died says the same, through the kernel. A connection that ends in any other
way (we close it, the network does) says nothing about the holder: its promise lapses by itself.
Rule 3: no task and no queue for a stream: one timer each, which only has to be punctual, never right.
"""

from __future__ import annotations

import asyncio
import math
from typing import NamedTuple

from leaderd.board import Answer, Hold
from leaderd.surfaces.http.feed import sse
from leaderd.surfaces.http.stream import Sink
from leaderd.surfaces.view import Body, View, whole_ms

MAX_HOLDS = 256
MIN_PROMISE_S = 0.25
"""Shorter ones would have to be extended so often that all holds together could crowd out the renewals."""
STUCK_S = 30.0
"""For how long after its promise has lapsed a holder may not read before it is given up."""
_MIN_TICK_S = 0.05
_TICKS_PER_PROMISE = 5
"""A holder has always four fifths of its promise left, as long as all is well."""


class HoldAsked(NamedTuple):
    """What a hold was asked for. `promise_s` None: the usual one. `renew`: extend it as long as the term lasts."""

    promise_s: float | None
    min_valid_s: float
    token: int | None
    renew: bool


class Holds:
    """All holds of one daemon."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.stopped = False
        self._open: set[HoldStream] = set()
        self._waking = False
        self._unsubscribe = view.board.subscribe(self._on_published)

    def __len__(self) -> int:
        return len(self._open)

    def take(self, name: str, asked: HoldAsked) -> tuple[Answer, HoldStream | None]:
        """The answer now; with a yes comes the stream, which is to be written to at once. Raises `KeyError`."""
        answer, hold = self.view.hold(name, asked.promise_s, asked.min_valid_s, asked.token)
        if hold is None:
            return answer, None
        stream = HoldStream(self, hold, answer, asked.renew)
        self._open.add(stream)
        return answer, stream

    def discard(self, stream: HoldStream) -> None:
        """A stream is over."""
        self._open.discard(stream)

    def stop(self) -> None:
        """The daemon ends: nobody waits for promises any more."""
        self.stopped = True
        self._unsubscribe()

    def _on_published(self) -> None:
        # Within the runner's step: only a wake-up, so that what the step asks of the store leaves first.
        if self._open and not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        for stream in tuple(self._open):
            stream.look()


class HoldStream:
    """One hold and its connection: `held`, then `tick`s, `ending` when leadership is being given up, `ended`."""

    __slots__ = ("_ending", "_hold", "_holds", "_last", "_renew", "_sink", "_stuck", "_tick_at_s", "_timer")

    def __init__(self, holds: Holds, hold: Hold, first: Answer, renew: bool) -> None:
        self._holds = holds
        self._hold = hold
        self._renew = renew
        self._last = first
        self._sink: Sink | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tick_at_s = math.inf
        self._stuck = self._ending = False

    # ---- as a `Stream`

    def open(self, sink: Sink) -> None:
        """Tell what is held."""
        self._sink = sink
        self._tell("held", self._last)

    def paused(self) -> None:
        """The peer does not read: what it was promised is not extended until it does."""
        self._stuck = True

    def resumed(self) -> None:
        """It reads again."""
        self._stuck, self._tick_at_s = False, -math.inf
        self.look()

    def gone(self, by_peer: bool) -> None:
        """The connection is over: the promise is given back, if that was the holder's doing."""
        self._sink = None
        self._holds.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._holds.stopped:
            return
        # Safety: see test_a_connection_that_we_close_gives_nothing_back
        if by_peer:
            self._hold.release()
        else:
            self._hold.lose()

    # ---- what happens

    def look(self) -> None:
        """See how things stand, and tell what has to be told. Nothing in here awaits."""
        if self._sink is None:
            return
        answer = self._holds.view.ask(self._hold.name, promise_s=0.0, token=self._hold.token)
        if self._stuck:
            if answer.now_s >= self._hold.until_s + STUCK_S:
                self._sink.abort()
            else:
                self._arm(STUCK_S / 4)
            return
        if answer.leader and not self._ending:
            if answer.now_s < self._tick_at_s and not self._is_news(answer):
                self._arm(self._tick_at_s - answer.now_s)
                return
            answer = self._holds.view.extend(self._hold) if self._renew else answer
            if answer.leader:
                self._tell("tick", answer)
                return
        if answer.now_s >= self._hold.until_s:
            self._tell("ended", answer)
            self._sink.close()
        elif not self._ending:
            self._ending = True
            self._tell("ending", answer)
        else:
            self._arm(self._hold.until_s - answer.now_s)

    def _is_news(self, answer: Answer) -> bool:
        """Whether the store has fallen silent or is back, or a renewal lets the promise reach further by enough."""
        if answer.state is not self._last.state:
            return True
        assert answer.lease_until_s is not None
        reach_s = min(self._hold.promise_s, answer.lease_until_s - answer.now_s)
        return self._renew and answer.now_s + reach_s - self._hold.until_s >= max(_MIN_TICK_S, reach_s / _TICKS_PER_PROMISE)

    def _tell(self, kind: str, answer: Answer) -> None:
        if self._sink is None:
            return
        self._last = answer
        self._sink.write(sse(kind, "", self._body(kind, answer)))
        left_s = max(0.0, self._hold.until_s - answer.now_s)
        wait_s = left_s
        if not self._ending and answer.lease_until_s is not None:
            wait_s = max(_MIN_TICK_S, min(self._hold.promise_s, answer.lease_until_s - answer.now_s) / _TICKS_PER_PROMISE)
            self._tick_at_s = answer.now_s + wait_s
        if kind != "ended":
            self._arm(wait_s)

    def _body(self, kind: str, answer: Answer) -> Body:
        """The body of `/is-leader`; until when to have finished is what was promised, also when the answer is a no by now."""
        until_s = self._hold.until_s
        return {
            **self._holds.view.body(answer),
            "leader": kind in {"held", "tick"} and answer.leader,
            "token": self._hold.token,
            "token_text": str(self._hold.token),
            "valid_for_ms": max(0, whole_ms(until_s - answer.now_s)),
            "valid_until_boottime_ns": math.floor(until_s * 1_000_000_000),
        }

    def _arm(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # Never zero: a deadline just ahead must not make us spin.
        self._timer = asyncio.get_running_loop().call_later(max(0.001, wait_s), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.look()
