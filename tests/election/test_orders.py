"""Records as orders: a pause is obeyed, a transfer makes way, what is over is removed, and nothing unreadable hurts."""

from __future__ import annotations

import json

import pytest

from leaderd.election.commands import Claim, Stand, Withdraw, WriteRecord
from leaderd.election.core import LAST_WORDS_S, LINGER_S
from leaderd.election.events import (
    Claimed,
    Contender,
    DrainRequested,
    Elected,
    Queued,
    RecordRefused,
    RecordSeen,
    RecordWritten,
    ResignRequested,
    SessionGone,
    SessionOpened,
    TimeReached,
    Withdrawn,
    WriteRequested,
)
from leaderd.election.history import KEPT, WITHOUT_SAYING, TermRecord, history_bytes, noted, read_history
from leaderd.election.pause import Pause, pause_bytes, read_pause
from leaderd.election.problems import Outcome, Reason
from leaderd.election.records import MAX_BYTES, RETRY_S, Record, decoded
from leaderd.election.state import Phase, State
from leaderd.election.transfer import Transfer, in_the_way, read_transfer, transfer_bytes
from tests.election.playbook import GONE, LOST, Playbook

EPOCH_S = 1_000_000.0
"""The wall clock at boot second 0."""


@pytest.fixture
def play() -> Playbook:
    found = Playbook()
    found.core.wall_ahead_s = EPOCH_S
    return found


def seen(kind: str, value: bytes | None, version: int = 1, epoch: int = 1) -> RecordSeen:
    return RecordSeen(epoch, "jobs", kind, value, version)


def paused(expires_at_s: float | None = None) -> bytes:
    return pause_bytes(Pause("eva", "migration", expires_at_s))


def moving(to: str, token: int = 5, until_s: float = EPOCH_S + 110.0, taken: int | None = None) -> bytes:
    return transfer_bytes(Transfer(to, token, until_s, taken))


# ---- pause


def test_a_leader_obeys_a_pause_with_its_promises_kept(play: Playbook) -> None:
    play.led()
    until_s = play.promise(1.0)
    assert play.tell(seen("pause", paused())) == []
    assert not play.leading()
    assert (play.state(), play.view().reason, play.view().detail) == (State.PAUSED, Reason.PAUSED, "by eva: migration")
    assert play.at(until_s).tell(TimeReached()) == [Withdraw(1, "jobs", 5)]
    assert play.tell(Withdrawn(1, "jobs")) == []
    assert play.view().phase is Phase.OUT
    assert play.view().pause == Pause("eva", "migration", None)
    assert play.tell(seen("pause", None, 0)) == [Stand(1, "jobs")]
    assert play.view().pause is None


@pytest.mark.parametrize("known", [False, True])
def test_a_waiter_leaves_and_a_newcomer_does_not_claim(play: Playbook, known: bool) -> None:
    play.opened()
    if known:
        play.tell(Queued(1, "jobs", 5))
    assert play.tell(seen("pause", paused())) == [Withdraw(1, "jobs", 5 if known else None)]
    assert play.tell(Elected(1, "jobs", 5, 0)) == []


def test_a_pause_expires_by_the_wall_clock_and_is_removed_by_who_leads_next(play: Playbook) -> None:
    play.opened()
    play.tell(seen("pause", paused(EPOCH_S + 101.0), 7))
    play.tell(Withdrawn(1, "jobs"))
    assert play.core.next_deadline_s(play.now_s) == 101.0
    assert play.at(101.0).tell(TimeReached()) == [Stand(1, "jobs")]
    play.tell(Elected(1, "jobs", 6, 0))
    assert play.tell(Claimed(1, "jobs", 6, play.now_s)) == [WriteRecord(1, "jobs", "pause", None, 7)]
    assert play.tell(TimeReached()) == [], "one write at a time"
    assert play.tell(RecordRefused(1, "jobs", "pause", LOST)) == []
    assert WriteRecord(1, "jobs", "pause", None, 7) in play.at(101.0 + RETRY_S).tell(TimeReached())
    assert play.tell(RecordWritten(1, "jobs", "pause", 0)) == []
    assert play.view().records["pause"] == Record(None, 0)


def test_what_cannot_be_read_pauses_all_the_same(play: Playbook) -> None:
    play.opened()
    play.tell(seen("pause", b"\xff"))
    assert play.view().pause is not None
    assert "resume" in play.view().detail


def test_a_new_session_knows_of_no_pause_until_it_is_told(play: Playbook) -> None:
    play.opened()
    play.tell(seen("pause", paused()))
    play.tell(SessionGone(1, GONE))
    assert play.state() is State.UNKNOWN
    play.tell(TimeReached())
    assert play.tell(SessionOpened(2, play.now_s, 10.0)) == []
    for _ in range(4):
        play.renew(owned=())
    assert play.wake()[0] == Stand(2, "jobs"), "a ttl later: see test_session"
    assert play.tell(seen("pause", paused())) == [], "of the session before"
    assert play.tell(seen("pause", paused(), epoch=2)) == [Withdraw(2, "jobs", None)]


def test_cordoned_before_the_pause_is_cordoned_after_it(play: Playbook) -> None:
    play.opened()
    play.tell(ResignRequested("jobs", Reason.CORDONED, None))
    play.tell(Withdrawn(1, "jobs"))
    play.tell(seen("pause", paused()))
    assert play.view().reason is Reason.PAUSED
    assert play.tell(seen("pause", None, 0)) == []
    assert play.view().reason is Reason.CORDONED


# ---- transfer


def test_others_step_aside_until_the_target_leads(play: Playbook) -> None:
    play.opened()
    play.tell(Queued(1, "jobs", 6))
    assert play.tell(seen("transfer", moving("pod-c"))) == [Withdraw(1, "jobs", 6)]
    play.tell(Withdrawn(1, "jobs"))
    assert (play.view().reason, play.view().detail) == (Reason.STEPPED_ASIDE, "leadership goes to pod-c")
    assert play.tell(seen("transfer", moving("pod-c", taken=7), 2)) == [Stand(1, "jobs")]


def test_others_stand_again_when_the_transfer_lapses(play: Playbook) -> None:
    play.opened()
    play.tell(seen("transfer", moving("pod-c", until_s=EPOCH_S + 101.0)))
    play.tell(Withdrawn(1, "jobs"))
    assert play.core.next_deadline_s(play.now_s) == 101.0
    assert play.at(101.0).tell(TimeReached()) == [Stand(1, "jobs")]


def test_the_leader_stays_until_it_resigns_and_then_stays_out(play: Playbook) -> None:
    play.led()
    assert play.tell(seen("transfer", moving("pod-c"))) == []
    assert play.leading()
    assert play.tell(ResignRequested("jobs")) == [Withdraw(1, "jobs", 5)]
    assert play.tell(Withdrawn(1, "jobs")) == []
    assert play.view().reason is Reason.STEPPED_ASIDE


def test_the_target_says_that_it_leads(play: Playbook) -> None:
    play.opened()
    play.tell(seen("transfer", moving("pod-a"), 3))
    assert play.tell(Elected(1, "jobs", 8, 5)) == [Claim(1, "jobs", 8, 5)]
    done = moving("pod-a", taken=8)
    assert play.tell(Claimed(1, "jobs", 8, play.now_s)) == [WriteRecord(1, "jobs", "transfer", done, 3)]
    play.tell(RecordWritten(1, "jobs", "transfer", 4))
    assert play.view().transfer == Transfer("pod-a", 5, EPOCH_S + 110.0, 8)
    assert play.tell(TimeReached()) == []


def test_a_leader_that_cannot_see_who_waits_is_answered_by_the_target(play: Playbook) -> None:
    play.opened()
    question = Transfer("pod-a", 5, EPOCH_S + 110.0, asks=True)
    assert play.tell(seen("transfer", transfer_bytes(question), 3)) == [], "not standing yet"
    answer = WriteRecord(1, "jobs", "transfer", moving("pod-a")[:-1] + b',"stands":true}', 3)
    assert play.tell(Queued(1, "jobs", None)) == [answer]
    assert play.tell(RecordRefused(1, "jobs", "transfer")) == []
    assert play.at(play.now_s + RETRY_S).tell(TimeReached()) == [answer]
    play.tell(RecordWritten(1, "jobs", "transfer", 4))
    assert play.tell(TimeReached()) == []
    assert play.view().transfer == Transfer("pod-a", 5, EPOCH_S + 110.0, stands=True)


def test_who_leads_instead_of_the_target_makes_the_transfer_void(play: Playbook) -> None:
    play.led(token=6)
    assert play.tell(seen("transfer", moving("pod-c"), 3)) == [WriteRecord(1, "jobs", "transfer", None, 3)]


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"to":"b","token":true,"until":1}', b'{"to":"b","token":1,"until":"x"}'])
def test_an_unreadable_transfer_moves_nobody(play: Playbook, value: bytes) -> None:
    play.opened()
    assert play.tell(seen("transfer", value)) == []
    assert play.view().transfer is None


def test_who_is_in_the_way() -> None:
    a, b, c = (Contender(name, own, token) for name, own, token in (("a", True, 1), ("b", False, 2), ("c", False, 3)))
    assert in_the_way("b", (a, b, c)) == []
    assert in_the_way("c", (a, b, c)) == ["b"]
    assert in_the_way("d", (a, b, c)) is None
    racers = (a, Contender("b", False), Contender("c", False))
    assert in_the_way("b", racers) == ["c"], "without a queue, everybody"


# ---- writes


def ask(play: Playbook, ticket: int, value: bytes | None = b"x", version: int = 0) -> list[object]:
    return [*play.tell(WriteRequested("jobs", "history", value, version, ticket))]


def test_a_write_is_settled_by_its_ticket(play: Playbook) -> None:
    play.opened()
    assert ask(play, 1) == [WriteRecord(1, "jobs", "history", b"x", 0)]
    assert ask(play, 2) == []
    assert play.view().settled["history"].conflict, "one at a time"
    play.tell(RecordWritten(1, "jobs", "history", 4))
    assert (play.view().settled["history"].ticket, play.view().settled["history"].done) == (1, True)
    assert play.view().records["history"] == Record(b"x", 4)
    play.tell(RecordWritten(1, "jobs", "history", 9))
    play.tell(RecordRefused(1, "jobs", "history"))
    assert play.view().settled["history"].done, "nothing was outstanding"


def test_what_the_watch_told_later_stays(play: Playbook) -> None:
    play.opened()
    ask(play, 1)
    play.tell(seen("history", b"y", 6))
    play.tell(RecordWritten(1, "jobs", "history", 5))
    assert play.view().records["history"] == Record(b"y", 6)


def test_a_write_without_a_session_or_across_its_end(play: Playbook) -> None:
    ask(play, 1)
    assert play.view().settled["history"].problem.outcome is Outcome.FAILED
    play.opened()
    ask(play, 2)
    play.tell(SessionGone(1, GONE))
    assert play.view().settled["history"].ticket == 2
    assert play.view().settled["history"].problem.outcome is Outcome.UNKNOWN


def test_records_of_others_are_nobodys_business(play: Playbook) -> None:
    play.opened()
    assert play.tell(RecordSeen(1, "other", "pause", paused(), 1)) == []
    assert play.tell(seen("of a later version", b"?")) == []
    assert play.view().records == {}


def test_a_drained_session_waits_for_its_last_words(play: Playbook) -> None:
    play.led()
    play.tell(DrainRequested())
    play.tell(Withdrawn(1, "jobs"))
    ask(play, 1)
    out_s = play.now_s
    assert play.at(out_s + LINGER_S).tell(TimeReached()) == []
    assert play.core.next_deadline_s(play.now_s) == out_s + LINGER_S + LAST_WORDS_S
    assert [type(c).__name__ for c in play.tell(RecordWritten(1, "jobs", "history", 1))] == ["CloseSession"]


# ---- what is in them


def test_a_record_is_somebody_elses_text() -> None:
    assert decoded(b"[" * 10_000) is None
    assert decoded(b" " * (MAX_BYTES + 1)) is None
    assert read_pause(Record(None, 0)) is None
    odd = read_pause(Record(json.dumps({"by": 7, "reason": "a\x1b[31m" + "x" * 1000, "expires_at": True}).encode(), 1))
    assert odd is not None
    assert (odd.by, odd.expires_at_s, len(odd.reason), "\x1b" in odd.reason) == ("", None, 500, False)
    assert odd.text() == odd.reason
    assert read_transfer(Record(moving("b"), 1)) == Transfer("b", 5, EPOCH_S + 110.0)


def test_the_history_closes_what_nobody_closed() -> None:
    first, second = TermRecord(1, "a", 10.0), TermRecord(2, "b", 20.0)
    terms = noted(noted((), first), second)
    assert terms == (TermRecord(1, "a", 10.0, 20.0, WITHOUT_SAYING), second)
    late = TermRecord(1, "a", 10.0, 15.0, "lease_expired")
    assert noted(terms, late) == (late, second), "who led knows better"
    assert noted((late, second), first) == (late, second), "said once"
    assert noted((second,), first) == (TermRecord(1, "a", 10.0, 20.0, WITHOUT_SAYING), second)
    assert noted((late, second), TermRecord(1, "a", 10.0, 16.0, "resigned"))[0] == late


def test_the_history_is_bounded_and_forgiving() -> None:
    terms = tuple(TermRecord(n, "x" * 1000, float(n), n + 0.5, "resigned") for n in range(1, 300))
    value = history_bytes(terms)
    assert len(value) <= MAX_BYTES
    found = read_history(Record(value, 1))
    assert found[-1].token == 299
    assert len(found) <= KEPT
    assert read_history(Record(b'{"terms":[3,{},{"token":1,"started_at":2}]}', 1)) == (TermRecord(1, "", 2.0),)
    assert read_history(Record(b'{"terms":3}', 1)) == read_history(Record(None, 0)) == ()
