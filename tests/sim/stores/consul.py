"""Consul: twice the ttl, invalidation at any time, a lock-delay that protects and wakes nobody, indexes that reset."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from leaderd.election.commands import Claim, CloseSession, OpenSession, RaiseMark, Renew, Stand, Withdraw
from leaderd.election.events import (
    Claimed,
    Contender,
    Elected,
    EntryGone,
    Queued,
    QueueSeen,
    Renewed,
    RenewFailed,
    SessionFailed,
    SessionGone,
    SessionOpened,
    StandFailed,
    Withdrawn,
)
from tests.sim.stores.cluster import Respond, SimEntry, SimSession, StoreNode
from tests.sim.stores.driver import LOST, NO_SESSION, SILENT, STALE, TAKEN_AWAY, SimStore, asked
from tests.sim.stores.queue import Owned, QueueCluster, Slot

DEPOSED_S = 2.5
"""A leader that lost its quorum steps down after its lease timeout: 0.5 s times raft_multiplier, 5 by default."""


class ConsulServer(QueueCluster):
    """Three servers; an election is one lock key, whose holder is the only entry."""

    kind = "consul"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.delayed_until_s: dict[str, float] = dict.fromkeys(self.entries, 0.0)
        self.lock_index: dict[str, int] = dict.fromkeys(self.entries, 0)
        self.index: dict[str, int] = dict.fromkeys(self.entries, 0)
        """ModifyIndex of each lock key; 0 where there is no key."""
        self._ended: list[SimSession] = []

    def election_s(self) -> float:
        """With raft_multiplier 5 an election takes a few seconds."""
        return 1.0 + 3.0 * self.world.rng.random()

    def deposed_s(self) -> float:
        """What is left of the leader lease when the successor is there."""
        return max(0.0, DEPOSED_S - 1.0 - self.world.rng.random())

    def expiry_s(self, for_s: float) -> float:
        """SessionTTLMultiplier."""
        return 2.0 * for_s

    def op_open(self, node: StoreNode, name: str, ttl_s: float, lock_delay_s: float, respond: Respond) -> None:
        """session/create."""

        def change() -> int:
            session = self.new_session(name, ttl_s)
            session.lock_delay_s = lock_delay_s
            return session.sid

        self.commit(node, change, respond)

    def op_renew(self, node: StoreNode, sid: int, respond: Respond) -> None:
        """session/renew: the ttl, or 0 for an unknown session. The leader answers by itself, deposed or not caught up yet."""
        leader = self.leader
        if leader is not None and (node is leader or (self.healthy(node) and self.healthy(leader))):
            session = self.live(sid)
            if session is not None and session.forgotten_until_s > self.world.now_s:
                session = None
            if session is not None:
                self.touch(session, session.ttl_s)
            respond(session.ttl_s if session is not None else 0.0)
        elif node.leads_until_s > self.world.now_s:
            respond(self.ttl_of(sid))

    def ttl_of(self, sid: int) -> float:
        """What a deposed leader remembers of a session."""
        session = self.live(sid) or next((s for s in self._ended if s.sid == sid), None)
        return session.ttl_s if session is not None else 0.0

    def op_alive(self, node: StoreNode, sid: int, respond: Respond) -> None:
        """session/info?consistent: whether it exists."""
        self.commit(node, lambda: self.live(sid) is not None, respond)

    def op_check(self, node: StoreNode, sid: int, entries: Owned, respond: Respond) -> None:
        """kv?consistent: which locks the session holds, as acquired with these tokens."""
        self.commit(node, lambda: self.owned(sid, entries), respond)

    def op_read(self, node: StoreNode, sid: int, election: str, wake: Callable[[], None], respond: Respond) -> None:
        """kv?consistent, then a blocking query where somebody else holds the lock: (index, holder)."""

        def look() -> tuple[int, SimEntry | None]:
            holder = next(iter(self.entries[election]), None)
            if holder is not None and holder.sid != sid and wake not in holder.watchers:
                holder.watchers.append(wake)
            return self.index[election], holder

        self.commit(node, look, respond)

    def op_lock(self, node: StoreNode, sid: int, election: str, name: str, index: int, respond: Respond) -> None:
        """txn [index as seen, lock, lift the mark]: ("locked", token, mark before, LockIndex), ("changed",), ("delayed",); None
        without the session.

        Where the session holds it already: [index as seen, unlock, lock, ...], for locking alone would give no new index.
        """

        def change() -> tuple[Any, ...] | None:
            if self.live(sid) is None:
                return None
            holder = next(iter(self.entries[election]), None)
            if self.index[election] != index or (holder is not None and holder.sid != sid):
                return ("changed",)
            if holder is None and self.delayed_until_s[election] > self.world.now_s:
                return ("delayed",)
            token = self.index[election] = self.next_revision()
            if holder is not None:
                holder.token = token
            else:
                self.entries[election].append(SimEntry(sid, name, token, token))
            self.lock_index[election] += 1
            mark = self.marks[election]
            self.marks[election] = max(mark, token)
            return "locked", token, mark, self.lock_index[election]

        self.commit(node, change, respond)

    def op_claim(self, node: StoreNode, sid: int, election: str, token: int, mark: int, respond: Respond) -> None:
        """As elsewhere, but the mark may be where the acquisition lifted it to."""

        def change() -> bool | int:
            entry = self.find(election, sid)
            if entry is None or entry.token != token:
                return False
            if self.marks[election] not in {mark, token}:
                return self.marks[election] + 2
            self.marks[election] = token
            self.next_revision()
            return True

        self.commit(node, change, respond)

    def op_put_away(self, node: StoreNode, sid: int, respond: Respond) -> None:
        """Unlock whatever the session holds, which no lock-delay follows; then session/destroy."""

        def change() -> None:
            for election in self.entries:
                entry = self.find(election, sid)
                if entry is not None:
                    self.remove(election, entry)
            session = self.live(sid)
            if session is not None:
                self.end(session)

        self.commit(node, change, respond)

    def remove(self, election: str, entry: SimEntry) -> None:
        """Unlocked; the key stays."""
        super().remove(election, entry)
        self.index[election] = self.revision

    def op_watch(self, node: StoreNode, sid: int, election: str, wake: Callable[[], None], respond: Respond) -> None:
        """A blocking query on our own lock: whether it is still ours."""

        def look() -> bool:
            entry = self.find(election, sid)
            if entry is not None and wake not in entry.watchers:
                entry.watchers.append(wake)
            return entry is not None

        self.commit(node, look, respond)

    def forget(self) -> None:
        """Lock-delays are kept in the leader's memory, and go with it."""
        super().forget()
        self._ended.clear()
        for election in self.entries:
            self.delayed_until_s[election] = 0.0
            self.index[election] = self.lock_index[election] = 0

    def delete_key(self, election: str) -> None:
        """The key goes: the LockIndex starts anew."""
        self.lock_index[election] = 0
        for entry in list(self.entries[election]):
            self.remove(election, entry)
        self.index[election] = 0

    def end(self, session: SimSession) -> None:
        """Invalidated: its locks are free, but not before the lock-delay has passed."""
        if session.ended_s is None and self.leader is not None:
            until_s = self.world.now_s + session.lock_delay_s / self.leader.rate
            for election in self.entries:
                if self.find(election, session.sid) is not None:
                    self.delayed_until_s[election] = until_s
            self._ended.append(session)
        super().end(session)


class ConsulDriver(SimStore):
    """A race for a lock, by a blocking query and a timer; release before destroy."""

    kind = "consul"
    cluster: ConsulServer

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.slots: dict[str, Slot] = {}
        self.unsettled: dict[str, int] = {}
        """By election: the index that an unanswered acquire was conditional on."""
        self.retry_s = 1.0
        self.offer: tuple[str, int] | None = None
        """Election and token of the acquisition that the core is being told of at this moment."""

    # ---- session

    def open_session(self, command: OpenSession) -> None:
        """No checks, and a lock-delay of the ttl."""
        self.epoch, self.sid = command.epoch, None
        done = partial(self._opened, command, self.now_s())
        self.call(self.cluster.op_open, self.process.holder, command.ttl_s, self.lock_delay_s(command.ttl_s), done=done)

    def lock_delay_s(self, ttl_s: float) -> float:
        """At least the ttl."""
        return ttl_s

    def _opened(self, command: OpenSession, sent_at_s: float, result: Any) -> None:
        if command.epoch != self.epoch:
            return
        if result is LOST:
            self.emit(SessionFailed(command.epoch, SILENT))
        else:
            self.sid = result
            self.emit(SessionOpened(command.epoch, sent_at_s, command.ttl_s))

    def renew(self, command: Renew) -> None:
        """session/renew, then a consistent read."""
        if self.sid is not None and command.epoch == self.epoch:
            self.call(self.cluster.op_renew, self.sid, done=partial(self._kept, command, self.sid, self.now_s()))

    def _kept(self, command: Renew, sid: int, sent_at_s: float, result: Any) -> None:
        if result is LOST:
            self.emit(RenewFailed(command.epoch, sent_at_s, SILENT))
        elif result <= 0.0:
            self.doubt(command, sid, sent_at_s)
        else:
            self.check(command, sid, sent_at_s, result)

    def doubt(self, command: Renew, sid: int, sent_at_s: float) -> None:
        """The leader does not know the session: a quorum has to say so, too."""
        self.call(self.cluster.op_alive, sid, done=partial(self._doubted, command, sent_at_s))

    def _doubted(self, command: Renew, sent_at_s: float, result: Any) -> None:
        if result is False:
            self.emit(SessionGone(command.epoch, NO_SESSION))
        else:
            self.emit(RenewFailed(command.epoch, sent_at_s, SILENT if result is LOST else STALE))

    def check(self, command: Renew, sid: int, sent_at_s: float, ttl_s: float) -> None:
        """The consistent half of a heartbeat."""
        entries = tuple((entry.election, entry.token) for entry in command.entries)
        self.call(self.cluster.op_check, sid, entries, done=partial(self._checked, command, sent_at_s, ttl_s))

    def _checked(self, command: Renew, sent_at_s: float, ttl_s: float, result: Any) -> None:
        if result is LOST:
            self.emit(RenewFailed(command.epoch, sent_at_s, SILENT))
        else:
            self.emit(Renewed(command.epoch, sent_at_s, ttl_s, *asked(command.entries, result)))

    def close_session(self, command: CloseSession) -> None:
        """Unlock, then session/destroy; best effort."""
        self.slots.clear()
        self.unsettled.clear()
        if self.sid is not None and command.epoch == self.epoch:
            self.tell(self.cluster.op_put_away, self.sid)
            self.sid = None

    # ---- elections

    def stand(self, command: Stand) -> None:
        """Look; try the lock when it is free; wait; look again."""
        if self.sid is None or command.epoch != self.epoch:
            return
        slot = self.slots[command.election] = Slot(command.epoch, self.sid, command.election)
        slot.wake = self.watcher(partial(self._freed, slot))
        self._read(slot)

    def _waiting(self, slot: Slot) -> bool:
        return self.slots.get(slot.election) is slot and not slot.elected

    def _read(self, slot: Slot, turn: int | None = None) -> None:
        if self._waiting(slot) and turn in {None, slot.turn}:
            slot.turn += 1
            self.call(self.cluster.op_read, slot.sid, slot.election, slot.wake, done=partial(self._seen, slot, slot.turn))

    def _freed(self, slot: Slot) -> None:
        if self._waiting(slot) and not slot.locking:
            slot.turn += 1
            self.host.timer(self.process, 0.02 * self.world.rng.random(), self._read, slot, slot.turn)

    def _again(self, slot: Slot) -> None:
        self.host.timer(self.process, self.retry_s * (0.75 + 0.5 * self.world.rng.random()), self._read, slot, slot.turn)

    def _seen(self, slot: Slot, turn: int, result: Any) -> None:
        if not self._waiting(slot) or turn != slot.turn:
            return
        if result is LOST:
            self._stand_failed(slot)
            return
        index, holder = result
        if slot.token is None:
            slot.token = -1
            self.emit(Queued(slot.epoch, slot.election, None))
        if holder is not None and holder.sid != slot.sid:
            self.emit(QueueSeen(slot.epoch, slot.election, (Contender(holder.name, False, holder.token),), True))
            self._again(slot)
        elif self._waiting(slot):
            slot.locking = True
            self._lock(slot, index, partial(self._tried, slot, self.now_s()))

    def _lock(self, slot: Slot, index: int, done: Callable[[Any], None]) -> None:
        self.unsettled[slot.election] = index
        self.call(self.cluster.op_lock, slot.sid, slot.election, self.process.identity.instance, index, done=done)

    def _stand_failed(self, slot: Slot) -> None:
        del self.slots[slot.election]
        self.emit(StandFailed(slot.epoch, slot.election, SILENT))

    def _tried(self, slot: Slot, sent_at_s: float, result: Any) -> None:
        if result is not LOST and slot.sid == self.sid:
            self.unsettled.pop(slot.election, None)
        slot.locking = False
        if not self._waiting(slot):
            # Withdrawn meanwhile: a lock that turned up late must not stay.
            late = result is not LOST and result is not None and result[0] == "locked"
            if late and slot.sid == self.sid and slot.election not in self.slots:
                self.tell(self.cluster.op_delete, slot.sid, slot.election, result[1])
        elif result is LOST:
            self._stand_failed(slot)
        elif result is None:
            self.emit(SessionGone(slot.epoch, NO_SESSION))
        elif result[0] == "locked":
            slot.elected, slot.token = True, result[1]
            slot.own = self.watcher(partial(self._look, slot))
            self._look(slot)
            self.offer = (slot.election, result[1])
            self.emit(Elected(slot.epoch, slot.election, self.token_of(result), result[2]))
            accepted, self.offer = self.offer is None, None
            if accepted:
                self.emit(Claimed(slot.epoch, slot.election, result[1], sent_at_s))
        elif result[0] == "changed":
            self._freed(slot)
        else:
            self._again(slot)

    def token_of(self, locked: tuple[Any, ...]) -> int:
        """The ModifyIndex of the transaction."""
        token: int = locked[1]
        return token

    def _look(self, slot: Slot) -> None:
        if self.slots.get(slot.election) is slot and slot.elected:
            self.call(self.cluster.op_watch, slot.sid, slot.election, slot.own, done=partial(self._looked, slot))

    def _looked(self, slot: Slot, result: Any) -> None:
        if self.slots.get(slot.election) is not slot:
            return
        if result is LOST:
            self.host.timer(self.process, 0.5, self._look, slot)
        elif result is False:
            del self.slots[slot.election]
            self.emit(EntryGone(slot.epoch, slot.election, TAKEN_AWAY))

    def claim(self, command: Claim) -> None:
        """In the step of `Elected` the acquisition has proven it all. Else a transaction: ours with that index, and the mark."""
        if self.offer == (command.election, command.token):
            self.offer = None
            return
        slot = self.slots.get(command.election)
        if slot is not None and slot.epoch == command.epoch:
            done = partial(self._claimed, slot, command.token, self.now_s())
            self.call(self.cluster.op_claim, slot.sid, slot.election, command.token, command.mark, done=done)

    def _claimed(self, slot: Slot, token: int, sent_at_s: float, result: Any) -> None:
        if self.slots.get(slot.election) is not slot:
            return
        if result is LOST:
            del self.slots[slot.election]
            self.emit(StandFailed(slot.epoch, slot.election, SILENT))
        elif result is True:
            self.emit(Claimed(slot.epoch, slot.election, token, sent_at_s))
        elif result is False:
            del self.slots[slot.election]
            self.emit(EntryGone(slot.epoch, slot.election, TAKEN_AWAY))
        else:
            self.emit(Elected(slot.epoch, slot.election, token, result - 2))

    def withdraw(self, command: Withdraw) -> None:
        """KV release, conditional on session and index."""
        self.slots.pop(command.election, None)
        if self.sid is None or command.epoch != self.epoch:
            return
        if command.token is None:
            self.call(self.cluster.op_read, self.sid, command.election, _asleep, done=partial(self._found, command))
        else:
            self._release(command, command.token)

    def _found(self, command: Withdraw, result: Any) -> None:
        if result is LOST:
            self.emit(Withdrawn(command.epoch, command.election, SILENT))
            return
        if self.sid is None or command.epoch != self.epoch:
            return
        index, holder = result
        if holder is not None and holder.sid == self.sid:
            self._release(command, index)
        elif holder is None and self.unsettled.get(command.election) == index:
            # An unanswered acquire may yet be applied: take its place, and let go again.
            self._lock(Slot(command.epoch, self.sid, command.election), index, partial(self._settled, command))
        else:
            self.unsettled.pop(command.election, None)
            self.emit(Withdrawn(command.epoch, command.election))

    def _settled(self, command: Withdraw, result: Any) -> None:
        if result is LOST or result == ("delayed",):
            self.emit(Withdrawn(command.epoch, command.election, SILENT))
        elif result is None or self.sid is None or command.epoch != self.epoch:
            return
        elif result[0] == "locked":
            self._release(command, result[1])
        else:
            self.unsettled.pop(command.election, None)
            self.emit(Withdrawn(command.epoch, command.election))

    def _release(self, command: Withdraw, token: int) -> None:
        assert self.sid is not None
        self.call(self.cluster.op_delete, self.sid, command.election, token, done=partial(self._released, command))

    def _released(self, command: Withdraw, result: Any) -> None:
        self.emit(Withdrawn(command.epoch, command.election, SILENT if result is LOST else None))

    def raise_mark(self, command: RaiseMark) -> None:
        """Best effort."""
        self.tell(self.cluster.op_raise, command.election, command.mark)


def _asleep() -> None:
    """Nobody waits for this."""
