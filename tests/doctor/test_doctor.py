"""`leaderd doctor` as one types it, on the local store and on real servers: each finding provoked for real."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import testbed
from leaderd.clock import BootClock
from leaderd.doctor.examine import examine
from leaderd.doctor.findings import Patient
from leaderd.election.timing import Timing
from leaderd.stores.address import Credentials, Tls, parse_address
from testbed import ConsulCluster, EtcdCluster, EtcdUser, ZooKeeperCluster, tls
from testbed.consul import MASTER_TOKEN
from tests.doctor.running import checks, doctor
from tests.system.daemons import DaemonProcess, wait_until

FLAGS = 0x2DDCCBC058A50C18


def config(tmp_path, **store):
    path = tmp_path / "leaderd.yaml"
    for secret in store.get("auth", {}).values():
        if "/" in secret:
            Path(secret).touch(0o600)
            Path(secret).chmod(0o600)
    path.write_text(json.dumps({"store": store}))
    return "--config", str(path)


# ---- without servers


def test_a_local_store_that_is_well_and_one_that_was_never_used(tmp_path):
    assert checks(f"local://{tmp_path}/new")[0] == []
    assert not (tmp_path / "new").exists()
    made = subprocess.run(
        [sys.executable, "-m", "leaderd", "plan", "--election", "jobs", "--store", f"local://{tmp_path}/used"], timeout=50
    )
    assert made.returncode == 0
    before = (tmp_path / "used/leaderd.db").stat().st_mtime_ns
    assert checks(f"local://{tmp_path}/used")[0] == []
    assert (tmp_path / "used/leaderd.db").stat().st_mtime_ns == before


def test_a_local_store_that_others_can_write_or_that_is_another_programs(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert checks(f"local://{tmp_path}/open")[0] == ["permission"]
    (tmp_path / "theirs").mkdir(mode=0o700)
    other = sqlite3.connect(tmp_path / "theirs/leaderd.db")
    other.execute("CREATE TABLE customers (name)")
    other.close()
    found, body = checks(f"local://{tmp_path}/theirs")
    assert found == ["endpoint"]
    assert "another program" in body["findings"][0]["what"]
    assert checks(f"local://{tmp_path}/not/there")[0] == ["endpoint"]


def test_nobody_there_is_a_finding_for_each_endpoint_and_a_bad_configuration_is_78(tmp_path):
    for scheme in ("etcd", "consul", "zookeeper"):
        found, body = checks(f"{scheme}://127.0.0.1:1,127.0.0.1:2/x")
        assert found == ["endpoint", "endpoint"]
        assert [each["latency_s"] for each in body["endpoints"]] == [None, None]
    assert doctor("redis://x")[0] == 78
    assert doctor("local:///x", "--nonsense")[0] == 2


def test_the_table_says_what_why_and_what_to_do():
    code, out, _ = doctor("consul://127.0.0.1:1/x")
    assert code == 1
    assert "FAILED  127.0.0.1:1" in out
    assert "FINDING  endpoint  127.0.0.1:1" in out
    assert "  do    start it" in out
    assert "1 finding" in out.splitlines()[-1]
    assert max(map(len, out.splitlines())) <= 110
    assert doctor("consul://127.0.0.1:1/x", "--accept", "endpoint")[0] == 0


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["local", "etcd", "consul", "zookeeper"])
def test_daemons_at_work_are_no_finding(kind, tmp_path):
    clusters = {"etcd": EtcdCluster, "consul": ConsulCluster, "zookeeper": ZooKeeperCluster}
    with ExitStack() as stack:
        url = f"local://{tmp_path}/store"
        if kind != "local":
            testbed.require(kind)
            url = stack.enter_context(clusters[kind](1)).url("app")
        daemons = [DaemonProcess(f"pod-{name}", url, tmp_path, ttl="10s", elections=("jobs",)) for name in "ab"]
        for daemon in daemons:
            stack.callback(daemon.end)
            daemon.start()
        wait_until(lambda: any(daemon.leads("jobs") for daemon in daemons), 20.0, "one leads")
        found, body = checks(url, "--accept", "store-version")
        assert found == []
        assert "queue-unmoved" not in [each["check"] for each in body["notes"]]


# ---- etcd


@pytest.mark.servers
def test_etcd():
    testbed.require("etcd")
    with EtcdCluster(1) as etcd:
        found, body = checks(etcd.url("app"))
        assert set(found) == {"store-version"}  # the test bed's etcd is one of those with the bug
        assert "20590" in body["findings"][0]["what"]
        well = ("--accept", "store-version")
        assert checks(etcd.url("app"), *well)[0] == []
        assert etcd.get("app/", prefix=True) == []
        assert etcd.lease_list() == []

        lease = etcd.lease_grant(30)
        claimed = f"{etcd.put(f'app/jobs/{lease:x}', 'pod-a', lease):020d}"
        etcd.put("app/.leaderd/jobs/mark", claimed)
        assert checks(etcd.url("app"), *well)[0] == []
        other = etcd.lease_grant(30)
        etcd.put(f"app/jobs/{other:x}", "pod-a", other)
        assert checks(etcd.url("app"), *well)[0] == ["duplicate-instance"]
        etcd.lease_revoke(other)

        etcd.put("app/.leaderd/jobs/mark", f"{10**6:020d}")
        assert checks(etcd.url("app"), *well)[0] == ["queue-stuck"]
        etcd.put("app/.leaderd/jobs/mark", "a lot")
        assert checks(etcd.url("app"), *well)[0] == ["mark"]
        etcd.put("app/.leaderd/jobs/mark", claimed)

        etcd.put("app/jobs/readme", "x")
        assert checks(etcd.url("app"), *well)[0] == ["orphan"]
        etcd.delete("app/jobs/readme")
        long = etcd.lease_grant(86_400)
        etcd.put(f"app/jobs/{long:x}", "pod-z", long)
        etcd.put("app/jobs/name", "y", lease)
        assert sorted(checks(etcd.url("app"), *well)[0]) == ["foreign-entry", "orphan"]


@pytest.mark.servers
def test_etcd_with_a_frozen_member_and_members_of_two_clusters():
    testbed.require("etcd")
    with EtcdCluster(3) as etcd, EtcdCluster(1) as other:
        well = ("--accept", "store-version")
        assert checks(etcd.url("app"), *well)[0] == []
        url = f"etcd://{etcd.endpoints[0]},{other.endpoints[0]}/app"
        assert checks(url, *well)[0] == ["other-cluster"]
        frozen = (etcd.leader_index() + 1) % 3
        etcd.freeze(frozen)
        found, body = checks(etcd.url("app"), *well)
        assert found == ["endpoint"]
        assert [each["latency_s"] is None for each in body["endpoints"]] == [at == frozen for at in range(3)]


@pytest.mark.servers
def test_etcd_permissions_are_found_without_writing(tmp_path):
    testbed.require("etcd")
    password = tmp_path / "password"
    password.write_text("s3cret-of-pod")
    with EtcdCluster(1, auth=[EtcdUser("pod", "s3cret-of-pod", "app/")]) as etcd:
        auth = config(tmp_path, auth={"username": "pod", "password_file": str(password)})
        well = ("--accept", "store-version", *auth)
        assert checks(etcd.url("app"), *well)[0] == []
        assert set(checks(etcd.url("elsewhere"), *well)[0]) == {"permission"}
        etcd.role_add("reader", "read/", "read")
        etcd.user_grant("pod", "reader")
        found, body = checks(etcd.url("read"), *well)
        assert found == ["permission"]
        assert "s3cret" not in json.dumps(body)
        password.write_text("wrong-one")
        found, body = checks(etcd.url("app"), *well)
        assert found == ["endpoint"]
        assert "wrong-one" not in json.dumps(body)


@pytest.mark.servers
def test_a_certificate_that_has_ended(tmp_path):
    testbed.require("etcd")
    files = tls.make(tmp_path / "tls")
    well = ("--accept", "store-version")
    ours = {"ca_file": str(files.ca), "cert_file": str(files.client_cert), "key_file": str(files.client_key)}
    with EtcdCluster(1, tls=files) as etcd:
        assert checks(etcd.url("app"), *well, *config(tmp_path, tls=ours))[0] == []
        cert, key = files.pair("expired-client")
        ended = ours | {"cert_file": str(cert), "key_file": str(key)}
        found, body = checks(etcd.url("app"), *well, *config(tmp_path, tls=ended))
        assert "certificate" in found
        assert any("ended on 2020-02-01" in each["what"] for each in body["findings"])


@pytest.mark.servers
@pytest.mark.parametrize(("kind", "cluster"), [("etcd", EtcdCluster), ("consul", ConsulCluster)])
async def test_a_clock_that_is_not_the_servers(kind, cluster):
    testbed.require(kind)
    clock = BootClock(1.0)
    with cluster(1) as servers:
        for by_s, expected in ((0.0, []), (-90.0, ["clock-skew"])):
            patient = Patient(
                *(parse_address(servers.url("app")), Tls(), Credentials(), Timing(), ("jobs",), clock.now_s),
                wall_s=lambda by_s=by_s: clock.wall_s() + by_s,
            )
            found = [each.check for each in (await examine(patient)).findings if not each.note]
            assert [check for check in found if check != "store-version"] == expected


# ---- Consul


@pytest.mark.servers
def test_consul():
    testbed.require("consul")
    with ConsulCluster(1) as consul:
        assert checks(consul.url("app"))[0] == []

        def session(**asked):
            made = consul.api("PUT", "/v1/session/create", {"LockDelay": "0s", **asked})["ID"]
            assert consul.api("PUT", f"/v1/kv/app/jobs/.lock?acquire={made}&flags={FLAGS}") is True
            lock = consul.kv_get("app/jobs/.lock")
            assert lock is not None
            consul.kv_put("app/.leaderd/jobs/mark", f"{lock['ModifyIndex']:020d}")
            return made

        good = session(TTL="15s", Checks=[])
        assert checks(consul.url("app"))[0] == []
        consul.kv_put("app/.leaderd/jobs/mark", f"{10**6:020d}")
        assert checks(consul.url("app"))[0] == ["queue-stuck"]
        consul.kv_put("app/.leaderd/jobs/mark", "many")
        assert checks(consul.url("app"))[0] == ["mark"]
        consul.kv_delete("app/.leaderd/jobs/mark")
        consul.session_destroy(good)
        consul.kv_delete("app/jobs/.lock")

        bound = session(Checks=["serfHealth"])
        assert sorted(checks(consul.url("app"))[0]) == ["orphan", "serf-health"]  # and without a TTL
        consul.session_destroy(bound)
        consul.kv_put("app/jobs/.lock", "not a lock")
        assert checks(consul.url("app"))[0] == ["wrong-flags"]
        consul.kv_delete("app/jobs/.lock")
        consul.kv_put("app/jobs/holder", "semaphore")
        assert checks(consul.url("app"))[0] == ["foreign-entry"]


@pytest.mark.servers
def test_consul_permissions_and_a_ttl_below_the_servers_limit(tmp_path):
    testbed.require("consul")
    token = tmp_path / "token"
    with ConsulCluster(1, acl=True, session_ttl_min="60s") as consul:
        auth = config(tmp_path, auth={"token_file": str(token)})
        token.write_text(MASTER_TOKEN)
        assert checks(consul.url("app"), *auth)[0] == ["ttl"]
        rules = 'key_prefix "app" { policy = "write" } session_prefix "" { policy = "write" }'
        token.write_text(consul.acl_token(rules))
        assert checks(consul.url("app"), *auth)[0] == []
        secret = consul.acl_token('key_prefix "app" { policy = "read" } session_prefix "" { policy = "write" }')
        token.write_text(secret)
        found, body = checks(consul.url("app"), *auth)
        assert set(found) == {"permission"}
        assert secret not in json.dumps(body)


# ---- ZooKeeper


@pytest.mark.servers
def test_zookeeper():
    testbed.require("zookeeper")
    from kazoo.client import KazooClient

    with ZooKeeperCluster(1) as servers:
        assert checks(servers.url("app"))[0] == []
        assert checks(servers.url("app"), "--ttl", "30s")[0] == ["ttl"]
        client = KazooClient(hosts=servers.endpoints[0])
        client.start()
        try:
            client.ensure_path("/app/.leaderd/jobs")
            first = client.create("/app/jobs/_c_a-lock-", b"pod-a", ephemeral=True, sequence=True, makepath=True)
            claimed = b"%020d" % client.exists(first).czxid
            client.create("/app/.leaderd/jobs/mark", claimed)
            assert checks(servers.url("app"))[0] == []
            client.create("/app/jobs/_c_b-lock-", b"pod-a", ephemeral=True, sequence=True)
            assert checks(servers.url("app"))[0] == ["duplicate-instance"]
            client.set("/app/.leaderd/jobs/mark", b"%020d" % 2**40)
            client.delete("/app/jobs/_c_b-lock-0000000001")
            assert checks(servers.url("app"))[0] == ["queue-stuck"]
            client.set("/app/.leaderd/jobs/mark", b"?")
            assert checks(servers.url("app"))[0] == ["mark"]
            client.set("/app/.leaderd/jobs/mark", claimed)
            client.create("/app/jobs/_c_c-lock-", b"pod-c", sequence=True)
            client.create("/app/jobs/readme", b"", ephemeral=True)
            assert sorted(checks(servers.url("app"))[0]) == ["foreign-entry", "orphan"]
            client.delete(first)
        finally:
            client.stop()
            client.close()
        wait_until(lambda: all("_c_a" not in str(v) for v in servers.ephemerals(0).values()), 10.0, "sessions ended")


@pytest.mark.servers
def test_zookeeper_permissions(tmp_path):
    testbed.require("zookeeper")
    from kazoo.client import KazooClient
    from kazoo.security import make_digest_acl

    password = tmp_path / "password"
    password.write_text("s3cret")
    auth = config(tmp_path, auth={"username": "pod", "password_file": str(password)})
    with ZooKeeperCluster(1) as servers:
        client = KazooClient(hosts=servers.endpoints[0])
        client.start()
        try:
            client.add_auth("digest", "pod:s3cret")
            client.create("/ours/jobs", b"", makepath=True, acl=[make_digest_acl("pod", "s3cret", all=True)])
            client.create("/read", b"", acl=[make_digest_acl("pod", "s3cret", read=True)])
        finally:
            client.stop()
            client.close()
        assert checks(servers.url("ours"), *auth)[0] == []
        found, body = checks(servers.url("read"), *auth)
        assert set(found) == {"permission"}
        assert "s3cret" not in json.dumps(body)
        assert "permission" in checks(servers.url("ours"))[0]
