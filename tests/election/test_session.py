"""The session: opened, renewed, doubted, ended; one at a time, never revived."""

from __future__ import annotations

import pytest

from leaderd.election.commands import CloseSession, Entry, OpenSession, Renew, Stand, Withdraw
from leaderd.election.events import (
    Claimed,
    Connected,
    Disconnected,
    DrainRequested,
    Elected,
    Queued,
    ReleaseForced,
    Renewed,
    RenewFailed,
    SessionFailed,
    SessionGone,
    SessionOpened,
    Started,
    TimeReached,
)
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.election.state import State, Term
from leaderd.election.timing import Timing
from tests.election.playbook import DOWN, GONE, LOST, VALID_S, Playbook


def test_nothing_happens_before_the_start() -> None:
    play = Playbook()
    assert play.tell(TimeReached()) == []
    assert play.core.next_deadline_s(play.now_s) == float("inf")
    assert play.state() is State.STARTING


def test_a_failed_opening_is_tried_again_for_ever_with_capped_jittered_back_off() -> None:
    play = Playbook()
    assert play.tell(Started()) == [OpenSession(1, 10.0)]
    delays = []
    for epoch in range(1, 400):
        assert play.tell(SessionFailed(epoch, DOWN)) == [CloseSession(epoch)]
        before_s = play.now_s
        assert play.wake() == [OpenSession(epoch + 1, 10.0)]
        delays.append(play.now_s - before_s)
    assert 0.05 <= delays[0] <= 0.1
    assert all(0.75 <= d <= 1.5 for d in delays[10:])
    assert len(set(delays[10:])) > 300, "the delays must be jittered"
    assert play.view().reason is Reason.STORE_UNREACHABLE
    assert play.state() is State.STARTING


def test_two_fleets_members_do_not_knock_in_step() -> None:
    delays = []
    for seed in (1, 2):
        play = Playbook(seed=seed)
        play.tell(Started())
        play.tell(SessionFailed(1, DOWN))
        delays.append(play.core.next_deadline_s(play.now_s))
    assert delays[0] != delays[1]


def test_a_granted_ttl_that_leaves_no_validity_is_refused() -> None:
    play = Playbook()
    play.tell(Started())
    assert play.tell(SessionOpened(1, play.now_s, 0.4)) == [CloseSession(1)]
    assert play.view().reason is Reason.TTL_REFUSED
    assert play.wake() == [OpenSession(2, 10.0)]


def test_a_session_that_took_longer_to_open_than_it_is_valid_is_not_used() -> None:
    play = Playbook()
    play.tell(Started())
    sent_s = play.now_s
    play.at(sent_s + VALID_S)
    assert play.tell(SessionOpened(1, sent_s, 10.0)) == [CloseSession(1)]


def test_the_granted_ttl_counts_not_the_one_asked_for() -> None:
    play = Playbook().opened(ttl_s=4.0)
    assert play.core.session.valid_until_s == play.now_s + 3.5
    assert play.core.session.period_s == pytest.approx(3.5 / 3)


def test_renewals_are_sent_each_period_and_dated_from_their_send() -> None:
    play = Playbook().led()
    opened_s = play.now_s
    assert play.wake() == [Renew(1, (Entry("jobs", 5),))]
    assert play.now_s == opened_s + 2.0
    play.at(opened_s + 5.0)
    # The reply was slow: the next renewal is due already, and is sent at once.
    assert play.tell(Renewed(1, opened_s + 2.0, 10.0, frozenset({"jobs"}))) == [Renew(1, (Entry("jobs", 5),))]
    term = play.view().term
    assert term is not None
    assert term.valid_until_s == opened_s + 2.0 + VALID_S


def test_at_most_one_renewal_is_outstanding_however_long_it_takes() -> None:
    play = Playbook().led()
    assert len(play.wake()) == 1
    sent_s = play.now_s
    assert play.wake() == []
    assert play.now_s == sent_s + 2.0, "the silence is told after one period"
    assert play.state() is State.SUSPENDED
    assert play.view().reason is Reason.STORE_SILENT
    assert play.leading()
    assert play.wake() == [*_end(1), OpenSession(2, 10.0)], "then only the deadline is left"
    assert not play.leading()


def _end(epoch: int) -> list[object]:
    return [CloseSession(epoch)]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (Reason.PERMISSION_DENIED, Reason.PERMISSION_DENIED),
        (Reason.AUTH_FAILED, Reason.AUTH_FAILED),
        (Reason.WRONG_PROTOCOL, Reason.WRONG_PROTOCOL),
        (Reason.STORE_ERROR, Reason.STORE_ERROR),
        (Reason.STORE_UNREACHABLE, Reason.STORE_SILENT),
        (Reason.STALE_STORE_NODE, Reason.STORE_SILENT),
    ],
)
def test_a_store_that_refuses_to_renew_is_not_called_silent(said: Reason, shown: Reason) -> None:
    play = Playbook().led()
    play.wake()
    play.tell(RenewFailed(1, play.now_s, Problem(Outcome.FAILED, said, "said so")))
    assert play.state() is State.SUSPENDED
    assert play.view().reason is shown
    play.wake()
    play.tell(Renewed(1, play.now_s, 10.0, frozenset({"jobs"})))
    assert play.view().reason is Reason.LEASE_HELD


def test_a_failed_renewal_is_tried_again_soon_and_shortens_nothing() -> None:
    play = Playbook().led()
    until_s = play.core.session.valid_until_s
    play.wake()
    play.tell(RenewFailed(1, play.now_s, LOST))
    assert play.state() is State.SUSPENDED
    failed_s = play.now_s
    assert play.wake() == [Renew(1, (Entry("jobs", 5),))]
    assert play.now_s - failed_s <= 0.5
    assert play.core.session.valid_until_s == until_s
    play.tell(Renewed(1, play.now_s, 10.0, frozenset({"jobs"})))
    assert play.state() is State.LEADER
    assert play.view().reason is Reason.LEASE_HELD


def test_past_the_deadline_the_session_is_dead_and_a_late_reply_revives_nothing() -> None:
    play = Playbook().led()
    start_s = play.now_s
    play.wake()
    play.at(start_s + VALID_S)
    assert not play.leading(), "the deadline alone ends it, before any event"
    late = Renewed(1, start_s + 2.0, 10.0, frozenset({"jobs"}))
    assert play.tell(late) == [CloseSession(1), OpenSession(2, 10.0)]
    assert not play.leading()
    assert play.view().reason is Reason.LEASE_EXPIRED
    assert play.state() is State.UNKNOWN
    play.tell(SessionOpened(2, play.now_s, 10.0))
    assert play.tell(late) == [], "an event of an earlier session is ignored"
    assert not play.leading()


def test_the_reason_names_the_last_failure() -> None:
    play = Playbook().led()
    play.wake()
    play.tell(RenewFailed(1, play.now_s, LOST))
    play.at(200.0).tell(TimeReached())
    assert "deadline exceeded" in play.view().detail


def test_session_gone_ends_every_term_at_once() -> None:
    play = Playbook("jobs", "mail").led()
    assert play.tell(SessionGone(1, GONE)) == [CloseSession(1), OpenSession(2, 10.0)]
    assert not play.leading()
    assert play.view().reason is Reason.SESSION_GONE


def test_a_session_said_to_be_gone_is_closed_when_nothing_promised_is_left() -> None:
    play = Playbook("jobs", "mail").led()
    until_s = play.promise(4.0)
    assert play.tell(SessionGone(1, GONE)) == [], "whoever said so may be wrong, and closing would free what is held"
    assert not play.leading()
    assert play.state() is State.UNKNOWN
    assert play.wake() == [CloseSession(1), OpenSession(2, 10.0)]
    assert play.now_s == until_s


def test_a_draining_candidate_closes_such_a_session_before_it_ends_and_at_once_if_forced() -> None:
    play = Playbook().led()
    until_s = play.promise(4.0)
    play.tell(SessionGone(1, GONE))
    assert play.tell(DrainRequested()) == []
    assert not play.core.finished
    assert play.wake() == [CloseSession(1)]
    assert play.now_s == until_s
    assert play.core.finished
    other = Playbook().led()
    other.promise(4.0)
    other.tell(SessionGone(1, GONE))
    other.tell(DrainRequested())
    assert other.tell(ReleaseForced()) == [CloseSession(1)]
    assert other.core.finished
    assert other.tell(ReleaseForced()) == []


def test_a_late_reply_revives_no_term() -> None:
    """A term claimed while a renewal was out has the deadline of the one before: it may pass while the session lives on."""
    play = Playbook().opened()
    start_s = play.now_s
    assert play.wake() == [Renew(1, ())]
    play.tell(Queued(1, "jobs", 5))
    play.tell(Elected(1, "jobs", 5, 0))
    play.tell(Claimed(1, "jobs", 5, play.now_s))
    play.tell(Renewed(1, play.now_s, 10.0))
    assert play.wake() == [Renew(1, (Entry("jobs", 5),))]
    play.at(start_s + VALID_S)
    assert not play.leading()
    assert play.tell(Renewed(1, start_s + 4.0, 10.0, frozenset({"jobs"}))) == [Withdraw(1, "jobs", 5), Renew(1, ())]
    assert not play.leading()
    assert play.view().reason is Reason.LEASE_EXPIRED


def test_a_ttl_cut_under_a_promise_ends_the_term_but_frees_nothing_before_it_has_lapsed() -> None:
    play = Playbook().led()
    until_s = play.promise(9.0)
    asked = play.wake()
    assert [type(c) for c in asked] == [Renew]
    sent_s = play.now_s
    play.tell(Renewed(1, sent_s, 3.0, frozenset({"jobs"})))
    assert play.view().term == Term(5, 100.0, sent_s + 2.5)
    play.at(sent_s + 1.5).tell(TimeReached())
    play.tell(Renewed(1, sent_s + 0.5, 3.0))  # confirms the session, not the entry
    play.at(sent_s + 2.5)
    assert Withdraw(1, "jobs", 5) not in play.tell(TimeReached())
    assert not play.leading()
    play.tell(Renewed(1, play.now_s, 10.0))
    while play.now_s < until_s:
        commands = play.wake()
        assert (Withdraw(1, "jobs", 5) in commands) is (play.now_s >= until_s)
        if any(isinstance(c, Renew) for c in commands):
            play.tell(Renewed(1, play.now_s, 10.0))


def test_a_session_that_dies_again_before_a_renewal_is_replaced_with_back_off() -> None:
    play = Playbook().led()
    play.tell(SessionGone(1, GONE))
    assert play.tell(SessionOpened(2, play.now_s, 10.0)) == [Stand(2, "jobs")]
    assert play.tell(SessionGone(2, GONE)) == [CloseSession(2)]
    assert play.wake() == [OpenSession(3, 10.0)]
    assert play.tell(SessionOpened(2, play.now_s, 10.0)) == [], "a session opened too late is not the one we wait for"
    assert play.tell(SessionGone(2, GONE)) == []


def test_disconnection_is_a_hint_and_shortens_nothing() -> None:
    play = Playbook().led()
    assert play.tell(Disconnected(1, DOWN)) == []
    assert play.leading()
    assert play.state() is State.SUSPENDED
    assert not play.core.snapshot(play.now_s).connected
    renewals = play.tell(Connected(1))
    assert [type(c) for c in renewals] == [Renew], "proof is asked for at once"
    assert play.state() is State.LEADER


def test_a_reconnection_sends_no_second_renewal_beside_an_outstanding_one() -> None:
    play = Playbook().led()
    play.wake()
    assert play.tell(Connected(1)) == []


def test_a_shorter_ttl_granted_by_a_renewal_shortens_the_deadline() -> None:
    play = Playbook().led()
    play.wake()
    play.tell(Renewed(1, play.now_s, 4.0, frozenset({"jobs"})))
    term = play.view().term
    assert term is not None
    assert term.valid_until_s == play.now_s + 3.5


def test_a_late_claim_leads_only_as_long_as_the_last_renewal_allows() -> None:
    play = Playbook().opened()
    opened_s = play.now_s
    play.tell(Elected(1, "jobs", 5, 0))
    play.at(opened_s + 1.5)
    play.tell(Claimed(1, "jobs", 5, opened_s + 1.4))
    term = play.view().term
    assert term is not None
    assert term.valid_until_s == opened_s + VALID_S, "not dated from the claim, and not from its reply"


def test_the_snapshot_tells_the_sessions_figures() -> None:
    play = Playbook()
    empty = play.core.snapshot(play.now_s)
    assert (empty.session_live, empty.session_ttl_s, empty.renewal_period_s, empty.last_confirmed_s) == (False, None, None, None)
    play.opened()
    live = play.core.snapshot(play.now_s)
    assert (live.session_live, live.session_ttl_s, live.renewal_period_s) == (True, 10.0, 2.0)
    assert live.last_confirmed_s == play.now_s
    assert live.connected


def test_step_down_on_suspend_answers_no_and_releases_when_promises_lapse() -> None:
    play = Playbook(timing=Timing(margin_s=0.5, drift=0.0, step_down_on_suspend=True)).led()
    until_s = play.promise(1.0)
    assert play.tell(Disconnected(1, DOWN)) == []
    assert not play.leading()
    assert play.view().reason is Reason.SUSPENDED
    commands = play.wake()
    assert play.now_s == until_s
    assert [type(c).__name__ for c in commands] == ["Withdraw"]


def test_step_down_on_suspend_leaves_a_follower_in_its_place() -> None:
    play = Playbook(timing=Timing(step_down_on_suspend=True)).opened()
    assert play.tell(Disconnected(1, DOWN)) == []


def test_while_a_session_is_being_opened_there_is_nothing_to_wait_for() -> None:
    play = Playbook()
    play.tell(Started())
    assert play.core.next_deadline_s(play.now_s) == float("inf"), "the driver answers within its own bound"


def test_a_follower_whose_session_ends_too_soon_waits_out_whom_the_store_may_have_forgotten() -> None:
    """Only a store without its data, or an operator, ends a session before its time; whoever led may have renewed until now."""
    play = Playbook().opened()
    play.tell(Queued(1, "jobs", 5))
    play.at(103.1)
    assert play.tell(SessionGone(1, GONE)) == [CloseSession(1), OpenSession(2, 10.0)]
    assert play.tell(SessionOpened(2, play.now_s, 10.0)) == []
    assert play.state() is State.FOLLOWER
    assert play.view().detail == "lease not found; waiting for the end of any lease that the store forgot"
    for _ in range(4):
        play.renew(owned=())
    assert play.wake() == [Stand(2, "jobs"), Renew(2, ())]
    assert play.now_s == pytest.approx(113.1)


def test_a_leader_whose_session_ends_too_soon_stands_again_at_once() -> None:
    """Nobody else led."""
    play = Playbook().led()
    play.at(103.0)
    assert play.tell(SessionGone(1, GONE)) == [CloseSession(1), OpenSession(2, 10.0)]
    assert play.view().detail == "lease not found"
    assert play.tell(SessionOpened(2, play.now_s, 10.0)) == [Stand(2, "jobs")]


def test_a_follower_whose_session_expired_in_silence_waits_for_the_last_renewal_of_whoever_led() -> None:
    """Which was sent at most a period after its own."""
    play = Playbook().opened()
    play.tell(Queued(1, "jobs", 5))
    sent_s = play.now_s
    play.at(sent_s + VALID_S)
    assert play.tell(TimeReached()) == [CloseSession(1), OpenSession(2, 10.0)]
    assert play.tell(SessionOpened(2, play.now_s, 10.0)) == []
    assert play.wake() == [Renew(2, ())]
    play.tell(Renewed(2, play.now_s, 10.0, frozenset(), frozenset()))
    assert play.now_s < sent_s + 12.0
    assert play.wake() == [Stand(2, "jobs")]
    assert play.now_s == sent_s + 12.0, "ttl and period"
