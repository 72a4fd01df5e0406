"""Our part in one election, in one session: enter the queue, watch the predecessor, claim when first, leave.

Rule 1: being first is concluded from a list, or from the deletion of the only node before ours in the last list. Once first, always
first: a later node has a higher sequence number while the directory exists, and it exists while our node is in it.
Rule 2: leadership is never concluded here: `Claimed` reports a `multi` that a quorum applied.
Rule 3: commands of one election are carried out one at a time, in their order.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kazoo import exceptions as kz
from kazoo.protocol.states import EventType

from leaderd.election.events import Claimed, Contender, Elected, EntryGone, Queued, QueueSeen, StandFailed, Withdrawn
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.zookeeper import paths
from leaderd.stores.zookeeper.errors import problem_of

if TYPE_CHECKING:
    from leaderd.stores.zookeeper.session import Session

_SHOWN = 64
"""How many contenders are shown at most."""
_NAMES_PER_LOOK = 8
"""How many unknown contenders' names are read per look: a queue of a hundred must not cost a hundred reads at once."""


class Refused(Exception):
    """Standing cannot go on, for a reason that is no failed call."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(Outcome.FAILED, reason, detail)


class Contest:
    """Our part in one election. `token` is the czxid of our node while we have one."""

    def __init__(self, session: Session, place: paths.Place) -> None:
        self.place = place
        self.token: int | None = None
        self.node: str | None = None
        self._session = session
        self._prefix: str | None = None
        self._mark = 0
        self._mark_version = -1
        self._elected = False
        self._before: list[str] = []
        self._watched: str | None = None
        self._own_watched = False
        self._names: dict[str, Contender] = {}
        self._shown: tuple[Contender, ...] = ()
        self._one_at_a_time = asyncio.Lock()
        self._looking = False
        self._look_again = False

    # ---- commands

    async def stand(self) -> None:
        """Carry out `Stand`."""
        session = self._session
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(session.call_s * 2):
                    await self._enter()
            except (kz.KazooException, TimeoutError) as error:
                self._fail(problem_of(error, f"standing in {self.place.directory}"))
            except Refused as refused:
                await self._give_up(refused.problem)

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
            if mark != self._mark:
                session.emit(Elected(session.epoch, self.place.election, token, self._mark))
                return None
            version, sent_at_s = self._mark_version, session.now_s()

            def build(multi: Any) -> None:  # noqa: ANN401 - kazoo is untyped
                # Safety: see test_claim_without_reverifying_the_own_key
                multi.check(node, -1)
                # Safety: see test_no_high_water_mark
                multi.set_data(self.place.mark, paths.mark_text(token), version)

            try:
                async with asyncio.timeout(session.call_s):
                    own, raised = await session.client.multi(build)
                    await self._claim_answered(own, raised, token, sent_at_s)
            except (kz.KazooException, TimeoutError) as error:
                problem = problem_of(error, f"claiming {self.place.directory}")
                self._fail(Problem(Outcome.UNKNOWN, problem.reason, problem.detail))
            except Refused as refused:
                await self._give_up(refused.problem)

    async def withdraw(self, token: int | None) -> None:
        """Carry out `Withdraw`. The node's name is ours alone (uuid and sequence), so deleting it by name cannot free another's."""
        session = self._session
        async with self._one_at_a_time:
            problem = None
            # Safety: see test_unconditional_release
            if token is None or token == self.token or self.token is None:
                problem = await self._leave()
            session.emit(Withdrawn(session.epoch, self.place.election, problem))

    async def raise_mark(self, mark: int) -> None:
        """Carry out `RaiseMark`."""
        try:
            async with asyncio.timeout(self._session.call_s * 2):
                for _ in range(3):
                    await self._read_mark()
                    if self._mark >= mark:
                        return
                    await self._session.client.multi(
                        lambda m: m.set_data(self.place.mark, paths.mark_text(mark), self._mark_version)
                    )
        except (kz.KazooException, TimeoutError, Refused):
            return  # best effort; who needs the mark asks again

    # ---- what the session tells

    async def reconnected(self) -> None:
        """Watches are gone and the world may have moved on: compare our node's owner with our session, and look again."""
        self._watched, self._own_watched = None, False
        if self.token is not None:
            await self.look()

    async def look(self) -> None:
        """Read the queue, and conclude. State is level-triggered: whatever was missed, the next look finds."""
        self._look_again = True
        if self._looking:
            return  # whoever looks now looks once more: the list it holds may be older than what brought us here
        self._looking = True
        try:
            while self._look_again and self.node is not None:
                self._look_again = False
                async with asyncio.timeout(self._session.call_s):
                    await self._look(self.node)
        except (kz.NoAuthError, Refused) as error:
            problem = error.problem if isinstance(error, Refused) else problem_of(error, f"watching {self.place.directory}")
            self._session.spawn(self._give_up_waiting(problem))
        except (kz.KazooException, TimeoutError):
            self._watched, self._own_watched = None, False  # whether they were set is not known; the next renewal looks again
        finally:
            self._looking = False

    def lost(self, token: int | None) -> None:
        """A renewal reported our entry lost."""
        if token == self.token:
            self._forget()

    # ---- entering

    async def _enter(self) -> None:
        session, client = self._session, self._session.client
        if self._prefix is not None:  # an earlier attempt of this session may have left a node
            left = await self._leave()
            if left is not None:
                return self._fail(left)
        self._forget()
        prefix = self._prefix = paths.new_prefix()
        found = None
        while found is None:
            try:
                found = await client.create(self.place.node(prefix), session.value, candidate=True)
            except kz.NoNodeError:
                # The directory is not there (any more): Curator makes it as a container, which the server removes when empty.
                await self._make(self.place.directory)
            except kz.ConnectionLoss:
                # Whether it was created is not known: once connected again, look for it by its uuid (Curator's "protection").
                found = await self._find(prefix)
        self.node = str(found[0])
        self.token = int(found[1].czxid)
        await self._read_mark()
        session.emit(Queued(session.epoch, self.place.election, self.token))
        session.spawn(self.look())
        return None

    async def _find(self, prefix: str) -> tuple[str, Any] | None:
        """Our node with that prefix, if there is one. The server catches up with its leader first, else it might not know yet."""
        client = self._session.client
        try:
            await client.sync(self.place.directory)
            names = await client.children(self.place.directory)
        except kz.NoNodeError:
            return None
        for name in names:
            if name.startswith(prefix):
                _, stat = await client.get(self.place.node(name))
                if stat.ephemeralOwner == self._session.id:
                    return self.place.node(name), stat
        return None

    async def _make(self, path: str) -> None:
        try:
            await self._session.client.create(path, b"")
        except kz.NodeExistsError:
            pass

    async def _read_mark(self) -> None:
        client = self._session.client
        try:
            data, stat = await client.get(self.place.mark)
        except kz.NoNodeError:
            try:
                await client.create(self.place.mark, paths.mark_text(0))
            except kz.NodeExistsError:
                pass
            data, stat = await client.get(self.place.mark)
        mark = paths.parse_mark(data)
        if mark is None:
            raise Refused(Reason.FOREIGN_ENTRY, f"{self.place.mark} holds {paths.name_text(data)[:40]!r}, not a high-water mark")
        self._mark, self._mark_version = mark, int(stat.version)

    # ---- looking

    async def _look(self, node: str) -> None:
        session, client = self._session, self._session.client
        if not self._own_watched:
            self._own_watched = True
            try:
                _, stat = await client.get(node, self._own_changed)
            except kz.NoNodeError:
                return self._gone("our node is gone")
            # Safety: see test_ownership_by_name
            if stat.ephemeralOwner != session.id:
                return self._gone("our node belongs to another session")
        try:
            names = paths.in_order(await client.children(self.place.directory))
        except kz.NoNodeError:
            return self._gone("the election's directory is gone")
        own = node.rpartition("/")[2]
        if node != self.node:
            return None  # left meanwhile
        if own not in names:
            return self._gone("our node is gone")
        self._before = names[: names.index(own)]
        if not self._before:
            self._become_first()
        elif self._before[-1] != self._watched and not await self._watch(self._before[-1]):
            self._look_again = True  # it went between the list and the watch
            return None
        await self._learn_names(names)
        return None

    def _become_first(self) -> None:
        if not self._elected and self.token is not None:
            self._elected = True
            self._session.emit(Elected(self._session.epoch, self.place.election, self.token, self._mark))

    async def _watch(self, name: str) -> bool:
        """Watch the node right before ours, and nobody else's (no herd); False when it is gone already."""
        self._watched = name
        try:
            data, stat = await self._session.client.get(self.place.node(name), lambda event: self._before_changed(name, event))
        except kz.NoNodeError:
            self._watched = None
            return False
        if stat.ephemeralOwner == 0:
            detail = f"{self.place.node(name)} is no candidate's (it belongs to no session); nobody can lead before it is removed"
            raise Refused(Reason.FOREIGN_ENTRY, detail)
        self._know(name, data, stat)
        return True

    def _before_changed(self, name: str, event: Any) -> None:  # noqa: ANN401
        if self._watched != name or event.type == EventType.NONE:
            return  # not watched any more, or the connection was lost: `reconnected` looks
        self._watched = None
        if event.type == EventType.DELETED and self._before == [name]:
            self._become_first()
        self._session.spawn(self.look())

    def _own_changed(self, event: Any) -> None:  # noqa: ANN401
        if self.node is None or event.path != self.node or event.type == EventType.NONE:
            return
        self._own_watched = False
        if event.type == EventType.DELETED:
            self._gone("our node was deleted by somebody else, or its session ended")
            self._session.spawn(self._session.look())
        else:
            self._session.spawn(self.look())

    async def _learn_names(self, names: list[str]) -> None:
        """Who stands here, for `status`; names are read once per node."""
        self._names = {name: known for name, known in self._names.items() if name in names}
        unknown = [name for name in names[:_SHOWN] if name not in self._names]
        for name in unknown[:_NAMES_PER_LOOK]:
            try:
                data, stat = await self._session.client.get(self.place.node(name))
            except kz.KazooException:
                continue
            self._know(name, data, stat)
        shown = tuple(self._names[name] for name in names[:_SHOWN] if name in self._names)
        first_known = bool(names) and names[0] in self._names
        if shown != self._shown:
            self._shown = shown
            self._session.emit(QueueSeen(self._session.epoch, self.place.election, shown, first_known))

    def _know(self, name: str, data: bytes, stat: Any) -> None:  # noqa: ANN401
        own = stat.ephemeralOwner == self._session.id
        self._names[name] = Contender(paths.name_text(data), own, int(stat.czxid))

    # ---- leaving

    async def _claim_answered(self, own: object, raised: object, token: int, sent_at_s: float) -> None:
        session = self._session
        if not isinstance(own, Exception) and not isinstance(raised, Exception):
            self._mark, self._mark_version = token, self._mark_version + 1
            session.emit(Claimed(session.epoch, self.place.election, token, sent_at_s))
        elif isinstance(own, kz.NoNodeError):
            self._gone("our node is gone")
        elif isinstance(raised, kz.BadVersionError | kz.NoNodeError):
            await self._read_mark()
            session.emit(Elected(session.epoch, self.place.election, token, self._mark))
        else:
            telling = (kz.RolledBackError, kz.RuntimeInconsistency)
            failed = [e for e in (own, raised) if isinstance(e, Exception) and not isinstance(e, telling)]
            raise failed[0] if failed else kz.RuntimeInconsistency

    async def _leave(self) -> Problem | None:
        """Take our node out; None when it is certain that none of ours is left."""
        node, prefix = self.node, self._prefix
        self._forget()
        if prefix is None:
            return None
        try:
            async with asyncio.timeout(self._session.call_s):
                if node is None:
                    found = await self._find(prefix)
                    node = found[0] if found is not None else None
                if node is not None:
                    try:
                        await self._session.client.delete(node)
                    except kz.NoNodeError:
                        pass
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
        self.node, self.token, self._elected = None, None, False
        self._before, self._watched, self._own_watched = [], None, False
        self._shown = ()

    def _gone(self, what: str) -> None:
        if self.token is None and self.node is None and self._prefix is None:
            return
        self._forget()
        self._prefix = None
        problem = Problem(Outcome.FAILED, Reason.ENTRY_GONE, f"{self.place.directory}: {what}")
        self._session.emit(EntryGone(self._session.epoch, self.place.election, problem))

    def _fail(self, problem: Problem) -> None:
        self._session.emit(StandFailed(self._session.epoch, self.place.election, problem))
