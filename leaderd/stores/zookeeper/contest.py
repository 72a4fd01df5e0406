"""Our part in one election, in one session: enter the queue, watch the predecessor, claim when first, leave.

Rule 1: being first is concluded from a list, or from the deletion of the only node before ours in the last list. Once first, always
first: ours has a sequence number of ten digits (checked), whose order as text is that of the numbers; every node that is made later
has a higher one for as long as the directory exists; and the directory, which Curator lets vanish when empty, so that numbers begin
anew, exists as long as our node is in it. After 2^31 creations numbers turn negative and sort first: such an entry never leads.
Rule 2: leadership is never concluded here: `Claimed` reports a `multi` that a quorum applied, then or, for the next in line, before
(`readiness`).
Rule 3: commands of one election are carried out one at a time, in their order.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kazoo import exceptions as kz
from kazoo.protocol.states import EventType

from leaderd.election.events import Claimed, Contender, Elected, EntryGone, Queued, QueueSeen, StandFailed, Withdrawn
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.zookeeper import claim as claiming
from leaderd.stores.zookeeper import entry, paths
from leaderd.stores.zookeeper.errors import RefusedError, problem_of
from leaderd.stores.zookeeper.mark import SETTLE_S, Mark
from leaderd.stores.zookeeper.readiness import Readiness
from leaderd.stores.zookeeper.roster import Roster

if TYPE_CHECKING:
    from leaderd.stores.zookeeper.session import Session


class Contest:
    """Our part in one election. `token` is the czxid of our node while we have one.

    `stale`: the last look failed, so that somebody's leaving may have been missed.
    """

    def __init__(self, session: Session, place: paths.Place) -> None:
        self.place = place
        self.token: int | None = None
        self.node: str | None = None
        self.stale = self._looking = self._look_again = False
        self._session = session
        self._proven, self._own_watched = -1, False
        self._client = session.client
        self._mark = Mark(session.client, place.mark)
        self._ready = Readiness(session.client, self._mark, session.now_s, lambda: session.spawn(self.look()))
        self._elected = self._in_order = False
        """Whether we are first; and whether because the watch said so, with nothing said of our node before."""
        self._roster = Roster(session.client, place, self._show)
        self._prefix: str | None = None
        self._before: list[str] = []
        self._watched: str | None = None
        self._watched_token = 0
        self._one_at_a_time = asyncio.Lock()

    # ---- commands

    async def stand(self) -> None:
        """Carry out `Stand`."""
        async with self._one_at_a_time:
            # Safety: see test_records_are_told_before_anybody_is_elected
            if (unknown := await self._session.records.unknown()) is not None:
                return await self._give_up(unknown)
            try:
                async with asyncio.timeout(self._session.call_s * 2):
                    await self._enter()
            except (kz.KazooException, TimeoutError, RefusedError) as error:
                problem = problem_of(error, f"standing in {self.place.directory}")
                if problem.outcome is Outcome.UNKNOWN:
                    self._fail(problem)
                else:
                    await self._give_up(problem)

    async def claim(self, token: int, mark: int) -> None:
        """Carry out `Claim`: our node exists, and the mark is what we read; raise it. One proposal to the quorum."""
        session = self._session
        async with self._one_at_a_time:
            node = self.node
            if node is None or token != self.token:
                return self._gone("our node is gone")
            # Safety: see test_a_claim_while_waiting_is_refused
            if not self._elected:
                return await self._give_up(Problem(Outcome.FAILED, Reason.STORE_ERROR, f"{node} is not the first in its queue"))
            # Safety: see test_first_by_a_look_it_is_not_ready
            if self._in_order and self._own_watched and self._ready.holds(token) and session.recent(self._ready.sent_at_s):
                session.emit(Claimed(session.epoch, self.place.election, token, self._ready.sent_at_s))
                session.spawn(self._mark.confirm(node, token))
                return None
            if mark != self._ready.mark_below(token):
                session.emit(Elected(session.epoch, self.place.election, token, self._ready.mark_below(token)))
                return None
            sent_at_s = session.now_s()
            try:
                async with asyncio.timeout(session.call_s):
                    match await claiming.claim(self._client, node, self._mark, token):
                        case claiming.Claimed.RAISED:
                            session.emit(Claimed(session.epoch, self.place.election, token, sent_at_s))
                        case claiming.Claimed.GONE:
                            self._gone("our node is gone")
                        case claiming.Claimed.MOVED:
                            await self._mark.read()
                            session.emit(Elected(session.epoch, self.place.election, token, self._ready.mark_below(token)))
            except (kz.KazooException, TimeoutError) as error:
                problem = problem_of(error, f"claiming {self.place.directory}")
                self._fail(Problem(Outcome.UNKNOWN, problem.reason, problem.detail))
            except RefusedError as refused:
                await self._give_up(refused.problem)

    async def withdraw(self, token: int | None) -> None:
        """Carry out `Withdraw`. The node's name is ours alone (uuid and sequence), so deleting it by name cannot free another's."""
        async with self._one_at_a_time:
            problem = None
            # Safety: see test_unconditional_release
            if token is None or token == self.token or self.token is None:
                problem = await self._leave()
            self._session.emit(Withdrawn(self._session.epoch, self.place.election, problem))

    async def raise_mark(self, mark: int) -> None:
        """Carry out `RaiseMark`: before the withdrawal that follows it, so that whoever is next meets the mark."""
        try:
            async with self._one_at_a_time, asyncio.timeout(self._session.call_s * 2):
                await Mark(self._client, self.place.mark).raise_to(mark)
        except (kz.KazooException, TimeoutError, RefusedError):
            return  # best effort; who needs the mark asks again

    # ---- what the session tells

    def unproven(self) -> bool:
        """Whether our node may have become another's since we saw that it is our session's: the connection was lost since."""
        # Safety: see test_after_a_reconnection_the_owner_is_compared
        return self.node is not None and self._proven != self._session.connection

    def disconnected(self) -> None:
        """Watches are gone, and the world may move on."""
        self._watched, self._own_watched, self._in_order = None, False, False
        self._mark.forget_watch()
        self._ready.end()

    async def prove_owner(self) -> None:
        """Have the server show that our node is our session's, and have it tell when it goes. Else our entry is gone."""
        node, connection = self.node, self._session.connection
        if node is None:
            return
        self._own_watched = True
        try:
            data, stat = await self._client.get(node, self._own_changed)
        except kz.NoNodeError:
            if node == self.node:
                self._gone("our node is gone")
            return
        except BaseException:
            self._own_watched = self._own_watched and node != self.node  # whether the watch was set is not known
            raise
        if node != self.node:
            return  # left meanwhile
        # Safety: see test_ownership_by_name
        if stat.ephemeralOwner != self._session.id or stat.czxid != self.token:
            self._gone("our node belongs to somebody else")
            return
        self._proven = connection
        self._roster.know(node.rpartition("/")[2], data, stat, self._session.id)

    async def look(self, after_s: float = 0.0) -> None:
        """Read the queue, and conclude. State is level-triggered: whatever was missed, the next look finds."""
        if after_s > 0.0:
            await asyncio.sleep(after_s)
        self._look_again = True
        if self._looking:
            return  # whoever looks now looks once more: the list it holds may be older than what brought us here
        self._looking = True
        try:
            while self._look_again and self.node is not None:
                self._look_again = False
                async with asyncio.timeout(self._session.call_s):
                    await self._look(self.node)
            self.stale = False
        except (kz.NoAuthError, RefusedError) as error:
            self._session.spawn(self._give_up_waiting(problem_of(error, f"watching {self.place.directory}")))
        except (kz.KazooException, TimeoutError):
            self.stale = True  # the next renewal, or the reconnection, looks again
            self._watched = None  # whether it was set is not known
        finally:
            self._looking = False

    def lost(self, token: int | None) -> None:
        """A renewal reported our entry lost."""
        if token == self.token:
            self._forget()

    # ---- entering

    async def _enter(self) -> None:
        session = self._session
        if self._prefix is not None:  # an earlier attempt of this session may have left a node
            left = await self._leave()
            if left is not None:
                return self._fail(left)
        self._forget()
        prefix = self._prefix = paths.new_prefix()
        connection = session.connection  # as it was before: the answer and the loss may come in one breath
        self.node, self.token = await entry.make(self._client, self.place, prefix, session.value, session.id)
        self._proven = connection
        # Safety: see test_a_negative_sequence_number_never_leads
        if not paths.is_in_sequence(self.node):
            detail = f"{self.node}: sequence numbers have run over; delete {self.place.directory} while nobody stands in it"
            raise RefusedError(Reason.STORE_ERROR, detail)
        session.emit(Queued(session.epoch, self.place.election, self.token))
        session.spawn(self.look())
        return None

    # ---- looking

    async def _look(self, node: str) -> None:
        """One round of requests, all sent at once, then one to watch the predecessor if it has changed."""
        listed = self._client.children(self.place.directory)
        asked = [] if self._own_watched else [self.prove_owner()]
        if not self._elected and (self._mark.version < 0 or (not self._mark.fresh and self._watched is None)):
            asked.append(self._mark.read())
        await asyncio.gather(*asked)
        try:
            names = paths.in_order(await listed)
        except kz.NoNodeError:
            return self._gone("the election's directory is gone") if node == self.node else None
        own = node.rpartition("/")[2]
        if node != self.node:
            return None  # gone, or left, meanwhile
        if own not in names:
            return self._gone("our node is gone")
        self._before = names[: names.index(own)]
        if not self._before:
            self._become_first()
        elif self._before[-1] != self._watched and not await self._watch(self._before[-1]):
            self._look_again = True  # it went between the list and the watch
            return None
        if len(self._before) == 1 and not self._mark.fresh:
            await self._mark.read(watch=True)  # the next in line, and nobody else, is told of changes: it claims without asking
        watched, token = self._watched, self.token
        if watched is not None and self._before == [watched] and token is not None and self._own_watched:
            await self._ready.begin(node, token, self.place.node(watched), self._watched_token, self._session.connection)
        await self._roster.learn(names, self._session.id)
        return None

    def _become_first(self) -> None:
        # Safety: see test_a_change_of_a_record_is_told_before_the_election_that_follows_it
        if not self._elected and self.token is not None and self._session.records.fresh(self.look):
            self._elected, self._ready.waits = True, False
            self._session.emit(Elected(self._session.epoch, self.place.election, self.token, self._ready.mark_below(self.token)))

    async def _watch(self, name: str) -> bool:
        """Watch the node right before ours, and nobody else's (no herd); False when it is gone already."""
        self._watched = name
        try:
            data, stat = await self._client.get(self.place.node(name), lambda event: self._before_changed(name, event))
        except kz.NoNodeError:
            self._watched = None
            return False
        if stat.ephemeralOwner in paths.NO_SESSION:
            detail = f"{self.place.node(name)} is no candidate's (it belongs to no session); nobody can lead before it is removed"
            raise RefusedError(Reason.FOREIGN_ENTRY, detail)
        self._watched_token = int(stat.czxid)
        self._roster.know(name, data, stat, self._session.id)
        return True

    def _before_changed(self, name: str, event: Any) -> None:  # noqa: ANN401
        if self._watched != name or event.type == EventType.NONE:
            return  # not watched any more, or the connection was lost: `reconnected` looks
        self._watched = None
        if event.type == EventType.DELETED and self._before == [name] and self._mark.fresh:
            self._in_order = True
            self._become_first()  # no round trip between the news and the claim
        # Who is first looks for the others' sake: not in the way of a hand-over, but a moment later.
        self._session.spawn(self.look(SETTLE_S if self._elected else 0.0))

    def _own_changed(self, event: Any) -> None:  # noqa: ANN401
        if self.node is None or event.path != self.node or event.type == EventType.NONE:
            return
        self._own_watched = False
        deleted = event.type == EventType.DELETED
        if deleted:
            self._gone("our node was deleted by somebody else, or its session ended")
        self._session.spawn(self._session.look() if deleted else self.look())

    def _show(self, contenders: tuple[Contender, ...], first_known: bool) -> None:
        self._session.emit(QueueSeen(self._session.epoch, self.place.election, contenders, first_known))

    # ---- leaving

    async def _leave(self) -> Problem | None:
        """Take our node out; None when it is certain that none of ours is left."""
        node, prefix = self.node, self._prefix
        self._forget()
        if prefix is None:
            return None
        try:
            async with asyncio.timeout(self._session.call_s):
                await entry.remove(self._client, self.place, prefix, node, self._session.id)
        except kz.SessionExpiredError:
            return None  # ephemeral: it goes with the session
        except (kz.KazooException, TimeoutError) as error:
            problem = problem_of(error, f"leaving {self.place.directory}")
            return Problem(Outcome.UNKNOWN, problem.reason, problem.detail)
        self._prefix = None
        return None

    async def _give_up(self, problem: Problem) -> None:
        """Leave the queue and say why; with our node surely out the outcome is FAILED, else UNKNOWN."""
        left = await self._leave()
        self._fail(problem if left is None else Problem(Outcome.UNKNOWN, problem.reason, problem.detail))

    async def _give_up_waiting(self, problem: Problem) -> None:
        async with self._one_at_a_time:
            if self.token is not None and not self._elected:
                await self._give_up(problem)

    def _forget(self) -> None:
        self.node, self.token, self._elected, self._in_order = None, None, False, False
        self._before, self._watched, self._own_watched, self.stale = [], None, False, False
        self._ready.end()
        self._roster.forget()

    def _gone(self, what: str) -> None:
        if self.node is None and self._prefix is None:
            return
        self._forget()
        self._prefix = None
        problem = Problem(Outcome.FAILED, Reason.ENTRY_GONE, f"{self.place.directory}: {what}")
        self._session.emit(EntryGone(self._session.epoch, self.place.election, problem))

    def _fail(self, problem: Problem) -> None:
        self._session.emit(StandFailed(self._session.epoch, self.place.election, problem))
