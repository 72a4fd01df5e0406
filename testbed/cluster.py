"""What the three kinds of cluster have in common: nodes on loopback ports, their life and their faults."""

from __future__ import annotations

import shutil
import socket
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, NamedTuple, Self

from testbed.ports import Reservation, reserve
from testbed.process import Process, StartError, WaitTimeout, wait_until
from testbed.scratch import scratch_root

Wrap = Callable[[int], Sequence[str]]
_START_ATTEMPTS = 3
_PORT_TAKEN = ("address already in use", "Address already in use", "BindException")


class View(NamedTuple):
    """What one node believes: the store's own term or epoch, and the index of the leader in it, if it knows one."""

    term: int
    leader: int | None


class Cluster(ABC):
    """Servers of one store, started together and stopped for certain. A context manager.

    `hosts` gives each node an address of its own and `wrap` a command prefix (`ip netns exec NAME`), for clusters in
    network namespaces; by default every node is on 127.0.0.1 with ports no other run on this machine will take.
    `workdir` receives configuration, data and logs and is left behind for inspection; without one a temporary folder,
    in memory where there is room, is used and removed by `stop`.
    """

    kind: ClassVar[str]
    ports_per_node: ClassVar[int]
    stop_grace_s: ClassVar[float] = 3.0

    def __init__(
        self,
        nodes: int,
        version: str,
        workdir: Path | str | None,
        *,
        hosts: Sequence[str] | None = None,
        wrap: Wrap | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a cluster; nothing runs before `start`."""
        self.nodes = nodes
        self.version = version
        self.hosts = list(hosts) if hosts is not None else ["127.0.0.1"] * nodes
        if len(self.hosts) != nodes:
            raise ValueError(f"{nodes} nodes need {nodes} hosts, not {len(self.hosts)}")
        self._wrap = wrap
        self._env = dict(env or {})
        self._keep = workdir is not None
        self._given_workdir = Path(workdir).absolute() if workdir is not None else None
        self._workdir: Path | None = None
        self._reservation: Reservation | None = None
        self._processes: list[Process] = []

    # What each kind of server fills in

    @abstractmethod
    def _prepare(self, index: int) -> None:
        """Write the configuration of a node. Ports and folders are known by now."""

    @abstractmethod
    def _command(self, index: int) -> list[str]:
        """The command line of a node."""

    @abstractmethod
    def _view(self, index: int) -> View | None:
        """What a running node believes about leadership; None if it does not answer or does not serve."""

    @abstractmethod
    def _client_port(self, index: int) -> int:
        """The port clients are to use."""

    def _scheme(self) -> str:
        """The scheme of leaderd's store URL."""
        return self.kind

    def _is_ready(self) -> bool:
        """What must hold beyond an agreed leader before clients may come."""
        return True

    def _after_start(self) -> None:  # noqa: B027  most kinds have nothing to do
        """What is done once when the cluster has become ready, such as turning authentication on."""

    # Life

    def start(self, timeout: float = 60.0) -> Self:
        """Start all nodes and wait until they serve. Raises `StartError` with the tail of the logs if they do not."""
        if self._processes:
            raise StartError("this cluster has been started already")
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._workdir = self._make_workdir()
            try:
                self._start_once(timeout)
            except (WaitTimeout, StartError) as error:
                logs = self._log_tails()
                self.stop()
                if attempt < _START_ATTEMPTS and any(sign in logs for sign in _PORT_TAKEN):
                    self._forget_data()
                    continue
                raise StartError(f"{self.kind} {self.version} did not start: {error}\n{logs}") from error
            except BaseException:
                self.stop()
                raise
            break
        return self

    def _start_once(self, timeout: float) -> None:
        self._reservation = reserve(self.nodes * self.ports_per_node)
        self._processes = []
        for index in range(self.nodes):
            self.folder(index).mkdir(parents=True, exist_ok=True)
            self._prepare(index)
        for index in range(self.nodes):
            argv = [*(self._wrap(index) if self._wrap else ()), *self._command(index)]
            process = Process(argv, self.workdir / f"node{index}.log", cwd=self.folder(index), env=self._env)
            self._processes.append(process)
            process.start()
        self.wait_ready(timeout)
        self._after_start()

    def stop(self) -> None:
        """End every node and release ports and temporary files. May be called more than once."""
        for process in self._processes:
            process.signal_stop()
        for process in self._processes:
            process.stop(self.stop_grace_s)
        self._processes = []
        if self._reservation is not None:
            self._reservation.release()
            self._reservation = None
        if not self._keep and self._workdir is not None:
            shutil.rmtree(self._workdir, ignore_errors=True)

    def __enter__(self) -> Self:
        return self if self._processes else self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    # Addresses

    @property
    def workdir(self) -> Path:
        """The folder of logs (`node0.log`) and of one subfolder per node. Raises before `start`."""
        if self._workdir is None:
            raise RuntimeError("the cluster has not been started")
        return self._workdir

    def folder(self, index: int) -> Path:
        """The folder of one node's configuration and data."""
        return self.workdir / f"node{index}"

    @property
    def endpoints(self) -> list[str]:
        """`host:port` for clients, one per node, in node order, whether it runs or not."""
        return [f"{host}:{self._client_port(index)}" for index, host in enumerate(self.hosts)]

    def url(self, prefix: str = "") -> str:
        """The cluster as leaderd's store URL, such as `etcd://127.0.0.1:20001,127.0.0.1:20003/prefix`."""
        path = prefix.strip("/")
        return f"{self._scheme()}://{','.join(self.endpoints)}" + (f"/{path}" if path else "")

    def _port(self, index: int, which: int) -> int:
        """The `which`-th reserved port of a node."""
        if self._reservation is None:
            raise RuntimeError("the cluster has not been started")
        return self._reservation.ports[index * self.ports_per_node + which]

    # Leadership

    def find_leader(self) -> int | None:
        """The leader as the running nodes with the newest term see it, if it runs itself; None if there is none now."""
        views = {index: self._view(index) for index in self.serving}
        return _newest_leader({index: view for index, view in views.items() if view is not None})

    def leader_index(self, timeout: float = 30.0, *, other_than: int | None = None) -> int:
        """Wait until there is a leader (a different one from `other_than`) and return its index."""

        def found() -> tuple[int] | None:
            leader = self.find_leader()
            return None if leader is None or leader == other_than else (leader,)

        suffix = "" if other_than is None else f" other than node {other_than}"
        return wait_until(found, timeout, f"{self.kind} has a leader{suffix}")[0]

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until every running node serves and all agree on a leader. Raises `WaitTimeout`, or `StartError` at once
        when a node has died on its own."""

        def ready() -> bool:
            self._raise_if_dead()
            views = {index: view for index in self.serving if (view := self._view(index)) is not None}
            if len(views) < len(self.serving) or not views:
                return False
            leader = _newest_leader(views)
            agreed = all(view.leader in (None, leader) for view in views.values())
            return leader is not None and agreed and self._is_ready()

        wait_until(ready, timeout, f"all running nodes of {self.kind} serve and agree on a leader")

    def _raise_if_dead(self) -> None:
        for index, process in enumerate(self._processes):
            if process.started and not process.running:
                raise StartError(f"node {index} of {self.kind} has ended: \n{process.log_tail()}")

    # Faults

    @property
    def serving(self) -> list[int]:
        """The nodes that run and are not frozen."""
        return [index for index, process in enumerate(self._processes) if process.running and not process.frozen]

    @property
    def pids(self) -> list[int | None]:
        """The process id of each node, None for one that does not run."""
        return [process.pid for process in self._processes]

    def process(self, index: int) -> Process:
        """The process of a node."""
        return self._processes[index]

    def listens(self, index: int) -> bool:
        """Whether a node runs, and takes a connection of ours."""
        address, _, port = self.endpoints[index].rpartition(":")
        try:
            socket.create_connection((address, int(port)), 1.0).close()
        except OSError:
            return False
        return self.pids[index] is not None

    def kill(self, index: int) -> None:
        """End a node at once (SIGKILL), as a power cut would; its data stays."""
        self._processes[index].kill()

    def freeze(self, index: int) -> None:
        """Pause a node (SIGSTOP): it keeps its connections and does not answer."""
        self._processes[index].freeze()

    def thaw(self, index: int) -> None:
        """Let a frozen node go on."""
        self._processes[index].thaw()

    def restart(self, index: int, timeout: float = 60.0, *, wait: bool = True) -> None:
        """Start a node again with its data (ending it first if it runs), and wait until the cluster is ready.

        Without `wait` when more nodes are to come before there is a quorum; then `wait_ready` is for the caller.
        """
        self._processes[index].stop()
        self._processes[index].start()
        if wait:
            self.wait_ready(timeout)

    def log(self, index: int) -> str:
        """Everything a node has logged so far."""
        return self._processes[index].log.read_text(encoding="utf-8", errors="replace")

    # Folders

    def _make_workdir(self) -> Path:
        if self._given_workdir is not None:
            self._given_workdir.mkdir(parents=True, exist_ok=True)
            return self._given_workdir
        return Path(tempfile.mkdtemp(prefix=f"leaderd-{self.kind}-", dir=scratch_root()))

    def _forget_data(self) -> None:
        """Start from nothing: the data of a failed start names ports that will not come again."""
        if self._workdir is not None:
            for index in range(self.nodes):
                shutil.rmtree(self.folder(index), ignore_errors=True)
                (self._workdir / f"node{index}.log").unlink(missing_ok=True)

    def _log_tails(self) -> str:
        return "\n".join(f"--- node {i} of {self.kind}\n{p.log_tail()}" for i, p in enumerate(self._processes))


def _newest_leader(views: Mapping[int, View]) -> int | None:
    """The leader of the newest term anybody knows, if it is one of those asked."""
    if not views:
        return None
    term = max(view.term for view in views.values())
    leaders = [view.leader for view in views.values() if view.term == term and view.leader in views]
    return leaders[0] if leaders else None
