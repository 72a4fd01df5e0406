"""The runner and the board: one writer, answers before commands, an exception ends leadership first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from leaderd.board import Board
from leaderd.clock import FORGOTTEN, LEAST_LIMIT_S, BootClock, Divergence, Instant, jump_limit_s
from leaderd.election.commands import Claim, Command, OpenSession, Renew, Stand
from leaderd.election.core import Core, CoreConfig
from leaderd.election.events import (
    Claimed,
    Contender,
    Elected,
    EntryGone,
    Event,
    Queued,
    QueueSeen,
    Renewed,
    RenewFailed,
    ResignRequested,
    SessionFailed,
    SessionOpened,
    StandFailed,
    Started,
    TimeReached,
)
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.election.state import Snapshot, State
from leaderd.election.timing import RULES, Timing
from leaderd.runner import Runner
from leaderd.stores.base import Sink, Traffic
from leaderd.transitions import TransitionLog

DOWN = Problem(Outcome.FAILED, Reason.STORE_UNREACHABLE, "127.0.0.1:2379: connection refused")
TIMING = Timing(drift=0.0)


class HandClock:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.boot_s = 100.0
        self.jumps = 0

    def now_s(self) -> float:
        return self.boot_s

    def instant(self) -> Instant:
        return Instant(self.boot_s, self.jumps)

    def wall_s(self) -> float:
        return 1_700_000_000.0 + self.boot_s


@dataclass
class ScriptedStore:
    """Remembers the commands; answers what a test put into `answers`."""

    kind = "local"
    rule = RULES["local"]
    traffic: Traffic = field(default_factory=Traffic)
    commands: list[Command] = field(default_factory=list)
    on_submit: Callable[[Command], None] = lambda command: None

    async def start(self, sink: Sink) -> None: ...

    def submit(self, command: Command) -> None:
        self.commands.append(command)
        self.on_submit(command)

    async def aclose(self) -> None: ...


class Rig:
    """A runner with everything around it by hand."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.store = ScriptedStore()
        self.core = Core(CoreConfig("pod-a", ("jobs",), TIMING, RULES["local"], 1))
        self.board = Board(self.core.snapshot(0.0), self.core.ledgers, TIMING.promise_s)
        self.armed: list[float] = []
        self.crashes: list[BaseException] = []
        self.lines: list[tuple[int, str, dict[str, Any]]] = []
        self.log = TransitionLog(lambda level, text, **fields: self.lines.append((level, text, fields)), TIMING.ttl_s)
        self.runner = Runner(self.core, self.store, self.board, self.clock, self.armed.append, self.crashes.append, (self.log,))

    def tell(self, *events: Event) -> None:
        for event in events:
            self.runner.deliver(event)

    def lead(self, token: int = 5) -> None:
        self.tell(Started(), SessionOpened(1, self.clock.boot_s, 10.0), Queued(1, "jobs", token), Elected(1, "jobs", token, 0))
        self.tell(Claimed(1, "jobs", token, self.clock.boot_s))
        assert self.answer().leader

    def answer(self, **wanted: Any) -> Any:
        return self.board.answer("jobs", self.clock.instant(), **wanted)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_events_become_commands_and_the_timer_is_armed(rig: Rig) -> None:
    rig.lead()
    assert [type(c) for c in rig.store.commands] == [OpenSession, Stand, Claim]
    assert rig.armed[-1] == 102.0
    rig.clock.boot_s = 102.0
    rig.tell(TimeReached())
    assert isinstance(rig.store.commands[-1], Renew)


def test_a_store_that_answers_from_within_submit_is_heard_after_the_step(rig: Rig) -> None:
    def answer(command: Command) -> None:
        if isinstance(command, OpenSession):
            rig.tell(SessionOpened(command.epoch, rig.clock.boot_s, 10.0))

    rig.store.on_submit = answer
    rig.tell(Started())
    assert [type(c) for c in rig.store.commands] == [OpenSession, Stand]


def test_the_answer_is_right_before_any_command_leaves(rig: Rig) -> None:
    rig.lead()
    seen: list[bool] = []
    rig.store.on_submit = lambda command: seen.append(rig.answer().leader)
    rig.tell(ResignRequested("jobs"))  # the answer in lead() promised 1 s
    rig.clock.boot_s += 1.0
    rig.tell(TimeReached())
    assert seen == [False]


def test_an_answer_is_a_deadline_compared_when_asked(rig: Rig) -> None:
    rig.lead()
    rig.clock.boot_s += 9.4
    assert rig.answer().leader
    rig.clock.boot_s += 0.1
    answer = rig.answer()
    assert not answer.leader
    assert answer.state is State.UNKNOWN
    assert answer.reason is Reason.LEASE_EXPIRED
    assert answer.token is None


def test_a_yes_is_entered_in_the_ledger_and_a_no_is_not(rig: Rig) -> None:
    rig.tell(Started())
    assert not rig.answer().leader
    assert rig.core.ledgers["jobs"].until_s == float("-inf")
    rig.lead()
    yes = rig.answer(promise_s=5.0)
    assert yes.promised_until_s == 105.0
    assert rig.core.ledgers["jobs"].until_s == 105.0
    assert not rig.answer(promise_s=8.0, token=6).leader
    assert not rig.answer(promise_s=8.0, min_valid_s=9.6).leader
    assert rig.answer(promise_s=0.0).promised_until_s == 100.0
    assert rig.core.ledgers["jobs"].until_s == 105.0
    assert rig.answer(promise_s=1e9).promised_until_s == 109.5, "never beyond the lease"


def test_conditions_are_answered_with_their_reason(rig: Rig) -> None:
    rig.lead()
    assert rig.answer(token=5, min_valid_s=9.0).leader
    assert rig.answer(token=4).reason is Reason.OTHER_TERM
    assert rig.answer(min_valid_s=9.6).reason is Reason.MIN_VALID_UNMET
    with pytest.raises(KeyError):
        rig.board.answer("unknown", rig.clock.instant())


def test_a_clock_jump_is_noticed_by_the_first_answer_after_it(rig: Rig) -> None:
    rig.lead()
    rig.clock.jumps += 2
    woken: list[int] = []
    rig.board.on_jump = lambda: woken.append(1)
    answer = rig.answer()
    assert woken == [1], "the runner is to look at it at once, not at its next deadline"
    assert not answer.leader, "even before the loop has run"
    assert answer.reason is Reason.CLOCK_JUMPED
    rig.tell(TimeReached())
    assert isinstance(rig.store.commands[-1], Renew)
    assert not rig.answer().leader
    rig.tell(Renewed(1, rig.clock.boot_s, 10.0, frozenset({"jobs"})))
    assert rig.answer().leader
    assert rig.answer().token == 5


def test_unexpected_exception_ends_leadership_first(rig: Rig) -> None:
    rig.lead()
    answers: list[bool] = []
    rig.runner._on_crash = lambda error: answers.append(rig.answer().leader)

    def fail(command: Command) -> None:
        raise RuntimeError("bug")

    rig.store.on_submit = fail
    rig.clock.boot_s = 102.0
    rig.tell(TimeReached())
    assert answers == [False]
    assert rig.answer().reason is Reason.INTERNAL_ERROR
    assert rig.answer().state is State.UNKNOWN
    rig.tell(Renewed(1, 102.0, 10.0, frozenset({"jobs"})))
    rig.runner.crash(RuntimeError("again"))
    assert answers == [False], "told once; nothing is applied any more"


def test_a_raising_subscriber_ends_leadership_and_the_process_and_leaves_nobody_in_the_dark(rig: Rig) -> None:
    rig.lead()
    told: list[bool] = []

    def fail() -> None:
        raise RuntimeError("a subscriber's bug")

    rig.board.subscribe(fail)
    for _ in range(3):
        rig.board.subscribe(lambda: told.append(rig.answer().leader))
    rig.clock.boot_s = 102.0
    rig.tell(TimeReached())
    assert [str(error) for error in rig.crashes] == ["a subscriber's bug"]
    assert told[-3:] == [False, False, False]
    assert rig.answer().reason is Reason.INTERNAL_ERROR


def test_a_loss_is_told_to_hooks_before_the_store_is_told() -> None:
    rig = Rig()
    order: list[str] = []

    class Herald:
        def published(self, old: Snapshot, new: Snapshot, now_s: float) -> None:
            order.append(f"hook: {'leads' if new.elections['jobs'].term else 'does not lead'}")

        def renewed(self, duration_s: float, margin_s: float | None) -> None:
            raise AssertionError("renewals are no news")

    rig.runner._heralds = (Herald(),)
    rig.lead()
    rig.store.on_submit = lambda command: order.append(type(command).__name__)
    order.clear()
    rig.clock.boot_s += 1.5  # nothing is promised any more
    rig.tell(ResignRequested("jobs"))
    assert order == ["hook: does not lead", "Withdraw"]


def test_subscribers_are_woken_by_each_publication_until_they_leave(rig: Rig) -> None:
    woken: list[int] = []
    stop = rig.board.subscribe(lambda: woken.append(1))
    rig.tell(Started())
    assert woken
    stop()
    stop()
    count = len(woken)
    rig.tell(TimeReached())
    assert len(woken) == count


def test_one_line_per_transition_and_nothing_per_renewal(rig: Rig) -> None:
    rig.lead()
    assert [(text, fields.get("token")) for _, text, fields in rig.lines] == [
        ("jobs: starting -> follower", None),
        ("jobs: follower -> leader", 5),
    ]
    assert rig.lines[-1][2]["valid_for_ms"] == 9500
    said = len(rig.lines)
    for _ in range(5):
        rig.clock.boot_s += 2.0
        rig.tell(TimeReached(), Renewed(1, rig.clock.boot_s, 10.0, frozenset({"jobs"})))
    assert len(rig.lines) == said
    rig.tell(EntryGone(1, "jobs", Problem(Outcome.FAILED, Reason.ENTRY_GONE, "key deleted")))
    level, text, fields = rig.lines[-1]
    assert (level, text) == (logging.WARNING, "jobs: leader -> follower")
    assert fields["reason"] == "entry_gone"
    assert fields["held_s"] == 10.0
    assert fields["detail"] == "key deleted"


def test_trouble_is_told_once_and_its_end_too(rig: Rig) -> None:
    rig.tell(Started(), *(SessionFailed(1, DOWN),))
    for epoch in range(2, 20):
        rig.clock.boot_s += 2.0
        rig.tell(TimeReached(), SessionFailed(epoch, DOWN))
    assert [text for _, text, _ in rig.lines] == ["store: 127.0.0.1:2379: connection refused"]
    rig.clock.boot_s += 2.0
    rig.tell(TimeReached(), SessionOpened(20, rig.clock.boot_s, 10.0))
    rig.clock.boot_s += 2.0
    rig.tell(TimeReached(), RenewFailed(20, rig.clock.boot_s, DOWN))
    rig.clock.boot_s += 1.0
    rig.tell(TimeReached(), Renewed(20, rig.clock.boot_s, 10.0))
    assert [text for _, text, _ in rig.lines][-1] == "store: answers again"


def test_a_foreign_entry_is_named_once(rig: Rig) -> None:
    rig.tell(Started(), SessionOpened(1, rig.clock.boot_s, 10.0))
    for _ in range(5):
        rig.tell(StandFailed(1, "jobs", Problem(Outcome.FAILED, Reason.FOREIGN_ENTRY, "/jobs/x is not ours")))
        rig.clock.boot_s += 1.9
        rig.tell(TimeReached(), Renewed(1, rig.clock.boot_s, 10.0))
    assert [text for level, text, _ in rig.lines if level == logging.WARNING] == ["jobs: /jobs/x is not ours"]


def test_a_twin_is_named_but_not_the_ghost_of_a_crash(rig: Rig) -> None:
    rig.tell(Started(), SessionOpened(1, rig.clock.boot_s, 10.0), Queued(1, "jobs", 9))
    queue = (Contender("pod-a", False, 4), Contender("pod-a", True, 9))

    def for_a_while(seconds: float) -> list[str]:
        for _ in range(int(seconds)):
            rig.clock.boot_s += 1.0
            rig.tell(TimeReached(), Renewed(1, rig.clock.boot_s, 10.0), QueueSeen(1, "jobs", queue, led=True))
        return [text for _, text, _ in rig.lines if "another daemon" in text]

    assert for_a_while(24) == []
    assert len(for_a_while(30)) == 1
    assert "'pod-a'" in for_a_while(30)[0]


def test_the_boot_clock_counts_steps_of_the_wall_clock_but_not_its_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, boot = [1000.0], [50.0]
    monkeypatch.setattr("leaderd.clock.time.time", lambda: wall[0])
    monkeypatch.setattr("leaderd.clock.time.clock_gettime", lambda which: boot[0])
    clock = BootClock(0.5)
    for _ in range(100):
        wall[0] += 10.004
        boot[0] += 10.0
        assert clock.instant().jumps == 0
    wall[0] += 0.6
    assert clock.instant() == Instant(boot[0], 1)
    assert clock.instant().jumps == 1
    wall[0] -= 600.0
    assert clock.instant().jumps == 2
    assert clock.now_s() == boot[0]
    assert clock.wall_s() == wall[0]
    assert clock.last_jump_s == pytest.approx(-600.0)


def test_small_pauses_of_a_machine_add_up_and_harmless_steps_are_forgotten() -> None:
    divergence = Divergence(0.5, 0.0, 0.0)
    assert divergence.moved_by_s(1.0, 0.45) == 0.0
    assert divergence.moved_by_s(2.0, 0.9) == pytest.approx(0.9, abs=0.01)
    assert divergence.moved_by_s(2.1, 0.9) == 0.0, "told once"
    back_and_forth = Divergence(0.5, 0.0, 0.0)
    assert back_and_forth.moved_by_s(1.0, -0.4) == 0.0
    assert back_and_forth.moved_by_s(2.0, 0.05) == 0.0
    assert back_and_forth.moved_by_s(3.0, 0.45) == pytest.approx(0.85, abs=0.01), "a step back hides no pause"
    seldom = Divergence(0.5, 0.0, 0.0)
    assert seldom.moved_by_s(3600.0, 0.3) == 0.0
    assert seldom.moved_by_s(3601.0, 0.6) == pytest.approx(0.6, abs=0.01), "an hour unread hides nothing of its end"
    rare = Divergence(0.5, 0.0, 0.0)
    assert all(rare.moved_by_s(3600.0 * hour, 0.3 * hour) == 0.0 for hour in range(1, 100))
    assert jump_limit_s(0.5, 10.0) + FORGOTTEN * 10.0 == pytest.approx(0.5), "what goes unnoticed in a lease fits into the margin"
    assert jump_limit_s(0.05, 1.0) < 0.05
    assert jump_limit_s(0.0, 10.0) == LEAST_LIMIT_S


def test_a_process_that_is_stopped_between_its_two_readings_is_no_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    stops = [0.0, 0.0, 0.0]  # one reading of the wall clock at the start, then one held up, then one that is not
    now = [50.0]

    def wall_s() -> float:
        read = now[0] + 1000.0
        now[0] += stops.pop(0) if stops else 0.0
        return read

    monkeypatch.setattr("leaderd.clock.time.time", wall_s)
    monkeypatch.setattr("leaderd.clock.time.clock_gettime", lambda which: now[0])
    clock = BootClock(0.05)
    stops[:] = [0.4, 0.0]
    assert clock.instant() == Instant(50.4, 0)
    assert stops == []
