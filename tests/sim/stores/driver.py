"""What simulated drivers share: calls with a deadline, events to the core, the rules of `leaderd/stores/base.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from leaderd.election.commands import (
    Claim,
    CloseSession,
    Command,
    Entry,
    OpenSession,
    RaiseMark,
    Renew,
    Stand,
    Withdraw,
    WriteRecord,
)
from leaderd.election.events import Elected, Event, Renewed, SessionOpened
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.election.timing import RULES, StoreRule
from leaderd.stores.base import Sink, Traffic
from tests.sim.stores.cluster import Cluster, StoreNode
from tests.sim.stores.records import Reader

if TYPE_CHECKING:
    from tests.sim.host import Process

Done = Callable[[Any], None]


class Lost:
    """What a call returns whose answer did not come in time."""


LOST = Lost()
SILENT = Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, "no answer in time")
NO_SESSION = Problem(Outcome.FAILED, Reason.SESSION_GONE, "the store does not know the session")
STALE = Problem(Outcome.UNKNOWN, Reason.STALE_STORE_NODE, "the node could not prove that it belongs to the quorum")
TAKEN_AWAY = Problem(Outcome.FAILED, Reason.ENTRY_GONE, "the entry is gone")


class Call:
    """One request under way."""

    __slots__ = ("done",)

    def __init__(self, done: Done | None) -> None:
        self.done = done


class SimStore:
    """A driver in one process, over the simulated network. Takes commands like a real one, in virtual time.

    Harsher than a real one in one way: it does deliver late events of a closed session's epoch, which rule 8 forbids; the core
    has to ignore them all the same.
    """

    kind: str = "?"
    rule: StoreRule
    keeps_records = True

    def __init__(self, process: Process, cluster: Cluster, ttl_s: float) -> None:
        self.rule = RULES[self.kind]
        self.traffic = Traffic()
        self.confirmed = 0
        """Renewals confirmed so far."""
        self.confirmed_s = 0.0
        """When the last of them was sent."""
        self.process = process
        self.host = process.host
        self.world = process.host.world
        self.cluster: Any = cluster
        self.deadline_s = max(ttl_s / 6.0, 0.1)
        self.ttl_s = ttl_s
        self.epoch = 0
        self.sid: int | None = None
        """The session of the current epoch, once granted."""
        self.node: StoreNode = self.world.rng.choice(cluster.nodes)
        self.on_crash: Callable[[BaseException], None] = process.host.crashed
        self.on_next: dict[type[Any], list[Callable[[], None]]] = {}
        """What is to happen when the next command of a kind is about to be sent."""
        self.records = Reader(self, cluster.shelf)
        self._sink: Sink | None = None
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            OpenSession: self.open_session,
            Renew: self.renew,
            CloseSession: self.close_session,
            Stand: self.stand,
            Claim: self.claim,
            Withdraw: self.withdraw,
            RaiseMark: self.raise_mark,
            WriteRecord: self.records.write,
        }

    # ---- the protocol

    def connect(self, sink: Sink) -> None:
        """`start`, without the event loop."""
        self._sink = sink

    async def start(self, sink: Sink) -> None:
        """Get ready to take commands."""
        self.connect(sink)

    def submit(self, command: Command) -> None:
        """Carry out one command."""
        if self.world.verbose:
            self.world.note("{} -> {}", self.process.holder, command)
        if self.on_next:
            for what in self.on_next.pop(type(command), ()):
                what()
        if isinstance(command, Withdraw):
            self.records.left(command)
        self._handlers[type(command)](command)

    async def aclose(self) -> None:
        """Stop."""
        self.process.alive = False

    def emit(self, event: Event) -> None:
        """Tell the core."""
        assert self._sink is not None
        if type(event) is Renewed:
            self.confirmed += 1
            self.confirmed_s = event.sent_at_s
        if type(event) is Elected and self.records.hold(event):
            return
        if type(event) is SessionOpened:
            self.records.began(event.epoch)
        self._sink(event)

    # ---- calls

    def call(
        self, operation: Callable[..., None], *args: Any, done: Done, node: StoreNode | None = None, within_s: float | None = None
    ) -> None:
        """Ask a node; `done` gets the answer, or `LOST` when the deadline passed first."""
        call = Call(done)
        target = node or self.node
        self.traffic.requests += 1
        network, host, process, cluster = self.cluster.network, self.host, self.process, self.cluster

        def respond(result: Any) -> None:
            network.send(target.name, host.config.name, host.run, process, self._answered, call, result)

        network.send(host.config.name, target.name, cluster.receive, target, operation, args, respond)
        if within_s is not None and within_s <= 0.0:
            return
        host.timer(process, within_s or self.deadline_s, self._expired, call, target)

    def tell(self, operation: Callable[..., None], *args: Any) -> None:
        """Ask a node without waiting for an answer."""
        target = self.node
        self.cluster.network.send(self.host.config.name, target.name, self.cluster.receive, target, operation, args, _nobody)

    def _answered(self, call: Call, result: Any) -> None:
        done, call.done = call.done, None
        if done is not None:
            done(result)

    def _expired(self, call: Call, target: StoreNode) -> None:
        done, call.done = call.done, None
        if done is not None:
            if target is self.node:
                self.rotate()
            done(LOST)

    def rotate(self) -> None:
        """Go to another node."""
        others = [node for node in self.cluster.nodes if node is not self.node]
        if others:
            self.node = self.world.rng.choice(others)

    def watcher(self, what: Callable[[], None]) -> Callable[[], None]:
        """What a node calls when something changed: a message that may be lost."""
        node, network, host, process = self.node, self.cluster.network, self.host, self.process

        def wake() -> None:
            if self.cluster.healthy(node):
                network.send(node.name, host.config.name, host.run, process, what)

        return wake

    # ---- commands, for subclasses

    def open_session(self, command: OpenSession) -> None:
        """See `OpenSession`."""
        raise NotImplementedError

    def renew(self, command: Renew) -> None:
        """See `Renew`."""
        raise NotImplementedError

    def close_session(self, command: CloseSession) -> None:
        """See `CloseSession`."""
        raise NotImplementedError

    def stand(self, command: Stand) -> None:
        """See `Stand`."""
        raise NotImplementedError

    def claim(self, command: Claim) -> None:
        """See `Claim`."""
        raise NotImplementedError

    def withdraw(self, command: Withdraw) -> None:
        """See `Withdraw`."""
        raise NotImplementedError

    def raise_mark(self, command: RaiseMark) -> None:
        """See `RaiseMark`."""
        raise NotImplementedError

    def now_s(self) -> float:
        """The host's boot clock."""
        return self.host.clock.now_s()


def asked(entries: tuple[Entry, ...], owned: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Owned and lost among the entries asked about."""
    return owned, frozenset(entry.election for entry in entries) - owned


def _nobody(result: Any) -> None:
    pass
