"""One election: standing, leading, leaving."""

from __future__ import annotations

import pytest

from leaderd.election.commands import Claim, CloseSession, Entry, OpenSession, RaiseMark, Renew, Stand, Withdraw
from leaderd.election.core import LINGER_S
from leaderd.election.events import (
    Claimed,
    ClockJumped,
    Contender,
    DrainRequested,
    Elected,
    EntryGone,
    Queued,
    QueueSeen,
    ReleaseForced,
    Renewed,
    ResignRequested,
    SessionOpened,
    StandFailed,
    StandRequested,
    Started,
    TimeReached,
    Withdrawn,
)
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.election.state import Phase, State
from tests.election.playbook import DELETED, DOWN, LOST, VALID_S, Playbook

FOREIGN = Problem(Outcome.FAILED, Reason.FOREIGN_ENTRY, "a key without lease")


def test_from_the_queue_to_the_lead_only_by_proof() -> None:
    play = Playbook().opened()
    assert play.tell(Queued(1, "jobs", 5)) == []
    assert play.state() is State.FOLLOWER
    assert play.view().reason is Reason.IN_QUEUE
    assert play.tell(Elected(1, "jobs", 5, 3)) == [Claim(1, "jobs", 5, 3)]
    assert not play.leading(), "being first is not leading"
    assert play.tell(Claimed(1, "jobs", 5, play.now_s)) == []
    assert play.leading()
    assert play.state() is State.LEADER
    assert play.view().leader == "pod-a"


def test_nobody_is_said_to_be_in_the_queue_before_the_store_says_so() -> None:
    """The store may be slow, or take the request and lose the answer: until then `starting`, and `standing` why."""
    play = Playbook().opened()
    assert (play.state(), play.view().reason) == (State.STARTING, Reason.STANDING)
    play.tell(Queued(1, "jobs", 5))
    assert (play.state(), play.view().reason) == (State.FOLLOWER, Reason.IN_QUEUE)
    play.tell(EntryGone(1, "jobs", DELETED))
    play.wake()
    assert play.state() is State.FOLLOWER, "a place was given once"


def test_who_leads_at_once_was_never_a_follower() -> None:
    play = Playbook().opened()
    play.tell(Elected(1, "jobs", 5, 3))
    assert play.state() is State.STARTING
    play.tell(Claimed(1, "jobs", 5, play.now_s))
    assert play.state() is State.LEADER


def test_a_moved_mark_is_claimed_against_anew() -> None:
    play = Playbook().opened()
    assert play.tell(Elected(1, "jobs", 9, 3)) == [Claim(1, "jobs", 9, 3)]
    assert play.tell(Elected(1, "jobs", 9, 4)) == [Claim(1, "jobs", 9, 4)]


@pytest.mark.parametrize("token", [3, 2])
def test_a_token_not_above_the_mark_does_not_lead(token: int) -> None:
    play = Playbook().opened()
    assert play.tell(Elected(1, "jobs", token, 3)) == [Withdraw(1, "jobs", token)]
    assert not play.leading()
    assert play.view().reason is Reason.TOKEN_NOT_ABOVE_MARK
    assert "restored" in play.view().detail
    assert play.tell(Withdrawn(1, "jobs")) == []
    play.at(play.now_s + 0.2)
    assert Stand(1, "jobs") in play.tell(TimeReached()), "and tries again with a newer token"


def test_the_mark_a_daemon_remembers_outlives_the_stores() -> None:
    play = Playbook().led(token=50)
    play.tell(EntryGone(1, "jobs", DELETED))
    play.at(play.now_s + 0.2).tell(TimeReached())
    assert play.tell(Elected(1, "jobs", 7, 0)) == [RaiseMark(1, "jobs", 50), Withdraw(1, "jobs", 7)]


def test_claimed_counts_only_for_the_token_claimed() -> None:
    play = Playbook().opened()
    play.tell(Elected(1, "jobs", 5, 0))
    play.tell(Claimed(1, "jobs", 4, play.now_s))
    assert not play.leading()


def test_events_out_of_place_change_nothing() -> None:
    play = Playbook().led()
    until_s = play.core.session.valid_until_s
    for event in (
        Queued(1, "jobs", 9),
        Elected(1, "jobs", 9, 0),
        Claimed(1, "jobs", 9, play.now_s),
        StandFailed(1, "jobs", DOWN),
        Withdrawn(1, "jobs"),
        Queued(1, "unknown", 9),
        EntryGone(2, "jobs", DELETED),
    ):
        assert play.tell(event) == []
    assert play.leading()
    assert play.view().term is not None
    assert play.view().term.token == 5  # type: ignore[union-attr]
    assert play.core.session.valid_until_s == until_s


def test_a_certain_failure_to_stand_is_repeated_after_back_off() -> None:
    play = Playbook().opened()
    assert play.tell(StandFailed(1, "jobs", FOREIGN)) == []
    assert play.view().reason is Reason.FOREIGN_ENTRY
    assert play.view().detail == "a key without lease"
    assert play.wake() == [Stand(1, "jobs")]


def test_an_uncertain_failure_to_stand_takes_the_possible_entry_out_first() -> None:
    play = Playbook().opened()
    assert play.tell(StandFailed(1, "jobs", LOST)) == [Withdraw(1, "jobs", None)]
    assert play.tell(Withdrawn(1, "jobs", LOST)) == [], "not certain yet"
    assert play.wake() == [Withdraw(1, "jobs", None)]
    assert Stand(1, "jobs") in play.tell(Withdrawn(1, "jobs"))


def test_a_deleted_entry_ends_the_term_at_once_and_the_candidate_stands_again() -> None:
    play = Playbook().led()
    assert play.tell(EntryGone(1, "jobs", DELETED)) == []
    assert not play.leading()
    assert play.view().reason is Reason.ENTRY_GONE
    assert play.wake() == [Stand(1, "jobs")]
    assert play.tell(EntryGone(1, "jobs", DELETED)) == []


def test_a_renewal_that_finds_the_entry_gone_ends_the_term() -> None:
    play = Playbook().led()
    assert play.renew(owned=(), lost=("jobs",)) == []
    assert not play.leading()
    assert play.view().phase is Phase.OUT


def test_a_renewal_asked_before_a_new_entry_says_nothing_about_it() -> None:
    play = Playbook().led(token=5)
    play.wake()  # asks about token 5
    play.tell(EntryGone(1, "jobs", DELETED))
    play.at(play.now_s + 0.5).tell(TimeReached())
    play.tell(Elected(1, "jobs", 8, 5))
    play.tell(Claimed(1, "jobs", 8, play.now_s))
    assert play.leading()
    play.tell(Renewed(1, play.now_s - 0.5, 10.0, frozenset(), frozenset({"jobs"})))
    assert play.leading()


def test_a_term_the_renewals_do_not_confirm_ends_at_its_deadline_although_the_session_lives() -> None:
    play = Playbook().led()
    started_s = play.now_s
    while play.now_s < started_s + VALID_S - 2.5:
        play.renew(owned=())
    assert play.leading()
    commands = []
    while not commands or not isinstance(commands[0], Withdraw):
        commands = play.wake()
        if commands == [Renew(1, (Entry("jobs", 5),))]:
            play.tell(Renewed(1, play.now_s, 10.0))
    assert play.now_s == started_s + VALID_S
    assert not play.leading()
    assert play.view().reason is Reason.LEASE_EXPIRED
    assert play.core.session.live


def test_one_entry_lost_leaves_the_other_elections_alone() -> None:
    play = Playbook("jobs", "mail").led(name="jobs")
    play.tell(Elected(1, "mail", 6, 0))
    play.tell(Claimed(1, "mail", 6, play.now_s))
    play.renew(owned=("jobs",), lost=("mail",))
    assert play.leading("jobs")
    assert not play.leading("mail")


def test_resigning_answers_no_at_once_and_tells_the_store_when_the_promises_have_lapsed() -> None:
    play = Playbook().led()
    until_s = play.promise(3.0)
    assert play.tell(ResignRequested("jobs", cooldown_s=30.0)) == []
    assert not play.leading()
    assert play.state() is State.DRAINING
    assert play.view().reason is Reason.RESIGNED
    assert play.renew() == [], "the entry is still renewed meanwhile"
    assert play.wake() == [Withdraw(1, "jobs", 5)]
    assert play.now_s == until_s
    assert play.tell(Withdrawn(1, "jobs")) == []
    assert play.state() is State.FOLLOWER
    resigned_s = until_s - 3.0
    while Stand(1, "jobs") not in (commands := play.wake()):
        assert [type(c) for c in commands] == [Renew]
        play.tell(Renewed(1, play.now_s, 10.0))
    assert play.now_s == resigned_s + 30.0


def test_resigning_with_no_promise_outstanding_releases_at_once() -> None:
    play = Playbook().led()
    assert play.tell(ResignRequested("jobs")) == [Withdraw(1, "jobs", 5)]
    assert not play.leading()


def test_an_entry_deleted_while_promises_run_out_is_simply_gone() -> None:
    play = Playbook().led()
    play.promise(3.0)
    play.tell(ResignRequested("jobs", cooldown_s=None))
    assert play.tell(EntryGone(1, "jobs", DELETED)) == []
    assert play.view().phase is Phase.OUT
    assert play.view().reason is Reason.RESIGNED
    assert not play.view().standing


def test_a_cordoned_candidate_stands_only_when_asked() -> None:
    play = Playbook().opened()
    assert play.tell(ResignRequested("jobs", Reason.CORDONED, None)) == [Withdraw(1, "jobs", None)]
    play.tell(Withdrawn(1, "jobs"))
    play.renew(owned=())
    assert play.tell(ResignRequested("jobs", Reason.CORDONED, None)) == [], "already out"
    assert play.view().reason is Reason.CORDONED
    assert not play.view().standing
    assert play.tell(StandRequested("jobs")) == [Stand(1, "jobs")]


def test_resigning_while_withdrawing_only_sets_the_time_to_stand_again() -> None:
    play = Playbook().opened()
    play.tell(ResignRequested("jobs"))
    assert play.tell(ResignRequested("jobs", Reason.CORDONED, None)) == []
    assert play.tell(Withdrawn(1, "jobs")) == []


def test_draining_releases_everything_and_closes_the_session() -> None:
    play = Playbook("jobs", "mail").led()
    play.promise(1.0)
    assert play.tell(DrainRequested()) == [Withdraw(1, "mail", None)]
    assert play.state() is State.DRAINING
    assert play.view("mail").reason is Reason.DRAINING
    play.tell(Withdrawn(1, "mail"))
    assert play.wake() == [Withdraw(1, "jobs", 5)]
    released_s = play.now_s
    assert play.tell(Withdrawn(1, "jobs")) == []  # the successor's claim goes first
    assert play.wake() == [CloseSession(1)]
    assert play.now_s == pytest.approx(released_s + LINGER_S)
    assert play.core.finished
    assert play.core.next_deadline_s(play.now_s) == float("inf")
    assert play.tell(StandRequested("jobs")) == []
    assert play.tell(TimeReached()) == []


def test_a_second_request_to_stop_releases_at_once() -> None:
    play = Playbook().led()
    play.promise(5.0)
    play.tell(DrainRequested())
    assert play.tell(ReleaseForced()) == [Withdraw(1, "jobs", 5)]


def test_draining_before_a_session_is_open_closes_what_was_asked_for() -> None:
    play = Playbook()
    play.tell(Started())
    assert play.tell(DrainRequested()) == [CloseSession(1)]
    assert play.core.finished
    assert play.tell(SessionOpened(1, play.now_s, 10.0)) == []
    assert not play.core.session.live


def test_a_drain_ends_when_the_session_dies_under_it() -> None:
    play = Playbook().led()
    play.promise(5.0)
    play.tell(DrainRequested())
    assert play.at(play.now_s + VALID_S).tell(TimeReached()) == [CloseSession(1)]
    assert play.core.finished
    assert play.view().reason is Reason.DRAINING


def test_a_promise_never_reaches_beyond_the_lease() -> None:
    play = Playbook().led()
    assert play.promise(3600.0) == play.now_s + VALID_S
    assert play.promise(0.0) == play.now_s
    assert play.core.ledgers["jobs"].until_s == play.now_s + VALID_S


def test_after_a_clock_jump_the_same_term_goes_on_once_freshly_confirmed() -> None:
    play = Playbook().led()
    assert play.tell(ClockJumped(1)) == [Renew(1, (Entry("jobs", 5),))]
    assert not play.leading()
    assert play.state() is State.UNKNOWN
    assert play.view().reason is Reason.CLOCK_JUMPED
    play.tell(Renewed(1, play.now_s, 10.0, frozenset({"jobs"})))
    assert play.leading()
    assert play.view().terms == 1


def test_a_renewal_sent_before_the_jump_confirms_nothing() -> None:
    play = Playbook().led()
    play.wake()
    sent_s = play.now_s
    play.at(sent_s + 0.1).tell(ClockJumped(1))
    assert play.tell(Renewed(1, sent_s, 10.0, frozenset({"jobs"}))) == [Renew(1, (Entry("jobs", 5),))]
    assert not play.leading()
    play.tell(Renewed(1, play.now_s, 10.0, frozenset({"jobs"})))
    assert play.leading()


def test_a_claim_under_way_at_a_jump_waits_for_the_confirmation_too() -> None:
    play = Playbook().opened()
    play.tell(Elected(1, "jobs", 5, 0))
    play.tell(ClockJumped(1))
    play.tell(Claimed(1, "jobs", 5, play.now_s))
    assert not play.leading()
    assert play.view().reason is Reason.CLOCK_JUMPED


def test_a_jump_without_a_session_is_noted() -> None:
    play = Playbook()
    play.tell(Started())
    assert play.tell(ClockJumped(3)) == []
    assert play.core.snapshot(play.now_s).jumps == 3


def test_who_leads_is_seen_and_forgotten_with_the_session() -> None:
    play = Playbook().opened()
    play.tell(Queued(1, "jobs", 9))
    queue = (Contender("pod-b", False, 4), Contender("pod-a", True, 9))
    play.tell(QueueSeen(1, "jobs", queue, led=True))
    assert play.view().leader == "pod-b"
    assert play.view().reason is Reason.OTHER_LEADER
    play.tell(QueueSeen(1, "jobs", queue, led=False))
    assert play.view().leader is None
    play.tell(QueueSeen(1, "jobs", (), led=True))
    assert play.view().leader is None
    play.tell(QueueSeen(1, "jobs", queue, led=True))
    assert play.at(play.now_s + VALID_S).tell(TimeReached()) == [CloseSession(1), OpenSession(2, 10.0)]
    assert play.view().leader is None
    assert play.view().contenders == ()


def test_the_index_rises_with_state_token_or_leader_and_with_nothing_else() -> None:
    play = Playbook().opened()
    starting = play.view().index
    play.tell(Queued(1, "jobs", 5))
    first = play.view().index
    assert first == starting + 1
    play.tell(Elected(1, "jobs", 5, 0))
    assert play.view().index == first
    play.tell(Claimed(1, "jobs", 5, play.now_s))
    led = play.view().index
    assert led == first + 1
    play.renew()
    assert play.view().index == led
    play.tell(ResignRequested("jobs"))
    assert play.view().index == led + 1


def test_an_illegal_transition_is_an_assertion() -> None:
    play = Playbook()
    with pytest.raises(AssertionError, match="not a legal transition"):
        play.core.elections["jobs"]._enter(Phase.LEADING)


def test_an_entry_that_is_gone_already_is_not_missed() -> None:
    play = Playbook().opened()
    play.tell(StandFailed(1, "jobs", FOREIGN))
    assert play.tell(EntryGone(1, "jobs", DELETED)) == []
    assert play.view().reason is Reason.FOREIGN_ENTRY


def test_a_queued_candidate_waits_for_the_store_not_for_the_clock() -> None:
    play = Playbook().opened()
    play.tell(Queued(1, "jobs", 5))
    assert play.core.elections["jobs"].next_deadline_s(session_live=True) == float("inf")
