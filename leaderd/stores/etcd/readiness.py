"""What an entry that is next in line has proven before its turn comes, so that its claim costs no round trip.

A claim proves that our entry is alive, ours and the first, at a revision at which the mark is our token (`transactions.claim`). For
an entry that is ready this is known when the leader's entry goes:

- a transaction found our entry, and before it only the leader's, and raised the mark to our token (`transactions.get_ready`);
- then *one* watch, over both keys, told of the leader's deletion, and of nothing that happened to ours before it. etcd tells the
  events of one watch in the order of their revisions and leaves none out, also over a new stream, which continues where the last
  one ended (etcd.io/docs: "Watch APIs", ordered, reliable, atomic). Between two watches there is no order: a watch on the leader's
  key alone proves nothing about ours, and then a claim is sent;
- nobody can come to stand before us, for entries are created at ever higher revisions;
- the mark was watched all the while, by the same stream, and any word of it ends the readiness. (Who raises a mark stands first,
  refuses to lead, and leaves when it has raised it; nobody is ready behind one who has not claimed. So such a word is of a request
  whose answer was lost, and which came through after the leader's claim.)

How long the lease lives is not concluded from any of this: the deadline counts from the last renewal, as ever. If our lease has
expired in the meantime, then that deadline has passed, too. News may be old, and an operator may have deleted our key after it: a
renewal, or the transaction itself, found us waiting behind the leader not longer than half the ttl ago, or a claim is sent.

If whoever is behind us had raised the mark by then, we would have to stand anew, and it would lead before us. So a mark that was
raised to get ready says so (`marks.ready_text`), and nobody gets ready under a leader until the mark is the leader's token
and does not say so. A claim writes it plainly; who leads without one confirms it a moment later (`transactions.confirm`). If that
fails, the next in line does not get ready, and sends a claim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from leaderd.stores import marks
from leaderd.stores.etcd import transactions as tx
from leaderd.stores.etcd.transactions import Place
from leaderd.stores.etcd.wire import KeyValue, WatchEvent, WireError

if TYPE_CHECKING:
    from leaderd.stores.etcd.session import Session


class Readiness:
    """Of one entry, under one leader. `on_begun` is called when `raise_mark` may be, `on_mark` with a mark that somebody raised."""

    def __init__(
        self,
        session: Session,
        place: Place,
        token: int,
        leader: KeyValue,
        on_begun: Callable[[Readiness], None],
        on_mark: Callable[[int], None],
    ) -> None:
        self._session = session
        self._place = place
        self._token = token
        self._leader = leader
        self._on_begun = on_begun
        self._on_mark = on_mark
        self._watching = self._raised = False
        self.used = False
        """Whether we lead by it."""
        self._watch: int | None = session.watcher.add_fresh(place.mark, self)
        self.proven = False
        """Whether the mark is our token, and the leader has gone, and ours had not when it did."""
        self.sent_at_s = 0.0

    async def raise_mark(self) -> None:
        """Try to raise the mark. That fails until it says that the leader leads, of which the watch on the mark tells."""
        if not self._watching or self._raised:
            return
        sent_at_s = self._session.now_s()
        txn = tx.get_ready(self._place, self._session.lease, self._token, self._leader)
        try:
            reply = await self._session.txn(txn, repeatable=False)
        except WireError:
            return  # not ready, we claim when we are first
        if reply.succeeded and self._watching:
            self._raised, self.sent_at_s = True, sent_at_s

    def holds(self, token: int) -> bool:
        """Whether a claim of `token` is proven, by news that is not old."""
        # Safety: see test_old_news_is_claimed
        recent = self._session.now_s() - max(self._session.confirmed_s, self.sent_at_s) <= self._session.ttl_s / 2
        return self.proven and token == self._token and recent

    def leader_gone(self) -> None:
        """The watch over both keys told of the leader's deletion, and of none of ours."""
        self.proven = self._raised

    def end(self) -> None:
        """Nothing is proven by this any more, nor will be."""
        self._watching = self._raised = self.proven = False
        if self._watch is not None:
            self._session.watcher.drop(self._watch)
            self._watch = None

    # ---- the watch on the mark

    def begun(self) -> None:
        """It stands."""
        self._watching = True
        self._on_begun(self)

    def changed(self, event: WatchEvent) -> None:
        """The mark was written: by us, getting ready; by the leader, when it got ready or later, if it is the leader's token."""
        mark = None if event.deleted else marks.parse_mark(event.kv.value)
        if not self._watching or (mark == self._token and event.kv.value == marks.ready_text(self._token)):
            return
        if mark == self._leader.create_revision and not self._raised:
            if event.kv.value == marks.mark_text(mark):
                self._on_begun(self)
            return
        # Safety: see test_a_mark_that_is_written_ends_it
        self.end()
        if mark is not None:
            self._on_mark(mark)

    def missed(self) -> None:
        """It may have been written."""
        self._watch = None
        self.end()
