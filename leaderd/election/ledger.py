"""The ledger of promises (I10): the latest instant until which any answer of ours said "nobody else leads".

A yes is a promise. Whoever got it may act until it lapses, without asking again. So a voluntary release waits for the ledger:
the answer turns false at once, but the store is told only when nothing promised is left. A frozen or killed daemon needs no such
care, because no promise reaches past `valid_until`, and the store keeps the session longer than that.

An answer's promise can only lapse. A hold's can be given back: its holder is on the line and says when it has finished. When the
line is cut instead, nobody has said anything: then that promise, too, can only lapse.
"""

from __future__ import annotations

import math


class Held:
    """The open promise of one holder."""

    __slots__ = ("until_s",)

    def __init__(self) -> None:
        self.until_s = -math.inf

    def promise(self, now_s: float, promise_s: float, valid_until_s: float) -> float:
        """Promise `promise_s` from now, cut off at `valid_until_s`; return until when. It is never shortened."""
        # Safety: see test_promise_beyond_the_lease
        self.until_s = max(self.until_s, min(now_s + promise_s, valid_until_s))
        return self.until_s


class Ledger:
    """The promises of one election; written at each yes, read before each release. Instants are seconds since boot."""

    __slots__ = ("_given_s", "_held")

    def __init__(self) -> None:
        self._given_s = -math.inf
        self._held: set[Held] = set()

    @property
    def until_s(self) -> float:
        """The latest instant until which anything is promised; minus infinity if nothing ever was."""
        # Safety: see test_open_hold_not_counted
        return max(self._given_s, max((held.until_s for held in self._held), default=-math.inf))

    def promise(self, now_s: float, promise_s: float, valid_until_s: float) -> float:
        """Enter a promise of `promise_s` from now, cut off at `valid_until_s`; return the instant until which it holds."""
        # Safety: see test_promise_beyond_the_lease
        until_s = min(now_s + promise_s, valid_until_s)
        self._given_s = max(self._given_s, until_s)
        return until_s

    def open(self, held: Held) -> None:
        """Count the promises of a holder, from now on."""
        self._held.add(held)

    def give_back(self, held: Held) -> None:
        """The holder has finished: nothing it was promised counts any more."""
        self._held.discard(held)

    def lose(self, held: Held) -> None:
        """The holder is out of reach and may be at work: what it was promised counts on, and can only lapse."""
        # Safety: see test_lost_hold_given_back
        self._given_s = max(self._given_s, held.until_s)
        self._held.discard(held)

    def lapsed(self, now_s: float) -> bool:
        """Whether nothing promised is left at `now_s`."""
        return now_s >= self.until_s
