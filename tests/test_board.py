"""Holds: promises that are kept open for one holder, and given back."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from leaderd.board import Board
from leaderd.clock import Instant
from leaderd.election.ledger import Ledger
from leaderd.election.problems import Reason
from leaderd.election.state import ElectionView, Phase, Snapshot, State, Term

LEADING = ElectionView("jobs", Phase.LEADING, State.LEADER, Reason.LEASE_HELD, term=Term(42, 90.0, 108.0))


class Desk:
    """A board with one election, and what it tells others."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.board = Board(Snapshot("pod-a", {"jobs": LEADING}), {"jobs": self.ledger}, promise_s=1.0)
        self.given_back = 0
        self.board.on_given_back = self._count

    def _count(self) -> None:
        self.given_back += 1

    def show(self, **changes: object) -> None:
        self.board.publish(Snapshot("pod-a", {"jobs": replace(LEADING, **changes)}))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def at(now_s: float, jumps: int = 0) -> Instant:
    return Instant(now_s, jumps)


def test_an_open_hold_is_a_promise_until_it_is_given_back(desk):
    answer, hold = desk.board.hold("jobs", at(100.0), promise_s=5.0)
    assert (answer.leader, answer.token, answer.promised_until_s) == (True, 42, 105.0)
    assert (hold.until_s, hold.token, desk.ledger.until_s) == (105.0, 42, 105.0)
    assert not desk.ledger.lapsed(104.9)
    hold.release()
    assert desk.ledger.lapsed(100.0)
    assert desk.given_back == 0, "nobody waits for it"


def test_a_holder_out_of_reach_has_given_nothing_back(desk):
    _, lost = desk.board.hold("jobs", at(100.0), promise_s=5.0)
    _, other = desk.board.hold("jobs", at(100.0), promise_s=2.0)
    lost.lose()
    other.release()
    lost.release()  # what has been lost cannot be given back any more
    assert (desk.ledger.until_s, desk.given_back) == (105.0, 0)
    assert not desk.ledger.lapsed(104.9)
    assert desk.ledger.lapsed(105.0)
    assert not desk.ledger._held, "nothing is kept of it but the instant"


def test_giving_back_again_is_no_error_and_no_news(desk):
    _, hold = desk.board.hold("jobs", at(100.0))
    desk.show(phase=Phase.RELEASING, term=None, reason=Reason.DRAINING)
    hold.release()
    hold.release()
    assert desk.given_back == 1


def test_giving_back_frees_nobody_elses_promise(desk):
    desk.board.answer("jobs", at(100.0), promise_s=3.0)
    _, longer = desk.board.hold("jobs", at(100.0), promise_s=5.0)
    _, other = desk.board.hold("jobs", at(100.0), promise_s=4.0)
    longer.release()
    assert desk.ledger.until_s == 104.0
    other.release()
    assert desk.ledger.until_s == 103.0


def test_the_usual_promise_and_never_more_than_the_lease(desk):
    _, usual = desk.board.hold("jobs", at(100.0))
    _, greedy = desk.board.hold("jobs", at(100.0), promise_s=60.0)
    assert (usual.until_s, greedy.until_s) == (101.0, 108.0)


def test_extended_it_never_gets_shorter(desk):
    _, hold = desk.board.hold("jobs", at(100.0), promise_s=2.0)
    assert hold.extend(at(101.0)).promised_until_s == 103.0
    desk.show(term=Term(42, 90.0, 102.5))  # a clock made the lease shorter
    assert hold.extend(at(101.1)).promised_until_s == 103.0


@pytest.mark.parametrize(
    "term", [None, Term(43, 100.5, 120.0), Term(42, 90.0, 108.0, doubted=True)], ids=["over", "next", "doubted"]
)
def test_a_term_that_is_over_is_not_extended_and_what_was_promised_stays(desk, term):
    _, hold = desk.board.hold("jobs", at(100.0), promise_s=2.0)
    desk.show(term=term, reason=Reason.DRAINING)
    assert not hold.extend(at(101.0)).leader
    assert (hold.until_s, desk.ledger.until_s) == (102.0, 102.0)


def test_past_the_deadline_or_after_a_jump_there_is_no_more(desk):
    _, hold = desk.board.hold("jobs", at(100.0), promise_s=2.0)
    assert hold.extend(at(108.0)).reason is Reason.LEASE_EXPIRED
    assert hold.extend(at(101.0, jumps=1)).reason is Reason.CLOCK_JUMPED
    assert hold.until_s == 102.0


def test_refused_it_holds_nothing(desk):
    assert desk.board.hold("jobs", at(100.0), token=41)[1] is None
    assert desk.board.hold("jobs", at(100.0), min_valid_s=8.1)[1] is None
    desk.show(term=None)
    answer, hold = desk.board.hold("jobs", at(100.0))
    assert (answer.leader, hold) == (False, None)
    assert desk.ledger.until_s == -math.inf


def test_given_back_it_cannot_be_extended(desk):
    _, hold = desk.board.hold("jobs", at(100.0))
    hold.release()
    with pytest.raises(RuntimeError, match="given back"):
        hold.extend(at(100.1))
    assert desk.ledger.lapsed(100.1)


def test_of_an_unknown_election(desk):
    with pytest.raises(KeyError):
        desk.board.hold("nope", at(100.0))
