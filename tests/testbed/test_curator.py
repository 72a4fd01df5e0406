"""The Curator peer: leads, tells when, hands over, and is interrupted, as any Curator application would be."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import StartError, WaitTimeout, ZooKeeperCluster, require, wait_until
from testbed.curator import CuratorSelector, Participant

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]


@pytest.fixture(params=["3.9", "3.8"])
def zookeeper(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ZooKeeperCluster]:
    require("zookeeper", request.param)
    require("curator")
    with ZooKeeperCluster(1, request.param, tmp_path / "zookeeper", container_check_ms=1000) as cluster:
        yield cluster


def test_leads_and_hands_over(zookeeper: ZooKeeperCluster, tmp_path: Path) -> None:
    connect = ",".join(zookeeper.endpoints)
    before = time.monotonic_ns()
    with CuratorSelector(connect, "/an/election", "first", workdir=tmp_path) as first:
        acquired = first.wait_event("acquired")
        assert before < acquired.ns < time.monotonic_ns()  # one clock for both: CLOCK_MONOTONIC
        assert first.leading()
        with CuratorSelector(connect, "/an/election", "second", hold_ms=200) as second:
            both = [Participant("first", True), Participant("second", False)]
            wait_until(lambda: first.participants() == both, 10, "both are participants")
            assert second.participants() == both
            [held] = [paths for paths in zookeeper.ephemerals(0).values() if "lock-0000000000" in paths[0]]
            assert held[0].startswith("/an/election/_c_")

            first.release()
            lost = first.wait_event("lost")
            gained = second.wait_event("acquired")
            assert lost.more == {"reason": "released"}
            assert lost.ns < gained.ns
            ended = second.wait_event("lost")
            assert ended.more == {"reason": "held"}
            assert ended.ns - gained.ns >= 200_000_000
            assert first.wait_event("acquired").ns > ended.ns
        pid = second.pid
        assert pid is None
    assert not first.leading() or first.events[-1].event == "acquired"
    assert (tmp_path / "curator-first.log").exists()


def test_is_interrupted_when_the_connection_is_in_doubt(zookeeper: ZooKeeperCluster) -> None:
    with CuratorSelector(",".join(zookeeper.endpoints), "/e", "only", session_ms=4000) as only:
        only.wait_event("acquired")
        zookeeper.kill(0)
        assert only.wait_event("lost").more == {"reason": "interrupted"}
        zookeeper.restart(0)
        only.wait_event("acquired")


def test_a_paused_leader_is_replaced(zookeeper: ZooKeeperCluster) -> None:
    connect = ",".join(zookeeper.endpoints)
    with CuratorSelector(connect, "/e", "a", session_ms=2000) as a:
        a.wait_event("acquired")
        with CuratorSelector(connect, "/e", "b", session_ms=2000) as b:
            wait_until(lambda: len(b.participants()) == 2, 10, "both are participants")
            a.freeze()
            b.wait_event("acquired")
            a.thaw()
            assert a.wait_event("lost").more == {"reason": "interrupted"}


def test_waits_are_bounded_and_ends_are_noticed(zookeeper: ZooKeeperCluster) -> None:
    with CuratorSelector(",".join(zookeeper.endpoints), "/e", "only") as only:
        with pytest.raises(WaitTimeout, match="'lost' of Curator only"):
            only.wait_event("lost", timeout=0.2)
        only.kill()
        with pytest.raises(StartError, match="has ended without 'lost'"):
            only.wait_event("lost", timeout=20)
        with pytest.raises(StartError, match="does not run"):
            only.release()
