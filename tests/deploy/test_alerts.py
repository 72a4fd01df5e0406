"""The alerts by promtool: each fires when it should, and each of its conditions keeps it quiet in some case that is tested."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import fetch, require

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "leaderd.rules.yaml"
CASES = RULES.with_suffix(".test.yaml")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def tool(name: str) -> str:
    require("prometheus")
    return fetch.installed("prometheus").programs[name]


def promtool(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run([tool("promtool"), *words], capture_output=True, text=True, timeout=50, cwd=folder)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.servers
def test_promtool_accepts_the_alerts_and_they_fire_when_they_should() -> None:
    assert promtool(RULES.parent, "check", "rules", "--lint=all", "--lint-fatal", RULES.name)[0] == 0
    code, said = promtool(RULES.parent, "test", "rules", CASES.name)
    assert code == 0, said


def test_every_alert_is_seen_to_fire_and_to_be_quiet_on_the_same_series() -> None:
    groups = yaml.safe_load(CASES.read_text())["tests"]
    for alert in (rule["alert"] for rule in rules()):
        seen = [{bool(case["exp_alerts"]) for case in each["alert_rule_test"] if case["alertname"] == alert} for each in groups]
        assert {True, False} in seen, alert


WEAKER: dict[str, list[tuple[str, str]]] = {
    "LeaderdNoLeader": [("== 0", ">= 0"), ("\n  unless on (namespace, job, election) max by", " or max by"), ("1m", "0s")],
    "LeaderdTwoLeaders": [
        ("> time()) > 1", ">= 0) > 1"),
        ("time()) > 1", "time()) > 0"),
        (") + 1\n", ") + 0\n"),
        (") + 1\n", ") - 1e9\n"),  # as if it did not matter whether the terms overlap
        ("namespace, ", ""),
    ],
    "LeaderdFlapping": [(">= 5", ">= 0")],
    "LeaderdStoreUnreachable": [("== 0", ">= 0"), ("1m", "0s")],
    "LeaderdRenewMarginLow": [("0.2", "1"), ("leaderd_is_leader) == 1", "leaderd_is_leader) >= 0"), ("1m", "0s")],
    "LeaderdLoopStall": [("> 0.5", ">= 0"), (" - min_over_time(leaderd_loop_stall_seconds[10m])", "")],
    "LeaderdTooFewCandidates": [("< 2", "< 3"), ("5m", "0s")],
    "LeaderdClockJump": [("> 0", ">= 0"), ("[10m]", "[1h]")],
    "LeaderdPausedTooLong": [("== 1", ">= 0"), ("1h", "0s")],
}
"""Per alert, what each of its conditions becomes when it is weakened: somewhere it must then fire where the tests want it quiet."""


@pytest.mark.servers
@pytest.mark.parametrize(("alert", "was", "becomes"), [(alert, *each) for alert, found in WEAKER.items() for each in found])
def test_no_condition_of_an_alert_can_be_weakened_unseen(alert: str, was: str, becomes: str, tmp_path: Path) -> None:
    text = yaml.safe_load(RULES.read_text())
    (rule,) = (rule for group in text["groups"] for rule in group["rules"] if rule["alert"] == alert)
    assert was in rule["expr"] or was == rule.get("for")
    rule["expr"] = rule["expr"].replace(was, becomes)
    if rule.get("for") == was:
        rule["for"] = becomes
    (tmp_path / RULES.name).write_text(yaml.safe_dump(text))
    shutil.copy(CASES, tmp_path)
    assert promtool(tmp_path, "check", "rules", RULES.name)[0] == 0
    code, said = promtool(tmp_path, "test", "rules", CASES.name)
    assert code != 0
    assert f"alertname: {alert}" in said


def test_every_alert_is_weakened_and_so_is_its_patience() -> None:
    assert WEAKER.keys() == {rule["alert"] for rule in rules()}
    for rule in rules():
        assert "for" not in rule or rule["for"] in {was for was, _ in WEAKER[rule["alert"]]}, rule["alert"]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    named = {rule["annotations"]["runbook_url"] for rule in rules()}
    assert named == {f"docs/runbooks/{rule['alert']}.md" for rule in rules()}
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "runbooks").glob("Leaderd*.md")} == named
    for name in named:
        headings = [line for line in (ROOT / name).read_text().splitlines() if line.startswith("## ")]
        assert headings == ["## Symptom", "## Confirm", "## Decide", "## Act", "## Verify"], name
    assert {rule["labels"]["severity"] for rule in rules()} <= {"critical", "warning", "info"}
