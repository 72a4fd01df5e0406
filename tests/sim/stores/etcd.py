"""etcd: leases kept by the leader alone, a deposed leader that goes on renewing them, everything else through the quorum."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from leaderd.election.commands import OpenSession, Renew
from leaderd.election.events import Renewed, RenewFailed, SessionFailed, SessionGone, SessionOpened
from tests.sim.stores.cluster import Respond, SimSession, StoreNode
from tests.sim.stores.driver import LOST, NO_SESSION, SILENT, STALE, asked
from tests.sim.stores.queue import Owned
from tests.sim.stores.ready import ReadyCluster, ReadyDriver

ELECTION_S = 1.0


class EtcdServer(ReadyCluster):
    """Three members with the default election timeout."""

    kind = "etcd"
    old_version = False
    """A renewal may succeed on a lease that is being revoked (fixed in 3.4.38, 3.5.23, 3.6.5)."""

    def election_s(self) -> float:
        """One to two election timeouts."""
        return ELECTION_S * (1.0 + self.world.rng.random())

    def deposed_s(self) -> float:
        """Measured: keep-alives answered up to 1.84 s after the cut, so up to a second after the promotion."""
        return 0.8 * self.world.rng.random()

    def rearm_s(self, session: SimSession) -> float:
        """`Promote` extends every lease to its ttl plus the election timeout."""
        return session.ttl_s + ELECTION_S

    def revoke_delay_s(self) -> float:
        """The revoke loop runs every 500 ms."""
        return 0.001 + 0.5 * self.world.rng.random()

    def op_grant(self, node: StoreNode, name: str, ttl_s: float, respond: Respond) -> None:
        """LeaseGrant: id and granted ttl, whole seconds, at least two."""
        granted_s = float(max(2, math.ceil(ttl_s)))
        self.commit(node, lambda: (self.new_session(name, granted_s).sid, granted_s), respond)

    def op_keep_alive(self, node: StoreNode, sid: int, respond: Respond) -> None:
        """LeaseKeepAlive: ttl (0: unknown lease) and the term in the header. No quorum is asked."""
        now_s = self.world.now_s
        leader = self.leader
        if leader is not None and (node is leader or (self.healthy(node) and self.healthy(leader))):
            session = self.live(sid)
            if session is not None and session.expires_s > now_s:
                self.touch(session, session.ttl_s)
                respond((session.ttl_s, self.term))
            elif session is None and self.old_version and self.ended_lately(sid):
                respond((self.ended_lately(sid), self.term))
            else:
                respond((0.0, self.term))
        elif node.leads_until_s > now_s and sid in self.lessor(node):
            respond((self.lessor(node)[sid], node.led_term))

    def op_check(self, node: StoreNode, sid: int, entries: Owned, respond: Respond) -> None:
        """A linearizable transaction of compares: the term, and what is ours."""
        self.commit(node, lambda: (self.term, self.owned(sid, entries)), respond)

    # ---- what a member has in memory

    def cut_off(self, node: StoreNode) -> None:
        """A leader keeps its lessor as it is."""
        self._lessors[node.name] = {sid: session.ttl_s for sid, session in self.sessions.items()}

    def lessor(self, node: StoreNode) -> dict[int, float]:
        """The leases a deposed leader still knows."""
        return self._lessors.get(node.name, {})

    def ended_lately(self, sid: int) -> float:
        """The ttl of a lease revoked within the last 0.3 s, else 0."""
        return next((s.ttl_s for s in self._ended[-4:] if s.sid == sid and (s.ended_s or 0.0) > self.world.now_s - 0.3), 0.0)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._lessors: dict[str, dict[int, float]] = {}
        self._ended: list[SimSession] = []
        self.on_ended.append(self._ended.append)

    def pause(self, node: StoreNode, for_s: float) -> None:
        """A stopped leader keeps its lessor too."""
        self.cut_off(node)
        super().pause(node, for_s)


class EtcdDriver(ReadyDriver):
    """KeepAlive, then a linearizable check; both of one raft term."""

    kind = "etcd"
    cluster: EtcdServer

    def open_session(self, command: OpenSession) -> None:
        """LeaseGrant."""
        self.epoch, self.sid = command.epoch, None
        done = partial(self._opened, command, self.now_s())
        self.call(self.cluster.op_grant, self.process.holder, command.ttl_s, done=done)

    def _opened(self, command: OpenSession, sent_at_s: float, result: Any) -> None:
        if command.epoch != self.epoch:
            return
        if result is LOST:
            self.emit(SessionFailed(command.epoch, SILENT))
        else:
            self.sid, granted_s = result
            self.emit(SessionOpened(command.epoch, sent_at_s, granted_s))

    def renew(self, command: Renew) -> None:
        """KeepAlive."""
        if self.sid is not None and command.epoch == self.epoch:
            self.call(self.cluster.op_keep_alive, self.sid, done=partial(self._kept, command, self.sid, self.now_s()))

    def _kept(self, command: Renew, sid: int, sent_at_s: float, result: Any) -> None:
        if result is LOST:
            self.emit(RenewFailed(command.epoch, sent_at_s, SILENT))
        elif result[0] <= 0.0:
            self.emit(SessionGone(command.epoch, NO_SESSION))
        else:
            self.check(command, sid, sent_at_s, *result)

    def check(self, command: Renew, sid: int, sent_at_s: float, ttl_s: float, term: int) -> None:
        """The linearizable half of a heartbeat."""
        entries = tuple((entry.election, entry.token) for entry in command.entries)
        self.call(self.cluster.op_check, sid, entries, done=partial(self._checked, command, sent_at_s, ttl_s, term))

    def _checked(self, command: Renew, sent_at_s: float, ttl_s: float, term: int, result: Any) -> None:
        if result is LOST:
            self.emit(RenewFailed(command.epoch, sent_at_s, SILENT))
        elif not self.same_term(term, result[0]):
            self.rotate()
            self.emit(RenewFailed(command.epoch, sent_at_s, STALE))
        else:
            self.emit(Renewed(command.epoch, sent_at_s, ttl_s, *asked(command.entries, result[1])))

    def same_term(self, kept: int, checked: int) -> bool:
        """Whether nobody was promoted between keep-alive and check."""
        return kept == checked
