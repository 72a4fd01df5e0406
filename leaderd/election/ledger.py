"""The ledger of promises (I10): the latest instant until which any answer of ours said "nobody else leads".

A yes is a promise. Whoever got it may act until it lapses, without asking again. So a voluntary release waits for the ledger:
the answer turns false at once, but the store is told only when nothing promised is left. A frozen or killed daemon needs no such
care, because no promise reaches past `valid_until`, and the store keeps the session longer than that.
"""

from __future__ import annotations

import math


class Ledger:
    """The promises of one election; written at each yes, read before each release. Instants are seconds since boot."""

    __slots__ = ("until_s",)

    def __init__(self) -> None:
        self.until_s = -math.inf

    def promise(self, now_s: float, promise_s: float, valid_until_s: float) -> float:
        """Enter a promise of `promise_s` from now, cut off at `valid_until_s`; return the instant until which it holds."""
        # Safety: see test_promise_beyond_the_lease
        until_s = min(now_s + promise_s, valid_until_s)
        self.until_s = max(self.until_s, until_s)
        return until_s

    def lapsed(self, now_s: float) -> bool:
        """Whether nothing promised is left at `now_s`."""
        return now_s >= self.until_s
