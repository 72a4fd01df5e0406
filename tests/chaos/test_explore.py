"""Scenarios from a seed: the same again, several faults at once, most at the leader, of the whole menu; what fails is kept."""

from itertools import pairwise

from chaos import cli, explore, scenario
from chaos.faults import MENU as FAULTS
from chaos.mixes import LEFT_OUT, MIXES
from chaos.scenario import AwaitLeader, Heal, Inject
from chaos.substrates.menu import MENU
from tests.chaos.test_cli import BAD, runs_by_hand  # noqa: F401 - a fixture


def rounds(method):
    """By round: its faults, in order."""
    found = {}
    for step in method:
        if isinstance(step, Inject):
            found.setdefault(number(step), []).append(step.fault)
    return list(found.values())


def number(step):
    return step.name.strip("abc")


def roles(fault):
    return {str(getattr(fault, name, "")) for name in ("source", "to", "at")} | ({"leader"} if hits_leader(fault) else set())


def hits_leader(fault):
    return type(fault).__name__ in ("Revoke", "Delete") or "leader" in {getattr(fault, name, "") for name in ("source", "to", "at")}


def test_a_seed_is_a_scenario():
    texts = [scenario.text(explore.compose(seed)) for seed in range(200)]
    assert texts == [scenario.text(explore.compose(seed)) for seed in range(200)]
    assert len(set(texts)) == 200


def test_a_scenario_that_is_kept_is_the_same_scenario(tmp_path):
    path = tmp_path / "x.yaml"
    for seed in range(20):
        path.write_text(scenario.text(explore.compose(seed)))
        assert scenario.load(str(path)) == explore.compose(seed)


def test_faults_meet_each_other_and_all_are_healed():
    every = []
    for seed in range(500):
        method = explore.compose(seed).method
        open_ = set()
        for step in method:
            if isinstance(step, Inject):
                assert all(number(other) == number(step) for other in open_), "each round begins with a healed world"
                open_.add(step)
            elif isinstance(step, Heal):
                open_ = {other for other in open_ if other.name != step.name}
        assert not open_
        every += [(len(one), one) for one in rounds(method)]
    sizes = [size for size, _ in every]
    assert {1, 2, 3} == set(sizes)
    assert sum(size > 1 for size in sizes) > len(sizes) / 2
    aimed = [one for _, one in every if any(map(hits_leader, one))]
    assert 0.65 < len(aimed) / len(every) < 0.75


def test_nobody_is_looked_for_who_may_not_be_there():
    """Once the leader is hit nobody may lead, and who follows is told by who leads."""
    for seed in range(500):
        for one in rounds(explore.compose(seed).method):
            hit = [number for number, fault in enumerate(one) if hits_leader(fault)]
            assert len(hit) <= 1
            after = one[hit[0] + 1 :] if hit else []
            assert not any(roles(fault) & {"followers", "leader"} for fault in after)


def test_somebody_leads_when_the_leader_or_who_follows_is_looked_for():
    for seed in range(200):
        method = explore.compose(seed).method
        for before, step in pairwise(method):
            if isinstance(step, Inject) and roles(step.fault) & {"followers", "leader"}:
                assert isinstance(before, AwaitLeader)


def test_what_is_taken_away_by_hand_is_all_that_is_broken_meanwhile():
    by_hand = [one for seed in range(500) for one in rounds(explore.compose(seed).method) if {"Revoke", "Delete"} & kinds(one)]
    assert len(by_hand) > 10
    assert all(len(one) == 1 for one in by_hand)


def kinds(faults):
    return {type(fault).__name__ for fault in faults}


def test_a_store_node_is_back_before_it_is_asked_whether_a_cut_is_over():
    met = 0
    for seed in range(500):
        method = explore.compose(seed).method
        tags = {step.name: step.fault.__struct_config__.tag for step in method if isinstance(step, Inject)}
        healed = [step.name for step in method if isinstance(step, Heal)]
        for name, tag in tags.items():
            if tag == "kill-node":
                cuts = [other for other in tags if other[:-1] == name[:-1] and tags[other] == "cut"]
                met += len(cuts)
                assert all(healed.index(name) < healed.index(other) for other in cuts)
    assert met > 10


def test_the_whole_menu_is_drawn_from():
    tags = {fault.__struct_config__.tag for fault in FAULTS}
    drawn = {mix.fault["fault"] for mix in MIXES}
    assert drawn | set(LEFT_OUT) == tags
    assert not drawn & set(LEFT_OUT)
    found = {type(step.fault) for seed in range(500) for step in explore.compose(seed).method if isinstance(step, Inject)}
    assert {fault.__struct_config__.tag for fault in found} == drawn


def test_a_substrate_is_given_what_it_can_do():
    for name in ("docker", "proxy", "sim"):
        for seed in range(60):
            assert MENU[name].lacks(explore.compose(seed, name)) is None


def test_what_fails_stays_as_a_scenario_file(runs_by_hand, tmp_path, capsys):  # noqa: F811
    runs_by_hand[0]["consul"] = BAD
    assert cli.main(["explore", "--seed", "10", "--store", "etcd,zookeeper", "--out", str(tmp_path)]) == 0
    assert not list((tmp_path / "explored").iterdir()), "it passed"
    assert cli.main(["explore", "--seed", "10", "--runs", "1", "--out", str(tmp_path)]) == 1
    (kept,) = (tmp_path / "explored").iterdir()
    assert scenario.load(str(kept)) == explore.compose(10)
    told = capsys.readouterr().out
    assert f"run {kept} --store consul" in told
    (line,) = (line for line in told.splitlines() if line.startswith("to keep it:"))
    folder = line.split(" keep ")[2].split()[0]
    assert cli.main(["keep", folder, "late-answer", "--why", "It was late.", "--into", str(tmp_path / "r")]) == 0
    again = scenario.load(str(tmp_path / "r" / "late-answer.yaml"))
    assert again.stores == ("consul",)
    assert again.why.startswith("It was late. Found by `explored-10` on consul")
    assert "no-overlap" in again.why
