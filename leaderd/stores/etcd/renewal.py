"""The heartbeat: a keep-alive of the lease, and a quorum's word on every entry of ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from leaderd.election.commands import Entry
from leaderd.election.events import Renewed, RenewFailed
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.etcd import transactions as tx
from leaderd.stores.etcd.client import Client
from leaderd.stores.etcd.errors import SILENCE, is_endpoint_at_fault, problem_of
from leaderd.stores.etcd.wire import STALE_MEMBER, Found, LeaseReply, Txn, TxnReply, Wire, WireError

if TYPE_CHECKING:
    from leaderd.stores.etcd.session import Session

_ATTEMPTS = 3


class Renewal:
    """The renewals of one session: two requests each, whatever the number of elections."""

    def __init__(self, session: Session, client: Client) -> None:
        self._session = session
        self._client = client

    async def renew(self, entries: tuple[Entry, ...]) -> None:
        """Carry out `Renew`."""
        session = self._session
        first_sent_s = session.now_s()
        attempts = _ATTEMPTS
        # Safety: see test_a_lease_that_is_gone_is_never_renewed_again
        while not session.is_gone:
            attempts -= 1
            check = self._check(entries)
            # Safety: see test_a_renewal_is_dated_before_its_first_byte
            sent_at_s = session.now_s()
            try:
                await self._attempt(entries, check, sent_at_s)
            except WireError as e:
                # A quick refusal leaves time for another endpoint; silence has used it up.
                again = is_endpoint_at_fault(e) or e.code == STALE_MEMBER
                if attempts > 0 and again and session.now_s() - first_sent_s < self._client.timeout_s / 2:
                    continue
                problem = problem_of(e, "renewing")
                if problem.reason in SILENCE:
                    session.renewal_heard(problem)
                session.emit(RenewFailed(session.epoch, sent_at_s, problem))
            return
        session.emit(RenewFailed(session.epoch, first_sent_s, _gone(session.lease)))

    async def _attempt(self, entries: tuple[Entry, ...], check: tx.Check, sent_at_s: float) -> None:
        wire = self._client.wire()
        try:
            lease, reply = await self._both(wire, check.txn(tx.place_of(self._session.path, "leaderd").mark))
        except WireError as e:
            self._client.blame(wire, e)
            raise
        if reply is None:
            self._session.gone(_gone(self._session.lease))
        else:
            self._renewed(entries, check, sent_at_s, lease, reply)

    async def _both(self, wire: Wire, check: Txn) -> tuple[LeaseReply, TxnReply | None]:
        """Keep-alive and quorum check, side by side on one connection, both sent after the caller read the clock.

        No second value: the lease does not exist.

        Why side by side is sound. The check is a linearizable read: at some instant after `sent_at` a quorum confirmed the leader
        of the member's term T. If the keep-alive was handled by that leader, before or after that instant, it counts. If it was
        handled by an older leader that was deposed without knowing, the lease lives by what the newer one did when it took over:
        it re-armed every lease in full, plus an election timeout. A member that follows T gives both answers in T; one that
        changed its leader in between gives them in two terms, which is refused. What is left is a member that forwards the
        keep-alive to the old leader and learns of T before it passes the answer on: an old leader steps down within an election
        timeout of losing its quorum, so this is paid for by the election timeout in the re-arming, and by the second that
        `RULES["etcd"]` keeps back.
        """

        async def keep_alive(wire: Wire, token: str | None) -> LeaseReply:
            return await wire.lease_keep_alive(self._session.lease, token, self._client.timeout_s)

        async def ask(wire: Wire, token: str | None) -> TxnReply:
            return await wire.txn(check, token, self._client.timeout_s)

        kept, asked = await asyncio.gather(
            self._client.call_on(wire, keep_alive), self._client.call_on(wire, ask), return_exceptions=True
        )
        for result in (kept, asked):
            if isinstance(result, BaseException) and not isinstance(result, WireError):
                raise result
        if isinstance(kept, BaseException):
            raise kept
        self._session.check_cluster(kept.header, wire)
        if kept.ttl_s <= 0:
            return kept, None
        # Safety: see test_a_keep_alive_without_its_check_proves_nothing
        if isinstance(asked, BaseException):
            raise asked
        self._session.check_cluster(asked.header, wire)
        # Safety: see test_two_raft_terms_prove_nothing
        if kept.header.raft_term != asked.header.raft_term:
            terms = f"{kept.header.raft_term} and {asked.header.raft_term}"
            raise WireError(STALE_MEMBER, f"renewal and check were answered in different raft terms, {terms}", wire.endpoint)
        return kept, asked

    def _check(self, entries: tuple[Entry, ...]) -> tx.Check:
        session = self._session
        waiting = tuple((q.place, q.token) for e in entries if (q := session.queue(e.election)).waiting and q.token is not None)
        own = tuple(session.queue(e.election).place.key(session.lease) for e in entries)
        return tx.Check(own, waiting, session.next_listed())

    def _renewed(self, entries: tuple[Entry, ...], check: tx.Check, sent_at_s: float, lease: LeaseReply, reply: TxnReply) -> None:
        session = self._session
        founds = check.results(reply)
        owned, lost = set[str](), set[str]()
        for entry, found in zip(entries, founds, strict=False):
            if _is_ours(entry, found, session.lease):
                owned.add(entry.election)
            else:
                lost.add(entry.election)
                session.queue(entry.election).lost(entry.token)
        session.renewal_heard(None)
        # A lease has one ttl for life: an answer that promises more than was granted is not believed.
        # Safety: see test_a_ttl_above_the_grant_is_not_believed
        session.confirmed_s = sent_at_s
        session.emit(Renewed(session.epoch, sent_at_s, float(min(lease.ttl_s, session.ttl_s)), frozenset(owned), frozenset(lost)))
        self._observe(check, founds[len(entries) :], reply.header.revision)

    def _observe(self, check: tx.Check, founds: list[Found], revision: int) -> None:
        """What the same answer shows of the queues: state is level-triggered, so a lost watch event costs one period at most."""
        for (place, token), found in zip(check.waiting, founds, strict=False):
            queue = self._session.queue(place.election)
            if queue.token == token:
                queue.observe(tx.older_in(found, revision))
        if check.listed is not None:
            self._session.roster.saw(check.listed, founds[-1])


def _is_ours(entry: Entry, found: Found, lease: int) -> bool:
    # Safety: see test_a_renewal_proves_lease_and_token
    return any(kv.lease == lease and kv.create_revision == entry.token for kv in found.kvs)


def _gone(lease: int) -> Problem:
    return Problem(Outcome.FAILED, Reason.SESSION_GONE, f"the lease {lease:x} does not exist any more: expired, or revoked")
