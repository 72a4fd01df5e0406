"""A queue that does not move: what two looks mean; and on each store, an entry that nobody claims and another tool that leads."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import testbed
from leaderd.clock import BootClock
from leaderd.doctor.findings import Patient, Report, unreachable
from leaderd.doctor.second_look import Head, Look, examine_queues, pause_s, unmoved
from leaderd.election.history import TermRecord, history_bytes
from leaderd.election.timing import Timing
from leaderd.stores.address import Credentials, Tls, parse_address
from leaderd.stores.local.host import read_host
from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster
from testbed.curator import CuratorSelector
from testbed.fetch import installed
from tests.doctor.running import checks
from tests.system.daemons import START_S, DaemonProcess, boot_s, wait_until

FIRST = Head("app/jobs/", "pod-a", "key app/jobs/7f", 17, 12, "`revoke 7f`", "lease 7f", until_s=110.0, mistaken="`elect`")
FLAGS = 0x2DDCCBC058A50C18
WELL = ("--accept", "store-version")

pytestmark = pytest.mark.timeout(180)


# ---- what two looks mean


def test_the_same_entry_twice_first_and_unclaimed_is_a_finding():
    (found,) = unmoved(FIRST, FIRST, 5.04)
    assert (found.check, found.where, found.note) == ("queue-unmoved", "app/jobs/", False)
    assert "'pod-a' (key app/jobs/7f, token 17) has been first for 5.0 s at least" in found.what
    assert "the highest token claimed is 12" in found.what
    assert "`elect`" in found.why
    assert "lease 7f" in found.remedy
    assert "`revoke 7f`" in found.remedy
    assert "--accept queue-unmoved" in found.remedy


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (replace(FIRST, mark=17), replace(FIRST, mark=17)),  # it leads
        (replace(FIRST, mark=19), replace(FIRST, mark=19)),  # it leads, and the next in line is ready to follow
        (replace(FIRST, mark=17, begun=17), replace(FIRST, mark=17, begun=17)),
        (FIRST, replace(FIRST, mark=17)),  # it was about to
        (replace(FIRST, mark=17, begun=12), replace(FIRST, mark=17, begun=17)),
        (FIRST, replace(FIRST, token=18)),  # another one is first, of the same name and place
        (FIRST, replace(FIRST, token=18, mark=18)),
        (FIRST, None),  # it has left
    ],
)
def test_a_queue_that_moves_is_none(first, second):
    assert unmoved(first, second, 5.0) == []


@pytest.mark.parametrize("mark", [17, 19])
def test_who_was_ready_and_has_not_begun_is_a_finding_whatever_was_marked_beforehand(mark):
    ready = replace(FIRST, mark=mark, begun=12)
    (found,) = unmoved(ready, ready, 5.0)
    assert "was ready to lead, but has not begun: the last term on record is that of token 12" in found.what


def test_whether_the_lease_was_renewed_is_said_where_it_is_known():
    def said(until_s):
        return unmoved(FIRST, replace(FIRST, until_s=until_s), 5.0)[0].what.rpartition("; ")[2]

    assert said(114.0) == "its lease was renewed meanwhile"
    assert said(109.1) == said(110.9) == "no renewal of its lease was seen"
    assert "lease" not in unmoved(replace(FIRST, until_s=None), FIRST, 5.0)[0].what


def test_another_tools_is_a_note():
    (found,) = unmoved(replace(FIRST, other="its value is empty"), FIRST, 5.0)
    assert found.note
    assert "it is another tool's: its value is empty" in found.what


def test_only_where_no_other_tool_writes_the_same_is_there_no_doubt():
    (found,) = unmoved(replace(FIRST, mistaken=""), FIRST, 5.0)
    assert "--accept" not in found.remedy


def test_the_pause_is_bounded():
    assert [pause_s(ttl_s) for ttl_s in (1.0, 8.0, 10.0, 3600.0)] == [2.0, 4.0, 5.0, 5.0]


def patient(*elections: str) -> Patient:
    clock = BootClock(1.0)
    address = parse_address("etcd://127.0.0.1:1/app")
    return Patient(address, Tls(), Credentials(), Timing(ttl_s=0.02), elections, clock.now_s, clock.wall_s)


def looks_of(answers: dict[str, list[Look]]) -> tuple[list[str], Report]:
    asked: list[str] = []

    async def look(election: str) -> Look:
        asked.append(election)
        return answers[election][asked.count(election) - 1]

    report = Report()
    asyncio.run(examine_queues(patient(*answers), report, look))
    return asked, report


def test_who_leads_and_who_does_not_stand_is_asked_once():
    leads, gone = Look([], replace(FIRST, mark=17)), unreachable("x", "gone")
    asked, report = looks_of({"led": [leads], "empty": [Look([])], "broken": [Look([gone])]})
    assert asked == ["led", "empty", "broken"]
    assert report.findings == [gone]


def test_all_who_wait_are_asked_again_together():
    other = replace(FIRST, where="app/more/", token=5, mark=1)
    asked, report = looks_of(
        {
            "jobs": [Look([], FIRST), Look([], FIRST)],
            "led": [Look([], replace(FIRST, mark=17))],
            "more": [Look([], other), Look([], other)],
            "moves": [Look([], FIRST), Look([], None)],
        }
    )
    assert asked == ["jobs", "led", "more", "moves", "jobs", "more", "moves"]
    assert [each.where for each in report.findings] == ["app/jobs/", "app/more/"]


def test_a_store_that_went_away_meanwhile_is_said():
    _, report = looks_of({"jobs": [Look([], FIRST), Look([unreachable("x", "gone")])]})
    assert [each.check for each in report.findings] == ["endpoint"]


# ---- on real stores


def only(body):
    (found,) = [each for each in body["findings"] + body["notes"] if each["check"] == "queue-unmoved"]
    return found


@contextmanager
def running(*command: str) -> Iterator[None]:
    env = {"ETCDCTL_API": "3", "PATH": os.environ["PATH"]}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=env, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the command's own child as well
        process.wait()


def test_local(tmp_path: Path):
    url, database = f"local://{tmp_path}/store", tmp_path / "store/leaderd.db"
    plan = [sys.executable, "-m", "leaderd", "plan", "--election", "jobs", "--store", url]
    assert subprocess.run(plan, timeout=50, stdout=subprocess.DEVNULL).returncode == 0
    host, db = read_host(), sqlite3.connect(database, isolation_level=None)
    session = ("s-1", "pod-z", "i-1", host.boot, host.time_ns, 60.0, boot_s() + 60.0)
    db.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?)", session)
    db.execute("INSERT INTO entry (election, session) VALUES ('jobs', 's-1')")
    found, body = checks(url)
    assert found == ["queue-unmoved"]
    assert "'pod-z' (session s-1, token 1)" in only(body)["what"]
    assert "no renewal" in only(body)["what"]
    assert "--accept" not in only(body)["remedy"]
    db.execute("INSERT INTO mark VALUES ('jobs', 1)")
    assert checks(url)[0] == []
    db.execute("UPDATE mark SET token = 0")
    # As it says:
    (statement,) = [part for part in only(body)["remedy"].split('"') if part.startswith("DELETE")]
    db.execute(statement)
    assert checks(url)[0] == []
    db.close()


@pytest.mark.servers
def test_etcd():
    testbed.require("etcd")
    with EtcdCluster(1) as etcd:
        program = installed("etcd", etcd.version).programs["etcdctl"]
        control = (program, f"--endpoints={etcd.endpoints[0]}")
        lease = etcd.lease_grant(8)
        with running(*control, "lease", "keep-alive", f"{lease:x}"):
            token = etcd.put(f"app/jobs/{lease:x}", "pod-z", lease)
            found, body = checks(etcd.url("app"), *WELL)
            assert found == ["queue-unmoved"]
            assert f"'pod-z' (key app/jobs/{lease:x}, token {token})" in only(body)["what"]
            assert "its lease was renewed meanwhile" in only(body)["what"]
            assert "etcdctl elect" in only(body)["why"]
            assert f"`etcdctl lease revoke {lease:x}`" in only(body)["remedy"]
            assert checks(etcd.url("app"), *WELL, "--accept", "queue-unmoved")[0] == []
            etcd.put("app/.leaderd/jobs/mark", f"{token:020d}")
            found, body = checks(etcd.url("app"), *WELL)
            assert "queue-unmoved" not in [each["check"] for each in body["findings"] + body["notes"]]
        etcd.lease_revoke(lease)
        with running(*control, "lock", "app/jobs", "sleep", "60"):
            wait_until(lambda: etcd.get("app/jobs/", prefix=True), 10.0, "the lock is held")
            found, body = checks(etcd.url("app"), *WELL)
            assert found == []
            assert "`etcdctl lock`" in only(body)["what"]


@pytest.mark.servers
def test_one_that_was_next_in_line_when_it_died_and_whose_lease_is_kept(tmp_path: Path):
    testbed.require("etcd")
    with ExitStack() as stack:
        etcd = stack.enter_context(EtcdCluster(1))
        daemons = [DaemonProcess(f"pod-{name}", etcd.url("app"), tmp_path, ttl="10s") for name in "ab"]
        for daemon in daemons:
            stack.callback(daemon.end)
        leader, dead = daemons
        leader.start()
        wait_until(leader.leads, START_S, "one leads")
        dead.start()
        queue = wait_until(lambda: (found := etcd.get("app/jobs/", prefix=True))[1:] and found, START_S, "the other is in line")
        first, entry = queue[0].create_revision, queue[1]
        mark = f"{entry.create_revision:020d} ready"
        wait_until(lambda: etcd.get("app/.leaderd/jobs/mark")[0].value == mark, 10.0, "it is ready")
        wait_until(lambda: etcd.get("app/.leaderd/.records/jobs/history"), 10.0, "the term is on record")
        program = installed("etcd", etcd.version).programs["etcdctl"]
        stack.enter_context(running(program, f"--endpoints={etcd.endpoints[0]}", "lease", "keep-alive", f"{entry.lease:x}"))
        dead.kill()
        leader.send(signal.SIGTERM)
        assert leader.wait(20.0) == 0
        found, body = checks(etcd.url("app"), *WELL)
        assert found == ["queue-unmoved"]
        assert f"'pod-b' (key {entry.key}, token {entry.create_revision})" in only(body)["what"]
        assert f"has not begun: the last term on record is that of token {first}" in only(body)["what"]
        assert "its lease was renewed meanwhile" in only(body)["what"]


@pytest.mark.servers
def test_consul():
    testbed.require("consul")
    with ConsulCluster(1) as consul:
        asked = {"Name": "leaderd pod-z", "TTL": "15s", "LockDelay": "0s", "Checks": []}
        made = consul.api("PUT", "/v1/session/create", asked)["ID"]
        assert consul.api("PUT", f"/v1/kv/app/jobs/.lock?acquire={made}&flags={FLAGS}", "pod-z") is True
        lock = consul.kv_get("app/jobs/.lock")
        assert lock is not None
        found, body = checks(consul.url("app"))
        assert found == ["queue-unmoved"]
        assert f"session {made}" in only(body)["what"]
        assert f"token {lock['ModifyIndex']}" in only(body)["what"]
        assert "--accept" not in only(body)["remedy"]
        consul.session_destroy(made)
        consul.kv_delete("app/jobs/.lock")
        program = installed("consul").programs["consul"]
        with running(program, "lock", f"-http-addr=http://{consul.endpoints[0]}", "-shell=false", "app/jobs", "sleep", "60"):
            wait_until(lambda: (consul.kv_get("app/jobs/.lock") or {}).get("Session"), 10.0, "the lock is held")
            found, body = checks(consul.url("app"))
            assert found == ["serf-health"]
            assert "not 'leaderd ...'" in only(body)["what"]
            assert only(body) in body["notes"]


@pytest.mark.servers
def test_zookeeper():
    testbed.require("zookeeper")
    from kazoo.client import KazooClient

    with ZooKeeperCluster(1) as servers:
        client = KazooClient(hosts=servers.endpoints[0])
        client.start()
        try:
            client.ensure_path("/app/jobs")
            ours = client.create(f"/app/jobs/_c_{uuid.uuid4()}-lock-", b"pod-z", ephemeral=True, sequence=True)
            found, body = checks(servers.url("app"))
            assert found == ["queue-unmoved"]
            assert f"token {client.exists(ours).czxid}" in only(body)["what"]
            assert "'pod-z'" in only(body)["what"]
            assert f"{client.client_id[0]:#x}" in only(body)["remedy"]
            token = client.exists(ours).czxid
            client.create("/app/.leaderd/jobs/mark", b"%020d" % token, makepath=True)
            history = "/app/.leaderd/.records/jobs.history"
            client.create(history, history_bytes([TermRecord(token - 1, "pod-y", 1.0, 2.0, "resigned")]), makepath=True)
            found, body = checks(servers.url("app"))
            assert found == ["queue-unmoved"]
            assert f"has not begun: the last term on record is that of token {token - 1}" in only(body)["what"]
            client.set(history, history_bytes([TermRecord(token, "pod-z", 3.0)]))
            found, body = checks(servers.url("app"))
            assert "queue-unmoved" not in [each["check"] for each in body["findings"] + body["notes"]]
            client.delete(ours)
            theirs = client.create(f"/app/jobs/{uuid.uuid4().hex}lock-", b"kazoo's", ephemeral=True, sequence=True)
            found, body = checks(servers.url("app"))
            assert found == []
            assert "leaderd names its nodes otherwise" in only(body)["what"]
            client.delete(theirs)
        finally:
            client.stop()
            client.close()


@pytest.mark.servers
def test_curator_cannot_be_told_from_us_and_that_is_said():
    testbed.require("zookeeper", "3.8")
    testbed.require("curator")
    with (
        ZooKeeperCluster(1, version="3.8") as servers,
        CuratorSelector(servers.endpoints[0], "/app/jobs", "the-peer") as peer,
    ):
        peer.wait_event("acquired", 30.0)
        found, body = checks(servers.url("app"))
        assert found == ["queue-unmoved"]
        assert "'the-peer'" in only(body)["what"]
        assert "Apache Curator" in only(body)["why"]
        assert checks(servers.url("app"), "--accept", "queue-unmoved")[0] == []
