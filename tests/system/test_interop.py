"""Real peers of other makers on one election with real daemons: nobody holds beside another, and each sees the other."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster, require
from testbed.curator import CuratorEvent, CuratorMutex, CuratorSelector
from testbed.fetch import installed
from tests.system.conftest import Fleet
from tests.system.daemons import Claim, DaemonProcess, Watcher, boot_s, wait_until
from tests.system.peers import Electing, Hold, LockCommand

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]
ROUNDS = 5


def check_no_overlap(claims: list[Claim], holds: list[Hold]) -> None:
    """No promise of a daemon reaches into a hold of the peer, nor the other way round."""
    assert claims, "no daemon ever led"
    assert holds, "the peer never held"
    for claim in claims:
        for hold in holds:
            overlap_s = min(claim.until_s, hold.until_s) - max(claim.from_s, hold.from_s)
            assert overlap_s <= 0, f"{claim} and {hold} overlap by {overlap_s * 1000:.1f} ms"


def take_turns(daemons: list[DaemonProcess], watcher: Watcher, turns: Callable[[], int]) -> None:
    """Whoever of us leads is told to stop, and starts again at the end of the queue, until the peer has had its turns."""

    def pass_on() -> bool:
        name = watcher.leader()
        leader = next((daemon for daemon in daemons if daemon.name == name), None)
        if leader is not None:
            leader.send(signal.SIGTERM)
            assert leader.wait(10.0) == 0
            leader.start()
        return turns() >= ROUNDS

    wait_until(pass_on, 90.0, f"the peer had {ROUNDS} turns")


def candidates(daemon: DaemonProcess) -> list[str]:
    return [found["instance"] for found in daemon.get("/v1/elections/jobs")[1].get("candidates", [])]


@pytest.fixture(scope="module", params=["3.4", "3.5"])
def etcd(request: pytest.FixtureRequest) -> Iterator[EtcdCluster]:
    require("etcd", request.param)
    with EtcdCluster(nodes=1, version=request.param) as cluster:
        yield cluster


def etcdctl(cluster: EtcdCluster, *arguments: str) -> list[str]:
    program = installed("etcd", cluster.version).programs["etcdctl"]
    return [program, f"--endpoints={','.join(cluster.endpoints)}", *arguments]


@pytest.mark.xdist_group("etcd")
def test_etcdctl_lock(etcd: EtcdCluster, fleet: Fleet, tmp_path: Path) -> None:
    daemons, watcher = fleet(etcd.url("lock"), count=2, ttl="5s")
    wait_until(watcher.leader, 20.0, "a daemon leads")
    with LockCommand(lambda child: etcdctl(etcd, "lock", "--", "lock/jobs", *child), tmp_path) as peer:
        wait_until(lambda: any(len(candidates(daemon)) == 3 for daemon in daemons), 10.0, "the peer is listed in the queue")
        take_turns(daemons, watcher, lambda: len(peer.holds()))
    check_no_overlap(watcher.claims, peer.holds())
    watcher.check()


@pytest.mark.xdist_group("etcd")
def test_etcdctl_elect(etcd: EtcdCluster, fleet: Fleet, tmp_path: Path) -> None:
    daemons, watcher = fleet(etcd.url("elect"), count=2, ttl="5s")
    name = wait_until(watcher.leader, 20.0, "a daemon leads")
    with Electing(etcdctl(etcd, "elect", "elect/jobs", "the-peer")) as peer:
        wait_until(lambda: any("the-peer" in candidates(daemon) for daemon in daemons), 10.0, "the peer is listed by its name")
        assert next(kv.value for kv in etcd.get("elect/jobs/", prefix=True)) == name, (
            "and our leader's name is the election's value"
        )
        take_turns(daemons, watcher, lambda: len(peer.holds()))
    check_no_overlap(watcher.claims, peer.holds())
    watcher.check()


@pytest.fixture(scope="module")
def consul() -> Iterator[ConsulCluster]:
    require("consul")
    with ConsulCluster(nodes=1) as cluster:
        yield cluster


@pytest.mark.xdist_group("consul")
def test_consul_lock(consul: ConsulCluster, fleet: Fleet, tmp_path: Path) -> None:
    daemons, watcher = fleet(consul.url("peers"), count=2, ttl="10s")
    name = wait_until(watcher.leader, 20.0, "a daemon leads")
    record = consul.kv_get("peers/jobs/.lock")
    assert record is not None
    assert record["Flags"] == 0x2DDCCBC058A50C18
    assert record["Value"] in {name, name.encode()}
    program = installed("consul").programs["consul"]
    address = f"-http-addr=http://{consul.endpoints[0]}"
    with LockCommand(lambda child: [program, "lock", address, "-shell=false", "peers/jobs", *child], tmp_path) as peer:
        take_turns(daemons, watcher, lambda: len(peer.holds()))
    check_no_overlap(watcher.claims, peer.holds())
    watcher.check()


@pytest.fixture(scope="module", params=["3.8", "3.9"])
def zookeeper(request: pytest.FixtureRequest) -> Iterator[ZooKeeperCluster]:
    require("zookeeper", request.param)
    require("curator")
    with ZooKeeperCluster(nodes=1, version=request.param) as cluster:
        yield cluster


@pytest.mark.xdist_group("zookeeper")
def test_curator_leader_selector(zookeeper: ZooKeeperCluster, fleet: Fleet) -> None:
    daemons, watcher = fleet(zookeeper.url("curator"), count=2, ttl="6s")
    name = wait_until(watcher.leader, 20.0, "a daemon leads")
    with CuratorSelector(zookeeper.endpoints[0], "/curator/jobs", "the-peer", hold_ms=400) as peer:
        wait_until(lambda: {p.id for p in peer.participants()} == {"pod-a", "pod-b", "the-peer"}, 20.0, "Curator lists all three")
        assert [p.id for p in peer.participants() if p.leader] == [name]
        wait_until(lambda: any("the-peer" in candidates(daemon) for daemon in daemons), 20.0, "the peer is listed by its name")

        take_turns(daemons, watcher, lambda: sum(found.event == "lost" for found in peer.events))
        events = list(peer.events)
    check_no_overlap(watcher.claims, curator_holds(events))
    watcher.check()


@pytest.mark.xdist_group("zookeeper")
def test_curator_mutex(zookeeper: ZooKeeperCluster, fleet: Fleet) -> None:
    """InterProcessMutex on the election's path: its holder is in the same queue, under whatever data its client gives its nodes."""
    daemons, watcher = fleet(zookeeper.url("mutex"), count=2, ttl="6s")
    wait_until(watcher.leader, 20.0, "a daemon leads")
    with CuratorMutex(zookeeper.endpoints[0], "/mutex/jobs", "the-peer", hold_ms=400) as peer:
        wait_until(lambda: any("the-peer" in candidates(daemon) for daemon in daemons), 20.0, "the peer is listed by its data")
        take_turns(daemons, watcher, lambda: sum(found.event == "lost" for found in peer.events))
        events = list(peer.events)
    check_no_overlap(watcher.claims, curator_holds(events))
    watcher.check()


def curator_holds(events: list[CuratorEvent]) -> list[Hold]:
    """From each time the lock was given to the peer until it gave it back."""
    to_boot_s = boot_s() - time.monotonic()  # the JVM stamps CLOCK_MONOTONIC; the machine is not suspended meanwhile
    holds, begun_s = [], None
    for found in events:
        at_s = found.ns / 1e9 + to_boot_s
        if found.event == "acquired":
            begun_s = at_s
        elif found.event == "lost" and begun_s is not None:
            holds.append(Hold(begun_s, at_s))
            begun_s = None
    return holds
