"""What an entry that is next in line has proven before its turn comes, so that its claim costs no round trip.

A claim proves that our entry is alive, ours and the first, at a revision at which the mark is our token (`transactions.claim`). For
an entry that is ready this is known when the leader's entry goes:

- a transaction found our entry, and before it only the leader's, and raised the mark to our token (`transactions.get_ready`);
- then *one* watch, over both keys, told of the leader's deletion, and of nothing that happened to ours before it. etcd tells the
  events of one watch in the order of their revisions and leaves none out, also over a new stream, which continues where the last
  one ended (etcd.io/docs: "Watch APIs", ordered, reliable, atomic). Between two watches there is no order: a watch on the leader's
  key alone proves nothing about ours, and then a claim is sent;
- nobody can come to stand before us, for entries are created at ever higher revisions;
- the mark is watched from there on, and any word of it ends the readiness. (Who raises a mark stands first and refuses to lead;
  nobody is ready behind one who has not claimed. So such a word is of a request that was delayed until after the leader's claim.)

How long the lease lives is not concluded from any of this: the deadline counts from the last renewal, as ever. If our lease has
expired in the meantime, then that deadline has passed, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from leaderd.stores.etcd import transactions as tx
from leaderd.stores.etcd.transactions import Place
from leaderd.stores.etcd.wire import KeyValue, WatchEvent, WireError

if TYPE_CHECKING:
    from leaderd.stores.etcd.session import Session

_TRIES = 3
"""How often, once a renewal, to try under one leader: one of another make never raises the mark."""


class Readiness:
    """Of one entry, under one leader. `on_mark` is told of a mark that somebody else has raised."""

    def __init__(self, session: Session, place: Place, token: int, leader: KeyValue, on_mark: Callable[[int], None]) -> None:
        self._session = session
        self._place = place
        self._token = token
        self._leader = leader
        self._on_mark = on_mark
        self._tries = 0
        self._raised = False
        self._watch: int | None = None
        self.proven = False
        """Whether the mark is our token, and the leader has gone, and ours had not when it did."""
        self.sent_at_s = 0.0

    @property
    def wanting(self) -> bool:
        """Whether to try (again)."""
        return not self._raised and self._tries < _TRIES

    async def raise_mark(self) -> None:
        """Try to raise the mark. That fails until the leader has raised it to its own token."""
        if not self.wanting:
            return
        self._tries += 1
        sent_at_s = self._session.now_s()
        txn = tx.get_ready(self._place, self._session.lease, self._token, self._leader)
        try:
            reply = await self._session.txn(txn, repeatable=False)
        except WireError:
            return  # the next renewal shows the queue again; not ready, we claim when we are first
        if reply.succeeded and self._tries <= _TRIES:
            self._raised, self.sent_at_s = True, sent_at_s
            self._watch = self._session.watcher.add(self._place.mark, reply.header.revision + 1, self)

    def leader_gone(self) -> None:
        """The watch over both keys told of the leader's deletion, and of none of ours."""
        self.proven = self._raised

    def end(self) -> None:
        """Nothing is proven by this any more, nor will be."""
        self._raised = self.proven = False
        self._tries = _TRIES + 1
        if self._watch is not None:
            self._session.watcher.drop(self._watch)
            self._watch = None

    # ---- the watch on the mark

    def changed(self, event: WatchEvent) -> None:
        """Somebody wrote the mark."""
        mark = None if event.deleted else tx.parse_mark(event.kv.value)
        self.end()
        if mark is not None:
            self._on_mark(mark)

    def missed(self) -> None:
        """It may have been written."""
        self._watch = None
        self.end()
