"""From a run's folder to its verdict, its `results.json` and its report; and two runs side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from chaos import compare, history, judge, runs, scenario
from chaos.leftovers import RESULTS
from chaos.report import page, text
from chaos.report.lanes import picture
from chaos.report.story import story

SCENARIO = "scenario.yaml"
"""In a run's folder: what was carried out, so that the run is judged by that and not by what the catalogue says later."""
_RANK = {judge.PASS: 0, judge.UNKNOWN: 1, judge.FAIL: 2}


def judged(folder: Path, say: Callable[[str], None], took_s: float | None = None) -> str:
    """Judge a run by its history, write down the results and the report; returns the verdict."""
    run = judge.read(folder)
    own = folder / SCENARIO
    wanted = scenario.load(str(own) if own.exists() else str(run.facts["scenario"]))
    checks = judge.judge(run, wanted)
    verdict = judge.worst(check.verdict for check in checks)
    for check in checks:
        say(f"  {check.verdict:<8} {check.name:<18} {check.text}")
    found = picture(history.lines(folder))
    told = story(found, control=wanted.expect.overlap)
    results = {
        "verdict": verdict,
        "scenario": Path(str(run.facts["scenario"])).stem,
        "title": wanted.title,
        **{name: run.facts.get(name) for name in ("store", "subject", "substrate", "seed", "ttl_s", "bound_s", "kernel")},
        "subject": run.subject,
        "began_at": str(run.facts.get("began_at", "")),
        "took_s": round(found.length_s if took_s is None else took_s, 1),
        "variables": run.facts.get("variables") or _variables(folder),
        "commit": run.facts.get("commit"),
        "story": told,
        "figures": {**judge.figures(run), **compare.figures(run), "control": wanted.expect.overlap},
        "checks": [{"name": c.name, "verdict": c.verdict, "text": c.text, "at_ns": c.at_ns} for c in checks],
    }
    (folder / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for line in text.lanes(found):
        say(f"  {line}")
    path = page.write(folder, run, wanted, checks, verdict)
    say(f"{verdict}  {told}\n      {path}")
    return verdict


def _variables(folder: Path) -> list[str]:
    """What was set to another value than the scenario's own."""
    job = folder / runs.JOB
    return list(json.loads(job.read_text(encoding="utf-8")).get("variables", ())) if job.exists() else []


def diff(before: Path, after: Path) -> tuple[bool, list[str]]:
    """Whether any check is worse in `after`, and both runs' checks and figures in lines. A check gone missing is worse."""
    first, second = _results(before), _results(after)
    lines = [f"  {_name(first)}  ->  {_name(second)}"]
    ours = {check["name"]: check for check in first["checks"]}
    theirs = {check["name"]: check for check in second["checks"]}
    worse = False
    for name in dict.fromkeys([*ours, *theirs]):
        old, new = (found.get(name, {}).get("verdict", "-") for found in (ours, theirs))
        fell = _RANK.get(new, 2) > _RANK.get(old, 2)
        worse = worse or fell
        lines.append(f"{'!' if fell else ' '} {name:<20} {old:<8} {new}")
    for name in dict.fromkeys([*first["figures"], *second["figures"]]):
        old, new = (found["figures"].get(name) for found in (first, second))
        lines.append(f"  {name:<20} {_shown(old):<8} {_shown(new)}")
    return worse, lines


def _results(folder: Path) -> history.Line:
    path = folder / RESULTS
    if not path.exists():
        judged(folder, lambda line: None)
    found: history.Line = json.loads(path.read_text(encoding="utf-8"))
    if "checks" not in found:
        raise ValueError(f"{folder} is no run's folder: `diff` compares two runs")
    return found


def _name(result: history.Line) -> str:
    return f"{result['scenario']}, {result['subject']} on {result['store']}, seed {result['seed'] or 0}"


def _shown(value: object) -> str:
    return "-" if value is None else str(value)
