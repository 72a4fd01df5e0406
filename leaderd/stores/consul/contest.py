"""One election: wait for the lock, take it, claim, guard it, let it go.

What makes it sound:
- *Acquiring* is one transaction: [the key unchanged since we saw it, lock, read the mark]. The token is the index at which it was
  applied, taken from its own answer: above every earlier token of the key, and nobody else's. (`LockIndex` starts again at 1
  when the key is deleted.) The condition also keeps us from overwriting a key that is no lock.
- *An unanswered acquire* may have been applied, or may still be. The key is read at a quorum: if our session holds it, the lock is
  changed for a new one in one transaction [unchanged, unlock, lock], so that no token is ever guessed, or given to two terms
  (locking alone would change nothing, hence give no new index). If not, the next acquire has the same condition, or the key has
  changed: either way at most one of them can be applied.
- *Claiming* is one transaction [our session holds the key, unchanged since the token, the mark unchanged: set it to the token].
- *Releasing* is one transaction [the key unchanged since the token, unlock]: like a KV release it needs our session to be the
  holder, but a late one cannot free a newer lock of the same session either, whose index is another.
- A blocking query is only a hint; whatever follows from it is decided by a transaction or a read at a quorum.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from enum import Enum, auto
from typing import Any, TypeVar

from leaderd.election.events import Claimed, Contender, Elected, EntryGone, Queued, QueueSeen, StandFailed, Withdrawn
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.consul import wire
from leaderd.stores.consul.agents import CallFailed, failed
from leaderd.stores.consul.session import Session, backoff_s, jitter

_DELAYED_S = (0.4, 0.8)
"""Pause between two tries while the lock-delay lasts: its end wakes no blocking query."""
_PASSING = frozenset({Reason.STORE_UNREACHABLE, Reason.STALE_STORE_NODE, Reason.STORE_ERROR, Reason.WRONG_PROTOCOL})
_NO_RECORD = object()
T = TypeVar("T")


class Try(Enum):
    """What became of one attempt to acquire."""

    WON = auto()
    CHANGED = auto()
    """The key is not what we saw: another was quicker, or the key came or went."""
    DELAYED = auto()
    UNKNOWN = auto()


class Contest:
    """Our part in one election under one session. Commands are carried out in the order they came."""

    def __init__(self, session: Session, election: str, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        self._session = session
        self._spawn = spawn
        self._election = election
        self._key = session.keys.lock(election)
        self._mark_key = session.keys.mark(election)
        self._order = asyncio.Lock()
        self._campaign: asyncio.Task[None] | None = None
        self._acquiring = False
        self._stopping = False
        self._token: int | None = None
        self._mark: wire.Mark | None = None
        self._unsettled: object | None = None
        """The condition of an unanswered acquire: the index it saw, `_NO_RECORD`, or None when nothing is in doubt."""
        self._shown: tuple[tuple[Contender, ...], bool] | None = None

    # ---- commands

    async def stand(self) -> None:
        """Carry out `Stand`."""
        async with self._order:
            await self._halt()
            self._stopping = False
            self._token, self._shown = None, None
            self._campaign = self._spawn(self._stand())

    async def claim(self, token: int, mark: int) -> None:
        """Carry out `Claim`."""
        async with self._order:
            sent_at_s = self._session.now_s()
            try:
                await self._claim(token, mark, sent_at_s)
            except CallFailed as error:
                # The lock is held until it is withdrawn, whatever became of the claim.
                self._fail(replace(error.problem, outcome=Outcome.UNKNOWN))

    async def withdraw(self, token: int | None) -> None:
        """Carry out `Withdraw`."""
        async with self._order:
            problem = await self._leave(token)
            self._session.emit(Withdrawn(self._session.epoch, self._election, problem))

    async def close(self) -> None:
        """Let go of what is held, before the session is destroyed: destroying it first would start the lock-delay."""
        async with self._order:
            await self._leave(None)

    async def raise_mark(self, mark: int) -> None:
        """Carry out `RaiseMark`."""
        try:
            for _ in range(3):
                seen = await self._read_mark()
                if seen.value >= mark:
                    return
                if (await self._session.txn([wire.write_mark(self._mark_key, seen, mark)])).ok:
                    return
        except CallFailed:
            pass  # best effort: the core asks again whenever it meets a token below its mark

    # ---- standing

    async def _stand(self) -> None:
        session = self._session
        try:
            record, index = await self._look()
            session.emit(Queued(session.epoch, self._election, None))
            token, mark = await self._contend(record, index)
            # No await from here to the event: who reads `_token` must find it when the core knows it.
            self._token, self._mark = token, mark
            session.emit(Elected(session.epoch, self._election, token, mark.value))
            self._show((Contender(session.instance, own=True, token=token),), led=True)
            await self._guard(token)
        except CallFailed as error:
            if error.problem.reason is not Reason.SESSION_GONE:  # reported already, and more than this election ends
                in_doubt = self._unsettled is not None or self._token is not None
                outcome = Outcome.UNKNOWN if in_doubt else Outcome.FAILED
                self._fail(replace(error.problem, outcome=outcome))

    async def _contend(self, record: wire.Record | None, index: int) -> tuple[int, wire.Mark]:
        """Try whenever the lock is free, until it is ours; the token, and the mark."""
        session, losses, doubts = self._session, 0, 0
        while True:
            if record is not None and record.session and record.session != session.id:
                losses = 0
                record, index = await self._next(index)
                continue
            if losses > 1:  # the first try is immediate, and so is one after a loss; only a storm is spread
                await asyncio.sleep(jitter(0.0, min(0.02 * 2.0 ** min(losses, 6), 1.0)))
            outcome, found = await self._acquire(record)
            if self._stopping:
                raise asyncio.CancelledError  # `_halt` waits for this, and `_leave` for what the answer said
            if found is not None:
                return found
            match outcome:
                case Try.CHANGED:
                    losses, doubts = losses + 1, 0
                    record, index = await self._again()
                case Try.DELAYED:
                    self._show(wire.contenders(record, session.id, session.instance), led=False)
                    await asyncio.sleep(jitter(*_DELAYED_S))
                case _:
                    doubts += 1
                    await asyncio.sleep(backoff_s(doubts))
                    record, index = await self._again()

    async def _acquire(self, record: wire.Record | None) -> tuple[Try, tuple[int, wire.Mark] | None]:
        session = self._session
        condition = _NO_RECORD if record is None else record.modify_index
        ops = [wire.check_absent(self._key) if record is None else wire.check_index(self._key, record.modify_index)]
        if record is not None and record.session == session.id:
            ops.append(wire.unlock(self._key, session.id, session.instance))
        ops += [wire.lock(self._key, session.id, session.instance), wire.get_tree(self._mark_key)]
        self._acquiring = True
        try:
            txn = await session.txn(ops)
        except CallFailed as error:
            if error.problem.outcome is Outcome.UNKNOWN:
                self._unsettled = condition
                return Try.UNKNOWN, None
            if error.problem.reason in _PASSING:
                return Try.UNKNOWN, None
            raise
        finally:
            self._acquiring = False
        if not txn.ok:
            return (Try.DELAYED if txn.delayed else Try.CHANGED), None
        return await self._acquired(txn)

    async def _acquired(self, txn: wire.Txn) -> tuple[Try, tuple[int, wire.Mark] | None]:
        held = txn.find(self._key)
        if held is None or held.session != self._session.id:
            self._unsettled = _NO_RECORD
            raise failed(Reason.WRONG_PROTOCOL, f"txn: the answer does not show {self._key}", Outcome.UNKNOWN)
        # Applied: the key has a new index, so an earlier acquire with the same condition can no longer be.
        self._unsettled = None
        # Safety: see test_token_from_lock_index
        self._token = held.modify_index
        try:
            return Try.WON, (held.modify_index, self._read_mark_in(txn))
        except CallFailed:
            if await self._release(held.modify_index) is None:
                self._token = None
            raise

    async def _guard(self, token: int) -> None:
        """Watch the lock we hold; report when it is not ours any more."""
        session, index = self._session, token
        while True:
            record, index = await self._next(index)
            if self._ours(record, token):
                await asyncio.sleep(jitter(0.02, 0.1))
                continue
            record, index = await self._again()
            if self._ours(record, token):
                continue
            if record is None or not record.session:
                await self._patiently(session.prove_alive)  # raises when it is the session that is gone
            self._show(wire.contenders(record, session.id, session.instance), led=record is not None and bool(record.session))
            session.emit(EntryGone(session.epoch, self._election, self._why_gone(record)))
            if record is not None and record.session == session.id:
                # Overwritten, yet still locked by us. Standing again changes it for a new lock without freeing it; if nobody asks
                # for that, free it once every promise has lapsed.
                await asyncio.sleep(session.granted_s)
                await self._release(record.modify_index)
            return

    def _ours(self, record: wire.Record | None, token: int) -> bool:
        return record is not None and record.session == self._session.id and record.modify_index == token

    def _why_gone(self, record: wire.Record | None) -> Problem:
        if record is None:
            what = "deleted"
        elif record.session == self._session.id:
            what = "overwritten"
        else:
            what = "released" if not record.session else "taken away"
        return Problem(Outcome.FAILED, Reason.ENTRY_GONE, f"key {self._key} was {what} by somebody else")

    # ---- claiming

    async def _claim(self, token: int, mark: int, sent_at_s: float) -> None:
        session = self._session
        known = self._mark if self._mark is not None and self._mark.value == mark else await self._read_mark()
        if known.value != mark or token <= known.value:
            self._mark = known
            session.emit(Elected(session.epoch, self._election, token, known.value))
            return
        # Safety: see test_claim_without_verifying_own_key
        proof = [wire.check_session(self._key, session.id), wire.check_index(self._key, token)]
        txn = await session.txn([*proof, wire.write_mark(self._mark_key, known, token)])
        if not txn.ok and not txn.places() & {0, 1}:
            # The mark moved; or this very claim was applied and its answer lost. Both can be seen at a quorum.
            txn = await session.txn([*proof, wire.get_tree(self._mark_key)], consistent=True, again=True)
            if txn.ok:
                self._mark = self._read_mark_in(txn)
                if self._mark.value != token:
                    session.emit(Elected(session.epoch, self._election, token, self._mark.value))
                    return
        if not txn.ok:
            session.emit(EntryGone(session.epoch, self._election, self._why_gone((await session.read(self._key))[0])))
            return
        held = txn.find(self._key)
        if not self._ours(held, token):
            raise failed(Reason.WRONG_PROTOCOL, f"txn: the answer does not show {self._key}", Outcome.UNKNOWN)
        session.emit(Claimed(session.epoch, self._election, token, sent_at_s))

    async def _read_mark(self) -> wire.Mark:
        record, _ = await self._session.read(self._mark_key)
        return self._marked(record)

    def _read_mark_in(self, txn: wire.Txn) -> wire.Mark:
        return self._marked(txn.find(self._mark_key))

    def _marked(self, record: wire.Record | None) -> wire.Mark:
        try:
            return wire.read_mark(record)
        except wire.BadMark as error:
            raise failed(Reason.FOREIGN_ENTRY, str(error)) from None

    # ---- leaving

    async def _halt(self) -> None:
        """Stop standing. An acquire on its way is waited for: its answer says whether there is something to release."""
        task = self._campaign
        if task is None or task.done():
            return
        self._stopping = True
        if not self._acquiring:
            task.cancel()
            return  # it is not in an acquire, so it will not start one: cancelled at the await where it is
        await asyncio.wait({task})

    async def _leave(self, token: int | None) -> Problem | None:
        await self._halt()
        token = self._token if self._token is not None else token
        if token is None and self._unsettled is None:
            return None
        problem = await (self._release(token) if token is not None else self._settle())
        if problem is None:
            self._token = self._unsettled = None
        return problem

    async def _release(self, token: int) -> Problem | None:
        """Let the lock of `token` go, if it is ours; None when it certainly is no longer ours."""
        session = self._session
        problem: Problem | None = None
        for _ in range(3):
            # Safety: see test_unconditional_release
            ops = [wire.check_index(self._key, token), wire.unlock(self._key, session.id, session.instance)]
            try:
                if (await session.txn(ops)).ok:
                    return None
                record, _ = await session.read(self._key)
            except CallFailed as error:
                if error.problem.reason is Reason.SESSION_GONE:
                    return None
                problem = replace(error.problem, outcome=Outcome.UNKNOWN)
                if error.problem.reason not in _PASSING:
                    return problem
                continue  # it does no harm twice: the condition holds at most once
            if record is None or record.session != session.id:
                return None
            token = record.modify_index  # overwritten, but held by our session, which has one term at a time: this one
        return problem or Problem(Outcome.UNKNOWN, Reason.STORE_ERROR, f"key {self._key} changes faster than it can be released")

    async def _settle(self) -> Problem | None:
        """After an unanswered acquire: see to it that it neither holds nor ever will."""
        session = self._session
        for _ in range(3):
            try:
                record, _ = await session.read(self._key)
                if record is not None and record.session == session.id:
                    return await self._release(record.modify_index)
                if self._unsettled != (_NO_RECORD if record is None else record.modify_index):
                    return None  # its condition is past
                # Its condition still holds, so it may yet be applied: take its place, and let go again.
                outcome, found = await self._acquire(record)
            except CallFailed as error:
                return None if error.problem.reason is Reason.SESSION_GONE else replace(error.problem, outcome=Outcome.UNKNOWN)
            if found is not None:
                return await self._release(found[0])
            if outcome is Try.DELAYED:
                break
        return Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, f"it is not known whether key {self._key} was locked")

    # ---- seeing

    async def _look(self) -> tuple[wire.Record | None, int]:
        """Read the key at a quorum, and show what is there. Raises `CallFailed` where something else lies in its place."""
        record, index = await self._session.read(self._key)
        self._seen(record)
        return record, index

    async def _again(self) -> tuple[wire.Record | None, int]:
        return await self._patiently(self._look)

    async def _next(self, index: int) -> tuple[wire.Record | None, int]:
        """Wait for a change. Never gives up while the store is away; never trusts an index from before that."""
        if index <= 0:
            return await self._again()
        try:
            record, now = await self._session.read_changed(self._key, index)
            self._seen(record)
        except CallFailed as error:
            if error.problem.reason not in _PASSING:
                raise
            await asyncio.sleep(jitter(0.0, 0.05))
            return await self._again()
        if now == index:  # the wait is over, or something between us and the agent does not wait at all
            await asyncio.sleep(jitter(0.05, 0.15))
        return record, now

    async def _patiently(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        attempts = 0
        while True:
            try:
                return await call()
            except CallFailed as error:
                if error.problem.reason not in _PASSING:
                    raise
            attempts += 1
            await asyncio.sleep(backoff_s(attempts))

    def _seen(self, record: wire.Record | None) -> None:
        session = self._session
        problem = wire.foreign(record, session.id)
        if problem is not None and self._token is None:
            raise CallFailed(problem)
        ours = record is not None and record.session == session.id
        if not ours and self._unsettled != (_NO_RECORD if record is None else record.modify_index):
            self._unsettled = None  # the unanswered acquire was not applied, and its condition is past
        self._show(wire.contenders(record, session.id, session.instance), led=record is not None and bool(record.session))

    def _show(self, contenders: tuple[Contender, ...], *, led: bool) -> None:
        if self._shown != (contenders, led):
            self._shown = (contenders, led)
            self._session.emit(QueueSeen(self._session.epoch, self._election, contenders, led))

    def _fail(self, problem: Problem) -> None:
        self._session.emit(StandFailed(self._session.epoch, self._election, problem))
