"""A cluster of the user's own: refused without leave, judged like any other, and rolled back whatever happens."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import testbed
from chaos import cli
from chaos.history import lines
from chaos.substrates import attach
from testbed.process import wait_until
from tests.system.daemons import DaemonProcess

SCENARIO = """
title: The leading daemon is frozen
why: It says yes from a flag when it wakes up.
method:
  - {step: inject, name: freeze, fault: {fault: freeze, at: leader}}
  - {step: await-leader, other: true}
  - {step: heal}
  - {step: hold, time: 500ms}
expect: {moves: 1}
"""
LONG = SCENARIO.replace("{step: await-leader, other: true}", "{step: hold, time: 60s}")


def targets(folder, commands, sockets=("a", "b"), **more):
    """Two instances on two hosts. `commands`: by instance, what freezes and what thaws it."""
    instances = [
        {"name": name, "host": f"host-{name}", "socket": str(socket), "actions": {"freeze": {"do": do, "undo": undo}}}
        for name, socket, (do, undo) in zip("ab", sockets, commands, strict=True)
    ]
    path = folder / "targets.yaml"
    path.write_text(yaml.safe_dump({"election": "jobs", "store": "etcd", "ttl": "3s", "instances": instances, **more}))
    return path


def node(name, leads=None, **kinds):
    """A store node, with what may be done to it."""
    actions = {kind: {"do": ["true"], "undo": ["true"], "verify": ["true"]} for kind in kinds}
    return {"name": name, "host": f"host-{name}", "actions": actions, **({"leads": leads} if leads else {})}


def allow(*hosts):
    return [word for host in hosts for word in ("--allow", host)]


@pytest.mark.parametrize("allowed", [(), ("host-a",), ("host-a", "host-c")])
def test_it_is_refused_unless_every_host_is_named(tmp_path, capsys, allowed):
    touch = ["touch", str(tmp_path / "touched")]
    path = targets(tmp_path, [(touch, touch)] * 2)
    assert cli.main(["attach", str(path), "freeze-leader", "--out", str(tmp_path / "out"), *allow(*allowed)]) == 254
    assert "--allow host-b" in capsys.readouterr().err
    assert not (tmp_path / "touched").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("store-majority-lost", {}, "no `nodes`"),
        ("partition-leader", {}, "the action `cut` of a, b"),
        ("asymmetric-in", {}, "attached cluster"),
        ("freeze-leader", {"ttl": "soon"}, "ttl"),
        ("freeze-leader", {"colour": "red"}, "colour"),
        ("freeze-leader", {"instances": []}, "instances"),
        ("store-node-from-quorum", {}, "no `nodes`"),
        ("store-node-from-quorum", {"nodes": [node("s1", cut=True)]}, "give each instance its `node`"),
        ("kill-store-leader", {"nodes": [node("s1", kill=True)]}, "give each node `leads`"),
        ("kill-store-leader", {"nodes": [node("s1", leads=["true"])]}, "the action `kill` of s1"),
        ("freeze-leader", {"nodes": [node("s1", kill=True), node("s1")]}, "have one name"),
        ("freeze-leader", {"nodes": [{**node("s1"), "actions": {"kill": {"do": ["x"], "undo": ["x"]}}}]}, "give it `verify`"),
    ],
)
def test_what_cannot_be_done_there_is_refused(tmp_path, capsys, name, more, told):
    path = targets(tmp_path, [(["true"], ["true"])] * 2, **more)
    assert cli.main(["attach", str(path), name, *allow("host-a", "host-b")]) == 254
    assert told in capsys.readouterr().err


def test_a_dry_run_tells_what_would_be_run_where(tmp_path, capsys):
    path = targets(tmp_path, [(["touch", str(tmp_path / name)], ["rm", "a b"]) for name in "ab"])
    assert cli.main(["attach", str(path), "freeze-leader", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert f"host-b: b: freeze: touch {tmp_path}/b" in told
    assert "undone by: rm 'a b'" in told
    assert not (tmp_path / "a").exists()


def test_one_undoing_that_fails_keeps_none_of_the_others(tmp_path):
    rollback = attach.Rollback(tmp_path)
    rollback.begin("first", ["touch", str(tmp_path / "one")])
    rollback.begin("second", ["sh", "-c", f"echo x >> {tmp_path}/tries; exit 3"])
    rollback.begin("third", ["touch", str(tmp_path / "three")])
    with pytest.raises(attach.RollbackError, match=r"second: sh ended with 3.*by hand: sh -c 'echo x"):
        rollback.undo()
    assert (tmp_path / "one").exists()
    assert (tmp_path / "three").exists()
    assert (tmp_path / "tries").read_text() == "x\n" * 3
    again = attach.Rollback(tmp_path)
    assert [name for _, name, _ in again.pending()] == ["second"]


def test_a_line_cut_off_by_a_crash_is_passed_over(tmp_path):
    rollback = attach.Rollback(tmp_path)
    rollback.begin("first", ["true"])
    with (tmp_path / attach.FILE).open("a") as file:
        file.write('{"number": 1, "name": "sec')
    assert [name for _, name, _ in rollback.pending()] == ["first"]
    rollback.begin("third", ["true"])
    assert [name for _, name, _ in rollback.pending()] == ["third", "first"]
    assert rollback.undo() == ["third", "first"]
    assert rollback.pending() == []


def test_a_command_that_is_not_there_is_an_error_of_one_line(tmp_path):
    assert attach.run(["/no/such/program"]) == "/no/such/program: No such file or directory"


def test_the_hosts_of_the_nodes_are_asked_for_where_they_are_aimed_at(tmp_path, capsys):
    nodes = [node("s1", leads=["true"], kill=True, freeze=True)]
    path = targets(tmp_path, [(["true"], ["true"])] * 2, nodes=nodes)
    line = ["attach", str(path), "kill-store-leader", "--out", str(tmp_path / "out"), *allow("host-a", "host-b")]
    assert cli.main(line) == 254
    assert "--allow host-s1" in capsys.readouterr().err
    assert cli.main(["attach", str(path), "kill-store-leader", "--dry-run"]) == 0
    assert "host-s1: s1: kill: true" in capsys.readouterr().out


def test_roles_of_nodes():
    def found(role, leader, *nodes):
        facts = {"election": "e", "store": "etcd", "ttl": "3s"}
        both = [attach.Instance(name, "h", "s", {}, node=at) for name, at in (("a", "s2"), ("b", "s1"))]
        return [each.name for each in attach.nodes_of(attach.Targets(**facts, instances=both, nodes=nodes), role, both[leader])]

    nodes = [attach.Node(name, "h", {}, leads=[word]) for name, word in (("s1", "false"), ("s2", "false"), ("s3", "true"))]
    assert found("leader-node", 0, *nodes) == ["s2"]
    assert found("store-leader", 0, *nodes) == ["s3"]
    assert found("store-followers", 0, *nodes) == ["s1", "s2"]
    assert found("minority", 0, *nodes) == ["s1"]
    assert found("majority", 0, *nodes) == ["s2", "s3"]
    with pytest.raises(LookupError, match="leader"):
        found("store-leader", 0, *nodes[:2])


def test_only_the_workload_is_ours_to_change(tmp_path, capsys):
    path = targets(tmp_path, [(["true"], ["true"])] * 2)
    assert cli.main(["attach", str(path), "freeze-leader", "--var", "ttl=5s", "--dry-run"]) == 254
    assert "--var changes the workload only" in capsys.readouterr().err
    assert cli.main(["attach", str(path), "freeze-leader", "--var", "promise=1s", "--dry-run"]) == 0


# ---- real daemons


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Two daemons in the place of somebody's staging cluster, and the file that tells of them."""
    testbed.require("etcd")
    folder = tmp_path_factory.mktemp("staging")
    with testbed.EtcdCluster(nodes=1) as cluster, contextlib.ExitStack() as stack:
        daemons = [DaemonProcess(name, cluster.url("staging"), folder, ttl="3s") for name in "ab"]
        for daemon in daemons:
            daemon.start()
            stack.callback(daemon.end)
        pids = [daemon.pid for daemon in daemons]
        commands = [(["kill", "-STOP", str(pid)], ["kill", "-CONT", str(pid)]) for pid in pids]
        yield targets(folder, commands, [daemon.socket for daemon in daemons]), pids


def stands_still(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def attached(fleet, folder, text):
    path, _ = fleet
    (folder / "s.yaml").write_text(text)
    command = [sys.executable, "-m", "chaos", "attach", str(path), str(folder / "s.yaml"), "--out", str(folder / "out")]
    return [*command, *allow("host-a", "host-b")]


@pytest.mark.servers
@pytest.mark.timeout(90)
def test_a_scenario_on_somebodys_cluster(fleet, tmp_path):
    done = subprocess.run(attached(fleet, tmp_path, SCENARIO), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS     no-needless-move" in done.stdout
    for name in ("index.html", "junit.xml", "results.json"):
        assert (tmp_path / "out" / name).exists(), name
    assert not any(stands_still(pid) for pid in fleet[1])


@pytest.mark.servers
@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_run_it_is_rolled_back(fleet, tmp_path, number, capsys):
    with subprocess.Popen(
        attached(fleet, tmp_path, LONG), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as running:
        assert running.stdout is not None
        assert any("verified" in line for line in running.stdout), "the fault is in force"
        assert sum(map(stands_still, fleet[1])) == 1
        os.killpg(running.pid, number)
        rest = running.stdout.read()
        code = running.wait(30)
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    if number == signal.SIGKILL:
        assert sum(map(stands_still, fleet[1])) == 1, "nobody was left to undo it"
        assert cli.main(["rollback", str(folder)]) == 0
        assert "rolled back: freeze of" in capsys.readouterr().out
    else:
        assert code == 255, rest
        assert "rolled back: freeze of" in rest
        assert "Traceback" not in rest
        assert [line["kind"] for line in lines(folder)][-1] == "broken-off"
    wait_until(lambda: not any(map(stands_still, fleet[1])), 5.0, "both daemons run")
    assert cli.main(["rollback", str(folder)]) == 0
    assert "nothing" in capsys.readouterr().out


LEADS = """
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1] + "/v3/maintenance/status", data=b"{}")
status = json.load(urllib.request.urlopen(request, timeout=2))
sys.exit(status["leader"] != status["header"]["member_id"])
"""
STORE_LEADER = """
title: The store's leader stands still
why: It is one of three.
method:
  - {step: inject, name: freeze, fault: {fault: freeze, at: store-leader, what: node}}
  - {step: hold, time: 1s}
expect: {recovers_within: 60s}
"""


@pytest.mark.servers
@pytest.mark.timeout(120)
def test_the_store_of_somebodys_cluster_can_be_aimed_at(tmp_path, capsys):
    testbed.require("etcd")
    with testbed.EtcdCluster(nodes=3) as cluster, contextlib.ExitStack() as stack:
        daemons = [DaemonProcess(name, cluster.url("staging"), tmp_path, ttl="3s") for name in "ab"]
        for daemon in daemons:
            daemon.start()
            stack.callback(daemon.end)
        pids = {f"s{number}": pid for number, pid in enumerate(cluster.pids, 1)}
        nodes = []
        for number, (name, pid) in enumerate(pids.items()):
            verify = ["grep", "-q", "^State:.T", f"/proc/{pid}/status"]
            action = {"do": ["kill", "-STOP", str(pid)], "undo": ["kill", "-CONT", str(pid)], "verify": verify}
            leads = [sys.executable, "-c", LEADS, f"http://{cluster.endpoints[number]}"]
            nodes.append({"name": name, "host": f"host-{name}", "leads": leads, "actions": {"freeze": action}})
        path = targets(tmp_path, [(["true"], ["true"])] * 2, [daemon.socket for daemon in daemons], nodes=nodes)
        (tmp_path / "s.yaml").write_text(STORE_LEADER)
        led = f"s{cluster.leader_index() + 1}"
        line = ["attach", str(path), str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--seed", "3", "--var", "poll=20ms"]
        assert cli.main([*line, *allow("host-a", "host-b", "host-s1", "host-s2", "host-s3")]) == 0, capsys.readouterr().out
        told = capsys.readouterr().out
        assert f"freeze: store node {led}; verified: its own command says so" in told
        assert f"rolled back: freeze of {led}" in told or f"healed: freeze: store node {led}" in told
        assert not any(stands_still(pid) for pid in pids.values())
    document = (tmp_path / "out" / "index.html").read_text()
    assert "by attach seed 3 poll=20ms" in document
