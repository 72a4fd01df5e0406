"""The tools of today as subjects, each for real, and the table that is made of their runs."""

import http.client
import json
import os
import signal

import pytest

import testbed
from chaos import compare, judge
from chaos.history import FILE
from chaos.probe import _Unix
from chaos.runs import BROKEN, Job
from chaos.subjects import PEERS
from chaos.subjects.curator_selector import Terms
from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster
from testbed.process import Process, wait_until
from tests.chaos.test_judge import GOOD, S, run_line, yes

STORES = {"etcd": EtcdCluster, "zookeeper": ZooKeeperCluster, "consul": ConsulCluster}


def says(path):
    """What a subject answers: its token, or None for everything but a yes."""
    connection = _Unix(path)
    try:
        connection.request("GET", "/is-leader/jobs")
        reply = connection.getresponse()
        answer = json.loads(reply.read())
        return answer["token"] if reply.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@pytest.mark.servers
@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_leads_and_hands_over_when_it_is_told_to_end(name, tmp_path):
    peer = PEERS[name]
    for each in filter(None, (peer.store, peer.needs)):
        testbed.require(each)
    with STORES[peer.store](nodes=1) as cluster:
        sockets = {number: tmp_path / number / "s" for number in ("a", "b")}
        pods = {}
        try:
            for number, path in sockets.items():
                path.parent.mkdir()
                pods[number] = Process(peer.command(cluster.endpoints, "jobs", str(path)), tmp_path / f"{number}.log")
                pods[number].start()
                if number == "a":
                    first = wait_until(lambda: says(sockets["a"]), 20.0, "the first one leads")
            # consul lock must have queued before the hand-over, or it would only find the lock free.
            assert says(sockets["b"]) is None
            os.killpg(pods["a"].pid, signal.SIGTERM)
            second = wait_until(lambda: says(sockets["b"]), 2.5, "the other one leads, sooner than a session of 3 s ends by itself")
            assert second != first
            if peer.fence:
                assert second > first, "the store's revision"
            wait_until(lambda: not pods["a"].running, 10.0, "who was told to end has ended")
        finally:
            for pod in pods.values():
                pod.stop()


def test_what_the_jvm_tells():
    terms = Terms()
    for event, leading in (("started", False), ("acquired", True), ("state", True), ("lost", False), ("acquired", True)):
        terms.take(json.dumps({"ns": 1, "event": event}))
        assert terms.leading is leading
    assert terms.number == os.getpid() * 1000 + 2


def poll(instance, token, at_s):
    at_ns = int(at_s * S)
    return {"kind": "poll", "instance": instance, "at_ns": at_ns, "got_ns": at_ns + 1000, "leader": True, "token": token}


def peer_run(until_first_s):
    """c1 leads from 1 s, the fault is at 4 s, c2 leads from 5 s to 8 s."""
    polls = [poll("c1", 7, 1 + n / 10) for n in range(int((until_first_s - 1) * 10) + 1)]
    polls += [poll("c2", 9, 5 + n / 10) for n in range(31)]
    fault = {"kind": "fault", "at_ns": 4 * S, "name": "cut", "text": "c1 cut", "targets": ["c1"]}
    return [*polls, fault, {"kind": "bites", "at_ns": 4 * S, "name": "cut", "seen": "gone"}, {"kind": "end", "at_ns": 9 * S}]


def made(out, folder, job, lines, verdict="FAIL"):
    """The result of a run, as its folder keeps it."""
    (out / folder).mkdir()
    lines = [run_line(scenario=job.scenario, store=job.store, subject=job.subject, seed=job.seed), *lines]
    (out / folder / FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = judge.read(out / folder)
    facts = {"scenario": job.scenario, "store": job.store, "subject": job.subject, "seed": job.seed}
    return {**facts, "verdict": verdict, "figures": {**judge.figures(run), **compare.figures(run)}}


@pytest.mark.parametrize(("until_s", "both"), [(4.0, "0 ms"), (6.0, "1000 ms"), (8.0, "over 3000 ms")])
def test_a_row_says_for_how_long_two_led(tmp_path, until_s, both):
    cut = Job("partition-leader", "etcd", "etcdctl-lock")
    (row,) = compare.rows("partition-leader", [made(tmp_path, "1", cut, peer_run(until_s))])
    assert row.cells() == ("etcdctl-lock", "etcd", "1", both, "1.0 s", "-", "ETCD_LOCK_REV, rises")


def test_the_table_is_of_the_last_runs_and_of_those_that_showed_something(tmp_path):
    cut, ended = (Job(name, "zookeeper", "kazoo-election") for name in ("partition-leader", compare.HAND_OVER))
    done = [
        made(tmp_path, "1", cut, peer_run(8.0)),
        made(tmp_path, "2", cut, peer_run(6.0)),
        made(tmp_path, "3", ended, peer_run(4.0), "PASS"),
        made(tmp_path, "4", Job("partition-leader", "consul", "consul-lock"), peer_run(4.0), BROKEN),
        made(tmp_path, "5", Job("freeze-leader", "consul"), GOOD[1:], "PASS"),
    ]
    found = compare.rows("partition-leader", done)
    assert [row.cells()[3:] for row in found] == [("1000 ms", "1.0 s", "1.0 s", "none"), ("-", "-", "-", "none")]
    text = compare.table(found)
    assert text.splitlines()[0].startswith("| subject | store | runs | two leaders for | fail-over | hand-over |")


def test_of_several_runs_the_table_has_the_medians(tmp_path):
    jobs = [Job("partition-leader", "zookeeper", "kazoo-election", seed=seed) for seed in (1, 2, 3)]
    done = [made(tmp_path, str(job.seed), job, peer_run(until_s)) for job, until_s in zip(jobs, (5.5, 6.0, 7.8), strict=True)]
    (row,) = compare.rows("partition-leader", done)
    assert row.cells()[2:4] == ("3", "1000 ms")


def test_tokens_that_fall_are_seen(tmp_path):
    job = Job("partition-leader", "etcd")
    lines = [*GOOD[1:-1], yes("c1", 4, 6.5, 6.8), GOOD[-1]]
    (row,) = compare.rows("partition-leader", [made(tmp_path, "1", job, lines)])
    assert row.tokens == "token, DOES NOT RISE"


def test_every_subject_makes_both_runs():
    jobs = compare.jobs("partition-leader")
    assert len(jobs) == 2 * (3 + len(PEERS))
    assert [job.scenario for job in compare.jobs("partition-leader", ["consul-lock"])] == ["partition-leader", compare.HAND_OVER]
    assert len(compare.jobs(compare.HAND_OVER, ["consul-lock"])) == 1
    assert [job.seed for job in compare.jobs(compare.HAND_OVER, ["consul-lock"], repeat=3)] == [1, 2, 3]
