"""One session: opened, renewed, proven at a quorum, watched, closed.

Why a session is good for `min(ttl, lock-delay)` from the send of a proof:
1. Consul keeps a session for at least its ttl after a renewal (twice that, in fact), *if* the answering node is the leader.
2. A deposed leader still answers renewals (0.5 s, with `raft_multiplier` 1), so a renewal alone proves nothing. The second request
   does: a read-only transaction, or the session's record, under `?consistent`, for which the leader asks a quorum first.
3. A session proven alive at or after `sent_at` may yet be invalidated in less than its ttl (an operator, a node that leaves): then
   the lock-delay keeps everybody from the lock for that long. It is set to the ttl, and health checks, which would invalidate
   sessions all the time, are switched off. Both are read back after opening.

That a session does not exist is believed only when both say so: the leader, whom a renewal asks, and a quorum. A renewal is
answered out of the leader's own memory (agent/consul/session_endpoint.go: `Renew`), which a leader just elected may still be
filling; and a record that a quorum does not show may be one that our token may not read. Whoever believes too much gives up a lock
that is held.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from leaderd.election.commands import Entry
from leaderd.election.events import Event, Renewed, RenewFailed, SessionFailed, SessionGone, SessionOpened
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.base import Identity, NowS
from leaderd.stores.consul import wire
from leaderd.stores.consul.agents import Agents, CallFailed, Reply, failed
from leaderd.stores.stranger import explained

WAIT_S = 300.0
"""How long a blocking query waits; an agent allows up to ten minutes."""
_PER_TXN = wire.MAX_OPS // 2
PASSING = frozenset({Reason.STORE_UNREACHABLE, Reason.STALE_STORE_NODE, Reason.STORE_ERROR, Reason.WRONG_PROTOCOL})
"""Failures that may pass by themselves: look again later."""

T = TypeVar("T")
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


def jitter(low_s: float, high_s: float) -> float:
    """Seconds drawn evenly from an interval."""
    return random.uniform(low_s, high_s)  # noqa: S311 - spreads load, hides nothing


def backoff_s(attempts: int, most_s: float = 2.0) -> float:
    """Seconds to wait after the so-many-th failure in a row: doubling from 0.1, capped, jittered."""
    return jitter(0.5, 1.0) * min(0.1 * 2.0 ** min(attempts, 10), most_s)


class Session:
    """The session of one epoch, and the calls that its elections share."""

    def __init__(
        self,
        epoch: int,
        ttl_s: float,
        keys: wire.Keys,
        identity: Identity,
        agents: Agents,
        now_s: NowS,
        sink: Callable[[Event], None],
    ) -> None:
        self.epoch = epoch
        self.asked_ttl_s = ttl_s
        self.granted_s = min(ttl_s, wire.MAX_LOCK_DELAY_S)
        """What can be counted on: a lock-delay longer than Consul's maximum is cut to it."""
        self.call_s = min(max(ttl_s / 6, 0.5), 5.0)
        """The bound of one call."""
        self.keys = keys
        self.instance = identity.instance
        self.agents = agents
        self.now_s = now_s
        self.id = ""
        self.closed = False
        self._gone = False
        self._sink = sink

    def emit(self, event: Event) -> None:
        """Deliver an event, unless the session was closed meanwhile."""
        # Safety: see test_no_event_after_close_session
        if not self.closed:
            self._sink(event)

    def gone(self, detail: str) -> None:
        """Report, once, that the session does not exist any more."""
        if not self._gone:
            self._gone = True
            self.emit(SessionGone(self.epoch, Problem(Outcome.FAILED, Reason.SESSION_GONE, detail)))

    # ---- opening

    async def open(self, spawn: Spawn) -> None:
        """Create the session, read back that it is as safe as asked for, and start watching it."""
        sent_at_s = self.now_s()
        try:
            self.agents.refresh()
            made = await self._create()
            if self.closed:
                await self.destroy(made)
                return
            try:
                index = await self._verify(made)
            except CallFailed:
                spawn(self.destroy(made))
                raise
        except CallFailed as error:
            self.emit(SessionFailed(self.epoch, await explained(error.problem, "consul", self.agents.hung_up)))
            return
        if self.closed:
            await self.destroy(made)
            return
        self.id = made
        self.emit(SessionOpened(self.epoch, sent_at_s, self.granted_s))
        await self._watch(index)

    async def _create(self) -> str:
        wanted = {
            "Name": f"leaderd {self.instance}",
            "TTL": f"{round(self.asked_ttl_s * 1000)}ms",
            "LockDelay": f"{round(self.granted_s * 1000)}ms",
            "Behavior": "release",
            # All three empty: left out, the node's serf health would end the session within seconds of a network hiccup.
            "Checks": [],
            "NodeChecks": [],
            "ServiceChecks": [],
        }
        try:
            reply = await self.agents.call("PUT", "session/create", 2 * self.call_s, wire.encode(wanted))
        except CallFailed as error:
            if "Invalid Session TTL" not in error.text:
                raise
            detail = f"{error.text} (a ttl below 10 s needs session_ttl_min in the servers' configuration)"
            raise failed(Reason.TTL_REFUSED, detail) from None
        return _expect(reply, wire.read_created, "session/create")

    async def _verify(self, made: str) -> int:
        reply = await self.agents.call("GET", f"session/info/{made}?consistent", self.call_s, again=True)
        record = _expect(reply, lambda body: wire.read_session(body, made), "session/info")
        if record is None:
            raise failed(
                Reason.PERMISSION_DENIED, "the new session cannot be read: the token needs session write on the agent's node"
            )
        checks = [*(record.node_checks or ()), *(record.checks or ())]
        if checks or record.lock_delay_ns < round(self.granted_s * 1000) * 1_000_000:
            detail = f"the session came with lock-delay {record.lock_delay_ns / 1e9:g} s and checks {checks}, not as asked for"
            raise failed(Reason.STORE_ERROR, wire.clean(detail))
        return reply.index

    # ---- living

    async def renew(self, entries: tuple[Entry, ...]) -> None:
        """Renew, and have a quorum confirm what we hold, both at once: neither needs the other's answer (see the module's text)."""
        sent_at_s = self.now_s()
        kept, lost = await asyncio.gather(_outcome(self._keep()), _outcome(self._prove(entries)))
        shown: object = lost
        if isinstance(kept, CallFailed) and isinstance(lost, frozenset) and entries and len(lost) == len(entries):
            shown = await _outcome(self.prove_alive())  # no lock of ours shows that the session lives: look at itself
        if _says_gone(kept) and _says_gone(shown):
            self.gone(self._gone_text)
            return
        problem = _doubt(kept, shown)
        if problem is not None:
            self.emit(RenewFailed(self.epoch, sent_at_s, problem))
            if problem.reason in PASSING:
                self.agents.interrupt()
            return
        assert isinstance(lost, frozenset)
        owned = frozenset(entry.election for entry in entries) - lost
        self.emit(Renewed(self.epoch, sent_at_s, self.granted_s, owned, lost))

    async def _keep(self) -> None:
        reply = await self.agents.call("PUT", f"session/renew/{self.id}", self.call_s, again=True)
        if reply.status == 404 and self.id in reply.text:
            raise failed(Reason.SESSION_GONE, self._gone_text)
        if _expect(reply, lambda body: wire.read_session(body, self.id), "session/renew") is None:
            raise failed(Reason.WRONG_PROTOCOL, "session/renew: an empty answer", Outcome.UNKNOWN)

    async def _prove(self, entries: tuple[Entry, ...]) -> frozenset[str]:
        """The elections among `entries` that are not ours any more, as a quorum saw it at or after the send."""
        if not entries:
            await self.prove_alive()
            return frozenset()
        parts = [entries[i : i + _PER_TXN] for i in range(0, len(entries), _PER_TXN)]
        return frozenset().union(*await asyncio.gather(*(self._prove_part(part) for part in parts)))

    async def _prove_part(self, entries: tuple[Entry, ...]) -> frozenset[str]:
        held: list[tuple[str, str, int]] = [(e.election, self.keys.lock(e.election), e.token or 0) for e in entries]
        # By session (I5), and by index: the same session may have lost the lock and taken it again.
        ops = [op for _, key, token in held for op in (wire.check_session(key, self.id), wire.check_index(key, token))]
        txn = await self.txn(ops, consistent=True, again=True)
        if not txn.ok:
            return frozenset(entries[place // 2].election for place in txn.places() if 0 <= place < len(ops))
        found = {record.key: record for record in txn.records}
        for _, key, token in held:  # believe no answer that does not show what was asked for
            record = found.get(key)
            if record is None or record.session != self.id or record.modify_index != token:
                raise failed(Reason.WRONG_PROTOCOL, f"txn: the answer does not show {key}", Outcome.UNKNOWN)
        return frozenset()

    async def prove_alive(self) -> int:
        """Have a quorum confirm that the session exists; its index. Raises `CallFailed` with SESSION_GONE if it shows none."""
        reply = await self.agents.call("GET", f"session/info/{self.id}?consistent", self.call_s, again=True)
        if _expect(reply, lambda body: wire.read_session(body, self.id), "session/info") is None:
            raise failed(Reason.SESSION_GONE, self._gone_text)
        return reply.index

    @property
    def _gone_text(self) -> str:
        return f"session {self.id} is gone: expired, or destroyed by somebody"

    async def _watch(self, index: int) -> None:
        """Notice within a round trip that somebody destroyed the session, also while we hold nothing."""
        path, attempts = f"session/info/{self.id}", 0
        while not self.closed and not self._gone:
            try:
                if index > 0:
                    reply = await self.agents.wait(path, "", index, WAIT_S, self.call_s)
                    if _expect(reply, lambda body: wire.read_session(body, self.id), path) is None:
                        index = 0  # perhaps a new leader that has not caught up: a quorum decides
                        continue
                    index = following(index, reply.index)
                    await asyncio.sleep(jitter(0.05, 0.15))  # the index counts every session of the cluster
                else:
                    index = await self.prove_alive()
                attempts = 0
            except CallFailed as error:
                if error.problem.reason is Reason.SESSION_GONE and _says_gone(await _outcome(self._keep())):
                    self.gone(self._gone_text)
                    return
                attempts, index = attempts + 1, 0
                await asyncio.sleep(backoff_s(attempts))

    # ---- ending

    async def destroyed(self, made: str) -> bool:
        """Destroy the session, so that it need not expire; False if that failed. One that is gone already is no failure."""
        try:
            await self.agents.call("PUT", f"session/destroy/{made}", self.call_s, again=True)
        except CallFailed:
            return False
        return True

    async def destroy(self, made: str) -> None:
        """Destroy a session that was never used; tried for as long as it would live, then left to that."""
        give_up_s = self.now_s() + 2 * self.asked_ttl_s
        attempts = 0
        while self.now_s() < give_up_s and not await self.destroyed(made):
            attempts += 1
            await asyncio.sleep(backoff_s(attempts))

    # ---- what elections call

    async def txn(self, ops: list[wire.Op], *, consistent: bool = False, again: bool = False) -> wire.Txn:
        """One transaction. Raises `CallFailed` where an access rule refuses it, or where the session is gone."""
        body, version = wire.encode(ops), self.agents.token_version
        txn = await self._txn(body, consistent, again)
        if txn.denied and self.agents.token_changed(version):
            txn = await self._txn(body, consistent, again)
        if txn.denied:
            keys = sorted({op["KV"]["Key"] for place, op in enumerate(ops) if place in txn.places()})
            raise failed(Reason.PERMISSION_DENIED, f"permission denied: the token needs key write on {', '.join(keys[:3])}")
        if txn.sessionless:
            self.gone(self._gone_text)  # committed by a quorum, which looked for the session
            raise failed(Reason.SESSION_GONE, self._gone_text)
        return txn

    async def _txn(self, body: bytes, consistent: bool, again: bool) -> wire.Txn:
        # Safety: see test_a_renewal_at_an_isolated_leader_fails
        path = "txn?consistent" if consistent else "txn"
        return _expect(
            await self.agents.call("PUT", path, self.call_s, body, again=again), wire.read_txn, "txn", frozenset({200, 409})
        )

    async def read(self, key: str) -> tuple[wire.Record | None, int]:
        """Read a key as a quorum knows it, with the index to wait from. Raises `CallFailed`, always with outcome FAILED."""
        try:
            return _record(await self.agents.call("GET", f"kv/{key}?consistent", self.call_s, again=True), key)
        except CallFailed as error:
            raise CallFailed(replace(error.problem, outcome=Outcome.FAILED), error.text) from None

    async def read_changed(self, key: str, index: int, wait_s: float = WAIT_S) -> tuple[wire.Record | None, int]:
        """Wait until the key may have changed since `index`, and read it. Only a hint: what follows is decided by a transaction."""
        record, now = _record(await self.agents.wait(f"kv/{key}", "", index, wait_s, self.call_s), key)
        return record, following(index, now)

    async def read_tree(self, prefix: str) -> tuple[tuple[wire.Record, ...], int]:
        """Read all keys under a prefix as a quorum knows them, with the index to wait from. Raises `CallFailed`, outcome FAILED."""
        try:
            return _tree(await self.agents.call("GET", f"kv/{prefix}?recurse&consistent", self.call_s, again=True), prefix)
        except CallFailed as error:
            raise CallFailed(replace(error.problem, outcome=Outcome.FAILED), error.text) from None

    async def read_tree_changed(self, prefix: str, index: int) -> tuple[tuple[wire.Record, ...], int]:
        """Wait until something under the prefix may have changed since `index`, and read it all."""
        return _tree(await self.agents.wait(f"kv/{prefix}", "recurse&", index, WAIT_S, self.call_s), prefix)


async def _outcome(call: Coroutine[Any, Any, T]) -> T | CallFailed:
    """What a call returns, or how it failed."""
    try:
        return await call
    except CallFailed as error:
        return error


def _says_gone(outcome: object) -> bool:
    return isinstance(outcome, CallFailed) and outcome.problem.reason is Reason.SESSION_GONE


def _doubt(kept: CallFailed | None, shown: object) -> Problem | None:
    """Why a renewal proves nothing, or None if it does: what the leader said of the session, and what a quorum showed."""
    # Safety: see test_a_session_is_gone_only_if_leader_and_quorum_agree
    if _says_gone(kept) and not isinstance(shown, CallFailed):
        detail = "the server says that the session is gone, a quorum that it is there: it may not have caught up"
        return Problem(Outcome.UNKNOWN, Reason.STALE_STORE_NODE, detail)
    if _says_gone(shown) and kept is None:
        detail = "a quorum does not show the session, which the leader renews: may the token read it (session read on the node)?"
        return Problem(Outcome.FAILED, Reason.PERMISSION_DENIED, detail)
    failures = [each.problem for each in (kept, shown) if isinstance(each, CallFailed)]
    return next((problem for problem in failures if problem.reason is not Reason.SESSION_GONE), None)


def following(index: int, now: int) -> int:
    """The index for the next blocking query: 0, ask afresh, when it went backwards (restored or replaced cluster)."""
    return now if now >= index else 0


def _record(reply: Reply, key: str) -> tuple[wire.Record | None, int]:
    if reply.index <= 0:
        raise failed(Reason.WRONG_PROTOCOL, f"{reply.endpoint}: kv/{key}: an answer without X-Consul-Index", Outcome.UNKNOWN)
    if reply.status == 404:
        return None, reply.index
    return _expect(reply, lambda body: wire.read_key(body, key), f"kv/{key}"), reply.index


def _tree(reply: Reply, prefix: str) -> tuple[tuple[wire.Record, ...], int]:
    if reply.index <= 0:
        raise failed(Reason.WRONG_PROTOCOL, f"{reply.endpoint}: kv/{prefix}: an answer without X-Consul-Index", Outcome.UNKNOWN)
    if reply.status == 404:
        return (), reply.index
    return _expect(reply, wire.read_tree, f"kv/{prefix}"), reply.index


def _expect(reply: Reply, read: Callable[[bytes], T], what: str, statuses: frozenset[int] = frozenset({200})) -> T:
    if reply.status not in statuses:
        detail = f"{reply.endpoint}: {what}: no answer of a Consul agent: status {reply.status} {reply.text[:80]}"
        raise failed(Reason.WRONG_PROTOCOL, detail, Outcome.UNKNOWN)
    try:
        return read(reply.body)
    except wire.Garbled as error:
        detail = f"{reply.endpoint}: {what}: no answer of a Consul agent: {error}"
        raise failed(Reason.WRONG_PROTOCOL, detail, Outcome.UNKNOWN) from None
