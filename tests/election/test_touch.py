"""From when on a session is counted: the send of a renewal, or, where a store may forget it, of one it has surely learned of."""

from __future__ import annotations

import pytest

from leaderd.election.backoff import Backoff
from leaderd.election.events import Renewed, SessionOpened
from leaderd.election.session import Session
from leaderd.election.timing import RULES, StoreRule, Timing

TIMING = Timing(ttl_s=10.0, renew_every_s=2.0, drift=0.0, margin_s=0.0)
LAGGING = StoreRule(fraction=2 / 3, lag_fraction=0.3)


def opened(rule: StoreRule) -> Session:
    """A session whose opening was sent at 0."""
    session = Session(TIMING, rule, Backoff(1))
    session.open(0.0)
    session.opened(SessionOpened(1, 0.0, 10.0), 0.1)
    return session


def renew(session: Session, sent_at_s: float) -> bool:
    """A renewal sent then is confirmed; whether it counts as proof about the time after a jump."""
    session.renew_at_s = sent_at_s
    session.renew((), sent_at_s)
    return session.renewed(Renewed(1, sent_at_s, 10.0)).fresh


def test_every_renewal_counts_from_its_send_where_none_can_be_forgotten() -> None:
    session = opened(RULES["local"])
    renew(session, 9.0)
    assert session.valid_until_s == 19.0


def test_steady_renewals_give_nearly_the_whole_validity() -> None:
    session = opened(LAGGING)
    for sent_at_s in (2.0, 4.0, 6.0, 8.0):
        renew(session, sent_at_s)
    # The one sent at 4 is surely known; the session lives for 10 from then on.
    assert session.valid_until_s == pytest.approx(14.0)


def test_a_renewal_after_a_long_silence_counts_from_before_it() -> None:
    session = opened(LAGGING)
    renew(session, 6.0)
    # Nobody but one node may know of it: without it the session ends at 10.
    assert session.valid_until_s == pytest.approx(10.0)
    renew(session, 9.5)
    assert session.valid_until_s == pytest.approx(16.0)


def test_a_new_session_owes_nothing_to_the_last_one() -> None:
    session = opened(LAGGING)
    renew(session, 6.0)
    session.end(None, 7.0)
    session.open(8.0)
    session.opened(SessionOpened(2, 8.0, 10.0), 8.1)
    assert session.valid_until_s == pytest.approx(8.0 + 20.0 / 3.0)
    assert not session.unsure


def test_a_jump_while_opening_is_doubted_until_a_renewal_is_confirmed() -> None:
    session = Session(TIMING, RULES["etcd"], Backoff(1))
    session.open(0.0)
    session.doubt(0.5)
    session.opened(SessionOpened(1, 0.0, 10.0), 0.6)
    assert session.doubted_since_s == 0.5
    assert session.renew((), 0.6)
    assert session.renewed(Renewed(1, 0.6, 10.0)).fresh
    assert session.doubted_since_s is None


def test_after_a_jump_only_what_is_surely_known_proves_anything() -> None:
    session = opened(LAGGING)
    session.doubt(5.0)
    assert not renew(session, 5.0)
    assert not renew(session, 7.0)
    assert renew(session, 8.5)


def test_after_a_jump_a_late_answer_is_asked_for_again_at_once_and_a_young_one_in_its_time() -> None:
    session = opened(LAGGING)
    session.doubt(5.0)
    session.renewed(Renewed(1, 4.9, 10.0))
    assert session.renew((), 5.1)
    session.renewed(Renewed(1, 5.1, 10.0))
    assert not session.renew((), 5.2)


def test_a_doubt_of_a_closed_session_is_none() -> None:
    session = opened(LAGGING)
    session.end(None, 1.0)
    session.doubt(1.5)
    assert session.doubted_since_s is None


def test_the_earlier_renewal_bounds_the_deadline_with_drift_over_the_whole_ttl() -> None:
    timing = Timing(ttl_s=10.0, drift=0.2, margin_s=0.5)
    # The store may count its ten seconds in eight of ours, from the last renewal it surely heard of.
    assert timing.valid_until_s(LAGGING, 10.0, sent_at_s=6.0, touched_s=0.0) == pytest.approx(7.5)
    assert timing.valid_until_s(LAGGING, 10.0, sent_at_s=1.0, touched_s=0.0) == pytest.approx(1.0 + 10.0 * 2 / 3 * 0.8 - 0.5)
    assert timing.valid_until_s(RULES["local"], 10.0, sent_at_s=6.0, touched_s=0.0) == pytest.approx(6.0 + 8.0 - 0.5)
