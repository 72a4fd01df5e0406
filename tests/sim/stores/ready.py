"""The next in line raises the mark while it waits, and then goes by one stream: its own entry's fate and the leader's, in order.

A stream is told anew from where it broke: what was not delivered comes with what is, in order, but as late as the network likes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from leaderd.election.commands import Claim, Stand, Withdraw
from leaderd.election.events import Claimed, Elected
from tests.sim.stores.cluster import Respond, StoreNode
from tests.sim.stores.driver import LOST
from tests.sim.stores.queue import QueueCluster, QueueDriver, Slot

OWN, OLDER, MARK = "own", "older", "mark"
SETTLE_S = 0.05


class ReadyCluster(QueueCluster):
    """A queue whose store can tell of several entries in one order."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.mark_watchers: dict[str, dict[int, Callable[[], None]]] = {name: {} for name in self.entries}
        self.unclaimed: dict[str, int] = {}
        """The marks that were raised to get ready, and say so."""

    def op_get_ready(
        self,
        node: StoreNode,
        sid: int,
        election: str,
        token: int,
        tell: Callable[[str], None],
        again: Callable[[], None],
        respond: Respond,
    ) -> None:
        """If only the leader is before us, and the mark says that it leads, raise it to ours, and tell in order of both entries.

        As long as the mark does not say so: `again` when it was written.
        """

        def change() -> bool:
            first, own = (*self.entries[election][:2], None, None)[:2]
            if first is None or own is None or (own.sid, own.token) != (sid, token):
                return False
            if self.marks[election] != first.token or self.is_unclaimed(election):
                self.mark_watchers[election][sid] = again
                return False
            self.set_mark(election, token)
            self.unclaimed[election] = token
            self.next_revision()
            own.watchers.append(partial(tell, OWN))
            first.watchers.append(partial(tell, OLDER))
            self.mark_watchers[election][sid] = partial(tell, MARK)
            return True

        self.commit(node, change, respond)

    def op_confirm(self, node: StoreNode, election: str, token: int, respond: Respond) -> None:
        """Who was ready leads: from now on the mark says so, unless it is another's."""

        def change() -> None:
            if self.marks[election] == token and self.is_unclaimed(election):
                self.set_mark(election, token)
                self.next_revision()

        self.commit(node, change, respond)

    def is_unclaimed(self, election: str) -> bool:
        """Whether the mark was raised to get ready, and nothing was claimed or confirmed since."""
        return self.unclaimed.get(election) == self.marks[election]

    def set_mark(self, election: str, mark: int) -> None:
        """Whoever watches hears of it."""
        super().set_mark(election, mark)
        self.unclaimed.pop(election, None)
        told, self.mark_watchers[election] = self.mark_watchers[election], {}
        for tell in told.values():
            tell()


class ReadyDriver(QueueDriver):
    """Gets ready under a leader that has claimed; a turn that comes in order is claimed without asking."""

    cluster: ReadyCluster

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._ready: dict[str, Readiness] = {}

    def stand(self, command: Stand) -> None:
        """A new standing has nothing proven."""
        self._ready.pop(command.election, None)
        super().stand(command)

    def withdraw(self, command: Withdraw) -> None:
        """Nor has one that is over."""
        self._ready.pop(command.election, None)
        super().withdraw(command)

    def claim(self, command: Claim) -> None:
        """At once if ready."""
        ready, slot = self._ready.pop(command.election, None), self.slots.get(command.election)
        if ready is not None and ready.proven and ready.slot is slot and slot.epoch == command.epoch and self.recent(ready):
            claimed = Claimed(command.epoch, command.election, command.token, ready.sent_at_s)
            self.host.timer(self.process, 0.0, self.emit, claimed)
            self.host.timer(self.process, SETTLE_S, self.tell, self.cluster.op_confirm, command.election, command.token)
        else:
            super().claim(command)

    def recent(self, ready: Readiness) -> bool:
        """Whether what the stream tells cannot be old."""
        return self.now_s() - max(self.confirmed_s, ready.sent_at_s) <= self.ttl_s / 2

    def _looked(self, slot: Slot, turn: int, result: Any) -> None:
        super()._looked(slot, turn, result)
        if self.current(slot) and isinstance(result, tuple) and result[0] == 1 and slot.election not in self._ready:
            ready = self._ready[slot.election] = Readiness(self, slot, result[3], self.now_s())
            assert slot.token is not None
            raised, again = partial(self._raised, ready), self.watcher(partial(self._again, slot))
            self.call(self.cluster.op_get_ready, slot.sid, slot.election, slot.token, ready.tell, again, done=raised)

    def _again(self, slot: Slot) -> None:
        if not slot.elected:
            self.look(slot)

    def _raised(self, ready: Readiness, result: Any) -> None:
        ready.raised = result is True
        if result is LOST or result is False:
            self._unready(ready)  # tried again at the next look; that is soon if the mark is written
        else:
            ready.go_on()

    def _unready(self, ready: Readiness) -> None:
        if self._ready.get(ready.slot.election) is ready:
            del self._ready[ready.slot.election]

    def happened(self, ready: Readiness, what: str) -> None:
        """The next thing that the stream tells."""
        if self._ready.get(ready.slot.election) is not ready or not self.current(ready.slot):
            return
        if what == OLDER:
            ready.proven = True
            if not ready.slot.elected:
                ready.slot.elected = True
                self.emit(Elected(ready.slot.epoch, ready.slot.election, ready.slot.token or 0, ready.mark))
        else:
            self._unready(ready)
            self.look(ready.slot)


class Readiness:
    """Of one standing."""

    def __init__(self, driver: ReadyDriver, slot: Slot, mark: int, sent_at_s: float) -> None:
        self.slot = slot
        self.mark = mark
        self.sent_at_s = sent_at_s
        self.raised = False
        self.proven = False
        self._driver = driver
        self._happened: list[str] = []
        self._told = 0
        self._due = 0

    def tell(self, what: str) -> None:
        """Called at the store: something happened. A message brings everything up to it."""
        self._happened.append(what)
        self._driver.watcher(partial(self._heard, len(self._happened)))()

    def _heard(self, number: int) -> None:
        self._due = max(self._due, number)
        self.go_on()

    def go_on(self) -> None:
        """Take what has arrived, once the answer has."""
        while self.raised and self._told < self._due:
            self._told += 1
            self._driver.happened(self, self._happened[self._told - 1])
