"""Containers: the compose file of the store, as a project of the run's own in the Docker engine of this machine.

What a cut swallows is lost without a word, one way at a time, between any two containers: unlike `docker network disconnect`, which
takes the interface and its address away, and which tells whoever has it.
"""

from __future__ import annotations

import importlib.util
import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from chaos.containers import override, project
from chaos.containers.cluster import ComposeCluster
from chaos.containers.process import Beside, Contained, Launched
from chaos.containers.project import Project, at_once
from chaos.faults.clock import Clock
from chaos.faults.cut import Cut
from chaos.faults.flap import Flap
from chaos.faults.freeze import Freeze, FreezeApp
from chaos.faults.kill import Kill, KillNode, Terminate
from chaos.faults.orders import Cordon, Pause, Resign, Transfer
from chaos.packets.kinds import Mishap
from chaos.program import Part, Program
from chaos.scenario import Inject, Scenario
from chaos.substrates import CannotInject
from chaos.substrates.names import NameServer
from chaos.topology import Topology, needs_network
from testbed import checkout

_HOSTS = 3
"""Store nodes and candidates of a compose file."""
_ABLE = (Cut, Freeze, FreezeApp, Flap, Kill, KillNode, Terminate, Clock, Transfer, Resign, Pause, Cordon)
_REFUSED = "that is not to be had of containers: use --substrate netns"


def missing() -> str | None:
    """Why no containers can be had here, or None if they can."""
    if checkout.root() is None:
        return "the compose files and the Dockerfile are in the source: run it in a checkout"
    if importlib.util.find_spec("docker") is None:
        return project.NO_SDK
    reason = project.no_engine()
    if reason is None and project.compose() is None:
        return "an engine answers, but neither `docker compose` nor `docker-compose` is here, version 2 or newer"
    return reason


def lacks(found: Scenario) -> str | None:
    """Why this scenario cannot be carried out by containers, or None if it can."""
    reason = _topology_lacks(found.topology)
    if reason is not None:
        return f"{reason}: use --substrate netns"
    for step in found.method:
        if isinstance(step, Inject) and not isinstance(step.fault, _ABLE):
            return f"the fault {step.name} is no cut, freeze, end, clock or order: {_REFUSED}"
    return None


def _topology_lacks(topology: Topology) -> str | None:
    special = needs_network(topology)
    if special is not None:
        return f"the topology has {special}"
    if (topology.store_nodes, topology.candidates) != (_HOSTS, _HOSTS):
        return f"the compose files have {_HOSTS} store nodes and {_HOSTS} candidates"
    wants = {
        "a proxy before each pod": topology.via != "",
        "daemons without apps": topology.apps != "each",
        "apps with a clock of their own": topology.app_clock != "same",
    }
    return next((f"the topology has {what}" for what, wanted in wants.items() if wanted), None)


class DockerLinks:
    """The containers of one run, and the network between them. Nothing is there before `cluster` is started."""

    name = "docker"

    def __init__(self, store: str) -> None:
        root = checkout.root()
        if root is None:
            raise CannotInject(missing() or "this is no checkout")
        self._store = store
        self._layout = override.layout(root, store)
        self._made: Project | None = None
        self._programs: dict[tuple[str, Part], Launched] = {}
        self._tickets = itertools.count(1)
        self._blocks: dict[int, list[tuple[str, str]]] = {}
        self._addresses: dict[str, str] = {}
        self._joining = threading.Lock()

    def cluster(self, folder: Path, run_folder: Path) -> ComposeCluster:
        """The store, in a project that is named after the folder, of sockets; both folders are the containers', too."""
        made = self._made = Project(self._layout, self._store, folder, run_folder)
        nodes = [self._contained(made, host, service) for host, service in self._layout.nodes.items()]
        return ComposeCluster(self._store, made, nodes)

    def sessions(self, place: str) -> int:
        """How many sessions the store keeps of those who stand there. Raises `CannotInject` if no node tells."""
        errors = []
        for host in self._layout.nodes:
            try:
                return int(self._project.ask(host, "sessions", self._store, place))
            except (OSError, CannotInject) as error:
                errors.append(f"{host}: {error}")
        raise CannotInject("; ".join(errors))

    @property
    def _project(self) -> Project:
        if self._made is None:
            raise CannotInject("the containers of this run have not been made")
        return self._made

    def _contained(self, made: Project, host: str, service: str) -> Contained:
        return Contained(made, service, joined=lambda: self._join(host))

    def program(self, host: str, part: Part, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> Program:
        """The container of that part of the pod. Who shares the other's network is started after it."""
        service = (self._layout.daemons if part == "daemon" else self._layout.apps)[host]
        owner = self._layout.owner[host]
        first = self._programs.get((host, "app")) if part == "daemon" and owner != service else None
        joined = (lambda: self._join(host)) if owner == service else None
        kind = Launched if part == "daemon" else Beside
        self._programs[host, part] = made = kind(self._project, service, argv, env, log, joined, first)
        return made

    def _join(self, host: str) -> None:
        """Its network is a new one: where it was cut, it still is. Whoever had its address before has another one, or none yet."""
        self._project.join(host)
        address = self._project.address(host)
        with self._joining:
            changed = {host} | {each for each, known in self._addresses.items() if known == address}
            for each in changed:
                self._addresses.pop(each, None)
            self._addresses[host] = address
        self._apply({source for pairs in self._blocks.values() for source, target in pairs if source == host or target in changed})

    def block(self, sources: Iterable[str], targets: Iterable[str]) -> int:
        """What they send to those finds nobody."""
        ticket, targets = next(self._tickets), list(targets)
        self._blocks[ticket] = [(source, target) for source in sources for target in targets]
        self._apply({source for source, _ in self._blocks[ticket]})
        return ticket

    def lift(self, ticket: int) -> None:
        """It finds them again."""
        self._apply({source for source, _ in self._blocks.pop(ticket, [])})

    def _apply(self, sources: Iterable[str]) -> None:
        wanted = {
            source: {target for pairs in self._blocks.values() for each, target in pairs if each == source} for source in sources
        }

        def apply(source: str) -> None:
            self._project.ask(
                source, "deaf", [address for each in sorted(wanted[source]) if (address := self._addresses.get(each))]
            )

        at_once(apply, wanted)

    def reaches(self, source: str, target: str, port: int, within_s: float = 1.0) -> bool:
        """Asked of the agent in the network of `source`."""
        address = self._project.address(target)
        return bool(address and self._project.ask(source, "reaches", address, port, within_s, within_s=within_s))

    def address(self, host: str) -> str:
        """In the network of the project."""
        return self._project.address(host)

    def inside(self, host: str) -> Sequence[str]:
        """No program of this machine can be run there."""
        raise CannotInject(f"a container holds no program of this machine: {_REFUSED}")

    def lose(self, host: str, percent: int) -> int:
        """All packets or none."""
        raise CannotInject(f"single packets cannot be lost: {_REFUSED}")

    def reset(self, host: str) -> int:
        """Nobody there answers for others."""
        raise CannotInject(f"connections cannot be reset: {_REFUSED}")

    def mishap(self, host: str, mishap: Mishap) -> int:
        """Packets are not seen."""
        raise CannotInject(f"single packets cannot be had: {_REFUSED}")

    def acted(self, ticket: int) -> int:
        """It never has."""
        raise CannotInject(f"single packets cannot be had: {_REFUSED}")

    def throttle(self, host: str, kbit: int) -> int:
        """The line is the engine's."""
        raise CannotInject(f"the line is not ours to narrow: {_REFUSED}")

    def rate_kbit(self, source: str, target: str, size: int) -> float:
        """Nothing narrows it."""
        raise CannotInject(f"the line is not ours to measure: {_REFUSED}")

    def ping_loss(self, source: str, target: str, count: int) -> tuple[int, int]:
        """Nothing loses them."""
        raise CannotInject(f"single packets cannot be lost: {_REFUSED}")

    def resolves(self, host: str, name: str, within_s: float) -> str | None:
        """The name server is the engine's."""
        raise CannotInject(f"the engine's name server is not ours to break: {_REFUSED}")

    def name_server(self, known: Mapping[str, str]) -> NameServer:
        """Nobody would ask it."""
        raise CannotInject(f"the engine's name server is not ours to break: {_REFUSED}")

    def small_disks(self, nodes: int) -> Path:
        """The disks are the engine's."""
        raise CannotInject(f"the disks are the engine's: {_REFUSED}")
