"""The judge of the tools of today: it can only see yeses, and has to reject two leaders and a fleet that nobody takes over."""

import json

import pytest

from chaos import judge
from chaos.history import FILE
from chaos.scenario import Hold, Scenario
from tests.chaos.test_judge import S, run_line
from tests.chaos.test_subjects import peer_run, poll

ANY = Scenario(title="t", why="w", method=(Hold(time="1s"),))


def judged(tmp_path, lines):
    every = [run_line(subject="etcdctl-lock"), *lines]
    (tmp_path / FILE).write_text("".join(json.dumps(line) + "\n" for line in every))
    checks = {check.name: check for check in judge.judge(judge.read(tmp_path), ANY)}
    return checks, judge.worst(check.verdict for check in checks.values())


def no(instance, at_s):
    return {**poll(instance, 0, at_s), "leader": False}


def test_one_after_the_other_passes(tmp_path):
    checks, verdict = judged(tmp_path, peer_run(4.0))
    assert verdict == judge.PASS
    assert checks["no-overlap"].text == "two leaders for 0 ms"
    assert checks["failover-within"].text == "somebody else led 1.0 s after the fault"


@pytest.mark.parametrize(
    ("lines", "name", "verdict"),
    [
        (peer_run(6.0), "no-overlap", judge.FAIL),
        (peer_run(5.1), "no-overlap", judge.FAIL),  # for a tenth of a second
        ([line for line in peer_run(4.0) if line.get("instance") != "c2"], "failover-within", judge.FAIL),
        ([*peer_run(4.0), {"kind": "missed", "at_ns": 8 * S, "text": "in vain"}], "failover-within", judge.FAIL),
        ([line for line in peer_run(4.0) if line["kind"] != "bites"], "faults-bite", judge.UNKNOWN),
        ([line for line in peer_run(4.0) if line["kind"] != "end"], "faults-bite", judge.UNKNOWN),
        ([line for line in peer_run(4.0) if line["kind"] != "poll"], "faults-bite", judge.UNKNOWN),
    ],
)
def test_what_is_wrong_is_found(tmp_path, lines, name, verdict):
    checks, worst = judged(tmp_path, lines)
    assert checks[name].verdict == verdict, checks
    assert worst != judge.PASS


@pytest.mark.parametrize(
    ("between", "both"), [(no("c1", 5.5), "0 ms"), (poll("c1", 8, 5.5), "0 ms"), (poll("c1", 7, 5.5), "1000 ms")]
)
def test_it_has_led_between_two_yeses_of_one_term_and_nothing_is_known_of_the_rest(tmp_path, between, both):
    polls = [poll("c1", 7, 5.0), between, poll("c1", 7, 6.0)]
    lines = sorted([*peer_run(4.0), *polls], key=lambda line: line["at_ns"])
    assert judged(tmp_path, lines)[0]["no-overlap"].text == f"two leaders for {both}"
