"""The records beside the elections in a simulated store: what its servers keep, and how a driver comes to know it.

The servers tell of a change by a message that may be lost, again and again until it has been read: what a watch stream, resumed
from where it broke, amounts to. A store in which no record was ever written costs nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from leaderd.election.commands import Withdraw, WriteRecord
from leaderd.election.events import Elected, RecordRefused, RecordSeen, RecordWritten
from leaderd.election.problems import Outcome, Problem, Reason

if TYPE_CHECKING:
    from tests.sim.stores.cluster import Cluster, Respond, StoreNode
    from tests.sim.stores.driver import SimStore

Place = tuple[str, str]
AGAIN_S = 0.3
SILENT = Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, "no answer in time")


class Shelf:
    """What the servers keep: all changes go through the quorum."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.values: dict[Place, tuple[bytes, int]] = {}
        self.version = 0
        self.readers: list[Reader] = []
        self._telling = False

    def op_read(self, node: StoreNode, sid: int, respond: Respond) -> None:
        """All records, as the quorum has them, and the version of the whole. (`sid`: on whose connection.)"""
        self._cluster.commit(node, lambda: (dict(self.values), self.version), respond)

    def op_write(self, node: StoreNode, sid: int, place: Place, value: bytes | None, version: int, respond: Respond) -> None:
        """Compare and set: the new version, or None."""

        def change() -> int | None:
            if self.values.get(place, (b"", 0))[1] != version:
                return None
            self.put(place, value)
            return self.version if value is not None else 0

        self._cluster.commit(node, change, respond)

    def put(self, place: Place, value: bytes | None) -> None:
        """Change a record: by a write, or by hand."""
        self.version += 1
        if value is None:
            self.values.pop(place, None)
        else:
            self.values[place] = (value, self.version)
        if not self._telling:
            self._telling = True
            self._tell()

    def _tell(self) -> None:
        self.readers = [reader for reader in self.readers if reader.alive]
        behind = [reader for reader in self.readers if reader.version < self.version]
        for reader in behind:
            reader.nudge()
        self._telling = bool(behind)
        if behind:
            self._cluster.world.after(AGAIN_S, self._tell)


class Reader:
    """What one driver knows of the records in its session. `Elected` waits until all of them have been told."""

    def __init__(self, store: SimStore, shelf: Shelf) -> None:
        self._store = store
        self._shelf = shelf
        self._told: dict[Place, int] = {}
        self._held: list[Elected] = []
        self.epoch = 0
        self.version = 0
        shelf.readers.append(self)

    @property
    def alive(self) -> bool:
        """Whether the process lives."""
        return self._store.process.alive

    @property
    def known(self) -> bool:
        """Whether everything that was there when the session began has been told."""
        return self.version > 0 or self._shelf.version == 0

    def began(self, epoch: int) -> None:
        """A session was opened: nothing is known any more."""
        self.epoch, self.version = epoch, 0
        self._told.clear()
        self._held.clear()
        if self._shelf.version:
            self.read(epoch)

    def hold(self, event: Elected) -> bool:
        """Whether this has to wait."""
        if self.known:
            return False
        self._held.append(event)
        return True

    def left(self, command: Withdraw) -> None:
        """Who has left is not elected any more."""
        self._held = [event for event in self._held if event.election != command.election]

    def nudge(self) -> None:
        """The servers send word of a change."""
        node, store = self._store.node, self._store
        if self._shelf._cluster.healthy(node):
            store.cluster.network.send(node.name, store.host.config.name, store.host.run, store.process, self.read, self.epoch)

    def read(self, epoch: int) -> None:
        """Read all records."""
        if epoch == self.epoch and self._store.sid is not None:
            self._store.call(self._shelf.op_read, self._store.sid, done=partial(self._read, epoch))

    def _read(self, epoch: int, result: Any) -> None:
        from tests.sim.stores.driver import LOST

        if epoch != self.epoch:
            return
        if result is LOST:
            self._store.host.timer(self._store.process, AGAIN_S, self.read, epoch)
            return
        values, version = result
        if version < self.version:
            return  # overtaken
        self.version = version
        for place in [place for place in self._told if place not in values]:
            del self._told[place]
            self._store.emit(RecordSeen(epoch, *place, None, 0))
        for place, (value, its) in values.items():
            if self._told.get(place) != its:
                self._told[place] = its
                self._store.emit(RecordSeen(epoch, *place, value, its))
        held, self._held = self._held, []
        for event in held:
            self._store.emit(event)

    def write(self, command: WriteRecord) -> None:
        """See `WriteRecord`."""
        if self._store.sid is not None and command.epoch == self.epoch:
            place = (command.election, command.kind)
            done = partial(self._written, command)
            self._store.call(self._shelf.op_write, self._store.sid, place, command.value, command.version, done=done)

    def _written(self, command: WriteRecord, result: Any) -> None:
        from tests.sim.stores.driver import LOST

        where = (command.epoch, command.election, command.kind)
        if result is LOST:
            self._store.emit(RecordRefused(*where, SILENT))
        elif result is None:
            self._store.emit(RecordRefused(*where))
        else:
            self._store.emit(RecordWritten(*where, result))
