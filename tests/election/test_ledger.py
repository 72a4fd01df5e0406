"""The ledger of promises: answers' promises lapse, holders' can be given back; nothing is ever promised beyond the lease."""

from __future__ import annotations

import math

from leaderd.election.ledger import Held, Ledger


def test_nothing_is_promised_at_first() -> None:
    ledger = Ledger()
    assert ledger.until_s == -math.inf
    assert ledger.lapsed(0.0)


def test_the_latest_promise_counts_and_none_reaches_past_the_lease() -> None:
    ledger = Ledger()
    assert ledger.promise(10.0, 5.0, 100.0) == 15.0
    assert ledger.promise(11.0, 1.0, 100.0) == 12.0, "each is told its own"
    assert ledger.until_s == 15.0
    assert ledger.promise(12.0, 60.0, 20.0) == 20.0
    assert not ledger.lapsed(19.999)
    assert ledger.lapsed(20.0)


def test_a_holders_promise_is_never_shortened_and_ends_with_the_lease() -> None:
    held = Held()
    assert held.promise(10.0, 5.0, 12.0) == 12.0
    assert held.promise(10.5, 0.1, 12.0) == 12.0
    assert held.promise(11.0, 5.0, 18.0) == 16.0


def test_a_holders_promise_counts_until_it_is_given_back() -> None:
    ledger, one, other = Ledger(), Held(), Held()
    for held, for_s in ((one, 8.0), (other, 3.0)):
        held.promise(10.0, for_s, 100.0)
        ledger.open(held)
    ledger.promise(10.0, 1.0, 100.0)
    assert ledger.until_s == 18.0
    ledger.give_back(one)
    ledger.give_back(one)
    assert ledger.until_s == 13.0
    ledger.give_back(other)
    assert ledger.until_s == 11.0, "what an answer promised can only lapse"


def test_what_a_lost_holder_was_promised_can_only_lapse() -> None:
    ledger, lost, short = Ledger(), Held(), Held()
    for held, for_s in ((lost, 8.0), (short, 3.0)):
        held.promise(10.0, for_s, 100.0)
        ledger.open(held)
        ledger.lose(held)
        ledger.give_back(held)
    assert ledger.until_s == 18.0
