"""Each safeguard is switched off in turn, and the simulator must then find two leaders, a falling token or a stuck fleet.

A safeguard whose absence nothing here notices would be dead code, or a fault missing from the simulator. The switches are
patches made here; the code under test has none. The seeds are the same that the clean code passes in `test_swarm.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from leaderd.board import Answer, Board
from leaderd.clock import Instant
from leaderd.election import commands as c
from leaderd.election import events as e
from leaderd.election.core import Core
from leaderd.election.ledger import Ledger
from leaderd.election.machine import Election
from leaderd.election.session import Session
from leaderd.election.state import Phase, Term
from leaderd.election.timing import RULES, StoreRule, Timing
from tests.sim.clocks import HostClock
from tests.sim.fleet import DRIVERS, Verdict, simulate
from tests.sim.plan import draw
from tests.sim.stores.consul import ConsulDriver
from tests.sim.stores.driver import SimStore
from tests.sim.stores.etcd import EtcdDriver
from tests.sim.stores.local import LocalDriver
from tests.sim.stores.queue import QueueDriver, Slot
from tests.sim.stores.zookeeper import ZooKeeperDriver

SEEDS = 500
Patch = pytest.MonkeyPatch


def found_by(store: str, driver: type[SimStore] | None = None, rules: frozenset[str] = frozenset({"overlap"})) -> Verdict:
    """The first seed that finds it; fails if none does."""
    drivers = {**DRIVERS, store: driver} if driver is not None else None
    for seed in range(SEEDS):
        verdict = simulate(draw(store, seed), drivers=drivers)
        hits = [finding for finding in verdict.findings if finding.rule in rules]
        if hits:
            print(f"{store}: seed {seed}: {hits[0].text}")
            return verdict
    pytest.fail(f"{store}: not found within {SEEDS} seeds: dead code, or a fault is missing from the simulator")


TOKEN = frozenset({"token"})
STUCK = frozenset({"leaderless"})
OVERLAP = frozenset({"overlap"})
ANY = OVERLAP | TOKEN | STUCK


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
        self.until_s = max(self.until_s, now_s + min(promise_s, 5.0))
        return now_s + min(promise_s, 5.0)

    monkeypatch.setattr(Ledger, "promise", promise)
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
    found_by("local", Haunted)


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
    found_by("etcd", rules=TOKEN)


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


def test_unsure_touch_counted(monkeypatch: Patch) -> None:
    """Counting a ZooKeeper session from a renewal that only a follower knows of."""
    monkeypatch.setitem(RULES, "zookeeper", replace(RULES["zookeeper"], lag_fraction=0.0))
    found_by("zookeeper")


# ---- what the stores keep back


def test_whole_ttl_of_zookeeper(monkeypatch: Patch) -> None:
    """Counting on the whole timeout from each renewal."""
    monkeypatch.setitem(RULES, "zookeeper", replace(RULES["zookeeper"], fraction=1.0, lag_fraction=0.0))
    found_by("zookeeper")


def test_whole_ttl_of_consul(monkeypatch: Patch) -> None:
    """Counting on twice the ttl, which Consul gives a session that nobody invalidates."""
    monkeypatch.setitem(RULES, "consul", StoreRule(fraction=2.0))
    found_by("consul")


# ---- drivers: what each has to do


def test_unconditional_release() -> None:
    """Deleting by name what may be another term's by now."""

    class Unconditional(EtcdDriver):
        def withdraw(self, command: c.Withdraw) -> None:
            self.slots.pop(command.election, None)
            if self.sid is not None and command.epoch == self.epoch:
                self._delete(command, None)

    found_by("etcd", Unconditional)


def test_ownership_by_name() -> None:
    """Taking an entry for ours because it bears our name."""

    class ByName(EtcdDriver):
        def _looked(self, slot: Slot, turn: int, result: Any) -> None:
            if isinstance(result, tuple):
                named = next(i for i, entry in enumerate(result[2]) if entry.name == self.name())
                result = (named, *result[1:])
            super()._looked(slot, turn, result)

    found_by("etcd", ByName)


def test_token_from_a_resetting_counter() -> None:
    """ZooKeeper's sequence number as token: it starts again when the empty parent was reaped."""

    class Sequence(ZooKeeperDriver):
        def token_of(self, token: int, entries: Any) -> int:
            order: int = next(entry.order for entry in entries if entry.token == token)
            return order + 1

        def claim(self, command: c.Claim) -> None:
            slot = self.slots.get(command.election)
            if slot is not None and slot.epoch == command.epoch:
                self.emit(e.Claimed(command.epoch, command.election, command.token, self.now_s()))

        def renew(self, command: c.Renew) -> None:
            slots = self.slots
            entries = tuple(replace(x, token=slots[x.election].token) if x.election in slots else x for x in command.entries)
            super().renew(replace(command, entries=entries))

    found_by("zookeeper", Sequence, rules=TOKEN)


def test_token_from_lock_index() -> None:
    """Consul's LockIndex as token: it starts again when the key was deleted."""

    class LockIndex(ConsulDriver):
        def token_of(self, locked: tuple[Any, ...]) -> int:
            index: int = locked[3]
            return index

        def claim(self, command: c.Claim) -> None:
            slot = self.slots.get(command.election)
            if slot is not None and slot.epoch == command.epoch:
                self.emit(e.Claimed(command.epoch, command.election, command.token, self.now_s()))

        def renew(self, command: c.Renew) -> None:
            slots = self.slots
            entries = tuple(replace(x, token=slots[x.election].token) if x.election in slots else x for x in command.entries)
            super().renew(replace(command, entries=entries))

    found_by("consul", LockIndex, rules=TOKEN)


@pytest.mark.parametrize("store", ["etcd", "zookeeper"])
def test_claim_without_reverifying_the_own_key(store: str) -> None:
    """Leading because the one before us is gone, when our own entry is gone too."""
    base: Any = DRIVERS[store]

    class Trusting(base):  # type: ignore[misc]
        def _created(self, slot: Slot, result: Any) -> None:
            super()._created(slot, result)
            slot.own = lambda: None

        def look(self, slot: Slot, turn: int | None = None) -> None:
            if slot.turn and turn is None and self.current(slot) and not slot.elected:
                slot.elected = True
                self.emit(e.Elected(slot.epoch, slot.election, slot.token or 0, 0))
            else:
                super().look(slot, turn)

        def claim(self, command: c.Claim) -> None:
            slot = self.slots.get(command.election)
            if slot is not None and slot.epoch == command.epoch:
                self.emit(e.Claimed(command.epoch, command.election, command.token, self.now_s()))

    found_by(store, Trusting)


@pytest.mark.parametrize("store", ["etcd", "zookeeper", "consul"])
def test_heartbeat_without_quorum_check(store: str) -> None:
    """Believing a renewal that one node gave by itself: a deposed leader, a follower cut off."""

    class DeposedEtcd(EtcdDriver):
        def check(self, command: c.Renew, sid: int, sent_at_s: float, ttl_s: float, term: int) -> None:
            self._checked(command, sent_at_s, ttl_s, term, (term, frozenset(x.election for x in command.entries)))

    class DeposedConsul(ConsulDriver):
        def check(self, command: c.Renew, sid: int, sent_at_s: float, ttl_s: float) -> None:
            self._checked(command, sent_at_s, ttl_s, frozenset(x.election for x in command.entries))

    class StaleFollower(ZooKeeperDriver):
        def heartbeat(self) -> Callable[..., None]:
            return self.cluster.op_exists

    found_by(store, {"etcd": DeposedEtcd, "consul": DeposedConsul, "zookeeper": StaleFollower}[store])


def test_asked_timeout_instead_of_negotiated() -> None:
    """Counting on the timeout we asked ZooKeeper for, where it granted less."""

    class Asked(ZooKeeperDriver):
        def emit(self, event: e.Event) -> None:
            super().emit(replace(event, ttl_s=self.ttl_s) if isinstance(event, e.SessionOpened | e.Renewed) else event)

    found_by("zookeeper", Asked)


def test_no_lock_delay() -> None:
    """Consul without a lock-delay: an invalidated session's lock is free at once."""

    class Undelayed(ConsulDriver):
        def lock_delay_s(self, ttl_s: float) -> float:
            return 0.0

    found_by("consul", Undelayed)


@pytest.mark.parametrize("store", ["local", "etcd", "zookeeper"])
def test_forgotten_entries_are_not_withdrawn(monkeypatch: Patch, store: str) -> None:
    """Leaving an entry behind whose creation went unanswered: the queue stands still behind it."""

    def gone(self: QueueDriver, command: c.Withdraw) -> None:
        self.slots.pop(command.election, None)
        self.host.timer(self.process, 0.01, self.emit, e.Withdrawn(command.epoch, command.election))

    monkeypatch.setattr(QueueDriver, "withdraw", gone)
    found_by(store, rules=ANY)


def test_withdrawal_not_repeated(monkeypatch: Patch) -> None:
    """Taking an unanswered withdrawal for done."""
    withdrawn = Election.withdrawn
    monkeypatch.setattr(Election, "withdrawn", lambda self, event, now_s: withdrawn(self, replace(event, problem=None), now_s))
    found_by("etcd", rules=ANY)


def test_claim_of_a_refused_phase(monkeypatch: Patch) -> None:
    """Taking a late `Claimed` although we have resigned or withdrawn since."""
    claimed = Election.claimed

    def late(self: Election, event: e.Claimed, valid_until_s: float, doubted: bool, now_s: float) -> list[c.Command]:
        if self.phase in {Phase.STANDING, Phase.QUEUED, Phase.OUT, Phase.WITHDRAWING}:
            self.phase, self.token = Phase.CLAIMING, event.token
        return claimed(self, event, valid_until_s, doubted, now_s)

    monkeypatch.setattr(Election, "claimed", late)
    found_by("etcd", rules=ANY)


def test_release_of_an_unknown_token_by_session() -> None:
    """Deleting whatever entry the session has, because the token is not known yet: late, it hits the next one."""

    class BySession(EtcdDriver):
        def withdraw(self, command: c.Withdraw) -> None:
            self.slots.pop(command.election, None)
            if self.sid is not None and command.epoch == self.epoch:
                self._delete(command, command.token)

    found_by("etcd", BySession)
