"""`leaderd plan` as one types it: on the local store, on real servers, with nobody there, and with timings that are not safe."""

import json
import subprocess
import sys

import pytest

import testbed
from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster


def plan(*arguments):
    command = [sys.executable, "-m", "leaderd", "plan", "--election", "jobs", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    return done.returncode, done.stdout, done.stderr


def test_on_the_local_store(tmp_path):
    code, out, err = plan("--store", f"local://{tmp_path}")
    assert (code, err) == (0, "")
    assert "fail-over" in out
    assert "round trip" in out
    assert out.endswith("\nsafe\n")


def test_with_nobody_there():
    code, out, _ = plan("--store", "consul://127.0.0.1:1/x")
    assert code == 1
    assert "NOT SHOWN TO BE SAFE: the store was asked and did not answer: " in out
    assert "Not measured: the ttl that the store grants, and the round trip of a renewal." in out
    assert "as configured" in out
    assert "\nsafe" not in out
    code, out, _ = plan("--store", "consul://127.0.0.1:1/x", "--offline")
    assert code == 0
    assert "safe as configured; the store was not asked (--offline)." in out
    assert "Not measured: " in out


def test_offline_and_as_json():
    code, out, _ = plan("--store", "etcd://127.0.0.1:1/x", "--offline", "-o", "json", "--instances", "40")
    found = json.loads(out)
    assert (code, found["store"], found["not_asked"], found["unsafe"]) == (0, "etcd", "not asked", [])
    assert found["requests_per_s"] == 40.5


def test_unsafe_timings_are_exit_1_and_another_mistake_is_78():
    code, out, err = plan("--store", "consul://127.0.0.1:1/x", "--ttl", "3s")
    assert (code, out) == (1, "")
    assert "timing.ttl" in err
    assert plan("--store", "redis://x")[0] == 78
    assert plan("--store", "local:///x", "--instances", "0")[0] == 2


@pytest.mark.servers
@pytest.mark.parametrize(("kind", "cluster"), [("etcd", EtcdCluster), ("zookeeper", ZooKeeperCluster), ("consul", ConsulCluster)])
def test_on_real_servers(kind, cluster):
    testbed.require(kind)
    with cluster(1) as servers:
        code, out, err = plan("--store", servers.url("plan"), "--ttl", "12s", "-o", "json")
        assert code == 0, err
        found = json.loads(out)
        # One tick is 500 ms in the test bed, so ZooKeeper grants ten seconds at most.
        assert found["ttl_s"] == {"etcd": 12.0, "zookeeper": 10.0, "consul": 12.0}[kind]
        assert 0.0 < found["round_trip_s"] < 5.0
        assert found["not_asked"] is None
        # Of which tick, too, its servers tell.
        assert found["failover_s"] == pytest.approx({"etcd": 12.5, "zookeeper": 10.5, "consul": 36.0}[kind])


@pytest.mark.servers
def test_a_tick_that_the_servers_do_not_tell_is_said_to_be_assumed():
    testbed.require("zookeeper")
    with ZooKeeperCluster(1, config={"4lw.commands.whitelist": "srvr"}) as servers:
        code, out, err = plan("--store", servers.url("plan"), "--ttl", "10s")
        assert code == 0, err
        assert "next tick, usually 2 s (assumed: the servers did not tell it)" in out
        assert out.endswith("\nsafe\n")
