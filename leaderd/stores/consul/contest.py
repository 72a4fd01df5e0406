"""Our part in one election: wait until the lock is free, race for it, guard it.

A blocking query is only a hint here: whatever follows from it is decided by a transaction, or a read at a quorum.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from leaderd.election.events import Claimed, Contender, Elected, EntryGone, Queued, QueueSeen, StandFailed, Withdrawn
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.consul import wire
from leaderd.stores.consul.agents import CallFailed
from leaderd.stores.consul.lock import Lock, Proof, Try
from leaderd.stores.consul.records import Records
from leaderd.stores.consul.session import PASSING, WAIT_S, Session, backoff_s, jitter

_DELAYED_S = (0.4, 0.8)
"""Pause between two tries while the lock-delay lasts: its end wakes no blocking query."""
_AFTER_YOU_S = 0.02
"""Pause after a lock was won: the claim goes first."""
_SETTLED_S = 0.1
"""How long a new holder is given to write its mark before we look at it."""
T = TypeVar("T")


class Contest:
    """Our part in one election under one session. Commands are carried out in the order they came."""

    def __init__(
        self,
        session: Session,
        election: str,
        records: Records,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._session = session
        self._records = records
        self._spawn = spawn
        self._election = election
        self._lock = Lock(session, election)
        self._order = asyncio.Lock()
        self._campaign: asyncio.Task[None] | None = None
        self._stopping = False
        self._shown: tuple[tuple[Contender, ...], bool] | None = None
        self._offer: tuple[int, int] | None = None
        """Token and mark of the acquisition that the core is being told of at this moment, if that proved all a claim has to."""
        self._accepted = False

    # ---- commands

    def accepts(self, token: int, mark: int) -> bool:
        """Whether a `Claim` was given in the very step of its `Elected`, and needs no proof but the acquisition's own."""
        self._accepted = self._offer == (token, mark)
        return self._accepted

    async def stand(self) -> None:
        """Carry out `Stand`."""
        async with self._order:
            await self._halt()
            self._stopping, self._shown = False, None
            self._lock.forget()
            self._campaign = self._spawn(self._stand())

    async def claim(self, token: int, mark: int) -> None:
        """Carry out `Claim`."""
        async with self._order:
            session, sent_at_s = self._session, self._session.now_s()
            try:
                proof = await self._lock.claim(token, mark)
                record = (await session.read(self._lock.key))[0] if proof is Proof.NOT_OURS else None
            except CallFailed as error:
                # The lock is held until it is withdrawn, whatever became of the claim.
                self._fail(replace(error.problem, outcome=Outcome.UNKNOWN))
                return
            match proof:
                case Proof.CLAIMED:
                    session.emit(Claimed(session.epoch, self._election, token, sent_at_s))
                case Proof.MARK_MOVED:
                    moved = self._lock.mark or wire.Mark()
                    session.emit(Elected(session.epoch, self._election, token, moved.value))
                case Proof.NOT_OURS:
                    session.emit(EntryGone(session.epoch, self._election, self._why_gone(record)))

    async def withdraw(self, token: int | None) -> None:
        """Carry out `Withdraw`."""
        async with self._order:
            if token is None or token == self._lock.token:
                await self._halt()
                problem = await self._lock.let_go()
            else:  # a late command for an earlier term touches neither the lock nor the campaign of the present one
                problem = await self._lock.release(token, only=True)
            self._session.emit(Withdrawn(self._session.epoch, self._election, problem))

    async def close(self) -> bool:
        """Let go of what is held, before the session is destroyed: destroying it first would start the lock-delay. False if that
        may yet succeed later."""
        async with self._order:
            await self._halt()
            problem = await self._lock.let_go()
            return problem is None or problem.reason not in PASSING

    async def raise_mark(self, mark: int) -> None:
        """Carry out `RaiseMark`: before the withdrawal that follows it, so that whoever is next meets the mark."""
        async with self._order:
            await self._lock.raise_mark(mark)

    # ---- standing

    async def _stand(self) -> None:
        session = self._session
        try:
            # Safety: see test_nobody_stands_who_does_not_know_the_records
            await self._records.known_of(self._election)
            record, index = await self._look()
            session.emit(Queued(session.epoch, self._election, None))
            token, mark = await self._contend(record, index)
            proven_sent_at_s = self._lock.proven_sent_at_s
            # Safety: see test_a_claim_proves_the_lock
            self._offer = (token, mark.value) if proven_sent_at_s is not None else None
            self._accepted = False
            session.emit(Elected(session.epoch, self._election, token, mark.value))
            self._offer = None
            if self._accepted and proven_sent_at_s is not None:
                session.emit(Claimed(session.epoch, self._election, token, proven_sent_at_s))
            await asyncio.sleep(_AFTER_YOU_S)
            if self._accepted:
                self._spawn(self._lock.write_token(token))
            self._show((Contender(session.instance, own=True, token=token),), led=True)
            await self._guard(token)
        except CallFailed as error:
            if error.problem.reason is not Reason.SESSION_GONE:  # reported already, and more than this election ends
                outcome = Outcome.UNKNOWN if self._lock.perhaps_held else Outcome.FAILED
                self._fail(replace(error.problem, outcome=outcome))

    async def _contend(self, record: wire.Record | None, index: int) -> tuple[int, wire.Mark]:
        """Try whenever the lock is free, until it is ours; the token, and the mark."""
        session, losses, doubts = self._session, 0, 0
        while True:
            if record is not None and record.session and record.session != session.id:
                losses = 0
                holder = record.modify_index
                if self._lock.knows_mark_of(holder):
                    record, index = await self._next(index)
                    continue
                record, index = await self._next(index, _SETTLED_S)
                if record is not None and record.modify_index == holder:
                    await self._lock.see_mark(holder)
                continue
            if losses > 1:  # the first try is immediate, and so is one after a loss; only a storm is spread
                await asyncio.sleep(jitter(0.0, min(0.02 * 2.0 ** min(losses, 6), 1.0)))
            outcome = await self._lock.acquire(record)
            if self._stopping:
                raise asyncio.CancelledError  # `_halt` waits for this; the lock remembers what there is to let go
            match outcome:
                case Try.WON:
                    assert self._lock.token is not None
                    assert self._lock.mark is not None
                    return self._lock.token, self._lock.mark
                case Try.CHANGED:
                    losses, doubts = losses + 1, 0
                    record, index = await self._again()
                case Try.DELAYED:
                    self._show(wire.contenders(record, session.id, session.instance), led=False)
                    await asyncio.sleep(jitter(*_DELAYED_S))
                case Try.UNKNOWN:
                    self._show(wire.contenders(record, session.id, session.instance), led=False)
                    doubts += 1
                    await asyncio.sleep(backoff_s(doubts))
                    record, index = await self._again()

    async def _guard(self, token: int) -> None:
        """Watch the lock we hold; report when it is not ours any more."""
        session, index = self._session, token
        while True:
            record, index = await self._next(index)
            if self._lock.ours(record):
                await asyncio.sleep(jitter(0.02, 0.1))
                continue
            record, index = await self._again()
            if self._lock.ours(record):
                continue
            if record is None or not record.session:
                await self._patiently(session.prove_alive)  # raises when it is the session that is gone
            self._show(wire.contenders(record, session.id, session.instance), led=record is not None and bool(record.session))
            session.emit(EntryGone(session.epoch, self._election, self._why_gone(record)))
            if record is not None and record.session == session.id:
                # Overwritten, yet still locked by us. Standing again changes it for a new lock without freeing it; if nobody asks
                # for that, free it once every promise has lapsed.
                await asyncio.sleep(session.granted_s)
                await self._lock.release(record.modify_index, only=True)
            return

    def _why_gone(self, record: wire.Record | None) -> Problem:
        if record is None:
            what = "deleted"
        elif record.session == self._session.id:
            what = "overwritten"
        else:
            what = "released" if not record.session else "taken away"
        return Problem(Outcome.FAILED, Reason.ENTRY_GONE, f"key {self._lock.key} was {what} by somebody else")

    async def _halt(self) -> None:
        """Stop standing. An acquire on its way is waited for: its answer says whether there is something to release."""
        task = self._campaign
        if task is None or task.done():
            return
        self._stopping = True
        if not self._lock.acquiring:
            task.cancel()
            return  # it is not in an acquire, so it will not start one: cancelled at the await where it is
        await asyncio.wait({task})

    # ---- seeing

    async def _look(self) -> tuple[wire.Record | None, int]:
        """Read the key at a quorum, and show what is there. Raises `CallFailed` where something else lies in its place."""
        record, index = await self._session.read(self._lock.key)
        self._seen(record)
        return record, index

    async def _again(self) -> tuple[wire.Record | None, int]:
        return await self._patiently(self._look)

    async def _next(self, index: int, wait_s: float = WAIT_S) -> tuple[wire.Record | None, int]:
        """Wait for a change. Never gives up while the store is away; never trusts an index from before that."""
        if index <= 0:
            return await self._again()
        try:
            record, now = await self._session.read_changed(self._lock.key, index, wait_s)
            self._seen(record)
        except CallFailed as error:
            if not self._passing(error.problem.reason):
                raise
            await asyncio.sleep(jitter(0.0, 0.05))
            return await self._again()
        if now == index and wait_s == WAIT_S:  # the wait is over, or something between us and the agent does not wait at all
            await asyncio.sleep(jitter(0.05, 0.15))
        return record, now

    async def _patiently(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        attempts = 0
        while True:
            try:
                return await call()
            except CallFailed as error:
                if not self._passing(error.problem.reason):
                    raise
            attempts += 1
            await asyncio.sleep(backoff_s(attempts))

    def _passing(self, reason: Reason) -> bool:
        """Whether to look again later. Who leads does so in any case: a token that is refused now may be mended in time."""
        return reason in PASSING or (self._lock.token is not None and reason is not Reason.SESSION_GONE)

    def _seen(self, record: wire.Record | None) -> None:
        session = self._session
        problem = wire.foreign(record, session.id)
        if problem is not None and self._lock.token is None:
            raise CallFailed(problem)
        self._lock.saw(record)
        if record is not None and record.session:  # a free lock is raced for first, and shown if that fails
            self._show(wire.contenders(record, session.id, session.instance), led=True)

    def _show(self, contenders: tuple[Contender, ...], *, led: bool) -> None:
        if self._shown != (contenders, led):
            self._shown = (contenders, led)
            self._session.emit(QueueSeen(self._session.epoch, self._election, contenders, led))

    def _fail(self, problem: Problem) -> None:
        self._session.emit(StandFailed(self._session.epoch, self._election, problem))
