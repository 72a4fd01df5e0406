"""A replicated store: nodes, a leader among them, cuts between them, sessions that time out, entries in elections.

State is what the quorum committed. What a node does that is cut off from the quorum, or was the leader until a moment ago, is
each store's own business: those are the windows in which a heartbeat lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sim.network import Network
from tests.sim.stores.records import Shelf
from tests.sim.world import World

Respond = Callable[[Any], None]


@dataclass(slots=True)
class SimSession:
    """A lease, a ZooKeeper session, a Consul session."""

    sid: int
    name: str
    ttl_s: float
    expires_s: float = 0.0
    """True time at which the store's leader would end it, by its own clock, as things stand."""
    ended_s: float | None = None
    watched: bool = False
    """Whether an event that looks after its expiry is under way."""
    lock_delay_s: float = 0.0
    forgotten_until_s: float = 0.0
    """True time until which a new leader of Consul, still reading its log, does not know it."""


@dataclass(slots=True)
class SimEntry:
    """One key or node in an election."""

    sid: int
    name: str
    token: int
    order: int
    """Position in the queue: the create revision, or the node's sequence number."""
    watchers: list[Callable[[], None]] = field(default_factory=list)


class StoreNode:
    """One server."""

    def __init__(self, name: str, rate: float) -> None:
        self.name = name
        self.rate = rate
        self.up = True
        self.cut = False
        """Cut off from the other nodes; clients may still reach it."""
        self.paused_until_s = 0.0
        self.leads_until_s = 0.0
        """A deposed leader takes itself for the leader until then."""
        self.led_term = 0
        self.backlog: list[Callable[[], None]] = []
        self.stale: frozenset[tuple[str, int]] = frozenset()
        """What a follower holds in memory since it was cut off: entries, by election and token."""


class Cluster:
    """A store. Subclasses say how sessions live and die, and what the operations are."""

    kind = "?"
    node_count = 3
    quorum_s = 0.003

    def __init__(self, world: World, network: Network, elections: tuple[str, ...], rates: list[float]) -> None:
        self.world = world
        self.network = network
        self.nodes = [StoreNode(f"s{i}", rate) for i, rate in enumerate(rates)]
        self.leader: StoreNode | None = self.nodes[0]
        self.term = 1
        self.revision = 10
        self.sessions: dict[int, SimSession] = {}
        self.entries: dict[str, list[SimEntry]] = {name: [] for name in elections}
        self.marks: dict[str, int] = dict.fromkeys(elections, 0)
        self.nodes[0].led_term = 1
        self.on_ended: list[Callable[[SimSession], None]] = []
        self._electing = False
        self.shelf = Shelf(self)

    # ---- topology

    def healthy(self, node: StoreNode) -> bool:
        """Whether the node runs and is connected to its peers."""
        return node.up and not node.cut and node.paused_until_s <= self.world.now_s

    def quorum(self, node: StoreNode) -> bool:
        """Whether the node belongs to a majority that has its leader."""
        leader = self.leader
        if leader is None or not self.healthy(node) or not self.healthy(leader):
            return False
        return 2 * sum(map(self.healthy, self.nodes)) > len(self.nodes)

    def changed(self) -> None:
        """Something happened to a node: see whether another leader has to be elected."""
        if self.leader is not None and self.quorum(self.leader):
            return
        if 2 * sum(map(self.healthy, self.nodes)) > len(self.nodes) and not self._electing:
            self._electing = True
            self.world.after(self.election_s(), self._elect)

    def _elect(self) -> None:
        self._electing = False
        if self.leader is not None and self.quorum(self.leader):
            return
        able = [node for node in self.nodes if self.healthy(node)]
        if 2 * len(able) > len(self.nodes):
            self.promote(self.world.rng.choice(able))

    def promote(self, node: StoreNode) -> None:
        """`node` leads the store from now on; the old one may not know it yet."""
        old = self.leader
        if old is not None and old is not node:
            old.leads_until_s = max(old.leads_until_s, self.world.now_s + self.deposed_s())
        self.leader = node
        self.term += 1
        node.led_term = self.term
        self.world.note("store: {} leads term {}", node.name, self.term)
        for session in self.sessions.values():
            self.touch(session, self.rearm_s(session))

    def cut(self, node: StoreNode, for_s: float) -> None:
        """Cut a node from its peers for a while."""
        if node.cut:
            return
        node.cut = True
        node.stale = frozenset((name, entry.token) for name, entries in self.entries.items() for entry in entries)
        self.cut_off(node)
        self.changed()
        self.world.after(for_s, self._join, node)

    def cut_off(self, node: StoreNode) -> None:
        """A node was just cut off; for subclasses."""

    def _join(self, node: StoreNode) -> None:
        node.cut = False
        node.leads_until_s = 0.0
        self.changed()

    def pause(self, node: StoreNode, for_s: float) -> None:
        """SIGSTOP a server: it answers afterwards what it was asked meanwhile, first of all by what it still believes."""
        node.paused_until_s = max(node.paused_until_s, self.world.now_s + for_s)
        self.changed()
        self.world.at(node.paused_until_s, self._resume, node)

    def _resume(self, node: StoreNode) -> None:
        if node.paused_until_s > self.world.now_s:
            return
        if self.leader is not node and node.leads_until_s:
            node.leads_until_s = self.world.now_s + 0.05
        self.changed()
        waiting, node.backlog = node.backlog, []
        for request in waiting:
            request()

    def crash(self, node: StoreNode, for_s: float) -> None:
        """Kill a server and start it again later."""
        if node.up:
            node.up = False
            self.changed()
            self.world.after(for_s, self._restart, node)

    def _restart(self, node: StoreNode) -> None:
        node.up, node.leads_until_s = True, 0.0
        if len(self.nodes) > 1 and node is self.leader and 2 * sum(map(self.healthy, self.nodes)) > len(self.nodes):
            # Back before anybody was elected in its place: it is elected anew, for it has forgotten what was not written.
            self.promote(node)
        self.changed()

    def mend(self, node: StoreNode) -> None:
        """End a cut, a pause and a crash now, for however long they were to last."""
        if node.cut:
            self._join(node)
        if node.paused_until_s > self.world.now_s:
            node.paused_until_s = self.world.now_s
            self._resume(node)
        if not node.up:
            self._restart(node)

    # ---- numbers of the store at hand

    def election_s(self) -> float:
        """How long electing a new leader takes this time."""
        return 1.0 + self.world.rng.random()

    def deposed_s(self) -> float:
        """For how long after its successor's promotion the old leader, cut off, takes itself for the leader."""
        return self.world.rng.random()

    def rearm_s(self, session: SimSession) -> float:
        """What a new leader gives each session (store seconds)."""
        return session.ttl_s

    def revoke_delay_s(self) -> float:
        """How late an expired session is ended."""
        return 0.0

    # ---- requests

    def receive(self, node: StoreNode, operation: Callable[..., None], args: tuple[Any, ...], respond: Respond) -> None:
        """A request arrives at a node."""
        if not node.up:
            return
        if node.paused_until_s > self.world.now_s:
            node.backlog.append(lambda: self.receive(node, operation, args, respond))
            return
        operation(node, *args, respond)

    def commit(self, node: StoreNode, change: Callable[[], Any], respond: Respond) -> None:
        """Have the quorum carry out `change`, and answer with what it returns; without a quorum there is no answer."""
        if self.quorum(node):
            self.world.after(self.quorum_s * (0.3 + self.world.rng.random()), self._apply, node, self.term, change, respond)

    def _apply(self, node: StoreNode, term: int, change: Callable[[], Any], respond: Respond) -> None:
        # A leader that fell in between took the proposal with it, or its successor commits it: either can happen.
        if term != self.term and self.world.rng.random() < 0.5:
            return
        if self.leader is None or not self.quorum(self.leader):
            return
        result = change()
        if self.healthy(node):
            respond(result)

    def next_revision(self) -> int:
        """Something is written."""
        self.revision += 1
        return self.revision

    # ---- sessions

    def new_session(self, name: str, ttl_s: float) -> SimSession:
        """Grant a session."""
        session = SimSession(self.new_sid(), name, ttl_s)
        self.sessions[session.sid] = session
        self.touch(session, ttl_s)
        return session

    def new_sid(self) -> int:
        """A session id that was never given before."""
        return self.world.rng.getrandbits(62)

    def touch(self, session: SimSession, for_s: float) -> None:
        """The leader heard of the session: it lives for `for_s` of the leader's seconds from now on."""
        rate = self.leader.rate if self.leader is not None else 1.0
        session.expires_s = self.world.now_s + self.expiry_s(for_s * 1.0) / rate
        if not session.watched:
            session.watched = True
            self.world.at(session.expires_s, self._look_after, session)

    def expiry_s(self, for_s: float) -> float:
        """By when the leader notices that `for_s` are over; ZooKeeper rounds up to its tick."""
        return for_s

    def _look_after(self, session: SimSession) -> None:
        if session.ended_s is not None:
            return
        now_s = self.world.now_s
        if session.expires_s > now_s:
            self.world.at(session.expires_s, self._look_after, session)
        elif self.leader is None or not self.quorum(self.leader):
            self.world.after(0.25, self._look_after, session)
        else:
            delay_s = self.revoke_delay_s()
            if delay_s > 0.0:
                self.world.after(delay_s, self._expire, session)
            else:
                self._expire(session)

    def _expire(self, session: SimSession) -> None:
        if session.ended_s is not None:
            return
        # A new leader re-armed it in the meantime, or there is no quorum to commit its end.
        if session.expires_s > self.world.now_s or self.leader is None or not self.quorum(self.leader):
            self._look_after(session)
            return
        self.world.note("store: session of {} expires", session.name)
        self.end(session)

    def end(self, session: SimSession) -> None:
        """The session is over: by time, by its owner, or by an operator. Its entries go."""
        if session.ended_s is not None:
            return
        session.ended_s = self.world.now_s
        self.sessions.pop(session.sid, None)
        self.next_revision()
        for election, entries in self.entries.items():
            for entry in [entry for entry in entries if entry.sid == session.sid]:
                self.remove(election, entry)
        for told in self.on_ended:
            told(session)

    def forget(self) -> None:
        """All data are gone, as after somebody emptied the servers' disks. Nobody is told."""
        for session in self.sessions.values():
            session.ended_s = self.world.now_s
        self.sessions.clear()
        for election, entries in self.entries.items():
            entries.clear()
            self.marks[election] = 0
        self.shelf.values.clear()

    def live(self, sid: int) -> SimSession | None:
        """The session, if it is not over."""
        return self.sessions.get(sid)

    # ---- entries

    def find(self, election: str, sid: int) -> SimEntry | None:
        """The entry of a session in an election."""
        for entry in self.entries[election]:
            if entry.sid == sid:
                return entry
        return None

    def remove(self, election: str, entry: SimEntry) -> None:
        """Take an entry out, and wake who watches it."""
        entries = self.entries[election]
        if entry in entries:
            entries.remove(entry)
            self.next_revision()
            watchers, entry.watchers = entry.watchers, []
            for wake in watchers:
                wake()
