"""The judge on histories made by hand: one that is fine, and one for each way in which a run can be wrong or show nothing."""

import json
from pathlib import Path

import pytest

from chaos import judge, scenario
from chaos.history import FILE
from chaos.scenario import Expect, Hold, Scenario

S = 1_000_000_000
QUIET = Scenario(title="t", why="w", method=(Hold(time="1s"),))


def run_line(**more):
    facts = {"scenario": "x", "title": "t", "store": "etcd", "substrate": "netns", "ttl_s": 3.0, "bound_s": 5.0}
    return {"kind": "run", "at_ns": 0, **facts, **more}


def yes(instance, token, at_s, until_s):
    return {
        "kind": "poll",
        "at_ns": int(at_s * S) - 1,
        "got_ns": int(at_s * S),
        "instance": instance,
        "leader": True,
        "token": token,
        "until_ns": int(until_s * S),
    }


def of(life, line):
    """The same, of one life of its instance."""
    return {**line, "life": life}


def write(resource, token, at_s, accepted=True):
    facts = {"resource": resource, "accepted": accepted, "app": "c1", "token": token, "slot": 1}
    return {"kind": "write", "at_ns": int(at_s * S), **facts}


def step(text, at_s):
    return {"kind": "step", "at_ns": int(at_s * S), "text": text}


GOOD = [
    run_line(),
    yes("c1", 5, 1.0, 1.3),
    write("fenced", 5, 1.1),
    {"kind": "fault", "at_ns": 2 * S, "name": "cut", "text": "c1 cut", "targets": ["c1"], "led": "c1"},
    {"kind": "bites", "at_ns": 2 * S, "name": "cut", "seen": "gone"},
    {"kind": "poll", "at_ns": 3 * S, "got_ns": 3 * S, "instance": "c1", "leader": False, "state": "unknown"},
    yes("c2", 9, 5.0, 5.3),
    write("fenced", 9, 5.1),
    step("everything is healed", 6.0),
    yes("c2", 9, 6.1, 6.4),
    {"kind": "end", "at_ns": 8 * S},
]


def judged(tmp_path: Path, lines, expect=None):
    (tmp_path / FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = judge.judge(judge.read(tmp_path), QUIET if expect is None else Scenario(title="t", why="w", method=(), expect=expect))
    return {check.name: check for check in found}, judge.worst(check.verdict for check in found)


def test_a_good_run_passes_and_tells_its_figures(tmp_path):
    checks, verdict = judged(tmp_path, GOOD, Expect(moves=1))
    assert verdict == judge.PASS
    assert "smallest gap between an old promise and a new claim 3700.0 ms" in checks["no-overlap"].text
    assert checks["tokens-increase"].text == "tokens 5, 9"
    assert "3.70 s" in checks["failover-within"].text


def test_a_fail_over_is_timed_from_the_fault_that_caused_it(tmp_path):
    """Something else may have been broken long before, and moved nothing."""
    earlier = {"kind": "fault", "at_ns": int(1.5 * S), "name": "early", "text": "c2 slow", "targets": ["c2"], "led": "c1"}
    (tmp_path / FILE).write_text("".join(json.dumps(line) + "\n" for line in [*GOOD[:3], earlier, *GOOD[3:]]))
    assert judge.figures(judge.read(tmp_path))["failover_s"] == 3.0


def sessions(found, running):
    return {"kind": "sessions", "at_ns": 7 * S, "found": found, "running": running}


HEAL = {"kind": "heal", "at_ns": 6 * S, "name": "cut", "text": "c1 cut"}
LATE = ("failover-within", "FAIL")


def answer(instance, at_s, state, until_s=None):
    if until_s is not None:
        return {**yes(instance, 9, at_s, until_s), "state": state}
    at_ns = int(at_s * S)
    return {"kind": "poll", "at_ns": at_ns, "got_ns": at_ns, "instance": instance, "leader": False, "state": state}


def without(kind, **also):
    return [line for line in GOOD if not (line["kind"] == kind and also.items() <= line.items())]


@pytest.mark.parametrize(
    ("lines", "expect", "name", "verdict"),
    [
        ([*GOOD[:-1], yes("c1", 5, 5.2, 5.5), GOOD[-1]], None, "no-overlap", "FAIL"),  # an old yes in the new term
        ([*GOOD[:-1], yes("c1", 10, 6.2, 6.3), GOOD[-1]], None, "no-overlap", "FAIL"),  # two at once
        ([GOOD[0], yes("c1", 5, 1.0, 5.1), *GOOD[2:]], None, "no-overlap", "FAIL"),  # a promise that reaches into the next term
        ([*GOOD[:-1], yes("c3", 7, 7.0, 7.3), GOOD[-1]], None, "tokens-increase", "FAIL"),
        ([*GOOD[:-1], yes("c3", 9, 7.0, 7.3), GOOD[-1]], None, "tokens-increase", "FAIL"),  # another's token
        ([*GOOD[:-1], yes("c1", 5, 7.6, 7.9), GOOD[-1]], None, "tokens-increase", "FAIL"),  # a dead term, once the next has lapsed
        ([*GOOD[:-1], write("fenced", 5, 7.0), GOOD[-1]], None, "no-stale-write", "FAIL"),
        (GOOD, Expect(moves=0), "no-needless-move", "FAIL"),
        (GOOD, Expect(moves=(2, 3)), "no-needless-move", "FAIL"),
        ([*GOOD[:-1], {"kind": "missed", "at_ns": S, "text": "in vain"}, GOOD[-1]], None, "failover-within", "FAIL"),
        ([*GOOD[:-1], {"kind": "error", "at_ns": 7 * S, "pod": "c1", "text": "unretrieved"}, GOOD[-1]], None, "no-errors", "FAIL"),
        ([line for line in GOOD if line["at_ns"] < 6 * S or line["kind"] != "poll"], None, "recovers", "FAIL"),
        ([*GOOD[:-2], yes("c2", 9, 20.0, 20.3), step("everything is healed", 21.0), GOOD[-1]], Expect(moves=1), *LATE),
        ([*GOOD[:-1], answer("c2", 7.0, "follower", 7.3), GOOD[-1]], None, "answers-honest", "FAIL"),  # yes, and does not lead
        ([*GOOD[:-1], answer("c2", 7.0, "leader", 30.0), GOOD[-1]], None, "answers-honest", "FAIL"),  # promises more than asked
        ([*GOOD[:-1], answer("c1", 7.0, "leader"), GOOD[-1]], None, "answers-honest", "FAIL"),  # leads, and says no
        (without("step"), None, "recovers", "UNKNOWN"),
        (without("bites"), None, "faults-bite", "UNKNOWN"),
        ([run_line(heals_probed=True), *GOOD[1:-1], HEAL, GOOD[-1]], None, "faults-bite", "UNKNOWN"),  # and nobody saw that it went
        (without("end"), None, "faults-bite", "UNKNOWN"),
        ([line for line in GOOD if line["kind"] != "poll"], None, "faults-bite", "UNKNOWN"),
        (GOOD, Expect(stale_unfenced=True), "control", "UNKNOWN"),  # a control without its anomaly has shown nothing
        (GOOD, Expect(overlap=True), "control", "UNKNOWN"),  # and no two leaders where there were meant to be two
        ([*GOOD[:-1], sessions(4, 3), GOOD[-1]], None, "no-orphans", "FAIL"),
        (GOOD, Expect(writes=3), "apps-write", "FAIL"),
    ],
)
def test_what_is_wrong_is_found(tmp_path, lines, expect, name, verdict):
    checks, worst = judged(tmp_path, lines, expect)
    assert checks[name].verdict == verdict, checks
    assert worst != judge.PASS


def lived(*c2):
    """GOOD with lives told apart; then what c2 says at 7 s."""
    lives = {"c1": "100", "c2": "200"}
    lines = [of(lives[line["instance"]], line) if line["kind"] == "poll" else line for line in GOOD[:-1]]
    return [*lines, *c2, GOOD[-1]]


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (of("200", yes("c2", 9, 7.0, 7.3)), "PASS"),
        (of("201", yes("c2", 11, 7.0, 7.3)), "PASS"),  # started again, and a new term
        (of("201", yes("c2", 9, 7.0, 7.3)), "FAIL"),  # started again, and on with the old one
        (yes("c2", 9, 7.0, 7.3), "PASS"),  # of which life cannot be told: of none of them then
    ],
)
def test_a_term_is_of_one_life(tmp_path, line, verdict):
    assert judged(tmp_path, lived(line))[0]["tokens-increase"].verdict == verdict


def test_two_lives_of_one_instance_are_two_leaders(tmp_path):
    assert judged(tmp_path, lived(of("200", yes("c2", 9, 7.0, 7.3)), of("201", yes("c2", 11, 7.2, 7.5))))[1] == judge.FAIL


def test_the_control_with_its_anomaly(tmp_path):
    lines = [*GOOD[:-1], write("unfenced", 9, 5.2), write("unfenced", 5, 7.0), GOOD[-1]]
    assert judged(tmp_path, lines, Expect(stale_unfenced=True))[0]["control"].verdict == judge.PASS


def test_healing_that_was_seen(tmp_path):
    gone = {"kind": "gone", "at_ns": 6 * S, "name": "cut", "seen": "it is over"}
    assert judged(tmp_path, [run_line(heals_probed=True), *GOOD[1:-1], HEAL, gone, GOOD[-1]])[1] == judge.PASS
    assert judged(tmp_path, [*GOOD[:-1], HEAL, GOOD[-1]])[1] == judge.PASS, "a history of before there were such probes"


def test_a_line_cut_off_by_a_crash_is_no_reason_not_to_judge(tmp_path):
    judged(tmp_path, GOOD)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"kind": "po')
    assert judge.read(tmp_path).ended


def test_a_folder_without_a_run(tmp_path):
    (tmp_path / FILE).write_text('{"kind":"end","at_ns":1}\n')
    with pytest.raises(ValueError, match="holds no run"):
        judge.read(tmp_path)


def test_worst():
    assert judge.worst([]) == "PASS"
    assert judge.worst(["PASS", "UNKNOWN"]) == "UNKNOWN"
    assert judge.worst(["UNKNOWN", "FAIL", "PASS"]) == "FAIL"


@pytest.mark.parametrize("name", scenario.names())
def test_every_scenario_of_the_catalogue_can_be_read(name):
    found = scenario.load(name)
    assert len(found.why) > 40
    assert found.method


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title: x", "why"),
        ("{title: x, why: y, method: [{step: hold, time: 3 weeks}]}", "method[0].time"),
        ("{title: x, why: y, method: [{step: inject, fault: {fault: earthquake}}]}", "earthquake"),
        ("{title: x, why: y, method: [{step: inject, fault: {fault: kill, att: leader}}]}", "att"),
        ("{title: x, why: y, method: [], expectations: {}}", "expectations"),
        ("{title: x, why: y, method: [], stores: [redis]}", "redis"),
        ("title: [", "flow"),
    ],
)
def test_a_file_that_is_no_scenario(tmp_path, text, complaint):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(scenario.ScenarioError) as caught:
        scenario.load(str(path))
    assert "mine.yaml" in str(caught.value)
    assert complaint in str(caught.value)


def test_an_unknown_scenario_is_named():
    with pytest.raises(scenario.ScenarioError, match="leaderd-chaos list"):
        scenario.load("nope")


def test_spans():
    assert scenario.seconds("500ms", 3.0, 5.0) == 0.5
    assert scenario.seconds("1.5ttl", 3.0, 5.0) == 4.5
    assert scenario.seconds("2bound", 3.0, 5.0) == 10.0
    with pytest.raises(scenario.ScenarioError):
        scenario.seconds("5", 3.0, 5.0)


def test_the_schema_names_every_fault():
    text = json.dumps(scenario.schema())
    assert all(f'"{fault}"' in text for fault in ("cut", "kill", "kill-node", "freeze", "freeze-app", "terminate", "loss", "reset"))


def test_as_many_moves_as_a_scenario_allows(tmp_path):
    checks, verdict = judged(tmp_path, GOOD, Expect(moves=(1, 2)))
    assert verdict == "PASS"
    assert checks["no-needless-move"].text == "1 new terms, expected 1 to 2"


def test_what_is_taken_away_by_hand_has_to_be_noticed_within_a_second(tmp_path):
    fault = {
        "kind": "fault",
        "at_ns": 5 * S,
        "name": "f",
        "text": "revoked by hand",
        "targets": ["c1"],
        "led": "c1",
        "breaks_promises": True,
    }
    run = [line for line in GOOD[:-1] if line["kind"] != "fault"]
    for until_s, verdict in ((5.9, "PASS"), (6.2, "FAIL")):
        lines = [*run, fault, yes("c2", 9, 5.1, 5.4), yes("c1", 5, 5.2, until_s), GOOD[-1]]
        checks, _ = judged(tmp_path, lines, Expect())
        assert checks["no-overlap"].verdict == verdict


def test_moves_are_counted_once_everybody_is_up(tmp_path):
    before = [GOOD[0], yes("c3", 4, 0.2, 0.4), *GOOD[1:]]
    assert judged(tmp_path, before, Expect(moves=1))[0]["no-needless-move"].verdict == judge.FAIL
    begun = [*before[:2], step("the run begins", 0.5), *before[2:]]
    assert judged(tmp_path, begun, Expect(moves=1))[0]["no-needless-move"].verdict == judge.PASS
    late = [*before[:2], step("the run begins", 0.3), *before[2:]]
    assert judged(tmp_path, late, Expect(moves=1))[0]["no-needless-move"].verdict == judge.FAIL, "it led when the run began"


def test_a_run_that_breaks_off_is_not_blamed_for_what_was_still_to_come(tmp_path):
    """As where a fault does not bite: nobody has moved, and nobody had to."""
    off = [*GOOD[:4], {"kind": "broken-off", "at_ns": 8 * S}]
    checks, verdict = judged(tmp_path, off, Expect(moves=1, writes=2))
    assert {name: checks[name].verdict for name in ("no-needless-move", "apps-write")} == dict.fromkeys(
        ("no-needless-move", "apps-write"), judge.UNKNOWN
    )
    assert verdict == judge.UNKNOWN
    assert judged(tmp_path, [*GOOD[:-1], off[-1]], Expect(moves=0))[1] == judge.FAIL, "what it did is its own"


def test_sessions_are_judged_where_they_were_counted(tmp_path):
    assert "no-orphans" not in judged(tmp_path, GOOD)[0], "a history of before they were"
    checks, verdict = judged(tmp_path, [*GOOD[:-1], sessions(2, 3), GOOD[-1]], Expect(writes=2))
    assert verdict == judge.PASS
    assert checks["no-orphans"].text == "2 sessions in the store, 3 daemons run"
    assert checks["apps-write"].verdict == judge.PASS


def test_a_control_of_clocks_wants_two_leaders_and_forgives_nothing_else(tmp_path):
    two = [*GOOD[:-1], yes("c1", 5, 5.2, 5.5), GOOD[-1]]
    checks, verdict = judged(tmp_path, two, Expect(overlap=True))
    assert (checks["control"].verdict, verdict) == ("PASS", "PASS")
    assert judged(tmp_path, [*two[:-1], write("fenced", 5, 7.0), GOOD[-1]], Expect(overlap=True))[1] == judge.FAIL


def test_a_slow_clock_promises_for_longer(tmp_path):
    lines = [run_line(promise_s=0.3), yes("c1", 5, 1.0, 1.6), *GOOD[2:]]
    assert judged(tmp_path, lines)[0]["answers-honest"].verdict == judge.FAIL
    assert judged(tmp_path, lines, Expect(clock_rate=0.5))[0]["answers-honest"].verdict == judge.PASS
    less = [run_line(promise_s=0.31), *GOOD[1:2], yes("c1", 5, 1.1, 1.2), *GOOD[2:]]
    assert judged(tmp_path, less)[0]["answers-honest"].verdict == judge.FAIL
    assert judged(tmp_path, less, Expect(clock_rate=2.0))[0]["answers-honest"].verdict == judge.FAIL
    changed = [*less[:3], {"kind": "heal", "at_ns": int(1.05 * S), "name": "clock", "text": "x"}, *less[3:]]
    assert judged(tmp_path, changed, Expect(clock_rate=2.0))[0]["answers-honest"].verdict == judge.PASS
