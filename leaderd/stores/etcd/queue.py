"""The recipe of one election: stand in the queue, watch the predecessor, claim when first, leave.

Rule 1: being first is never concluded from silence, only from a read, or from the deletion of the only entry older than ours.
Rule 2: leadership is never concluded here at all: `Claimed` reports what a quorum applied, in a transaction of that moment or, for
the next in line, in one of before (`readiness`).
Rule 3: commands for one election are carried out one at a time, in their order, so that no late `Put` follows a `Delete`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaderd.election.events import Claimed, Elected, EntryGone, Queued, StandFailed, Withdrawn
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores import marks
from leaderd.stores.etcd import transactions as tx
from leaderd.stores.etcd.errors import is_lease_missing, problem_of
from leaderd.stores.etcd.predecessor import Predecessor
from leaderd.stores.etcd.readiness import Readiness
from leaderd.stores.etcd.transactions import Older, Place
from leaderd.stores.etcd.wire import Found, Get, KeyValue, Txn, WatchEvent, WireError

if TYPE_CHECKING:
    from leaderd.stores.etcd.session import Session

_SETTLE_S = 0.05


class Queue:
    """Our part in one election, in one session. `token` is that of our entry while we have one."""

    def __init__(self, session: Session, place: Place) -> None:
        self.place = place
        self.token: int | None = None
        self._session = session
        self._own = place.key(session.lease)
        self._mark = 0
        self._older: Older | None = None
        self._elected = False
        self._one_at_a_time = asyncio.Lock()
        self._own_watch: int | None = None
        self._predecessor = Predecessor(session.watcher, self._own, self)
        self._ready: Readiness | None = None

    @property
    def waiting(self) -> bool:
        """Whether there was somebody before us when the store was last heard."""
        return self.token is not None and not self._elected

    # ---- commands

    async def stand(self) -> None:
        """Carry out `Stand`."""
        session, election = self._session, self.place.election
        async with self._one_at_a_time:
            self._leave()
            # Safety: see test_nobody_stands_who_does_not_know_the_records
            unknown = await session.records.unknown()
            if unknown is not None:
                session.emit(StandFailed(session.epoch, election, unknown))
                return
            try:
                reply = await session.txn(tx.stand(self.place, session.lease, session.value), repeatable=True)
                seen = tx.stood(reply)
                if seen is None:
                    await self._refuse(Reason.STORE_ERROR, "the store lost what it had just written")
                    return
                mark = marks.parse_mark(seen.mark)
                if mark is None:
                    text = tx.name_text(seen.mark)[:40]
                    await self._refuse(
                        Reason.FOREIGN_ENTRY, f"{tx.key_text(self.place.mark)} holds {text!r}, not a high-water mark"
                    )
                    return
                if seen.own.lease != session.lease:
                    await self._refuse(Reason.FOREIGN_ENTRY, f"somebody else wrote to our key {tx.key_text(self._own)}")
                    return
                older = seen.older or await self._read_older(seen.own.create_revision)
            except WireError as e:
                session.emit(StandFailed(session.epoch, election, problem_of(e, f"standing in {election}")))
                if is_lease_missing(e):
                    session.gone(problem_of(e, "lease"))
                return
            strange = next((why for kv in older.entries if (why := tx.foreign(self.place, kv))), None)
            if strange is not None:
                await self._refuse(Reason.FOREIGN_ENTRY, strange + "; no one can lead before it is removed")
                return
            self.token, self._mark = seen.own.create_revision, mark
            self._own_watch = session.watcher.add(self._own, reply.header.revision + 1, _OwnKey(self))
            session.emit(Queued(session.epoch, election, self.token))
            self.observe(older)
            session.roster.saw(self.place, seen.queue)

    async def claim(self, token: int) -> None:
        """Carry out `Claim`."""
        session, election = self._session, self.place.election
        async with self._one_at_a_time:
            ready = self._ready
            # Safety: see test_a_turn_that_came_in_another_order_is_claimed
            if ready is not None and ready.holds(token):
                ready.used = True
                session.emit(Claimed(session.epoch, election, token, ready.sent_at_s))
                return
            sent_at_s = session.now_s()
            try:
                # Not repeatable: if the first attempt was applied, the second would find the mark raised, by itself.
                reply = await session.txn(tx.claim(self.place, session.lease, token), repeatable=False)
            except WireError as e:
                session.emit(StandFailed(session.epoch, election, problem_of(e, f"claiming {election}")))
                return
            if reply.succeeded:
                session.emit(Claimed(session.epoch, election, token, sent_at_s))
                queue = reply.results[1]
                assert isinstance(queue, Found)
                session.roster.saw(self.place, queue)
                return
            own, mark, older = reply.results
            assert isinstance(own, Found)
            assert isinstance(mark, Found)
            assert isinstance(older, Found)
            await self._claim_refused(token, own, mark, older)

    async def withdraw(self, token: int | None) -> None:
        """Carry out `Withdraw`."""
        session, election = self._session, self.place.election
        async with self._one_at_a_time:
            self._leave()
            problem = await self._delete(token)
            session.emit(Withdrawn(session.epoch, election, problem))

    async def raise_mark(self, mark: int) -> None:
        """Carry out `RaiseMark`: before the withdrawal that follows it, so that whoever is next meets the mark."""
        async with self._one_at_a_time:
            try:
                await self._session.txn(tx.raise_mark(self.place, mark), repeatable=True)
            except WireError:
                pass  # best effort, by contract; the candidate that needs the mark tries again

    # ---- what the store shows

    def observe(self, older: Older) -> None:
        """Take in which entries are older than ours, as of a revision."""
        if self.token is None or self._elected or (self._older is not None and older.revision < self._older.revision):
            return
        self._older = older
        if not older.entries:
            self._elected = True
            self._session.emit(Elected(self._session.epoch, self.place.election, self.token, self._mark))
            self._session.spawn(self._settle(self.token))
            return
        strange = next((why for kv in older.entries if (why := tx.foreign(self.place, kv))), None)
        if strange is not None:
            self._session.spawn(self._give_up(self.token, Reason.FOREIGN_ENTRY, strange + "; no one can lead before it is removed"))
            return
        next_in_line = older.complete and len(older.entries) == 1
        if self._predecessor.watch(older.entries[0], older.revision, next_in_line):
            self._end_readiness()
            if next_in_line:
                leader, begun = older.entries[0], self._readiness_begun
                self._ready = Readiness(self._session, self.place, self.token, leader, begun, self._mark_seen)

    def older_deleted(self, kv: KeyValue, in_order: bool) -> None:
        """The entry watched is gone: the next older one is our predecessor now, and with none left we are first."""
        if self._older is None or self.token is None:
            return
        if in_order and self._ready is not None:
            self._ready.leader_gone()
        rest, complete = self._older.entries[1:], self._older.complete
        if rest or complete:
            # Watched from the revision at which it was read: had it gone since, that deletion comes first of all.
            self.observe(Older(rest, complete, self._older.revision))
        else:
            self._session.spawn(self.look())

    async def look(self) -> None:
        """Read anew who is older than us; failing that, the next renewal does."""
        token = self.token
        if token is None or self._elected:
            return
        try:
            older = await self._read_older(token)
        except WireError:
            return
        if token == self.token:
            self.observe(older)

    def older_missed(self) -> None:
        """The watch on our predecessor ended (its past was compacted away): read again; the next observation watches anew."""
        self._end_readiness()
        self._session.spawn(self.look())

    def own_missed(self) -> None:
        """The watch on our key ended: watch from now on; what happened meanwhile the next renewal finds, which reads the key."""
        if self.token is not None:
            self._own_watch = self._session.watcher.add(self._own, 0, _OwnKey(self))

    def own_changed(self, event: WatchEvent) -> None:
        """Our own key changed by somebody else's hand."""
        if self.token is None:
            return
        if not event.deleted and event.kv.lease == self._session.lease and event.kv.create_revision == self.token:
            return  # a new value; the entry is ours as before
        what = "was deleted" if event.deleted else "was overwritten"
        problem = Problem(
            Outcome.FAILED, Reason.ENTRY_GONE, f"our key {tx.key_text(self._own)} {what} by somebody else, or its lease ended"
        )
        self._leave()
        self._session.emit(EntryGone(self._session.epoch, self.place.election, problem))
        self._session.spawn(self._session.look())

    def lost(self, token: int | None) -> None:
        """A renewal reported our entry lost: watch no more."""
        if token == self.token:
            self._leave()

    def stop(self) -> None:
        """The session is over."""
        self._leave()

    # ---- inside

    async def _claim_refused(self, token: int, own: Found, mark: Found, older: Found) -> None:
        session, election = self._session, self.place.election
        ours = own.kvs and own.kvs[0].create_revision == token and own.kvs[0].lease == session.lease
        if not ours:
            self._leave()
            detail = f"our key {tx.key_text(self._own)} is gone, or not ours any more"
            session.emit(EntryGone(session.epoch, election, Problem(Outcome.FAILED, Reason.ENTRY_GONE, detail)))
            session.spawn(session.look())
            return
        if older.kvs:
            await self._refuse(Reason.STORE_ERROR, f"an entry older than ours appeared: {tx.key_text(older.kvs[0].key)}")
            return
        if not mark.kvs:
            await self._refuse(Reason.STORE_ERROR, f"the high-water mark {tx.key_text(self.place.mark)} was deleted")
            return
        found = marks.parse_mark(mark.kvs[0].value)
        if found is None:
            text = tx.name_text(mark.kvs[0].value)[:40]
            await self._refuse(Reason.FOREIGN_ENTRY, f"{tx.key_text(self.place.mark)} holds {text!r}, not a high-water mark")
            return
        self._mark = found
        session.emit(Elected(session.epoch, election, token, found))

    async def _give_up(self, token: int, reason: Reason, detail: str) -> None:
        async with self._one_at_a_time:
            if self.token == token:
                await self._refuse(reason, detail)

    async def _refuse(self, reason: Reason, detail: str) -> None:
        """Leave the queue and say why. With our entry surely out the outcome is FAILED, else it is UNKNOWN."""
        self._leave()
        left = await self._delete(None)
        outcome = Outcome.FAILED if left is None else Outcome.UNKNOWN
        self._session.emit(StandFailed(self._session.epoch, self.place.election, Problem(outcome, reason, detail)))

    async def _delete(self, token: int | None) -> Problem | None:
        session = self._session
        try:
            if token is None:
                # Which entry? A deletion by lease alone that arrives late, or twice, would take our next entry under this key.
                reply = await session.txn(Txn((), (Get(self._own),)), repeatable=True)
                found = reply.results[0]
                assert isinstance(found, Found)
                token = next((kv.create_revision for kv in found.kvs if kv.lease == session.lease), None)
                if token is None:
                    return None
            await session.txn(tx.withdraw(self.place, session.lease, token), repeatable=True)
        except WireError as e:
            return problem_of(e, f"leaving {self.place.election}")
        return None

    async def _read_older(self, token: int) -> Older:
        reply = await self._session.txn(Txn((), (tx.get_older(self.place, token),)), repeatable=True)
        found = reply.results[0]
        assert isinstance(found, Found)
        return tx.older_in(found, reply.header.revision)

    async def _settle(self, token: int) -> None:
        """What being first leaves to be done: not in the way of a hand-over, but a moment later."""
        await asyncio.sleep(_SETTLE_S)
        if self.token != token:
            return
        self._predecessor.stop()
        led = self._ready is not None and self._ready.used  # a claim that is sent shows the queue, and sets the mark
        self._end_readiness()
        if led:
            await self._confirm(token)

    async def _confirm(self, token: int) -> None:
        """We lead, and no request has said so: from now on the next in line may get ready. Failing that, it claims."""
        try:
            reply = await self._session.txn(tx.confirm(self.place, token), repeatable=True)
        except WireError:
            return  # the next renewal shows the queue
        queue = reply.results[-1]
        assert isinstance(queue, Found)
        self._session.roster.saw(self.place, queue)

    def _readiness_begun(self, ready: Readiness) -> None:
        self._session.spawn(self._raise_mark(ready))

    def _mark_seen(self, mark: int) -> None:
        self._mark = max(self._mark, mark)

    def _end_readiness(self) -> None:
        if self._ready is not None:
            self._ready.end()
            self._ready = None

    async def _raise_mark(self, ready: Readiness) -> None:
        async with self._one_at_a_time:
            if self._ready is ready and not self._elected:
                await ready.raise_mark()

    def _leave(self) -> None:
        """Forget our entry: from here on nothing is reported about it."""
        self.token, self._older, self._elected = None, None, False
        self._predecessor.stop()
        self._end_readiness()
        if self._own_watch is not None:
            self._session.watcher.drop(self._own_watch)
            self._own_watch = None


@dataclass(slots=True)
class _OwnKey:
    queue: Queue

    def changed(self, event: WatchEvent) -> None:
        self.queue.own_changed(event)

    def missed(self) -> None:
        self.queue.own_missed()
