"""What strikes in the simulated world, by the faults of a scenario: without an end of its own, undone when it is healed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from chaos.bed import NoSuchRole
from chaos.faults.cut import Cut
from chaos.faults.freeze import Freeze
from chaos.faults.kill import Kill, KillNode, Terminate
from chaos.faults.operator import Delete, Revoke
from chaos.faults.toxic import Toxify
from chaos.scenario import Inject, Scenario
from chaos.severed import by_cut, by_loss
from chaos.substrates import CannotInject
from chaos.topology import CONNECTED, Topology
from tests.sim.fleet import Fleet
from tests.sim.host import Host
from tests.sim.plan import Strike
from tests.sim.stores.cluster import StoreNode

ELECTION = "jobs"
_FOR_EVER_S = 1e9
_NOT_SIMULATED = ("names", "disk", "identity", "clock", "app_clock")
STORE_HOSTS = frozenset(f"s{number}" for number in range(1, 6))
_KNOWN = (Cut, Freeze, Kill, KillNode, Terminate, Revoke, Delete)
Undo = Callable[[], None]
Struck = tuple[str, list[str], Callable[[], bool], Undo]
"""What was done, in words; whom it hit; whether it bites by now; and what undoes it."""
T = TypeVar("T")


def lacks(found: Scenario) -> str | None:
    """Why this scenario cannot be carried out here, or None if it can."""
    if found.expect.stale_unfenced:
        return "no apps are simulated here, which would have to write what is stale"
    plain = {name: getattr(Topology(), name) for name in _NOT_SIMULATED}
    special = [name for name, value in plain.items() if getattr(found.topology, name) != value]
    if special or found.topology.store_nodes == 5:
        return f"the topology's {', '.join(special) or 'store_nodes: 5'} is not simulated: use --substrate netns"
    for step in found.method:
        if isinstance(step, Inject) and not _simulated(step):
            return f"the fault {step.name} is not simulated: use --substrate netns"
    return None


def _simulated(step: Inject) -> bool:
    fault = step.fault
    if CONNECTED & {getattr(fault, name, None) for name in ("source", "to", "at")}:
        return False
    if isinstance(fault, Cut) and (fault.source == fault.to or all(end in STORE_HOSTS for end in (fault.source, fault.to))):
        return False  # a node is cut from all others there, or from none
    if isinstance(fault, Delete) and fault.everything:
        return False  # there is an entry to be taken away, and no more
    if isinstance(fault, Terminate) and fault.again_ms:
        return False  # a drain is never hurried there
    return isinstance(fault, _KNOWN) or (isinstance(fault, Toxify) and fault.kind == "swallow")


class Strikes:
    """Does what a scenario's faults say. Hosts by their names in the history; `leading`: who leads now, if anybody."""

    def __init__(
        self, fleet: Fleet, pods: Mapping[str, Host], nodes: Mapping[str, StoreNode], leading: Callable[[], str | None]
    ) -> None:
        self._fleet = fleet
        self._pods = pods
        self._nodes = nodes
        self._leading = leading
        self._reach = {pod: list(nodes) for pod in pods}
        self.severs: tuple[str, ...] = ()
        """To whom no renewal can be confirmed for as long as what struck last is in force."""

    def _leader(self) -> str:
        name = self._leading()
        if name is None:
            raise NoSuchRole("nobody leads now")
        return name

    def attach(self, number: int, host: Host, *, first_to_leader: bool) -> None:
        """It knows one node only: the ways to the others are shut for good."""
        leading = self._fleet.cluster.leader
        others = [node for node in self._nodes.values() if node is not leading]
        order = [leading, *others] if first_to_leader else [*others, leading]
        home = order[number % len(order)]
        for pod, its in self._pods.items():
            if its is host:
                self._reach[pod] = [name for name, node in self._nodes.items() if node is home]
        for node in self._nodes.values():
            if node is not home:
                self._block([host.config.name], [node.name])
                self._block([node.name], [host.config.name])

    def strike(self, step: Inject) -> Struck:
        """Do it now. Raises `CannotInject` and `NoSuchRole`."""
        self.severs = ()
        match step.fault:
            case Cut(source=source, to=to, one_way=one_way):
                ours = self._who(source)
                theirs = [name for name in self._who(to) if name not in ours]
                bites, undo = self._cut(ours, theirs, one_way)
                self.severs = by_cut(ours, theirs, not one_way, list(self._nodes), self._reach)
                return f"{' '.join(ours)} cut {'to' if one_way else 'from'} {' '.join(theirs)}", ours, bites, undo
            case Toxify(at=at, towards=towards, direction=direction):
                ours, theirs = self._who(at), self._who(towards or "stores")
                bites, undo = self._swallow(ours, theirs, direction)
                self.severs = by_cut(ours, theirs, False, list(self._nodes), self._reach)
                return f"{direction} of {' '.join(ours)} swallowed", ours, bites, undo
            case Freeze(at=at, what="node") | KillNode(at=at):
                return self._strike_nodes(at, dead=isinstance(step.fault, KillNode))
            case Freeze(at=at) | Kill(at=at) | Terminate(at=at):
                return self._strike_hosts(step.fault, self._who(at))
            case Revoke() | Delete():
                return self._by_hand(revoke=isinstance(step.fault, Revoke))
            case _:
                raise CannotInject(f"the fault {step.name} is not simulated: use --substrate netns")

    def _strike_hosts(self, fault: Freeze | Kill | Terminate, ours: list[str]) -> Struck:
        hosts = [self._pods[name] for name in ours]
        who = f"daemon {' '.join(ours)}"
        if isinstance(fault, Freeze):
            self.severs = tuple(ours)
            for host in hosts:
                host.freeze(_FOR_EVER_S)
            return f"{who} frozen", ours, lambda: not any(host.running for host in hosts), _each(hosts, Host.thaw)
        end, word = (Host.kill, "killed") if isinstance(fault, Kill) else (Host.drain, "terminated")
        _each(hosts, end)()
        return f"{who} {word}", ours, lambda: all(host.process is None for host in hosts), _each(hosts, Host.start)

    def _who(self, role: str) -> list[str]:
        if role in {*self._pods, *self._nodes}:
            return [role]
        nodes = list(self._nodes)
        led = {"store-leader", "store-followers", "minority", "majority"} & {role}
        first = next((name for name, node in self._nodes.items() if node is self._fleet.cluster.leader), None)
        if led and first is None:
            raise NoSuchRole("the store has no leader now")
        parts: dict[str, Callable[[], list[str]]] = {
            "leader": lambda: [self._leader()],
            "followers": lambda: [name for name in self._pods if name != self._leader()],
            "candidates": lambda: list(self._pods),
            "stores": lambda: nodes,
            "store-leader": lambda: [str(first)],
            "store-followers": lambda: [name for name in nodes if name != first],
            "leader-node": lambda: [self._home(self._leader())],
            "other-nodes": lambda: [name for name in nodes if name != self._home(self._leader())],
            "minority": lambda: self._minority(first),
            "majority": lambda: [name for name in nodes if name not in self._minority(first)],
        }
        if role not in parts:
            raise NoSuchRole(f"nobody is called {role}: a host, or one of {', '.join(parts)}")
        return parts[role]()

    def _minority(self, first: str | None) -> list[str]:
        return [name for name in self._nodes if name != first][: (len(self._nodes) - 1) // 2]

    def _home(self, pod: str) -> str:
        process = self._pods[pod].process
        assert process is not None
        return next(name for name, node in self._nodes.items() if node is process.store.node)

    def _name(self, host: str) -> str:
        """What the simulated network calls a host of ours."""
        return self._pods[host].config.name if host in self._pods else self._nodes[host].name

    def _block(self, sources: Iterable[str], targets: Iterable[str]) -> list[tuple[str, str]]:
        links = [(source, target) for source in sources for target in targets]
        for link in links:
            self._fleet.network.block(link, self._fleet.world.now_s + _FOR_EVER_S, 0.0)
        return links

    def _cut(self, ours: list[str], theirs: list[str], one_way: bool) -> tuple[Callable[[], bool], Undo]:
        if all(host in self._nodes for host in (*ours, *theirs)):
            return self._cut_nodes(ours, theirs, one_way)
        sources, targets = ([self._name(host) for host in side] for side in (ours, theirs))
        links = self._block(sources, targets) + ([] if one_way else self._block(targets, sources))
        return self._shut(links)

    def _swallow(self, pods: list[str], nodes: list[str], direction: str) -> tuple[Callable[[], bool], Undo]:
        sources, targets = ([self._name(host) for host in side] for side in (pods, nodes))
        links = [] if direction == "replies" else self._block(sources, targets)
        return self._shut(links + ([] if direction == "requests" else self._block(targets, sources)))

    def _shut(self, links: list[tuple[str, str]]) -> tuple[Callable[[], bool], Undo]:
        network = self._fleet.network
        return lambda: not any(network.open(*link) for link in links), _each(links, network.unblock)

    def _cut_nodes(self, ours: list[str], theirs: list[str], one_way: bool) -> tuple[Callable[[], bool], Undo]:
        alone = next((side[0] for side in (ours, theirs) if len(side) == 1), None)
        if one_way or alone is None or len(ours) + len(theirs) != len(self._nodes):
            raise CannotInject("only one whole store node can be cut from its peers in the simulation: use --substrate netns")
        cluster, node = self._fleet.cluster, self._nodes[alone]
        cluster.cut(node, _FOR_EVER_S)
        return lambda: not cluster.healthy(node), lambda: cluster.mend(node)

    def _strike_nodes(self, at: str, *, dead: bool) -> Struck:
        cluster, ours = self._fleet.cluster, self._who(at)
        nodes = [self._nodes[name] for name in ours]
        for node in nodes:
            (cluster.crash if dead else cluster.pause)(node, _FOR_EVER_S)
        self.severs = by_loss(list(self._nodes), ours, self._reach)
        text = f"store node {' '.join(ours)} {'killed' if dead else 'frozen'}"
        return text, ours, lambda: not any(cluster.healthy(node) for node in nodes), _each(nodes, cluster.mend)

    def _by_hand(self, *, revoke: bool) -> Struck:
        leader, fleet = self._leader(), self._fleet
        entry = fleet.cluster.entries[ELECTION][0]
        if revoke:
            fleet.end_session(Strike(self._fleet.world.now_s, "revoke_session", 0.0, 0.0, aimed=True), excused=True)
        else:
            fleet.take_away(ELECTION, [entry])
        what = "revoked" if revoke else "entry deleted"
        return f"{leader}: {what} by hand", [leader], lambda: entry not in fleet.cluster.entries[ELECTION], lambda: None


def _each(things: Iterable[T], do: Callable[[T], object]) -> Undo:
    def all_of_them() -> None:
        for thing in things:
            do(thing)

    return all_of_them
