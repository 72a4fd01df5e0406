"""The admin helpers tests lean on, over real servers: etcdctl, Consul's HTTP API, ZooKeeper's four-letter words."""

from pathlib import Path

import pytest

from testbed import ConsulCluster, EtcdCluster, EtcdUser, ZooKeeperCluster, require, wait_until
from testbed.etcd import EtcdError
from testbed.http import HttpError

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]


@pytest.mark.parametrize("version", ["3.5", "3.4"])
def test_etcd_keys_leases_and_users(version: str, tmp_path: Path) -> None:
    require("etcd", version)
    users = [EtcdUser("app", "secret", "/app/")]
    with EtcdCluster(1, version, tmp_path, auth=users) as etcd:
        first = etcd.put("/app/é", "1")
        lease = etcd.lease_grant(60)
        second = etcd.put("/app/a", "-2", lease)
        assert second == first + 1
        keys = etcd.get("/app/", prefix=True)
        assert [(key.key, key.value, key.create_revision, key.lease) for key in keys] == [
            ("/app/é", "1", first, 0),
            ("/app/a", "-2", second, lease),
        ]
        assert etcd.lease_list() == [lease]
        etcd.lease_revoke(lease)
        assert etcd.lease_list() == []
        assert etcd.get("/app/a") == []
        assert etcd.delete("/app/", prefix=True) == 1
        assert etcd.ctl("put", "/app/x", "y", user="app:secret").strip() == "OK"
        with pytest.raises(EtcdError, match="permission denied"):
            etcd.ctl("put", "/other", "y", user="app:secret")
        with pytest.raises(EtcdError, match="invalid user ID or password"):
            etcd.ctl("get", "/app/x", user="app:wrong")
        etcd.auth_disable()
        assert etcd.put("/other", "y") > second
        etcd.freeze(0)
        with pytest.raises(EtcdError):
            etcd.ctl("get", "/other", node=0, timeout=1)


def test_consul_keys_sessions_and_tokens(tmp_path: Path) -> None:
    require("consul")
    with ConsulCluster(1, workdir=tmp_path, acl=True, session_ttl_min="2s") as consul:
        session = consul.api("PUT", "/v1/session/create", {"TTL": "2s", "LockDelay": "0s"})["ID"]
        assert consul.api("PUT", f"/v1/kv/a/leader?acquire={session}", b"me") is True
        entry = consul.kv_get("a/leader")
        assert entry is not None
        assert (entry["Session"], entry["Value"]) == (session, "me")
        assert [one["ID"] for one in consul.sessions()] == [session]
        consul.session_destroy(session)
        entry = consul.kv_get("a/leader")
        assert entry is not None
        assert "Session" not in entry
        token = consul.acl_token('key_prefix "a/" { policy = "write" }')
        assert consul.api("PUT", "/v1/kv/a/b", b"1", token=token) is True
        for other in (token, ""):
            with pytest.raises(HttpError) as refused:
                consul.api("PUT", "/v1/kv/b", b"1", token=other)
            assert refused.value.status == 403
        consul.kv_put("a/c d", "é")
        assert consul.kv_get("a/c d")["Value"] == "é"  # type: ignore[index]
        consul.kv_delete("a/", prefix=True)
        assert consul.kv_get("a/c d") is None


def test_consul_sessions_are_possible_on_every_node_right_after_the_start(tmp_path: Path) -> None:
    require("consul")
    with ConsulCluster(3, workdir=tmp_path) as consul:
        for index in range(3):
            assert consul.api("PUT", "/v1/session/create", {"TTL": "10s"}, node=index)["ID"]
        with pytest.raises(HttpError, match="Session TTL"):
            consul.api("PUT", "/v1/session/create", {"TTL": "2s"})


@pytest.mark.parametrize("version", ["3.9", "3.8"])
def test_zookeeper_four_letter_words(version: str, tmp_path: Path) -> None:
    require("zookeeper", version)
    with ZooKeeperCluster(3, version, tmp_path, tick_time_ms=400, config={"maxSessionTimeout": 9000}) as zookeeper:
        leader = zookeeper.leader_index()
        assert [zookeeper.ruok(index) for index in range(3)] == [True] * 3
        assert zookeeper.srvr(leader)["Mode"] == "leader"
        assert zookeeper.srvr((leader + 1) % 3)["Mode"] == "follower"
        assert zookeeper.mntr(leader)["zk_synced_followers"] == "2"
        assert zookeeper.ephemerals(leader) == {}
        configured = zookeeper.four_letter_word(0, "conf").splitlines()
        assert {"tickTime=400", "minSessionTimeout=800", "maxSessionTimeout=9000"} <= set(configured)


def test_zookeeper_container_check_is_set(tmp_path: Path) -> None:
    require("zookeeper")
    with ZooKeeperCluster(workdir=tmp_path, container_check_ms=1234) as zookeeper:
        wait_until(lambda: "Using checkIntervalMs=1234" in zookeeper.log(0), 10.0, "it says how often it looks")
