"""What one types: lists that can be resumed, exit codes, files for machines and people. No servers: runs are made by hand."""

import json
import re
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from chaos import catalogue, cli, leftovers, runs, scenario, verdicts
from chaos.faults import MENU as FAULTS
from chaos.history import FILE
from chaos.report import results, summary
from chaos.runs import BROKEN, Children, Done, Job, RunList
from tests.chaos.test_judge import GOOD, S, run_line, write, yes

TEXT = "{title: Cut <off>, why: because, method: [{step: hold, time: 1s}]}"
BY_US = {"subject": "leaderd"}
BAD = [*GOOD[:-1], yes("c1", 5, 5.2, 5.5), GOOD[-1]]
NOTHING_SHOWN = [line for line in GOOD if line["kind"] != "bites"]


def made(folder: Path, lines=GOOD, store="etcd", **facts) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    first = run_line(**{"scenario": "cut", "store": store, "seed": 0, "began_at": "2026-11-23T10:00:00Z", **BY_US, **facts})
    (folder / FILE).write_text("".join(json.dumps(line) + "\n" for line in [first, *lines[1:]]))
    (folder / verdicts.SCENARIO).write_text(TEXT)
    return folder


@pytest.fixture
def runs_by_hand(monkeypatch):
    """Runs as the namespaces would make them: by store, what their history says, or how they broke off."""
    came_to: dict[str, object] = {}
    begun: list[Job] = []

    def run(self, folder, say):
        job = runs.job_of(json.loads((folder / runs.JOB).read_text()))
        begun.append(job)
        found = came_to.get(job.store, GOOD)
        if isinstance(found, list):
            made(folder, found, job.store, subject_seed=job.seed)
            return 0
        if isinstance(found, int):
            return found
        raise found

    monkeypatch.setattr(Children, "run", run)
    monkeypatch.setitem(cli.SUBSTRATES, "netns", lambda: None)
    return came_to, begun


@pytest.mark.parametrize(
    ("came_to", "code"),
    [
        ({}, 0),
        ({"etcd": BAD, "consul": NOTHING_SHOWN}, 1),
        ({"consul": NOTHING_SHOWN}, 2),
        ({"zookeeper": 7}, 255),
        ({"zookeeper": 7, "etcd": BAD}, 1),
    ],
)
def test_exit_codes(runs_by_hand, tmp_path, came_to, code, capsys):
    runs_by_hand[0].update(came_to)
    assert cli.main(["run", "kill-leader", "--out", str(tmp_path)]) == code
    assert len(runs_by_hand[1]) == 3, "one run that is broken does not keep the others from being made"


@pytest.mark.parametrize(
    "line",
    [
        ["run"],
        ["run", "nope"],
        ["run", "kill-leader", "--var", "ttl"],
        ["run", "kill-leader", "--var", "tll=3s"],
        ["run", "kill-leader", "--var", "candidates=101"],
        ["run", "kill-leader", "--var", "ttl=3 weeks"],
        ["run", "kill-leader", "--repeat", "0"],
        ["run", "--resume"],
        ["run", "etcd-nospace", "--store", "zookeeper"],
        ["run", "kill-leader", "--substrate", "moon"],
        ["run", "kill-leader", "--store", "etcd,moon"],
        ["compare", "kill-leader", "--repeat", "0"],
        ["report", "."],
        ["explode"],
    ],
)
def test_usage(line, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(line) == 254
    assert "Traceback" not in capsys.readouterr().err


def test_a_folder_without_a_run_is_no_verdict(tmp_path, capsys):
    assert cli.main(["check", str(tmp_path)]) == 255


def test_an_interrupted_list_goes_on_where_it_stopped(runs_by_hand, tmp_path, capsys):
    came_to, begun = runs_by_hand
    came_to["zookeeper"] = KeyboardInterrupt()
    line = ["run", "kill-leader", "--out", str(tmp_path)]
    assert cli.main(line) == 255
    over = {each.job for each in RunList(tmp_path).done()}
    assert "zookeeper" not in {job.store for job in over}
    came_to.clear()
    begun.clear()
    assert cli.main(["run", "--resume", "--out", str(tmp_path)]) == 0
    assert {job.store for job in begun} == {"etcd", "zookeeper", "consul"} - {job.store for job in over}
    begun.clear()
    assert cli.main([*line, "--resume"]) == 0
    assert begun == [], "everything has its verdict"
    assert cli.main(line) == 0
    assert len(begun) == 3, "without --resume all of it is wanted anew"


def test_resuming_does_not_forget_what_failed_before(runs_by_hand, tmp_path, capsys):
    came_to, _ = runs_by_hand
    came_to.update(etcd=BAD, zookeeper=KeyboardInterrupt())
    cli.main(["run", "kill-leader", "--store", "etcd", "--out", str(tmp_path)])
    came_to.clear()
    assert cli.main(["run", "--resume", "--out", str(tmp_path)]) == 1


def test_a_broken_run_is_made_again(tmp_path):
    listed, jobs = RunList(tmp_path), [Job("a", "etcd"), Job("b", "etcd", seed=4, variables=("ttl=5s",))]
    listed.begin(jobs)
    listed.finish(Done(jobs[0], "x", BROKEN, 1.0))
    assert listed.missing() == jobs
    listed.finish(Done(jobs[1], "y", "FAIL", 1.0))
    with (tmp_path / runs.LIST).open("a") as file:
        file.write('{"done": {"jo')  # the machine went down while it was written
    assert listed.missing() == jobs[:1]


def test_fail_fast_begins_nothing_more(runs_by_hand, tmp_path, capsys):
    came_to, begun = runs_by_hand
    came_to["etcd"] = BAD
    assert cli.main(["run", "kill-leader", "--fail-fast", "--out", str(tmp_path)]) == 1
    assert [job.store for job in begun] == ["etcd"]


def test_repeat_counts_the_seeds_up_and_jobs_run_side_by_side(runs_by_hand, tmp_path, capsys):
    line = ["run", "kill-leader", "--store", "etcd", "--repeat", "3", "--seed", "5", "--jobs", "3", "--var", "ttl=5s"]
    assert cli.main([*line, "--out", str(tmp_path)]) == 0
    assert sorted(job.seed for job in runs_by_hand[1]) == [5, 6, 7]
    assert {job.variables for job in runs_by_hand[1]} == {("ttl=5s",)}
    resolved = [scenario.load(str(path)) for path in tmp_path.glob("*/scenario.yaml") if path.read_text() != TEXT]
    assert all(found.topology.ttl == "5s" for found in resolved)


def test_several_stores_are_named_at_once(runs_by_hand, tmp_path, capsys):
    assert cli.main(["run", "kill-leader", "--store", "consul,etcd", "--out", str(tmp_path)]) == 0
    assert {job.store for job in runs_by_hand[1]} == {"etcd", "consul"}
    assert cli.main(["run", "etcd-nospace", "--store", "etcd,zookeeper", "--out", str(tmp_path)]) == 0
    assert runs_by_hand[1][-1].store == "etcd", "the one of them that it is for"


def test_the_list_tells_what_a_scenario_takes_and_needs(capsys):
    assert cli.main(["list", "--why"]) == 0
    told = capsys.readouterr().out
    lines = {line.split()[0]: line for line in told.splitlines() if line and not line.startswith(" ")}
    assert re.search(r"disk-slow +\d+-\d+ s +netns +strace +Every sync", lines["disk-slow"])
    assert re.search(r"partition-leader +\d+-\d+ s +netns docker proxy sim +- ", lines["partition-leader"])
    assert lines["etcd-nospace"].endswith("(etcd)")
    assert set(lines) == {"scenario", *scenario.names()}
    assert "without being told by anybody" in " ".join(told.split()), "what it is for"


def test_how_long_a_scenario_takes_is_told_about_right():
    """Measured on a busy machine: 26 s, of which 10 until three pods were up."""
    found = scenario.load("partition-leader")
    assert 14 <= catalogue.takes_s(found, "etcd") <= 30
    assert catalogue.takes_s(found, "consul") > catalogue.takes_s(found, "etcd")


def test_the_doctor_looks_at_everything_that_some_fault_needs(capsys, tmp_path):
    cli.main(["doctor", "--out", str(tmp_path)])
    told = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert {"netns", "proxy", "sim", "etcd", "zookeeper", "consul", "strace", "tc", "cgroup", "docker"} <= set(told)
    assert told["strace"].endswith("for disk-broken, disk-slow")


def test_every_fault_that_asks_for_something_is_asked_for():
    asking = {fault for fault in FAULTS if hasattr(fault, "available")}
    assert asking == {fault for fault, _ in catalogue.NEEDS.values()}


@pytest.mark.parametrize(("there", "told"), [(True, ""), (False, "no browser")])
def test_a_report_is_opened(tmp_path, monkeypatch, capsys, there, told):
    opened = []
    monkeypatch.setattr(cli.webbrowser, "open", lambda address: opened.append(address) or there)
    assert cli.main(["report", str(made(tmp_path / "r")), "--open"]) == 0
    assert opened == [(tmp_path / "r" / "report.html").as_uri()]
    assert told in capsys.readouterr().err


def test_a_dry_run_does_nothing(runs_by_hand, tmp_path, capsys):
    assert cli.main(["run", "--all", "--dry-run", "--out", str(tmp_path / "new")]) == 0
    assert runs_by_hand[1] == []
    assert not (tmp_path / "new").exists()
    assert "partition-leader: leaderd on consul" in capsys.readouterr().out


def test_a_run_is_judged_by_what_was_carried_out(tmp_path, capsys):
    folder = made(tmp_path / "r")
    (folder / verdicts.SCENARIO).write_text(TEXT[:-1] + ", expect: {moves: 0}}")
    assert cli.main(["check", str(folder)]) == 1
    (folder / verdicts.SCENARIO).write_text(TEXT)
    assert cli.main(["check", str(folder)]) == 0
    found = json.loads((folder / "results.json").read_text())
    assert found["figures"]["smallest_gap_ms"] == 3700.0
    assert found["figures"]["terms"] == 2
    assert found["story"].startswith("c2 took over")


def test_results_junit_and_index_over_runs(tmp_path, capsys):
    for name, lines, store in (("1", GOOD, "etcd"), ("2", BAD, "etcd"), ("3", NOTHING_SHOWN, "consul")):
        verdicts.judged(made(tmp_path / name, lines, store), lambda line: None)
    (tmp_path / "4").mkdir()
    assert cli.main(["report", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["verdict"] == "FAIL"
    assert found["counts"] == {"PASS": 1, "FAIL": 1, "UNKNOWN": 1, "BROKEN": 0}
    assert found["smallest_gap_ms"] == {"etcd": -500.0, "consul": 3700.0}
    suites = {suite.get("name"): suite for suite in xml.fromstring((tmp_path / "junit.xml").read_bytes())}
    assert (suites["etcd"].get("tests"), suites["etcd"].get("failures"), suites["etcd"].get("errors")) == ("2", "1", "0")
    assert (suites["consul"].get("failures"), suites["consul"].get("errors")) == ("0", "1")
    assert "no-overlap" in suites["etcd"].find(".//failure").get("message")
    document = (tmp_path / "index.html").read_text()
    assert document.count('href="2/report.html"') == 2, "in the table by store, and in the list"
    assert "FAIL 1 of 2" in document
    assert "<script" not in document
    assert "http" not in document


def test_no_text_of_a_run_breaks_the_files_over_runs(tmp_path):
    result = dict.fromkeys(("began_at",), "")
    result |= {"verdict": "FAIL", "scenario": "<b>", "subject": "leaderd", "store": "etcd", "seed": 3, "took_s": 1.0}
    result |= {
        "story": "\x00<i>&",
        "figures": {},
        "folder": '"><u>',
        "checks": [{"name": "c", "verdict": "FAIL", "text": "\x1b[0m"}],
    }
    assert xml.fromstring(summary.junit([result])) is not None
    document = summary.page([result])
    assert not any(evil in document for evil in ("<b>", "<i>&", '"><u>'))


def test_a_run_that_broke_off_is_not_green(runs_by_hand, tmp_path, capsys):
    came_to, _ = runs_by_hand
    came_to["zookeeper"] = 7
    line = ["run", "kill-leader", "--seed", "4", "--var", "ttl=5s", "--out", str(tmp_path)]
    assert cli.main(line) == 255
    (folder,) = (done.folder for done in RunList(tmp_path).done() if done.verdict == BROKEN)
    (tmp_path / folder / runs.LOG).write_text("one\nleaderd-chaos: <no> ports\n")
    assert cli.main(["report", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert (found["verdict"], found["counts"]["BROKEN"]) == ("BROKEN", 1)
    suites = {suite.get("name"): suite for suite in xml.fromstring((tmp_path / "junit.xml").read_bytes())}
    assert (suites["zookeeper"].get("errors"), suites["etcd"].get("errors")) == ("1", "0")
    assert suites["zookeeper"].find("testcase").get("name") == "kill-leader seed 4 ttl=5s"
    assert "<no> ports" in suites["zookeeper"].find(".//error").get("message")
    document = (tmp_path / "index.html").read_text()
    assert f'href="{folder}/harness.log">BROKEN' in document
    assert "&lt;no&gt; ports" in document
    came_to.clear()
    assert cli.main(["run", "--resume", "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "results.json").read_text())["counts"]["BROKEN"] == 0, "it has been made since"


def test_two_runs_never_have_one_name(tmp_path):
    same = {"scenario": "cut", "subject": "leaderd", "store": "etcd"}
    runs_ = [{}, {"seed": 3}, {"substrate": "proxy"}, {"substrate": "netns", "variables": ["ttl=5s"]}]
    assert len({results.name({**same, **each}) for each in runs_}) == 4


def test_diff_tells_what_got_worse(tmp_path, capsys):
    good, bad = made(tmp_path / "good"), made(tmp_path / "bad", BAD)
    assert cli.main(["diff", str(good), str(bad)]) == 1
    assert "! no-overlap           PASS     FAIL" in capsys.readouterr().out
    assert cli.main(["diff", str(bad), str(good)]) == 0
    assert cli.main(["diff", str(good), str(tmp_path)]) == 255


def test_clean_takes_what_nobody_uses(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(leftovers.tempfile, "gettempdir", lambda: str(tmp_path))
    out = tmp_path / "out"
    for name in ("leaderd-chaos-used", "leaderd-chaos-left"):
        (tmp_path / name).mkdir()
    used = leftovers.hold(tmp_path / "leaderd-chaos-used")
    leftovers.hold(tmp_path / "leaderd-chaos-left").close()
    (tmp_path / "leaderd-chaos-foreign").mkdir()  # not ours: without our lock
    for name in ("judged", "broken"):
        (made(out / name) / runs.JOB).write_text("{}")
    verdicts.judged(out / "judged", lambda line: None)
    assert cli.main(["clean", "--out", str(out)]) == 0
    left = {path.name for path in [*tmp_path.iterdir(), *out.iterdir()]}
    assert left == {"leaderd-chaos-used", "leaderd-chaos-foreign", "out", "judged"}
    used.close()


@pytest.mark.parametrize("name", scenario.names())
def test_a_scenario_written_down_is_the_same_scenario(name, tmp_path):
    found = scenario.load(name)
    (tmp_path / "again.yaml").write_text(scenario.text(found))
    assert scenario.load(str(tmp_path / "again.yaml")) == found


def test_an_interruption_in_the_history_shows_nothing(tmp_path, capsys):
    folder = made(tmp_path / "r", [*GOOD[:-1], {"kind": "broken-off", "at_ns": 8 * S}])
    assert cli.main(["check", str(folder)]) == 2


def test_writes_of_every_run_count(tmp_path, capsys):
    folder = made(tmp_path / "r", [*GOOD[:-1], write("fenced", 5, 7.0), GOOD[-1]])
    assert cli.main(["check", str(folder)]) == 1
