"""Everything a run consists of: store nodes, pods, links, the recorder; and who plays which part at this moment.

Roles are looked up when a step is carried out: `leader`, `followers`, `candidates` among the pods; `store-leader`,
`store-followers`, `stores`, `majority` (with the store's leader) and `minority`, `leader-node` (the store node that the leading pod
is attached to) and `other-nodes` (all but that), `connected-node` (the one the leading daemon has its connection to) and
`unconnected-nodes` among the store's hosts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chaos.history import Recorder
from chaos.operator import Operator
from chaos.pods import Pod
from chaos.substrates import CannotInject, Links
from chaos.substrates.names import NameServer
from testbed.cluster import Cluster
from testbed.process import wait_until


class NoSuchRole(ValueError):
    """Nobody plays that part, or nobody can; the text names those who can be asked for."""


@dataclass
class Bed:
    """One run's world. `attached`: by pod, the only store node it knows, where pods are attached to one."""

    store: str
    cluster: Cluster
    links: Links
    recorder: Recorder
    ttl_s: float
    hands: Operator | None
    pods: list[Pod] = field(default_factory=list)
    attached: dict[str, str] = field(default_factory=dict)
    names: NameServer | None = None
    """Whom the pods ask for the store nodes, where they know names and no addresses."""

    @property
    def operator(self) -> Operator:
        """Who can lay hands on the store's entries. Raises `CannotInject` where nobody of ours can."""
        if self.hands is None:
            raise CannotInject("nobody can lay hands on the entries of a store in containers: use --substrate netns")
        return self.hands

    @property
    def reach(self) -> dict[str, list[str]]:
        """By pod host, the store hosts that it knows."""
        return {pod.host: [self.attached[pod.name]] if pod.name in self.attached else self.store_hosts for pod in self.pods}

    def listens(self, host: str) -> bool:
        """Whether a store host runs, and takes a connection of ours, which crosses no link that is broken between others."""
        return self.cluster.listens(self.node(host))

    @property
    def store_hosts(self) -> list[str]:
        """The hosts of the store nodes, in node order."""
        return [f"s{number}" for number in range(1, self.cluster.nodes + 1)]

    def leader(self) -> Pod | None:
        """The pod whose last yes still holds; None when nobody's does."""
        return next((pod for pod in self.pods if pod.probe.leads()), None)

    def wait_leader(self, within_s: float, other_than: str | None = None) -> Pod:
        """Wait for a leader. Raises `WaitTimeout`."""

        def found() -> Pod | None:
            # Not by way of `leader`: a peer's old leader may go on saying yes beside the new one.
            return next((pod for pod in self.pods if pod.name != other_than and pod.probe.leads()), None)

        besides = f" other than {other_than}" if other_than else ""
        return wait_until(found, within_s, f"a pod{besides} leads", every=0.005)

    def pod(self, name: str) -> Pod:
        """The pod of that name. Raises `NoSuchRole`."""
        for pod in self.pods:
            if pod.name == name:
                return pod
        raise NoSuchRole(f"there is no pod {name}")

    def node(self, host: str) -> int:
        """The index of a store host. Raises `NoSuchRole`."""
        if host not in self.store_hosts:
            raise NoSuchRole(f"{host} is no store node; they are {', '.join(self.store_hosts)}")
        return self.store_hosts.index(host)

    def port(self, host: str) -> int:
        """The client port of a store host. Raises `NoSuchRole`."""
        return int(self.cluster.endpoints[self.node(host)].rpartition(":")[2])

    def who(self, role: str) -> list[str]:
        """The hosts that play a part now. Raises `NoSuchRole`."""
        if role in {*self.store_hosts, *(pod.host for pod in self.pods)}:
            return [role]
        roles = self._roles()
        if role not in roles:
            raise NoSuchRole(f"nobody is called {role}: a host, or one of {', '.join(roles)}")
        return roles[role]()

    def _roles(self) -> dict[str, Callable[[], list[str]]]:
        return {
            "leader": lambda: [self._leading().host],
            "followers": lambda: [pod.host for pod in self.pods if pod is not self._leading()],
            "candidates": lambda: [pod.host for pod in self.pods],
            "stores": lambda: self.store_hosts,
            "store-leader": lambda: [self._store_leader()],
            "store-followers": lambda: [host for host in self.store_hosts if host != self._store_leader()],
            "leader-node": lambda: [self._leader_node()],
            "other-nodes": lambda: [host for host in self.store_hosts if host != self._leader_node()],
            "connected-node": lambda: [self._connected_node()],
            "unconnected-nodes": lambda: [host for host in self.store_hosts if host != self._connected_node()],
            "minority": self._minority,
            "majority": lambda: [host for host in self.store_hosts if host not in self._minority()],
        }

    def _leading(self) -> Pod:
        leader = self.leader()
        if leader is None:
            raise NoSuchRole("nobody leads now")
        return leader

    def _store_leader(self) -> str:
        return self.store_hosts[self.cluster.leader_index()]

    def _minority(self) -> list[str]:
        """As many followers as the store can do without: its leader is in the majority."""
        followers = [host for host in self.store_hosts if host != self._store_leader()]
        return followers[: (self.cluster.nodes - 1) // 2]

    def _connected_node(self) -> str:
        """By the kernel's table of connections in the leading daemon's network namespace."""
        leader = self._leading()
        addresses = {self.links.address(host): host for host in self.store_hosts}
        found = [addresses[each] for each in leader.daemon.connected() if each in addresses]
        if not found or len(addresses) < len(self.store_hosts):
            raise NoSuchRole(f"{leader.name} has no connection to a store node of which we could tell")
        return max(found, key=found.count)

    def _leader_node(self) -> str:
        name = self._leading().name
        if name not in self.attached:
            raise NoSuchRole(f"{name} knows every store node: give the topology `attach: one`")
        return self.attached[name]
