"""ZooKeeper: sessions touched through followers, expiry rounded up to the tick, followers that answer from memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from leaderd.election.commands import CloseSession, OpenSession, Renew
from leaderd.election.events import Connected, Disconnected, Renewed, RenewFailed, SessionFailed, SessionGone, SessionOpened
from tests.sim.stores.cluster import Respond, SimEntry, StoreNode
from tests.sim.stores.driver import LOST, NO_SESSION, SILENT, Call, asked
from tests.sim.stores.queue import Owned
from tests.sim.stores.ready import ReadyCluster, ReadyDriver

Reset = Callable[[], None]


class ZooKeeperServer(ReadyCluster):
    """Three servers. The tick, `sync_limit`, and how soon empty containers are reaped differ from seed to seed."""

    kind = "zookeeper"
    tick_s = 0.5
    sync_limit = 3
    reap_after_s = math.inf

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sequence: dict[str, int] = dict.fromkeys(self.entries, 0)
        self._touched: dict[str, dict[int, float]] = {node.name: {} for node in self.nodes}
        self._connections: dict[str, dict[int, Reset]] = {node.name: {} for node in self.nodes}
        self._flushing: set[str] = set()

    # ---- sessions

    def election_s(self) -> float:
        """Followers give a silent leader up after syncLimit ticks, then vote."""
        return self.tick_s * self.sync_limit * (0.3 + 0.7 * self.world.rng.random()) + 0.2 + self.world.rng.random()

    def expiry_s(self, for_s: float) -> float:
        """`ExpiryQueue.roundToNextInterval`: up to the next multiple of the tick on the leader's clock."""
        now_s = self.world.now_s
        return (math.floor((now_s + for_s) / self.tick_s) + 1.0) * self.tick_s - now_s

    def negotiated_s(self, ttl_s: float) -> float:
        """Clipped to 2..20 ticks."""
        return min(max(ttl_s, 2.0 * self.tick_s), 20.0 * self.tick_s)

    def op_connect(self, node: StoreNode, sid: int | None, name: str, ttl_s: float, reset: Reset, respond: Respond) -> None:
        """A new session (sid None), or the old one moved to this server: (sid, negotiated time); None when it expired."""

        def change() -> tuple[int, float] | None:
            session = self.live(sid) if sid is not None else self.new_session(name, self.negotiated_s(ttl_s))
            if session is None:
                return None
            self.touch(session, session.ttl_s)
            self._connections[node.name][session.sid] = reset
            return session.sid, session.ttl_s

        self.commit(node, change, respond)

    def heard(self, node: StoreNode, sid: int) -> None:
        """A server heard from a session: the leader at once, a follower tells it with its next answer to the leader's ping.

        Pings come each tick/2, and the answers travel in order with the requests a follower passes on.
        """
        if node is self.leader:
            self._touch_all([sid])
            return
        touched = self._touched[node.name]
        if touched and self.quorum(node):
            due_s = self.world.now_s - self.tick_s / 2.0
            self._touch_all([known for known, at_s in touched.items() if at_s < due_s])
        touched.setdefault(sid, self.world.now_s)
        if node.name not in self._flushing:
            self._flushing.add(node.name)
            self.world.after(self.tick_s / 2.0 * (0.02 + 0.98 * self.world.rng.random()), self._flush, node)

    def _flush(self, node: StoreNode) -> None:
        if self._touched[node.name] and not self.quorum(node):
            self.world.after(self.tick_s / 2.0 * self.world.rng.random(), self._flush, node)
            return
        self._flushing.discard(node.name)
        touched, self._touched[node.name] = self._touched[node.name], {}
        self._touch_all(touched)

    def _touch_all(self, sids: Iterable[int]) -> None:
        for sid in sids:
            session = self.live(sid)
            if session is not None:
                self.touch(session, session.ttl_s)

    def crash(self, node: StoreNode, for_s: float) -> None:
        """What a server alone knew of its sessions is gone, and so are its clients' connections."""
        self._touched[node.name].clear()
        super().crash(node, for_s)
        self._close_all(node)

    def receive(self, node: StoreNode, operation: Callable[..., None], args: tuple[Any, ...], respond: Respond) -> None:
        """A request counts only on a connection; on one that the server closed, it meets a reset."""
        if operation not in {self.op_connect, self.op_raise} and args[0] not in self._connections[node.name]:
            return
        super().receive(node, operation, args, respond)

    def _close_all(self, node: StoreNode) -> None:
        connections, self._connections[node.name] = self._connections[node.name], {}
        for reset in connections.values():
            reset()

    def op_check(self, node: StoreNode, sid: int, entries: Owned, respond: Respond) -> None:
        """A multi of checks, proposed like a write: what is ours; None without the session."""
        self.heard(node, sid)
        self.commit(node, lambda: self.owned(sid, entries) if self.live(sid) is not None else None, respond)

    def op_exists(self, node: StoreNode, sid: int, entries: Owned, respond: Respond) -> None:
        """A read, answered from the server's own memory, however old that is, until it gives its leader up."""
        self.heard(node, sid)
        if self.quorum(node):
            respond(self.owned(sid, entries) if self.live(sid) is not None else None)
        elif node.cut and sid in self._connections[node.name]:
            respond(frozenset(election for election, token in entries if (election, token) in node.stale))

    def cut_off(self, node: StoreNode) -> None:
        """A server without its quorum closes its clients' connections after syncLimit ticks."""
        self.world.after(self.tick_s * self.sync_limit, self._give_up, node)

    def _give_up(self, node: StoreNode) -> None:
        if node.cut:
            self._touched[node.name].clear()
            self._close_all(node)

    # ---- queue

    def place(self) -> tuple[int, int]:
        """czxid, and a place for `op_create` to overwrite."""
        return self.next_revision(), 0

    def op_create(self, node: StoreNode, sid: int, election: str, name: str, respond: Respond) -> None:
        """Create a protected sequential node; its suffix is the parent's counter, its token the transaction's id."""

        def change() -> int | None:
            if self.live(sid) is None:
                return None
            entry = self.find(election, sid)
            if entry is None:
                entry = SimEntry(sid, name, self.next_revision(), self.sequence[election])
                self.sequence[election] += 1
                self.entries[election].append(entry)
            return entry.token

        self.heard(node, sid)
        self.commit(node, change, respond)

    def remove(self, election: str, entry: SimEntry) -> None:
        """An empty container is reaped after a while, and with it the counter."""
        super().remove(election, entry)
        if not self.entries[election] and self.reap_after_s < math.inf:
            self.world.after(self.reap_after_s, self._reap, election)

    def _reap(self, election: str) -> None:
        if not self.entries[election]:
            self.sequence[election] = 0
            self.next_revision()


class ZooKeeperDriver(ReadyDriver):
    """One connection at a time; a heartbeat has no deadline of its own, the connection has."""

    kind = "zookeeper"
    cluster: ZooKeeperServer

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.negotiated_s = self.ttl_s
        self._heard_s = 0.0
        self._connection = 0
        self._linked = False
        self._renewal: tuple[Renew, float] | None = None

    def rotate(self) -> None:
        """A late answer is no reason to leave a connection."""

    # ---- session and connection

    def open_session(self, command: OpenSession) -> None:
        """A new connection, a new session."""
        self.epoch, self.sid = command.epoch, None
        self._renewal = None
        super().rotate()
        done = partial(self._opened, command, self.now_s())
        reset = self._begin()
        self.call(self.cluster.op_connect, None, self.process.holder, command.ttl_s, reset, done=done)

    def _opened(self, command: OpenSession, sent_at_s: float, result: Any) -> None:
        if command.epoch != self.epoch:
            return
        if result is LOST:
            self.emit(SessionFailed(command.epoch, SILENT))
            return
        self.sid, self.negotiated_s = result
        self._established()
        self.emit(SessionOpened(command.epoch, sent_at_s, self.negotiated_s))

    def _begin(self) -> Reset:
        self._connection += 1
        number = self._connection
        return self.watcher_always(lambda: self._drop(number))

    def watcher_always(self, what: Callable[[], None]) -> Callable[[], None]:
        """A message from the server we are connected to, even when it is cut off from its peers."""
        node, network, host, process = self.node, self.cluster.network, self.host, self.process
        return lambda: network.send(node.name, host.config.name, host.run, process, what)

    def _established(self) -> None:
        self._linked = True
        self._heard_s = self.now_s()
        self._watch_silence(self._connection)

    def _watch_silence(self, number: int) -> None:
        if number != self._connection or not self._linked:
            return
        limit_s = self._heard_s + self.negotiated_s * 2.0 / 3.0
        if self.now_s() >= limit_s:
            self._drop(number)
        else:
            self.host.timer(self.process, limit_s - self.now_s() + 1e-3, self._watch_silence, number)

    def _answered(self, call: Call, result: Any) -> None:
        self._heard_s = self.now_s()
        super()._answered(call, result)

    def _drop(self, number: int) -> None:
        """The connection is gone, or silent: what was asked over it stays unanswered."""
        if number != self._connection or not self._linked or self.sid is None:
            return
        self._linked = False
        epoch = self.epoch
        renewal, self._renewal = self._renewal, None
        self.emit(Disconnected(epoch, SILENT))
        if renewal is not None:
            self.emit(RenewFailed(epoch, renewal[1], SILENT))
        self._reconnect(epoch)

    def _reconnect(self, epoch: int) -> None:
        if self.sid is None or epoch != self.epoch or self._linked:
            return
        super().rotate()
        reset = self._begin()
        done = partial(self._reconnected, epoch)
        self.call(self.cluster.op_connect, self.sid, self.process.holder, self.ttl_s, reset, done=done)

    def _reconnected(self, epoch: int, result: Any) -> None:
        if self.sid is None or epoch != self.epoch:
            return
        if result is LOST:
            self.host.timer(self.process, 0.05 + 0.2 * self.world.rng.random(), self._reconnect, epoch)
        elif result is None:
            self.emit(SessionGone(epoch, NO_SESSION))
        else:
            self._established()
            self.emit(Connected(epoch))
            for slot in list(self.slots.values()):
                if slot.token is not None:
                    slot.wake = self.watcher(partial(self.look, slot))
                    slot.own = self.watcher(partial(self.look, slot))
                    self.look(slot)

    def close_session(self, command: CloseSession) -> None:
        """Tell the server if there is a connection."""
        super().close_session(command)
        self._linked = False
        self._renewal = None

    # ---- heartbeat

    def renew(self, command: Renew) -> None:
        """One multi of checks; unanswered for as long as the connection is silent."""
        if self.sid is None or command.epoch != self.epoch:
            return
        sent_at_s = self.now_s()
        if not self._linked:
            self.host.timer(self.process, self.deadline_s, self.emit, RenewFailed(command.epoch, sent_at_s, SILENT))
            return
        self._renewal = command, sent_at_s
        entries = tuple((entry.election, entry.token) for entry in command.entries)
        self.call(self.heartbeat(), self.sid, entries, done=partial(self._renewed, command, sent_at_s), within_s=-1.0)

    def heartbeat(self) -> Callable[..., None]:
        """The operation that proves ownership."""
        return self.cluster.op_check

    def _renewed(self, command: Renew, sent_at_s: float, result: Any) -> None:
        if self._renewal is None or self._renewal[0] is not command:
            return
        self._renewal = None
        if result is None:
            self.emit(SessionGone(command.epoch, NO_SESSION))
        else:
            self.emit(Renewed(command.epoch, sent_at_s, self.negotiated_s, *asked(command.entries, result)))
