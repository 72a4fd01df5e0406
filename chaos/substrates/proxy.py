"""No privileges at all: everything on loopback, and a proxy of its own between each pod and the store, which swallows what is cut.

The difference from a lost packet: what is swallowed was acknowledged, so TCP does not give the connection up. That is the harder
test for whoever waits for an answer. Store nodes reach each other without a proxy, so nothing can be cut between them.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from chaos.faults.claim import ClaimLost
from chaos.faults.clock import Clock
from chaos.faults.cut import Cut
from chaos.faults.data import Backup, Restore
from chaos.faults.exhaust import Exhaust
from chaos.faults.flap import Flap
from chaos.faults.freeze import Freeze, FreezeApp
from chaos.faults.kill import Kill, KillNode, Terminate
from chaos.faults.litter import Alarm, Litter
from chaos.faults.loss import Reset
from chaos.faults.memory import OutOfMemory
from chaos.faults.operator import Delete, Overwrite, Revoke
from chaos.faults.orders import Cordon, Pause, Resign, Transfer
from chaos.faults.restarts import Restarts
from chaos.faults.toxic import Toxify
from chaos.packets.kinds import Mishap
from chaos.program import Part, Program
from chaos.proxy.control import ProxyProcess
from chaos.proxy.toxics import Direction, Toxic
from chaos.scenario import Inject, Scenario
from chaos.substrates import CannotInject
from chaos.substrates.names import NameServer
from chaos.topology import CONNECTED, needs_network

_ANYWHERE = (
    *(Freeze, FreezeApp, Flap, Kill, KillNode, Terminate, Restarts, Exhaust, OutOfMemory, Clock, Toxify, ClaimLost),
    *(Revoke, Delete, Overwrite, Litter, Alarm, Backup, Restore),
    *(Transfer, Resign, Pause, Cordon),
)
_PODS = frozenset({"leader", "followers", "candidates"})
_HELLOS = {"zookeeper": b"srvr"}
_HELLO = b"GET / HTTP/1.0\r\n\r\n"
_REFUSED = "that needs the network itself: use --substrate netns"


def missing() -> str | None:
    """It works everywhere."""
    return None


def lacks(found: Scenario) -> str | None:
    """Why this scenario cannot be carried out here, or None if it can."""
    special = needs_network(found.topology)
    if special is not None:
        return f"the topology has {special}: {_REFUSED}"
    for step in found.method:
        reason = _lacks(step) if isinstance(step, Inject) else None
        if reason is not None:
            return reason
    return None


def _lacks(step: Inject) -> str | None:
    fault = step.fault
    if CONNECTED & {getattr(fault, name, None) for name in ("source", "to", "at")}:
        return f"the fault {step.name} asks whom the leader is connected to: {_REFUSED}"
    if isinstance(fault, Cut) and not (_of_pods(fault.source) or _of_pods(fault.to)):
        return f"the fault {step.name} cuts store nodes from each other: {_REFUSED}"
    if isinstance(fault, Reset) and not _of_pods(fault.at):
        return f"the fault {step.name} resets what reaches a store node: {_REFUSED}"
    if not isinstance(fault, (*_ANYWHERE, Cut, Reset)):
        return f"the fault {step.name} is none of connections and processes: {_REFUSED}"
    return None


def _of_pods(role: str) -> bool:
    return role in _PODS or (role[:1] == "c" and role[1:].isdigit())


class ProxyLinks:
    """All hosts on 127.0.0.1. `through` says which proxy stands before a pod, once there is one."""

    name = "proxy"

    def __init__(self, hosts: Sequence[str], store: str) -> None:
        self._hosts = list(hosts)
        self._hello = _HELLOS.get(store, _HELLO)
        self._proxies: dict[str, ProxyProcess] = {}
        self._ports: dict[str, dict[str, int]] = {}
        self._tickets = itertools.count(1)
        self._added: dict[int, list[tuple[ProxyProcess, int]]] = {}

    def through(self, host: str, proxy: ProxyProcess) -> None:
        """That pod's connections pass this proxy."""
        self._proxies[host] = proxy

    def block(self, sources: Iterable[str], targets: Iterable[str]) -> int:
        """Swallow what passes that way. Raises `CannotInject` for a way that no proxy stands in."""
        targets = list(targets)
        wanted = [self._way(source, target) for source in sources for target in targets]
        return self._add([(proxy, Toxic("swallow", direction, upstream)) for proxy, direction, upstream in wanted])

    def _way(self, source: str, target: str) -> tuple[ProxyProcess, Direction, str]:
        if source in self._proxies and target not in self._proxies:
            return self._proxies[source], "requests", target
        if target in self._proxies and source not in self._proxies:
            return self._proxies[target], "replies", source
        raise CannotInject(f"no proxy stands between {source} and {target}: {_REFUSED}")

    def lose(self, host: str, percent: int) -> int:
        """A proxy sees no packets."""
        raise CannotInject(f"a proxy cannot lose packets: {_REFUSED}")

    def reset(self, host: str) -> int:
        """Reset every connection of a pod. Raises `CannotInject` for a store node."""
        if host not in self._proxies:
            raise CannotInject(f"no proxy stands before {host}: {_REFUSED}")
        return self._add([(self._proxies[host], Toxic("reset"))])

    def mishap(self, host: str, mishap: Mishap) -> int:
        """A proxy sees no packets."""
        raise CannotInject(f"a proxy sees no packets: {_REFUSED}")

    def acted(self, ticket: int) -> int:
        """It never has."""
        raise CannotInject(f"a proxy sees no packets: {_REFUSED}")

    def throttle(self, host: str, kbit: int) -> int:
        """A proxy has no line."""
        raise CannotInject(f"a proxy has no line to narrow: {_REFUSED}")

    def rate_kbit(self, source: str, target: str, size: int) -> float:
        """It has none."""
        raise CannotInject(f"a proxy has no line to measure: {_REFUSED}")

    def _add(self, toxics: Sequence[tuple[ProxyProcess, Toxic]]) -> int:
        ticket = next(self._tickets)
        self._added[ticket] = []
        for proxy, toxic in toxics:
            self._added[ticket].append((proxy, proxy.add(toxic)))
        return ticket

    def lift(self, ticket: int) -> None:
        """End it: what has lost bytes is reset."""
        for proxy, number in self._added.pop(ticket, []):
            proxy.lift(number)

    def reaches(self, source: str, target: str, port: int, within_s: float = 1.0) -> bool:
        """Whether the store answers through the proxy: a connection as such is always taken."""
        if source not in self._proxies:
            raise CannotInject(f"no proxy stands before {source}: {_REFUSED}")
        address = ("127.0.0.1", self._proxies[source].ports[target])
        try:
            with socket.create_connection(address, within_s) as connection:
                connection.sendall(self._hello)
                return bool(connection.recv(1))
        except OSError:
            return False

    def ping_loss(self, source: str, target: str, count: int) -> tuple[int, int]:
        """A proxy passes no datagrams."""
        raise CannotInject(f"a proxy passes no datagrams: {_REFUSED}")

    def resolves(self, host: str, name: str, within_s: float) -> str | None:
        """Every host asks what this machine asks."""
        raise CannotInject(f"the machine's own name server is nobody's to break: {_REFUSED}")

    def name_server(self, known: Mapping[str, str]) -> NameServer:
        """Nobody would ask it."""
        raise CannotInject(f"a name server of the run's own would not be asked: {_REFUSED}")

    def small_disks(self, nodes: int) -> Path:
        """Nothing can be mounted."""
        raise CannotInject(f"a small disk has to be mounted: {_REFUSED}")

    def address(self, host: str) -> str:
        """Every host is this one."""
        return "127.0.0.1"

    def inside(self, host: str) -> Sequence[str]:
        """Programs run as they are."""
        return ()

    def program(self, host: str, part: Part, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> Program:
        """A process of its own."""
        return Program([*self.inside(host), *argv], log, env=env)
