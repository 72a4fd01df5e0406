"""Ablations of what each store keeps back, and of what its driver has to do; see `test_ablations.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from leaderd.election import commands as c
from leaderd.election import events as e
from leaderd.election.core import Core
from leaderd.election.machine import Election
from leaderd.election.state import Phase
from leaderd.election.timing import RULES, StoreRule
from tests.sim.ablation import ANY, TOKEN, Patch, found_by
from tests.sim.fleet import DRIVERS, simulate
from tests.sim.plan import draw
from tests.sim.stores.consul import ConsulDriver
from tests.sim.stores.driver import NO_SESSION
from tests.sim.stores.etcd import EtcdDriver
from tests.sim.stores.queue import QueueDriver, Slot
from tests.sim.stores.ready import OWN, Readiness
from tests.sim.stores.zookeeper import ZooKeeperDriver

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


@pytest.mark.parametrize("store", ["etcd", "zookeeper"])
def test_ready_without_the_own_entrys_events(store: str) -> None:
    """Ready, and first because the leader's entry has gone, when our own went before it: watched apart, or not at all."""
    base: Any = DRIVERS[store]

    class Deaf(base):  # type: ignore[misc]
        def happened(self, ready: Readiness, what: str) -> None:
            if what != OWN:
                super().happened(ready, what)

        def _created(self, slot: Slot, result: Any) -> None:
            super()._created(slot, result)
            slot.own = lambda: None

    found_by(store, Deaf)


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


class Credulous(ConsulDriver):
    """A driver that takes one server's word for it that the session is gone."""

    def doubt(self, command: c.Renew, sid: int, sent_at_s: float) -> None:
        self.emit(e.SessionGone(command.epoch, NO_SESSION))


def test_a_credulous_driver_alone_does_no_harm() -> None:
    """The control of the next test: what the core was told wrongly it does not act upon before its promises have lapsed."""
    for seed in range(100):
        assert not simulate(draw("consul", seed), drivers={**DRIVERS, "consul": Credulous}).findings


def test_session_closed_before_promises_lapsed(monkeypatch: Patch) -> None:
    """Giving up what is left of a session, which may be all of it, while somebody still holds a yes of ours."""
    monkeypatch.setattr(Core, "_close", lambda self, now_s: self.session.close())
    found_by("consul", Credulous)


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


def test_renewal_and_check_of_different_terms() -> None:
    """Joining a keep-alive that a deposed leader gave with a check that its successor answered."""

    class TwoTerms(EtcdDriver):
        def same_term(self, kept: int, checked: int) -> bool:
            return True

        def check(self, command: c.Renew, sid: int, sent_at_s: float, ttl_s: float, term: int) -> None:
            # Over another connection, as a driver may that has several endpoints.
            home = self.node
            self.rotate()
            super().check(command, sid, sent_at_s, ttl_s, term)
            self.node = home

    # Of all faults together this takes one seed in 350.
    found_by("etcd", TwoTerms, kinds=("isolate_store_node", "stuck_leader", "cut"))


def test_lost_entry_ignored(monkeypatch: Patch) -> None:
    """Leading on although the store says that our entry is gone."""
    monkeypatch.setattr(Election, "entry_gone", lambda self, problem, now_s: [])
    on_renewed = Core._on_renewed

    def deaf(self: Core, event: e.Renewed, now_s: float) -> list[c.Command]:
        return on_renewed(self, replace(event, owned=event.owned | event.lost, lost=frozenset()), now_s)

    monkeypatch.setattr(Core, "_on_renewed", deaf)
    found_by("etcd")
