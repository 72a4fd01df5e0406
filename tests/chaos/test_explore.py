"""Scenarios from a seed: the same again, all of them fit to be run, most faults at the leader, and what fails is kept."""

from chaos import cli, explore, scenario
from chaos.scenario import Heal, Inject
from tests.chaos.test_cli import BAD, runs_by_hand  # noqa: F401 - a fixture


def test_a_seed_is_a_scenario():
    texts = [scenario.text(explore.compose(seed)) for seed in range(200)]
    assert texts == [scenario.text(explore.compose(seed)) for seed in range(200)]
    assert len(set(texts)) == 200


def test_a_scenario_that_is_kept_is_the_same_scenario(tmp_path):
    path = tmp_path / "x.yaml"
    for seed in range(20):
        path.write_text(scenario.text(explore.compose(seed)))
        assert scenario.load(str(path)) == explore.compose(seed)


def test_most_faults_are_aimed_at_the_leader_and_all_are_healed():
    faults = []
    for seed in range(500):
        method = explore.compose(seed).method
        injected = [step for step in method if isinstance(step, Inject)]
        assert [step.name for step in injected] == [step.name for step in method if isinstance(step, Heal)]
        faults += [step.fault for step in injected]
    aimed = [
        fault for fault in faults if "leader" in (getattr(fault, "source", ""), getattr(fault, "to", ""), getattr(fault, "at", ""))
    ]
    assert 0.65 < len(aimed) / len(faults) < 0.75
    assert len({type(fault) for fault in faults}) >= 6


def test_what_fails_stays_as_a_scenario_file(runs_by_hand, tmp_path, capsys):  # noqa: F811
    runs_by_hand[0]["consul"] = BAD
    assert cli.main(["explore", "--seed", "7", "--store", "etcd", "--out", str(tmp_path)]) == 0
    assert not list((tmp_path / "explored").iterdir()), "it passed"
    assert cli.main(["explore", "--seed", "7", "--runs", "1", "--out", str(tmp_path)]) == 1
    (kept,) = (tmp_path / "explored").iterdir()
    assert scenario.load(str(kept)) == explore.compose(7)
    assert f"run {kept} --store consul" in capsys.readouterr().out
