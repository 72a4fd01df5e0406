"""The store nodes of a compose project as a cluster of the test bed."""

from __future__ import annotations

from typing import ClassVar, Self

from chaos.containers.override import PORTS
from chaos.containers.process import Contained
from chaos.containers.project import Project, at_once
from chaos.substrates import CannotInject
from testbed.cluster import Cluster, View

_READY_S = 120.0


class ComposeCluster(Cluster):
    """All nodes of one store. It is the project's, too: with its end the project is removed.

    Nodes are asked by the agents in their own networks, over the loopback device there.
    """

    kind: ClassVar[str] = "the store"
    ports_per_node: ClassVar[int] = 0

    def __init__(self, kind: str, project: Project, nodes: list[Contained]) -> None:
        super().__init__(len(nodes), "of a compose project", None, hosts=list(project.layout.nodes.values()))
        self._store = kind
        self._project = project
        self._nodes = nodes
        self._ids: dict[str, int] = {}

    def start(self, timeout: float = _READY_S) -> Self:
        """Make the project, start the nodes, and wait until they serve."""
        try:
            self._project.create()
            self._processes = list(self._nodes)
            at_once(lambda node: node.start(), self._nodes)
            self.wait_ready(timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Remove the project."""
        self._processes = []
        self._project.remove()

    def listens(self, index: int) -> bool:
        """Asked from within."""
        if self.pids[index] is None:
            return False
        try:
            return bool(self._project.ask(self._host(index), "reaches", "127.0.0.1", self._client_port(index), 1.0))
        except OSError:
            return False

    def log(self, index: int) -> str:
        """As the engine keeps it."""
        said: bytes = self._project.container(self.hosts[index]).logs(timestamps=False)
        return said.decode(errors="replace")

    def _view(self, index: int) -> View | None:
        try:
            said = self._project.ask(self._host(index), "view", self._store)
        except (OSError, CannotInject):
            return None
        if said is None:
            return None
        term, me, leader = said
        if leader is not None and leader != me:
            return View(term, self._ids.get(leader))
        self._ids[me] = index
        return View(term, index if leader == me else None)

    def _host(self, index: int) -> str:
        return f"s{index + 1}"

    def _client_port(self, index: int) -> int:
        return PORTS[self._store]

    def _prepare(self, index: int) -> None:
        """The compose file has said it all."""

    def _command(self, index: int) -> list[str]:
        return []
