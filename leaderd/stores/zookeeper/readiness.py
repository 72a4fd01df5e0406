"""What a node that is next in line has proven before its turn comes, so that its claim costs no round trip.

A claim proves that our node exists and is the first, while the mark is our token (`contest.Contest.claim`). For a node that is
ready this is known when the leader's node goes:

- a `multi` that a quorum applied found our node and the leader's, the only one before it, and raised the mark to our token;
- our node, the leader's and the mark are watched on one connection. ZooKeeper tells a session of changes in the order in which they
  were applied, and tells it all of them for as long as the connection lasts (ZooKeeper Programmer's Guide, "What ZooKeeper
  Guarantees about Watches"); so with the leader's deletion it is known that nothing had happened to our node, nor to the mark;
- nobody can come to stand before us (rule 1 in `contest`).

How long the session lives is not concluded from any of this: the deadline counts from the last renewal, as ever. If our session has
expired in the meantime, then that deadline has passed, too. News may be old, and an operator may have deleted our node after it. An
answer comes after all news of what was applied before it; so a renewal or the `multi` itself, all that a young session has, was
answered and is not half a ttl old, or a claim is sent.

If whoever is behind us had raised the mark by then, we would have to stand anew, and it would lead before us. So a mark that was
raised to get ready says so (`marks.ready_text`), and nobody gets ready under a leader until the mark is the leader's token and does
not say so. A claim writes it plainly; who leads without one confirms it a moment later (`Mark.confirm`). If that fails, the next in
line does not get ready, and sends a claim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leaderd.stores import marks
from leaderd.stores.zookeeper.mark import Mark
from leaderd.stores.zookeeper.transport import Client


class Readiness:
    """Of one candidacy after another. `begin` makes it ready under one leader; whatever happens to a watch ends it.

    `again` is called when it is worth while to try once more.
    """

    def __init__(self, client: Client, mark: Mark, now_s: Callable[[], float], again: Callable[[], None]) -> None:
        self._client = client
        self._mark = mark
        self._mark.on_change = self._mark_changed
        self._again = again
        self._now_s = now_s
        self._under: tuple[str, int] | None = None
        self._token: int | None = None
        self.sent_at_s = 0.0
        self._below: int | None = None
        """The mark that we raised, or may have."""
        self.waits = False
        """Whether we are next, and the mark does not say yet that the leader leads."""

    def holds(self, token: int | None) -> bool:
        """Whether the mark is `token`, raised by us, and would not be so without our knowledge."""
        known = self._mark
        # Safety: see test_a_raised_mark_is_a_claimed_one
        return token is not None and token == self._token and known.fresh and known.value == token and not known.claimed

    def mark_below(self, token: int) -> int:
        """The mark as it was before our own entry raised it. If it says that our token was claimed, somebody has led with it: the
        store was restored, and counts anew."""
        if self._mark.value != token or self._mark.claimed:
            return self._mark.value
        return self._below if self._below is not None else token - 1

    def end(self) -> None:
        """Nothing is proven any more."""
        self._token = self._under = self._below = None
        self.waits = False

    async def begin(self, node: str, token: int, leader: str, leader_token: int, connection: int) -> None:
        """Try, once per leader and connection, as soon as the mark is the leader's token, claimed or confirmed.

        Raises what a call raises; the mark is then read anew before anything is concluded.
        """
        self.waits = self._under != (leader, connection) and not (self._mark.value == leader_token and self._mark.claimed)
        if self.waits or not self._mark.fresh or self._under == (leader, connection):
            return  # one of another make never raises it; one of ours is about to: the watch tells
        self._under, self._below = (leader, connection), leader_token
        sent_at_s, version = self._now_s(), self._mark.version

        def build(multi: Any) -> None:  # noqa: ANN401 - kazoo is untyped
            multi.check(node, -1)
            multi.check(leader, -1)
            # Safety: see test_no_high_water_mark
            multi.set_data(self._mark.path, marks.ready_text(token), version)

        results = await self._client.multi(build)
        if len(results) != 3 or any(isinstance(result, Exception) for result in results):
            return
        await self._mark.read(watch=True)
        if self._under == (leader, connection):
            self._token, self.sent_at_s = token, sent_at_s

    def _mark_changed(self) -> None:
        if self.waits:
            self._again()
