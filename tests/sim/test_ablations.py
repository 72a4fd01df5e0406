"""Each safeguard is switched off in turn, and the simulator must then find two leaders, a falling token or a stuck fleet.

A safeguard whose absence nothing here notices would be dead code, or a fault missing from the simulator. The switches are
patches made here; the code under test has none. The seeds are the same that the clean code passes in `test_swarm.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from leaderd.board import Answer, Board
from leaderd.clock import Divergence, Instant
from leaderd.election import commands as c
from leaderd.election import events as e
from leaderd.election.core import Core
from leaderd.election.ledger import Ledger
from leaderd.election.machine import Election
from leaderd.election.session import Session
from leaderd.election.state import Term
from leaderd.election.timing import RULES, Timing
from tests.sim.ablation import ANY, TOKEN, Patch, found_by
from tests.sim.clocks import HostClock
from tests.sim.fleet import DRIVERS, simulate
from tests.sim.plan import draw
from tests.sim.stores.local import LocalDriver

# ---- the core


@pytest.mark.parametrize("store", ["local", "etcd", "zookeeper", "consul"])
def test_release_before_promises_lapsed(monkeypatch: Patch, store: str) -> None:
    """Freeing the store while somebody still holds a yes of ours."""
    monkeypatch.setattr(Ledger, "lapsed", lambda self, now_s: True)
    found_by(store)


@pytest.mark.parametrize("store", ["local", "etcd", "zookeeper"])
def test_promise_beyond_the_lease(monkeypatch: Patch, store: str) -> None:
    """Promising what the lease does not cover."""

    def promise(self: Ledger, now_s: float, promise_s: float, valid_until_s: float) -> float:
        self._given_s = max(self._given_s, now_s + min(promise_s, 5.0))
        return now_s + min(promise_s, 5.0)

    monkeypatch.setattr(Ledger, "promise", promise)
    found_by(store)


@pytest.mark.parametrize("store", ["local", "etcd", "zookeeper", "consul"])
def test_open_hold_not_counted(monkeypatch: Patch, store: str) -> None:
    """Freeing the store under somebody who is at work with a hold of ours."""
    monkeypatch.setattr(Ledger, "open", lambda self, held: None)
    found_by(store)


@pytest.mark.parametrize("store", ["etcd", "consul"])
def test_lost_hold_given_back(monkeypatch: Patch, store: str) -> None:
    """Taking the end of a holder's line for its word that it has finished."""
    monkeypatch.setattr(Ledger, "lose", Ledger.give_back)
    found_by(store)


@pytest.mark.parametrize("store", ["local", "etcd"])
def test_reply_dated_deadline(monkeypatch: Patch, store: str) -> None:
    """Counting the lease from the reply's arrival."""
    on_renewed = Core._on_renewed
    monkeypatch.setattr(Core, "_on_renewed", lambda self, event, now_s: on_renewed(self, replace(event, sent_at_s=now_s), now_s))
    found_by(store)


@pytest.mark.parametrize("store", ["local", "etcd", "zookeeper", "consul"])
def test_flag_instead_of_deadline(monkeypatch: Patch, store: str) -> None:
    """Answering from what was true when somebody last looked."""
    answer = Board.answer
    monkeypatch.setattr(Term, "held", lambda self, now_s: not self.doubted)
    # The comparison with `min_valid` would make up for it.
    monkeypatch.setattr(Board, "answer", lambda *args, **options: answer(*args, min_valid_s=-1e9, **options))
    found_by(store)


def test_zero_margin_with_drift(monkeypatch: Patch) -> None:
    """Counting on every last moment of the ttl, by a clock that runs slower than the store's."""
    monkeypatch.setattr(Timing, "valid_for_s", lambda self, rule, ttl_s: rule.keeps_s(ttl_s))
    found_by("local")


class Haunted(LocalDriver):
    """A driver that does not let go of a session: it goes on renewing it, and telling about it, after it was closed."""

    def close_session(self, command: c.CloseSession) -> None:
        if self.sid is not None and command.epoch == self.epoch:
            self._haunt(c.Renew(self.epoch, ()), self.sid)
            self.sid = None
        self.slots.clear()

    def _haunt(self, renew: c.Renew, sid: int) -> None:
        sent_at_s = self.now_s()

        def kept(result: Any) -> None:
            if isinstance(result, frozenset):
                owned = frozenset(self.host.config.elections)
                self.emit(e.Renewed(renew.epoch, sent_at_s, self.ttl_s, owned, frozenset()))
            self.host.timer(self.process, self.ttl_s / 5.0, self._haunt, renew, sid)

        self.call(self.cluster.op_renew, sid, (), done=kept)


def test_a_haunted_driver_alone_does_no_harm() -> None:
    """The control of the next test: with the check in place such a driver changes nothing."""
    for seed in range(100):
        verdict = simulate(draw("local", seed), drivers={**DRIVERS, "local": Haunted})
        # Its old entries never go away by themselves: that it gets stuck is its own fault.
        assert not [finding for finding in verdict.findings if finding.rule != "leaderless"]


def test_no_stale_session_check(monkeypatch: Patch) -> None:
    """Taking what is said about an earlier session for news of this one."""
    on_session = Core._on_session

    def unchecked(self: Core, event: Any, now_s: float) -> list[c.Command]:
        if isinstance(event, e.Renewed) and self.session.live:
            return self._on_renewed(event, now_s)
        return on_session(self, event, now_s)

    monkeypatch.setattr(Core, "_on_session", unchecked)
    # Where sessions end otherwise, a standby waits before it stands again (`Session.others_until_s`), which mostly hides it.
    found_by("local", Haunted, kinds=("crash_store_node", "pause_store_node"))


@pytest.mark.parametrize("store", ["local", "etcd"])
def test_renewing_a_dead_session(monkeypatch: Patch, store: str) -> None:
    """Keeping a session alive of which nothing is heard any more: nobody leads, and nobody else can."""
    monkeypatch.setattr(Session, "expired", lambda self, now_s: False)
    next_deadline_s = Session.next_deadline_s

    def deadline_s(self: Session, now_s: float) -> float:
        at_s = next_deadline_s(self, now_s)
        return self.renew_at_s if self.live and self.asked is None else at_s if at_s > now_s else float("inf")

    monkeypatch.setattr(Session, "next_deadline_s", deadline_s)
    found_by(store, rules=ANY)


@pytest.mark.parametrize("store", ["etcd", "zookeeper"])
def test_small_pauses_not_added_up(monkeypatch: Patch, store: str) -> None:
    """Looking for one large step of the wall clock only, where a machine was stopped many times for a little less."""

    def step_s(self: Divergence, boot_s: float, offset_s: float) -> float:
        by_s, self._low_s = offset_s - self._low_s, offset_s
        return by_s if abs(by_s) > self._limit_s else 0.0

    monkeypatch.setattr(Divergence, "moved_by_s", step_s)
    found_by(store)


def test_no_high_water_mark(monkeypatch: Patch) -> None:
    """Leading with a token below one that led before, after the store was restored."""
    elected = Election.elected

    def unmarked(self: Election, epoch: int, event: e.Elected, now_s: float) -> list[c.Command]:
        self.mark = 0
        commands = elected(self, epoch, replace(event, mark=0), now_s)
        return [replace(command, mark=event.mark) if isinstance(command, c.Claim) else command for command in commands]

    monkeypatch.setattr(Election, "elected", unmarked)
    found_by("etcd", rules=TOKEN)


def test_token_of_a_seen_leader_forgotten(monkeypatch: Patch) -> None:
    """Knowing only the mark in the store, which an old snapshot brought down, although we have seen who led since."""
    seen = Election.seen

    def forgetful(self: Election, event: e.QueueSeen) -> None:
        mark = self.mark
        seen(self, event)
        self.mark = mark

    monkeypatch.setattr(Election, "seen", forgetful)
    found_by("etcd", rules=TOKEN, kinds=("restore_snapshot", "kill"))


@pytest.mark.parametrize("store", ["local", "etcd", "zookeeper"])
def test_asyncio_time_instead_of_boot_time(monkeypatch: Patch, store: str) -> None:
    """A clock that stands still while the machine sleeps."""
    now_s, true_s = HostClock.now_s, HostClock.true_s
    monkeypatch.setattr(HostClock, "now_s", lambda self: now_s(self) - self.suspended_s)
    monkeypatch.setattr(HostClock, "true_s", lambda self, at_s: true_s(self, at_s + self.suspended_s))
    found_by(store)


@pytest.mark.parametrize("store", ["local", "etcd", "zookeeper"])
def test_clock_jump_ignored(monkeypatch: Patch, store: str) -> None:
    """Going on after the machine stood still, as if no time had passed."""
    monkeypatch.setattr(HostClock, "instant", lambda self: Instant(self.now_s(), 0))
    found_by(store)


@pytest.mark.parametrize("store", ["local", "etcd", "zookeeper"])
def test_clock_jump_noticed_by_the_loop_only(monkeypatch: Patch, store: str) -> None:
    """Answering before the core was told that the clock jumped."""
    answer = Board.answer

    def blind(self: Board, name: str, instant: Instant, **options: Any) -> Answer:
        return answer(self, name, Instant(instant.boot_s, self.snapshot.jumps), **options)

    monkeypatch.setattr(Board, "answer", blind)
    found_by(store)


def test_renewal_of_before_the_jump_believed(monkeypatch: Patch) -> None:
    """Ending the doubt by a renewal that was sent before the machine stood still."""
    renewed = Session.renewed

    def believing(self: Session, event: e.Renewed) -> Any:
        self.doubted_since_s = None
        return renewed(self, event)

    monkeypatch.setattr(Session, "renewed", believing)
    found_by("etcd")


def test_jump_while_opening_ignored(monkeypatch: Patch) -> None:
    """Dating a session from before the machine stood still, because it was not yet open then."""
    doubt = Session.doubt
    monkeypatch.setattr(Session, "doubt", lambda self, now_s: doubt(self, now_s) if self.live else None)
    found_by("local", kinds=("stop_in_opening", "cut"))


def test_unsure_touch_counted(monkeypatch: Patch) -> None:
    """Counting a ZooKeeper session from a renewal that only a follower knows of."""
    monkeypatch.setitem(RULES, "zookeeper", replace(RULES["zookeeper"], lag_fraction=0.0))
    found_by("zookeeper")
