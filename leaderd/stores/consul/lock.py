"""One election's lock under one session: acquired, claimed, released, each in one transaction.

What makes it sound:
- *Acquiring* is [the key unchanged since we saw it, lock, read the mark]. The token is the index at which it was applied, taken
  from its own answer: above every earlier token of the key, and nobody else's. (`LockIndex` starts again at 1 when the key is
  deleted.) The condition also keeps us from overwriting a key that is no lock.
- *An unanswered acquire* may have been applied, or may still be. The key is read at a quorum: if our session holds it, the lock is
  changed for a new one in one transaction [unchanged, unlock, lock], so that no token is ever guessed, or given to two terms
  (locking alone would change nothing, hence give no new index). If not, the next acquire has the same condition, or the key has
  changed: either way at most one of them can be applied.
- *The mark* is raised in the acquiring transaction itself, by whoever has seen it before: its key says "the number here, or my own
  index if that is higher", and the index of everything in one transaction is the token. So no successor ever reads a mark below
  a token that was given out, and the claim has nothing left to write. The number follows a moment later (`write_token`), for
  copies of the store that keep values and lose indexes (`consul kv export`).
- *Claiming*, then, is nothing but the core's word (it compares token and mark) if that comes in the very step in which it was told
  of the acquisition: the transaction was a write at the quorum, sent at `sent_at_s`, that took the lock for a living session and
  raised the mark, and nothing has been learnt since. From that instant on only the end of the session (then the lock-delay keeps
  everybody else out) or an operator can take the lock away, as in any later moment of the term.
- *A claim at any other time*, or with a mark that was not seen before, is a transaction of its own: [our session holds the key,
  unchanged since the token, the mark unchanged: set it to the token].
- *Releasing* is [the key unchanged since the token, unlock]: like a KV release it needs our session to be the holder, but a late
  one cannot free a newer lock of the same session either, whose index is another.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from enum import Enum, auto

from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.consul import wire
from leaderd.stores.consul.agents import CallFailed, failed
from leaderd.stores.consul.session import PASSING, Session, backoff_s

_ABSENT = -1
_LEFT = -2


class Try(Enum):
    """What became of one attempt to acquire."""

    WON = auto()
    CHANGED = auto()
    """The key is not what we saw: another was quicker, or the key came or went."""
    DELAYED = auto()
    """The lock is held back after an invalidated session."""
    UNKNOWN = auto()


class Proof(Enum):
    """What became of one attempt to claim."""

    CLAIMED = auto()
    MARK_MOVED = auto()
    NOT_OURS = auto()


class Lock:
    """The lock key and the mark beside it. `token` is set from acquiring to releasing, `mark` is the last one seen."""

    def __init__(self, session: Session, election: str) -> None:
        self.key = session.keys.lock(election)
        self.mark_key = session.keys.mark(election)
        self.token: int | None = None
        self.mark: wire.Mark | None = None
        self.acquiring = False
        """An acquire is on its way."""
        self.proven_sent_at_s: float | None = None
        """When the acquiring transaction was sent, if it raised the mark as well; else None."""
        self._seen: wire.Mark | None = None
        """The mark as the present holder left it."""
        self._seen_under = 0
        self._session = session
        self._in_doubt: int | None = None
        """What may have left us the lock: the condition of an unanswered acquire (the index it saw, or `_ABSENT`), or `_LEFT`, an
        earlier term. None when nothing is in doubt."""

    @property
    def perhaps_held(self) -> bool:
        """Whether something may have to be released."""
        return self.token is not None or self._in_doubt is not None

    def ours(self, record: wire.Record | None) -> bool:
        """Whether the record shows our lock with our token."""
        return record is not None and record.session == self._session.id and record.modify_index == self.token

    def saw(self, record: wire.Record | None) -> None:
        """Take note of a record: an unanswered acquire whose condition is past, and that did not lock it, never will."""
        if (record is None or record.session != self._session.id) and self._in_doubt != _condition(record):
            self._in_doubt = None

    def forget(self) -> None:
        """Begin anew: an earlier term is over, whether or not its lock was released."""
        self._seen, self._seen_under = None, 0
        if self.token is not None:
            self.token, self._in_doubt = None, _LEFT

    # ---- waiting

    def knows_mark_of(self, holder: int) -> bool:
        """Whether the mark was looked at under the present holder, who has the lock with this index."""
        return self._seen_under == holder

    async def see_mark(self, holder: int) -> None:
        """Look at the mark before the lock is free, so that acquiring can raise it. Best effort: without, claiming does."""
        self._seen, self._seen_under = None, holder
        with suppress(CallFailed):
            self._seen = await self.read_mark()

    # ---- acquiring

    async def acquire(self, record: wire.Record | None) -> Try:
        """Take the lock as `record` shows it: free, or ours. Raises `CallFailed` where trying again is useless."""
        session = self._session
        ops = [wire.check_absent(self.key) if record is None else wire.check_index(self.key, record.modify_index)]
        if record is not None and record.session == session.id:
            ops.append(wire.unlock(self.key, session.id, session.instance))
        ops.append(wire.lock(self.key, session.id, session.instance))
        self.acquiring = True
        seen, self._seen = self._seen, None
        sent_at_s = session.now_s()
        try:
            txn = await session.txn([*ops, wire.lift_mark(self.mark_key, seen) if seen else wire.get_tree(self.mark_key)])
            if seen and txn.places() == {len(ops)}:  # the mark is not what we saw: nothing happened
                seen, sent_at_s = None, session.now_s()
                txn = await session.txn([*ops, wire.get_tree(self.mark_key)])
        except CallFailed as error:
            if error.problem.outcome is Outcome.UNKNOWN:
                self._in_doubt = _condition(record)
            elif error.problem.reason not in PASSING:
                raise
            return Try.UNKNOWN
        finally:
            self.acquiring = False
        if not txn.ok:
            return Try.DELAYED if txn.delayed else Try.CHANGED
        held = txn.find(self.key)
        if held is None or held.session != session.id:
            self._in_doubt = _condition(record)
            raise failed(Reason.WRONG_PROTOCOL, f"txn: the answer does not show {self.key}", Outcome.UNKNOWN)
        # Applied: the key has a new index, so an earlier acquire with the same condition can no longer be.
        self._in_doubt = None
        # Safety: see test_the_token_is_the_index_of_the_acquiring_transaction
        self.token = held.modify_index
        marked = txn.find(self.mark_key)
        if seen is not None:
            # A value that stays the same is not written, and keeps its index: then the mark was not raised.
            # Safety: see test_a_mark_that_was_not_lifted_is_raised_by_the_claim
            lifted = marked is not None and marked.modify_index == self.token
            self.mark = wire.Mark(seen.value, marked.modify_index if marked is not None else seen.index)
            self.proven_sent_at_s = sent_at_s if lifted else None
            return Try.WON
        self.proven_sent_at_s = None
        try:
            self.mark = _marked(marked)
        except CallFailed:
            await self.let_go()
            raise
        return Try.WON

    # ---- claiming

    async def claim(self, token: int, mark: int) -> Proof:
        """Prove the lock and raise the mark to `token`. Afterwards `mark` is what a quorum holds."""
        session = self._session
        known = self.mark if self.mark is not None and self.mark.value == mark else await self.read_mark(token)
        self.mark = known
        if known.value != mark or token <= known.value:
            return Proof.MARK_MOVED
        # Safety: see test_a_claim_proves_the_lock
        proof = [wire.check_session(self.key, session.id), wire.check_index(self.key, token)]
        txn = await session.txn([*proof, wire.write_mark(self.mark_key, known, token)])
        if not txn.ok and not txn.places() & {0, 1}:
            # The mark moved; or this very claim was applied and its answer lost. Both can be seen at a quorum.
            txn = await session.txn([*proof, wire.get_tree(self.mark_key)], consistent=True, again=True)
            if txn.ok:
                self.mark = _marked(txn.find(self.mark_key), token)
                if self.mark.value != token:
                    return Proof.MARK_MOVED
        if not txn.ok:
            return Proof.NOT_OURS
        held = txn.find(self.key)
        if held is None or held.session != session.id or held.modify_index != token:
            raise failed(Reason.WRONG_PROTOCOL, f"txn: the answer does not show {self.key}", Outcome.UNKNOWN)
        return Proof.CLAIMED

    async def write_token(self, token: int) -> None:
        """Write the token that raised the mark by its index as a number as well, for as long as it leads. Best effort."""
        session, attempts = self._session, 0
        while self.token == token and self.mark is not None and attempts < 8:
            ops = [wire.check_session(self.key, session.id), wire.write_mark(self.mark_key, wire.Mark(index=token), token)]
            try:
                await session.txn(ops)
            except CallFailed as error:
                if error.problem.reason not in PASSING:
                    return
            else:
                return  # written; or another has raised it since
            attempts += 1
            await asyncio.sleep(backoff_s(attempts))

    async def read_mark(self, own: int = 0) -> wire.Mark:
        """The mark as a quorum holds it (see `wire.read_mark`). Raises `CallFailed`."""
        return _marked((await self._session.read(self.mark_key))[0], own)

    async def raise_mark(self, mark: int) -> None:
        """Raise the mark to at least `mark`. Best effort: the core asks again whenever it meets a token below its mark."""
        try:
            for _ in range(3):
                seen = await self.read_mark()
                if seen.value >= mark or (await self._session.txn([wire.write_mark(self.mark_key, seen, mark)])).ok:
                    return
        except CallFailed:
            pass

    # ---- releasing

    async def let_go(self) -> Problem | None:
        """Release what is held, or may be; None when it certainly is no longer held, nor ever will be."""
        if not self.perhaps_held:
            return None
        problem = await (self.release(self.token) if self.token is not None else self._settle())
        if problem is None:
            self.token = self._in_doubt = None
        return problem

    async def release(self, token: int, *, only: bool = False) -> Problem | None:
        """Let the lock of `token` go, if it is ours; None when it certainly is no longer ours. `only`: that very lock, and not
        what it was overwritten with."""
        session = self._session
        problem: Problem | None = None
        for _ in range(3):
            # Safety: see test_a_late_release_frees_nothing
            ops = [wire.check_index(self.key, token), wire.unlock(self.key, session.id, session.instance)]
            try:
                if (await session.txn(ops)).ok:
                    return None
                record, _ = await session.read(self.key)
            except CallFailed as error:
                if error.problem.reason is Reason.SESSION_GONE:
                    return None
                problem = replace(error.problem, outcome=Outcome.UNKNOWN)
                if error.problem.reason not in PASSING:
                    return problem
                continue  # it does no harm twice: the condition holds at most once
            if only or record is None or record.session != session.id:
                return None
            token = record.modify_index  # overwritten, but held by our session, which has one term at a time: this one
        return problem or Problem(Outcome.UNKNOWN, Reason.STORE_ERROR, f"key {self.key} changes faster than it can be released")

    async def _settle(self) -> Problem | None:
        """After an unanswered acquire: see to it that it neither holds nor ever will."""
        session = self._session
        for _ in range(3):
            try:
                record, _ = await session.read(self.key)
                if record is not None and record.session == session.id:
                    return await self.release(record.modify_index)
                if self._in_doubt != _condition(record):
                    return None
                # Its condition still holds, so it may yet be applied: take its place, and let go again.
                outcome = await self.acquire(record)
            except CallFailed as error:
                return None if error.problem.reason is Reason.SESSION_GONE else replace(error.problem, outcome=Outcome.UNKNOWN)
            if self.token is not None:
                return await self.release(self.token)
            if outcome is Try.DELAYED:
                break
        return Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, f"it is not known whether key {self.key} was locked")


def _condition(record: wire.Record | None) -> int:
    return _ABSENT if record is None else record.modify_index


def _marked(record: wire.Record | None, own: int = 0) -> wire.Mark:
    try:
        return wire.read_mark(record, own)
    except wire.BadMark as error:
        raise failed(Reason.FOREIGN_ENTRY, str(error)) from None
