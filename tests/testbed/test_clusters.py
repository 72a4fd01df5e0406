"""Every server in every version: starts with one and three nodes, elects, survives its leader, leaves nothing behind."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import Cluster, ConsulCluster, EtcdCluster, StartError, WaitTimeout, ZooKeeperCluster, require
from testbed import cluster as cluster_module
from testbed.ports import Reservation

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

KINDS: dict[str, type[EtcdCluster] | type[ZooKeeperCluster] | type[ConsulCluster]] = {
    "etcd": EtcdCluster,
    "zookeeper": ZooKeeperCluster,
    "consul": ConsulCluster,
}
VARIANTS = [("etcd", "3.5"), ("etcd", "3.4"), ("zookeeper", "3.9"), ("zookeeper", "3.8"), ("consul", "1.8")]
every_variant = pytest.mark.parametrize(("kind", "version"), VARIANTS, ids=[f"{k}-{v}" for k, v in VARIANTS])


@pytest.fixture
def make(kind: str, version: str, tmp_path: Path) -> Iterator[type]:
    """Makes clusters of this kind that are stopped in any case."""
    require(kind, version)
    made: list[Cluster] = []

    def one(nodes: int, folder: str = "cluster") -> Cluster:
        made.append(KINDS[kind](nodes, version, tmp_path / folder))
        return made[-1]

    yield one
    for cluster in made:
        cluster.stop()


def gone(pid: int | None) -> bool:
    return not Path(f"/proc/{pid}").exists()


@every_variant
def test_one_node(make, kind: str) -> None:
    cluster = make(1).start()
    assert cluster.leader_index() == 0
    [endpoint] = cluster.endpoints
    assert cluster.url("a/b/") == f"{kind}://{endpoint}/a/b"
    assert cluster.url() == f"{kind}://{endpoint}"
    host, port = endpoint.split(":")
    socket.create_connection((host, int(port)), timeout=5).close()
    cluster.freeze(0)
    assert cluster.find_leader() is None
    cluster.thaw(0)
    cluster.wait_ready(20)
    [before] = cluster.pids
    cluster.restart(0)
    [after] = cluster.pids
    assert gone(before)
    cluster.stop()
    assert gone(after)
    assert cluster.pids == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


@every_variant
def test_three_nodes_survive_their_leader(make, kind: str) -> None:
    with make(3) as cluster:
        pids = list(cluster.pids)
        assert len(set(cluster.endpoints)) == 3
        first = cluster.leader_index()
        cluster.kill(first)
        assert cluster.serving == [index for index in range(3) if index != first]
        second = cluster.leader_index(other_than=first)
        assert second != first
        cluster.restart(first)
        assert cluster.serving == [0, 1, 2]

        second = cluster.leader_index()
        # Consul 1.8 has been seen without a new leader for 30 s after a freeze so soon after a restart, and nobody knows yet why.
        stop, go_on = (cluster.kill, cluster.restart) if kind == "consul" else (cluster.freeze, cluster.thaw)
        stop(second)
        third = cluster.leader_index(other_than=second)
        go_on(second)
        cluster.wait_ready()
        assert cluster.leader_index() == third

        cluster.kill(third)
        cluster.kill((third + 1) % 3)
        with pytest.raises(WaitTimeout, match="has a leader other than"):
            cluster.leader_index(4, other_than=third)  # one of three is no quorum
        for index in range(3):
            cluster.restart(index, wait=False)
        cluster.wait_ready()
        assert cluster.leader_index() in (0, 1, 2)
        pids += cluster.pids
    assert all(gone(pid) for pid in pids if pid is not None)


@every_variant
def test_two_at_once_do_not_collide(make) -> None:
    with make(1, "a") as one, make(1, "b") as two:
        assert not set(one.endpoints) & set(two.endpoints)
        assert one.leader_index() == two.leader_index() == 0


@every_variant
def test_a_start_that_fails_tells_the_log_and_leaves_nothing(make, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make(1)
    monkeypatch.setattr(cluster, "_command", lambda index: ["/bin/sh", "-c", "echo it is broken today; exit 3"])
    with pytest.raises(StartError, match=rf"(?s){kind} .*did not start.*it is broken today"):
        cluster.start(20)
    assert cluster.pids == []


@every_variant
def test_a_port_taken_meanwhile_is_replaced(make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program took a port between our look and the server's: the start is tried again with other ports."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        real, calls = cluster_module.reserve, []

        def reserve(count: int) -> Reservation:
            calls.append(count)
            found = real(count)
            return Reservation((port, *found.ports[1:]), found._locks) if len(calls) == 1 else found

        monkeypatch.setattr(cluster_module, "reserve", reserve)
        with make(1) as cluster:
            assert len(calls) == 2
            assert cluster.leader_index() == 0


@every_variant
def test_addresses_and_a_command_prefix_of_its_own_for_each_node(make, kind: str, version: str, tmp_path: Path) -> None:
    """What clusters in network namespaces are made of."""
    hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    with KINDS[kind](3, version, tmp_path, hosts=hosts, wrap=lambda index: ["env", f"NODE={index}"]) as cluster:
        assert [endpoint.partition(":")[0] for endpoint in cluster.endpoints] == hosts
        assert cluster.leader_index() in (0, 1, 2)
        for index, pid in enumerate(cluster.pids):
            assert f"NODE={index}" in Path(f"/proc/{pid}/environ").read_text().split("\0")
    with pytest.raises(ValueError, match="3 nodes need 3 hosts"):
        KINDS[kind](3, version, tmp_path, hosts=["127.0.0.1"])


def test_a_dead_node_is_not_waited_for(tmp_path: Path) -> None:
    require("etcd")
    with EtcdCluster(1, workdir=tmp_path) as cluster:
        os.kill(cluster.pids[0], signal.SIGKILL)  # not by us, as the kernel's memory killer would
        with pytest.raises(StartError, match="node 0 of etcd has ended"):
            cluster.wait_ready(20)


def test_without_a_workdir_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("etcd")
    with EtcdCluster() as cluster:
        folder = cluster.workdir
        assert "ready to serve client requests" in cluster.log(0)
    assert not folder.exists()
    with pytest.raises(RuntimeError, match="not been started"):
        _ = EtcdCluster().workdir
