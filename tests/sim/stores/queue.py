"""The recipe of the stores with a queue (local, etcd, ZooKeeper): the first entry leads, the others watch who is before them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from leaderd.election.commands import Claim, CloseSession, RaiseMark, Stand, Withdraw
from leaderd.election.events import (
    Claimed,
    Contender,
    Elected,
    EntryGone,
    Queued,
    QueueSeen,
    SessionGone,
    StandFailed,
    Withdrawn,
)
from tests.sim.stores.cluster import Cluster, Respond, SimEntry, StoreNode
from tests.sim.stores.driver import LOST, NO_SESSION, SILENT, TAKEN_AWAY, SimStore

Owned = tuple[tuple[str, int | None], ...]


class QueueCluster(Cluster):
    """Elections as ordered entries. Each operation is one atomic request at the quorum."""

    def place(self) -> tuple[int, int]:
        """Token and queue position of a new entry."""
        revision = self.next_revision()
        return revision, revision

    def op_create(self, node: StoreNode, sid: int, election: str, name: str, respond: Respond) -> None:
        """Enter the queue, or find the entry of this session there: its token; None without a session."""

        def change() -> int | None:
            if self.live(sid) is None:
                return None
            entry = self.find(election, sid)
            if entry is None:
                entry = SimEntry(sid, name, *self.place())
                self.entries[election].append(entry)
                self.entries[election].sort(key=lambda e: e.order)
            return entry.token

        self.commit(node, change, respond)

    def op_look(
        self, node: StoreNode, sid: int, election: str, before: Callable[[], None], own: Callable[[], None], respond: Respond
    ) -> None:
        """Who stands in the queue, and the mark; watches our entry, and the one before it."""

        def look() -> tuple[int, int, tuple[SimEntry, ...], int] | None:
            entries = self.entries[election]
            for position, entry in enumerate(entries):
                if entry.sid == sid:
                    # One watcher per session and entry: a new look replaces the last one.
                    if own not in entry.watchers:
                        entry.watchers.append(own)
                    if position and before not in entries[position - 1].watchers:
                        entries[position - 1].watchers.append(before)
                    return position, entry.token, tuple(entries), self.marks[election]
            return None

        self.commit(node, look, respond)

    def op_claim(self, node: StoreNode, sid: int, election: str, token: int, mark: int, respond: Respond) -> None:
        """If our entry lives and the mark is as expected, or ours, raise it: True; False without entry; the mark if it moved."""

        def change() -> bool | int:
            entry = self.find(election, sid)
            if entry is None or entry.token != token:
                return False
            now = self.marks[election]
            if now != mark and not (now == token and self.is_unclaimed(election)):
                return now + 2
            self.set_mark(election, token)
            self.next_revision()
            return True

        self.commit(node, change, respond)

    def op_find(self, node: StoreNode, sid: int, election: str, respond: Respond) -> None:
        """The token of the session's entry, or None."""

        def look() -> int | None:
            entry = self.find(election, sid)
            return entry.token if entry is not None else None

        self.commit(node, look, respond)

    def op_delete(self, node: StoreNode, sid: int, election: str, token: int | None, respond: Respond) -> None:
        """Take our entry out, if it is still the one with that token."""

        def change() -> bool:
            entry = self.find(election, sid)
            if entry is not None and token in {None, entry.token}:
                self.remove(election, entry)
            return True

        self.commit(node, change, respond)

    def op_raise(self, node: StoreNode, election: str, mark: int, respond: Respond) -> None:
        """Raise the mark."""

        def change() -> None:
            if self.marks[election] < mark or (self.marks[election] == mark and self.is_unclaimed(election)):
                self.set_mark(election, mark)
            self.next_revision()

        self.commit(node, change, respond)

    def is_unclaimed(self, election: str) -> bool:
        """Whether the mark is a token that was never claimed; where nobody raises it before its turn, it never is."""
        return False

    def set_mark(self, election: str, mark: int) -> None:
        """Write the mark."""
        self.marks[election] = mark

    def op_revoke(self, node: StoreNode, sid: int, respond: Respond) -> None:
        """End a session by its owner's wish."""

        def change() -> None:
            session = self.live(sid)
            if session is not None:
                self.end(session)

        self.commit(node, change, respond)

    def owned(self, sid: int, entries: Owned) -> frozenset[str]:
        """Which of these entries are the session's, with these tokens."""
        found = []
        for election, token in entries:
            entry = self.find(election, sid)
            if entry is not None and entry.token == token:
                found.append(election)
        return frozenset(found)


class Slot:
    """One standing in one election."""

    __slots__ = ("elected", "election", "epoch", "locking", "own", "sid", "token", "turn", "wake")

    def __init__(self, epoch: int, sid: int, election: str) -> None:
        self.epoch = epoch
        self.sid = sid
        self.election = election
        self.token: int | None = None
        self.elected = False
        self.locking = False
        self.turn = 0
        """Counts the looks at the store: an answer to an earlier one, or its timer, is of no interest any more."""
        self.wake: Callable[[], None] | None = None
        self.own: Callable[[], None] | None = None


class QueueDriver(SimStore):
    """The recipe, in every step of which an answer can be lost or late."""

    cluster: QueueCluster

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.slots: dict[str, Slot] = {}
        self.poll_s = max(self.ttl_s / 2.0, 1.0)

    # ---- commands

    def stand(self, command: Stand) -> None:
        """Create, then look."""
        if self.sid is None or command.epoch != self.epoch:
            return
        slot = self.slots[command.election] = Slot(command.epoch, self.sid, command.election)
        self.call(self.cluster.op_create, slot.sid, slot.election, self.name(), done=partial(self._created, slot))

    def claim(self, command: Claim) -> None:
        """One conditional write: our entry, and the mark."""
        slot = self.slots.get(command.election)
        if slot is None or slot.epoch != command.epoch:
            return
        done = partial(self._claimed, slot, command.token, self.now_s())
        self.call(self.cluster.op_claim, slot.sid, slot.election, command.token, command.mark, done=done)

    def withdraw(self, command: Withdraw) -> None:
        """A conditional delete. Without a token, first learn it: a late unconditional delete could hit our next entry."""
        self.slots.pop(command.election, None)
        if self.sid is None or command.epoch != self.epoch:
            return
        if command.token is None:
            self.call(self.cluster.op_find, self.sid, command.election, done=partial(self._found, command))
        else:
            self._delete(command, command.token)

    def raise_mark(self, command: RaiseMark) -> None:
        """Best effort."""
        self.tell(self.cluster.op_raise, command.election, command.mark)

    def close_session(self, command: CloseSession) -> None:
        """Best effort."""
        self.slots.clear()
        if self.sid is not None and command.epoch == self.epoch:
            self.tell(self.cluster.op_revoke, self.sid)
            self.sid = None

    def name(self) -> str:
        """What others see."""
        return self.process.identity.instance

    # ---- answers

    def current(self, slot: Slot) -> bool:
        """Whether the core still wants this standing."""
        return self.slots.get(slot.election) is slot

    def _created(self, slot: Slot, result: Any) -> None:
        if not self.current(slot):
            # Withdrawn meanwhile: what turned up late must not stay.
            if result is not LOST and result is not None and slot.sid == self.sid and slot.election not in self.slots:
                self.tell(self.cluster.op_delete, slot.sid, slot.election, result)
            return
        if result is LOST:
            del self.slots[slot.election]
            self.emit(StandFailed(slot.epoch, slot.election, SILENT))
        elif result is None:
            self.emit(SessionGone(slot.epoch, NO_SESSION))
        else:
            slot.token = result
            slot.wake = self.watcher(partial(self.look, slot))
            slot.own = self.watcher(partial(self.look, slot))
            self.emit(Queued(slot.epoch, slot.election, result))
            self.look(slot)

    def look(self, slot: Slot, turn: int | None = None) -> None:
        """See where we are in the queue."""
        if self.current(slot) and turn in {None, slot.turn}:
            slot.turn += 1
            done = partial(self._looked, slot, slot.turn)
            self.call(self.cluster.op_look, slot.sid, slot.election, slot.wake, slot.own, done=done)

    def _looked(self, slot: Slot, turn: int, result: Any) -> None:
        if not self.current(slot) or turn != slot.turn:
            return
        if result is LOST:
            self.host.timer(self.process, 0.3, self.look, slot, turn)
            return
        if result is None:
            del self.slots[slot.election]
            self.emit(EntryGone(slot.epoch, slot.election, TAKEN_AWAY))
            return
        position, token, entries, mark = result
        seen = tuple(Contender(entry.name, entry.sid == slot.sid, entry.token) for entry in entries)
        self.emit(QueueSeen(slot.epoch, slot.election, seen, True))
        if not self.current(slot):
            return
        if position:
            self.host.timer(self.process, self.poll_s, self.look, slot, turn)
        elif not slot.elected:
            slot.elected = True
            self.emit(Elected(slot.epoch, slot.election, self.token_of(token, entries), mark))

    def token_of(self, token: int, entries: tuple[SimEntry, ...]) -> int:
        """The fencing token of our entry."""
        return token

    def _claimed(self, slot: Slot, token: int, sent_at_s: float, result: Any) -> None:
        if result is True:
            # Told even if the core has asked for something else since: it has to know by itself what it still wants.
            self.emit(Claimed(slot.epoch, slot.election, token, sent_at_s))
            return
        if not self.current(slot):
            return
        if result is LOST:
            del self.slots[slot.election]
            self.emit(StandFailed(slot.epoch, slot.election, SILENT))
        elif result is False:
            del self.slots[slot.election]
            self.emit(EntryGone(slot.epoch, slot.election, TAKEN_AWAY))
        else:
            self.emit(Elected(slot.epoch, slot.election, token, result - 2))

    def _found(self, command: Withdraw, result: Any) -> None:
        if result is LOST:
            self.emit(Withdrawn(command.epoch, command.election, SILENT))
        elif result is None:
            self.emit(Withdrawn(command.epoch, command.election))
        elif self.sid is not None and command.epoch == self.epoch:
            self._delete(command, result)

    def _delete(self, command: Withdraw, token: int | None) -> None:
        assert self.sid is not None
        self.call(self.cluster.op_delete, self.sid, command.election, token, done=partial(self._deleted, command))

    def _deleted(self, command: Withdraw, result: Any) -> None:
        self.emit(Withdrawn(command.epoch, command.election, SILENT if result is LOST else None))
