"""How daemons end: what nobody asked for, and what came otherwise than it was asked for."""

import signal
from types import SimpleNamespace

import pytest

from chaos.checkers import End, crashes
from chaos.history import Recorder, lines
from chaos.judge import FAIL, PASS
from chaos.pods import Pod
from chaos.program import Program
from testbed.process import wait_until
from tests.chaos.test_judge import GOOD, S, judged, of


@pytest.mark.parametrize(
    ("code", "asked", "complaint"),
    [
        (70, (), "an error of its own"),
        (70, ("SIGTERM",), "an error of its own"),
        (78, ("SIGTERM",), "a configuration that it refuses"),
        (0, (), "nobody had asked it to"),
        (1, (), "nobody had asked it to"),
        (-9, (), "nobody had asked it to"),
        (-11, ("SIGTERM",), "signal 11 after SIGTERM"),
        (-9, ("SIGTERM",), "signal 9 after SIGTERM"),  # it did not go by itself
        (-15, ("SIGTERM",), "signal 15 after SIGTERM"),  # with its handler in place
        (143, ("SIGTERM",), "with 143 after SIGTERM"),
        (0, ("SIGKILL",), "with 0 after SIGKILL"),
        (1, ("SIGTERM", "SIGKILL"), "with 1 after SIGTERM and SIGKILL"),
    ],
)
def test_a_crash_is_found(code, asked, complaint):
    (finding,) = crashes([End("c1", "100", 5.0, code, asked)], {"c1#100"})
    assert complaint in finding.text
    assert finding.text.startswith("c1 (life 100)")


@pytest.mark.parametrize(
    ("code", "asked", "spoke"),
    [
        (0, ("SIGTERM",), {"c1#100"}),
        (0, ("SIGTERM", "SIGTERM"), {"c1#100"}),
        (-9, ("SIGKILL",), {"c1#100"}),
        (-9, ("SIGTERM", "SIGKILL"), {"c1#100"}),
        (-15, ("SIGTERM",), {"c1#99"}),  # before there was a handler
    ],
)
def test_an_orderly_end_is_none(code, asked, spoke):
    assert crashes([End("c1", "100", 5.0, code, asked)], spoke) == []


def ended(code, asked, life="100"):
    return {"kind": "exit", "at_ns": 7 * S, "pod": "c1", "life": life, "code": code, "asked": asked}


@pytest.mark.parametrize(("line", "verdict"), [(ended(0, ["SIGTERM"]), PASS), (ended(0, []), FAIL), (ended(70, []), FAIL)])
def test_the_judge_looks_at_them(tmp_path, line, verdict):
    lines = [of("100", each) if each["kind"] == "poll" else each for each in GOOD[:-1]]
    checks, worst = judged(tmp_path, [*lines, line, GOOD[-1]])
    assert checks["never-crashes"].verdict == verdict
    assert worst == verdict


def test_who_never_spoke_may_have_met_the_signal_too_early(tmp_path):
    early = [*GOOD[:-1], ended(-15, ["SIGTERM"], "101"), GOOD[-1]]
    assert judged(tmp_path, early)[0]["never-crashes"].verdict == PASS
    spoke = [*GOOD[:-1], of("101", {**GOOD[5], "at_ns": 7 * S, "got_ns": 7 * S}), ended(-15, ["SIGTERM"], "101"), GOOD[-1]]
    assert judged(tmp_path, spoke)[0]["never-crashes"].verdict == FAIL


def test_a_history_without_ends_is_judged_without_them(tmp_path):
    assert "never-crashes" not in judged(tmp_path, GOOD)[0]


@pytest.fixture
def pod_of(tmp_path):
    """As much of a pod as starts and ends its daemon, which is a program of ours."""
    made = []

    def make(*command):
        pod = object.__new__(Pod)
        pod.name, pod.plan, pod.recorder = "c1", SimpleNamespace(peer=""), Recorder(tmp_path)
        pod.daemon, pod._life, pod._asked = Program(command, tmp_path / "log"), None, []
        made.append(pod)
        pod.launch()
        return pod

    yield make
    for pod in made:
        pod.daemon.kill()
        pod.recorder.close()


def exits(folder):
    return [(line["code"], line["asked"]) for line in lines(folder) if line["kind"] == "exit"]


def test_an_end_that_nobody_asked_for_is_written_down_at_the_next_start(pod_of, tmp_path):
    pod = pod_of("sh", "-c", "exit 70")
    wait_until(lambda: not pod.daemon.running, 5.0, "it has ended")
    pod.launch()
    assert exits(tmp_path) == [(70, [])]


def test_what_it_was_sent_is_written_down_with_its_end_once(pod_of, tmp_path):
    pod = pod_of("sleep", "60")
    pod.note_exit()
    assert exits(tmp_path) == [], "it runs"
    pod.signal(signal.SIGTERM)
    wait_until(lambda: not pod.daemon.running, 5.0, "it has ended")
    pod.note_exit()
    pod.note_exit()
    assert exits(tmp_path) == [(-15, ["SIGTERM"])]
    pod.launch()
    pod.kill()
    assert exits(tmp_path) == [(-15, ["SIGTERM"]), (-9, ["SIGKILL"])]
    started = [line["life"] for line in lines(tmp_path) if line.get("what") == "started"]
    assert [line["life"] for line in lines(tmp_path) if line["kind"] == "exit"] == started


def test_who_had_ended_before_it_was_killed_was_not_asked(pod_of, tmp_path):
    pod = pod_of("sh", "-c", "exit 1")
    wait_until(lambda: not pod.daemon.running, 5.0, "it has ended")
    pod.kill()
    assert exits(tmp_path) == [(1, [])]
