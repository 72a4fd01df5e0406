"""The local store, and the ideal of a lease: exact expiry, one node, every operation one transaction.

As in SQLite on one host all candidates share one clock. With a clock of its own for everybody it is the harshest store there is
for the arithmetic: it keeps a session for its ttl, and not a moment longer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from leaderd.election.commands import OpenSession, Renew
from leaderd.election.events import Renewed, RenewFailed, SessionFailed, SessionGone, SessionOpened
from tests.sim.stores.cluster import Respond, StoreNode
from tests.sim.stores.driver import LOST, NO_SESSION, SILENT, asked
from tests.sim.stores.queue import Owned, QueueCluster, QueueDriver


class LocalServer(QueueCluster):
    """One file."""

    kind = "local"
    node_count = 1
    quorum_s = 0.0005

    def op_open(self, node: StoreNode, name: str, ttl_s: float, respond: Respond) -> None:
        """A session: its id."""
        self.commit(node, lambda: self.new_session(name, ttl_s).sid, respond)

    def op_renew(self, node: StoreNode, sid: int, entries: Owned, respond: Respond) -> None:
        """Renew, and see what is owned, in one transaction; None without the session."""

        def change() -> frozenset[str] | None:
            session = self.live(sid)
            if session is None:
                return None
            self.touch(session, session.ttl_s)
            return self.owned(sid, entries)

        self.commit(node, change, respond)


class LocalDriver(QueueDriver):
    """Three calls."""

    kind = "local"
    cluster: LocalServer

    def open_session(self, command: OpenSession) -> None:
        """One insert."""
        self.epoch, self.sid = command.epoch, None
        done = partial(self._opened, command, self.now_s())
        self.call(self.cluster.op_open, self.process.holder, command.ttl_s, done=done)

    def _opened(self, command: OpenSession, sent_at_s: float, result: Any) -> None:
        if command.epoch != self.epoch:
            return
        if result is LOST:
            self.emit(SessionFailed(command.epoch, SILENT))
        else:
            self.sid = result
            self.emit(SessionOpened(command.epoch, sent_at_s, command.ttl_s))

    def renew(self, command: Renew) -> None:
        """One update."""
        if self.sid is not None and command.epoch == self.epoch:
            entries = tuple((entry.election, entry.token) for entry in command.entries)
            done = partial(self._renewed, command, self.now_s())
            self.call(self.cluster.op_renew, self.sid, entries, done=done)

    def _renewed(self, command: Renew, sent_at_s: float, result: Any) -> None:
        if result is LOST:
            self.emit(RenewFailed(command.epoch, sent_at_s, SILENT))
        elif result is None:
            self.emit(SessionGone(command.epoch, NO_SESSION))
        else:
            self.emit(Renewed(command.epoch, sent_at_s, self.ttl_s, *asked(command.entries, result)))
