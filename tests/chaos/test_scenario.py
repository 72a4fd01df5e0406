"""What a scenario file can say besides its steps: the workload, the way back, what one store does otherwise; how one is kept."""

import json

import pytest

from chaos import cli, engine, runs, scenario, verdicts
from chaos.history import lines
from chaos.runs import Job
from chaos.scenario import Expect, Hold, Inject
from chaos.substrates import sim
from chaos.substrates.menu import MENU

HEAD = "title: t\nwhy: w\n"


def written(folder, text):
    (folder / "x.yaml").write_text(HEAD + text)
    return str(folder / "x.yaml")


def test_one_store_may_be_expected_to_differ(tmp_path):
    found = scenario.load(
        written(tmp_path, "method: []\nexpect: {moves: 1, by_store: {consul: {moves: [1, 2]}, etcd: {writes: 3}}}")
    )
    assert scenario.for_store(found, "zookeeper").expect == Expect(moves=1)
    assert scenario.for_store(found, "consul").expect == Expect(moves=(1, 2))
    assert scenario.for_store(found, "etcd").expect == Expect(moves=1, writes=3)
    with pytest.raises(scenario.ScenarioError, match="colour"):
        scenario.load(written(tmp_path, "method: []\nexpect: {by_store: {consul: {colour: red}}}"))


def test_a_store_may_be_expected_to_do_anything_that_may_be_expected():
    assert set(scenario.Expected.__struct_fields__) | {"by_store"} == set(Expect.__struct_fields__)


STEPS = """
topology: {candidates: 3}
method:
  - {step: inject, name: one, fault: {fault: cut, from: c2, to: stores}}
  - {step: inject, name: two, fault: {fault: cut, from: c3, to: stores}}
rollback:
  - {step: heal, name: two}
  - {step: hold, time: 2s}
"""


def test_the_way_back_is_taken_as_it_is_written_and_the_rest_is_healed(tmp_path):
    found = scenario.load(written(tmp_path, STEPS))
    sim.carry_out(found, "etcd", 0, tmp_path, engine.facts(found, "x", "etcd", "sim"), lambda line: None)
    healed = {line["name"]: line["at_ns"] / 1e9 for line in lines(tmp_path) if line["kind"] == "heal"}
    assert list(healed) == ["two", "one"]
    assert healed["one"] - healed["two"] == pytest.approx(2.0, abs=0.1)


def test_the_workload_is_the_scenarios(tmp_path):
    found = scenario.load(written(tmp_path, "method: []\nworkload: {slot: 200ms, promise: 1s, poll: 50ms}"))
    assert engine.facts(found, "x", "etcd", "netns")["promise_s"] == 1.0
    assert MENU["netns"].lacks(found) is None
    assert "workload" in str(MENU["sim"].lacks(found)), "which asks as it does"
    with pytest.raises(scenario.ScenarioError, match="slot"):
        scenario.load(written(tmp_path, "method: []\nworkload: {slot: often}"))


def test_a_shift_is_written_down_as_holds():
    found = scenario.load("names-wrong")
    shifted = scenario.shifted(found, 7, 3.0)
    faults = sum(isinstance(step, Inject) for step in found.method)
    assert len(shifted.method) == len(found.method) + faults
    for before, after in zip(shifted.method, shifted.method[1:], strict=False):
        if isinstance(after, Inject):
            assert isinstance(before, Hold)
            assert 0.0 <= scenario.seconds(before.time, 3.0, 5.0) <= 1.0
    assert shifted == scenario.shifted(found, 7, 3.0) != scenario.shifted(found, 8, 3.0)
    assert scenario.shifted(found, 0, 3.0) == found


def made(folder, seed=0):
    folder.mkdir()
    job = Job("kill-leader", "etcd", seed=seed)
    (folder / runs.JOB).write_text(json.dumps({"scenario": job.scenario, "store": job.store, "seed": seed}))
    (folder / verdicts.SCENARIO).write_text(scenario.text(scenario.load("kill-leader")))
    return folder


def test_a_run_is_kept_as_it_was(tmp_path, capsys):
    folder = made(tmp_path / "run", seed=7)
    assert cli.main(["keep", str(folder), "2026-11-29-late", "--into", str(tmp_path)]) == 0
    again = scenario.load(str(tmp_path / "2026-11-29-late.yaml"))
    assert again.method == scenario.shifted(scenario.load("kill-leader"), 7, 3.0).method, "the same without a seed"
    assert not again.smoke
    assert str(tmp_path / "2026-11-29-late.yaml") in capsys.readouterr().out


@pytest.mark.parametrize(("name", "told"), [("Late!", "no name"), ("there", "is there"), ("../up", "no name")])
def test_what_cannot_be_kept_is_refused(tmp_path, capsys, name, told):
    (tmp_path / "there.yaml").touch()
    assert cli.main(["keep", str(made(tmp_path / "run")), name, "--into", str(tmp_path)]) == 254
    assert told in capsys.readouterr().err
    assert cli.main(["keep", str(tmp_path), "x", "--into", str(tmp_path)]) == 254


def test_a_regression_belongs_to_the_catalogue(tmp_path, monkeypatch):
    monkeypatch.setattr(scenario, "FOLDER", tmp_path)
    (tmp_path / "regressions").mkdir()
    (tmp_path / "regressions" / "late.yaml").write_text(HEAD + "method: []")
    assert scenario.names() == ["regressions/late"]
    assert scenario.load("regressions/late").title == "t"
