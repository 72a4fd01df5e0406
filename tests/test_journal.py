"""Why: a cause beside each effect, in words, and nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from leaderd.clock import BootClock
from leaderd.election.events import Contender
from leaderd.election.history import TermRecord
from leaderd.election.pause import Pause
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.election.state import ElectionView, Phase, Snapshot, State, Term
from leaderd.journal import KEPT, Journal
from leaderd.observing import Afterwards

NOON_S = 1_795_780_800.0  # 2026-11-27T12:00:00Z
LEADING = ElectionView("jobs", Phase.LEADING, State.LEADER, Reason.LEASE_HELD, term=Term(41, 0.0, 10.0), led=True, leader="pod-a")
QUEUE = (Contender("pod-b", False, 42), Contender("pod-a", True, 43))
FOLLOWING = ElectionView("jobs", Phase.QUEUED, State.FOLLOWER, Reason.IN_QUEUE, leader="pod-b", led=True, contenders=QUEUE)


class Scene:
    """A journal, and time that stands still unless told otherwise. Boot second 0 is noon."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.journal = Journal(lambda: NOON_S + self.now_s)
        self.shown = Snapshot("pod-a", {}, connected=True)

    def show(self, at_s: float, view: ElectionView, **changes: object) -> None:
        self.now_s = at_s
        old, self.shown = self.shown, replace(self.shown, elections={view.name: view}, **changes)
        self.journal.published(old, self.shown, at_s)

    def summary(self, at_s: float | None = None, terms: Sequence[TermRecord] = ()) -> str:
        self.now_s = self.now_s if at_s is None else at_s
        return self.journal.why("jobs", self.shown, self.now_s, terms).summary

    def texts(self, terms: Sequence[TermRecord] = ()) -> list[str]:
        return [entry.text for entry in self.journal.why("jobs", self.shown, self.now_s, terms).entries]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def trouble(detail: str) -> Problem:
    return Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, detail)


def test_lost_to_silence_and_who_took_over(scene):
    scene.show(0.0, LEADING, last_confirmed_s=0.0)
    for second in (3.0, 5.0, 7.0):
        scene.show(second, replace(LEADING, silent=True), problem=trouble("etcd-1:2379 did not answer within 1.7 s"))
    scene.show(10.0, replace(LEADING, term=None, resting=State.UNKNOWN, reason=Reason.LEASE_EXPIRED), connected=False)
    silence = "no quorum answer since 12:00:00Z (etcd-1:2379 did not answer within 1.7 s x3)"
    assert scene.summary() == f"{silence}: it is not known who leads; this instance lost token 41 at 12:00:10Z"
    scene.show(12.0, FOLLOWING, connected=True, problem=None, last_confirmed_s=11.9)
    leads = "pod-b (token 42) leads since 12:00:12Z; this instance is number 2 in the queue"
    assert scene.summary() == f"{leads}; this instance lost token 41 at 12:00:10Z: {silence}"
    assert scene.texts() == [
        "leads with token 41",
        "etcd-1:2379 did not answer within 1.7 s",
        f"in doubt: {silence.replace(' x3', '')}",
        f"lost: {silence}",
        "the store answers again",
        "unknown -> follower: in queue",
        "pod-b (token 42) leads",
    ]
    (counted,) = [entry for entry in scene.journal.why("jobs", scene.shown, 12.0).entries if entry.times > 1]
    assert (counted.times, counted.at_s, counted.last_s) == (3, NOON_S + 3.0, NOON_S + 7.0)


def test_in_doubt_and_confirmed_again(scene):
    scene.show(0.0, LEADING, last_confirmed_s=0.0)
    assert scene.summary(1.0) == "pod-a leads since 12:00:00Z with token 41"
    scene.show(4.0, replace(LEADING, silent=True), problem=trouble("zk-2: connection reset"))
    doubt = "in doubt: no quorum answer since 12:00:00Z (zk-2: connection reset)"
    assert scene.summary() == f"pod-a leads since 12:00:00Z with token 41, {doubt}; unless confirmed it ends at 12:00:10Z"
    scene.show(5.0, replace(LEADING, term=Term(41, 0.0, 15.0)), problem=None, last_confirmed_s=5.0)
    assert scene.texts()[-2:] == ["the store answers again", "confirmed again"]


@pytest.mark.parametrize(
    ("reason", "detail", "cause"),
    [
        (Reason.RESIGNED, "", "an operator had it resign"),
        (Reason.DRAINING, "", "the daemon was told to stop"),
        (Reason.PAUSED, "by ada: upgrade", "an operator paused the election (by ada: upgrade)"),
        (Reason.ENTRY_GONE, "our key p/jobs/1f was deleted by somebody else", "our key p/jobs/1f was deleted by somebody else"),
        (Reason.CLOCK_JUMPED, "", "clock jumped"),
    ],
)
def test_other_ends_and_how_they_are_told_when_others_lead(scene, reason, detail, cause):
    scene.show(0.0, LEADING)
    scene.show(5.0, replace(LEADING, term=None, resting=State.FOLLOWER, reason=reason, detail=detail, leader=None, led=False))
    assert "this instance lost token 41 at 12:00:05Z" in scene.summary()
    assert cause in scene.summary() or reason is Reason.RESIGNED
    assert f"lost: {cause}" in scene.texts()
    scene.show(7.0, FOLLOWING)
    waits = "this instance is number 2 in the queue"
    lost = f"this instance lost token 41 at 12:00:05Z: {cause}"
    assert scene.summary() == f"pod-b (token 42) leads since 12:00:07Z; {waits}; {lost}"


def test_how_things_stand_comes_first_however_often_they_change(scene):
    """Lost to pod-b long ago: pod-c leads, then the election is paused, then the store is away."""
    scene.show(0.0, LEADING)
    scene.show(5.0, replace(FOLLOWING, term=None))
    queue = (Contender("pod-c", False, 44), Contender("pod-a", True, 45))
    scene.show(60.0, replace(FOLLOWING, leader="pod-c", contenders=queue))
    assert scene.summary().startswith("pod-c (token 44) leads since 12:01:00Z; this instance is number 2 in the queue; ")
    paused = ElectionView(
        "jobs", Phase.OUT, State.PAUSED, Reason.PAUSED, "by ada: upgrade", pause=Pause("ada", "upgrade", NOON_S + 3600)
    )
    scene.show(90.0, paused)
    assert scene.summary().startswith("an operator paused the election (by ada: upgrade), until 13:00:00Z; ")
    scene.show(99.0, replace(paused, reason=Reason.CORDONED, detail="", leader="pod-c", led=True, contenders=queue[:1]))
    cordoned = "an operator took this instance out of the election; pod-c (token 44) leads since 12:01:00Z"
    assert scene.summary().startswith(f"{cordoned}; ")
    scene.show(120.0, paused, connected=False, last_confirmed_s=100.0)
    assert scene.summary().startswith("no quorum answer since 12:01:40Z: it is not known who leads; ")


TERMS = (
    TermRecord(40, "pod-a", NOON_S - 7200.0, NOON_S - 3600.0, "paused"),
    TermRecord(41, "pod-a", NOON_S - 600.0, NOON_S - 60.0, "draining"),
    TermRecord(42, "pod-b", NOON_S - 58.0),
)


def test_the_store_remembers_what_this_daemon_has_not_seen(scene):
    scene.show(0.0, FOLLOWING)
    leads = "pod-b (token 42) leads since 11:59:02Z; this instance is number 2 in the queue"
    assert scene.summary(terms=TERMS) == f"{leads}; pod-a led with token 41 until 11:59:00Z: its daemon was told to stop"
    assert scene.texts(TERMS) == [
        "pod-a led with token 40 until 11:00:00Z: an operator paused the election",
        "pod-a led with token 41 until 11:59:00Z: its daemon was told to stop",
        "starting -> follower: in queue",
        "pod-b (token 42) leads",
    ]


def test_a_restarted_daemon_that_leads_says_who_did_before(scene):
    scene.show(0.0, replace(LEADING, term=Term(43, 0.0, 10.0)))
    killed = (*TERMS[:2], replace(TERMS[2], ended_at_s=NOON_S, reason="ended_without_saying"))
    before = "pod-b led with token 42 until 12:00:00Z: it could not say why (killed, or cut off from the store)"
    assert scene.summary(terms=killed) == f"pod-a leads since 12:00:00Z with token 43; {before}"


def test_the_last_cause_counts_and_our_own_is_told_in_our_own_words(scene):
    scene.show(0.0, replace(LEADING, term=Term(43, 0.0, 10.0)))
    away = replace(
        FOLLOWING, leader=None, led=False, contenders=(), reason=Reason.ENTRY_GONE, detail="our key was deleted by somebody else"
    )
    scene.show(5.0, away)
    ours = TermRecord(43, "pod-a", NOON_S, NOON_S + 5.0, "entry_gone")
    assert scene.summary(terms=(*TERMS[:2], ours)).endswith("; this instance lost token 43 at 12:00:05Z")
    assert [text for text in scene.texts((*TERMS[:2], ours)) if "43" in text] == ["leads with token 43"]
    theirs = TermRecord(44, "pod-c", NOON_S + 6.0, NOON_S + 8.0, "session_gone")
    told = "pod-c led with token 44 until 12:00:08Z: the store had ended its session"
    assert scene.summary(terms=(ours, theirs)).endswith(f"; {told}")


def test_every_reason_that_ends_a_term_has_words(scene):
    scene.show(0.0, FOLLOWING)
    for reason in Reason:
        text = scene.summary(terms=(TermRecord(41, "pod-a", NOON_S - 5.0, NOON_S - 1.0, reason.value),))
        assert "until 11:59:59Z: " in text
        assert "_" not in reason.value or reason.value not in text


def test_a_follower_that_never_led(scene):
    scene.show(0.0, FOLLOWING)
    assert scene.summary() == "pod-b (token 42) leads; this instance is number 2 in the queue"


@pytest.mark.parametrize(
    ("reason", "detail", "says"),
    [
        (Reason.CORDONED, "", "an operator took this instance out of the election"),
        (Reason.STARTING, "", "this daemon has just started"),
        (Reason.PAUSED, "by ada until 13:00: maintenance", "an operator paused the election (by ada until 13:00: maintenance)"),
        (Reason.TOKEN_NOT_ABOVE_MARK, "token 7 is not above the high-water mark 9", "token 7 is not above the high-water mark 9"),
        (Reason.OTHER_LEADER, "", "nobody leads: other leader"),
    ],
)
def test_why_nobody_leads_from_here(scene, reason, detail, says):
    view = ElectionView("jobs", Phase.OUT, State.FOLLOWER, reason, detail)
    scene.show(0.0, view)
    assert scene.summary() == says


def test_the_store_was_never_reached(scene):
    view = ElectionView("jobs", Phase.OUT, State.STARTING, Reason.STORE_UNREACHABLE)
    scene.show(3.0, view, connected=False, problem=trouble("consul:8500: connection refused"))
    assert scene.summary() == "no quorum answer yet: it is not known who leads"
    assert scene.texts() == ["consul:8500: connection refused"]


def test_a_new_term_of_ours_right_after_the_old_one(scene):
    scene.show(0.0, LEADING)
    scene.show(5.0, replace(LEADING, term=Term(44, 5.0, 20.0)))
    assert [text.split(":")[0] for text in scene.texts()] == ["leads with token 41", "lost", "leads with token 44"]
    assert scene.summary().startswith("pod-a leads since 12:00:05Z with token 44; ")


def test_yesterday_has_a_date(scene):
    scene.show(0.0, LEADING)
    assert scene.summary(9.0) == "pod-a leads since 12:00:00Z with token 41"
    scene.show(5.0, replace(FOLLOWING, reason=Reason.RESIGNED))
    waits = "it resigned, and waits before it stands again; pod-b (token 42) leads since 2026-11-27T12:00:05Z"
    lost = "this instance lost token 41 at 2026-11-27T12:00:05Z: an operator had it resign"
    assert scene.summary(86_400.0) == f"{waits}; {lost}"


def test_clock_jumps_and_operators(scene):
    scene.show(0.0, LEADING)
    scene.show(1.0, replace(LEADING, term=replace(LEADING.term, doubted=True)), jumps=1)
    scene.journal.acted("jobs", "ada had pod-a resign")
    assert "the clock jumped: terms wait for a fresh confirmation" in scene.texts()
    assert scene.texts()[-1] == "ada had pod-a resign"


def test_it_is_bounded(scene):
    scene.show(0.0, LEADING)
    for number in range(3 * KEPT):
        scene.show(1.0, replace(LEADING, silent=True), problem=trouble(f"failure {number}"))
        scene.journal.acted("jobs", f"action {number}")
    assert len(scene.texts()) == KEPT


def test_an_unknown_election(scene):
    with pytest.raises(KeyError):
        scene.journal.why("nope", scene.shown, 0.0)


async def test_who_asks_hears_what_has_yet_to_be_told() -> None:
    """Who lets go is told of a moment later (`leaderd/observing.py`)."""
    afterwards = Afterwards(BootClock(1.0), lambda error: None)
    journal = Journal(afterwards.wall_s, afterwards.flush)
    afterwards.observers = (journal,)
    led = Snapshot("pod-a", {"jobs": LEADING}, connected=True)
    over = replace(led, elections={"jobs": replace(LEADING, phase=Phase.RELEASING, term=None, reason=Reason.RESIGNED)})
    afterwards.published(over, led, 1.0)
    afterwards.published(led, over, 2.0)
    assert any(entry.text.startswith("lost") for entry in journal.why("jobs", over, 2.0).entries)
