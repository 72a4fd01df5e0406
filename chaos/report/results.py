"""What the runs of an output folder came to, those included that the harness could not carry out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chaos import runs
from chaos.judge import FAIL, PASS, UNKNOWN
from chaos.leftovers import RESULTS

Result = dict[str, Any]
VERDICTS = (PASS, FAIL, UNKNOWN, runs.BROKEN)
_RANK = {PASS: 0, UNKNOWN: 1, runs.BROKEN: 2, FAIL: 3}


def results(out: Path) -> list[Result]:
    """Oldest first. A run that broke off is BROKEN, unless the same run was made later; one that was interrupted is nothing."""
    found = []
    for path in sorted(out.glob(f"*/{RESULTS}")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if "scenario" in result:
            found.append({**result, "folder": path.parent.name})
    judged = {result["folder"] for result in found}
    listed = runs.RunList(out)
    latest = {done.job: done for done in listed.done()}
    found += [_broken(out, done) for done in latest.values() if done.verdict == runs.BROKEN and done.folder not in judged]
    return sorted(found, key=lambda result: str(result["folder"]))


def worst(found: Iterable[Result]) -> str:
    """The verdict over all of them, as the exit code has it: FAIL before BROKEN before UNKNOWN before PASS."""
    return max((result["verdict"] for result in found), key=lambda word: _RANK.get(word, 1), default=PASS)


def name(result: Result) -> str:
    """What one calls a run: all that makes it another run than the one beside it, but for subject and store."""
    words = [result["scenario"]]
    words += [f"by {result['substrate']}"] if result.get("substrate") not in (None, "netns") else []
    words += [f"seed {result['seed']}"] if result.get("seed") else []
    return " ".join([*words, *(result.get("variables") or ())])


def counts(found: Iterable[Result]) -> dict[str, int]:
    """How many of each verdict."""
    words = [result["verdict"] for result in found]
    return {word: words.count(word) for word in VERDICTS}


def smallest_gaps(found: Iterable[Result]) -> dict[str, float]:
    """By store: the smallest gap of any run of leaderd between an old promise and a new claim, in ms.

    Runs are left out in which an operator took leadership away by hand, and those that are meant to show two leaders.
    """
    gaps: dict[str, float] = {}
    for result in found:
        gap = result["figures"].get("smallest_gap_ms")
        excused = result["figures"].get("by_hand") or result["figures"].get("control")
        if gap is not None and result["subject"] == "leaderd" and not excused:
            gaps[result["store"]] = min(gap, gaps.get(result["store"], gap))
    return gaps


def _broken(out: Path, done: runs.Done) -> Result:
    job = done.job
    log = out / done.folder / runs.LOG
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] if log.exists() else []
    return {
        "verdict": runs.BROKEN,
        "scenario": Path(job.scenario).stem,
        "store": job.store,
        "subject": job.subject,
        "substrate": job.substrate,
        "seed": job.seed,
        "variables": list(job.variables),
        "began_at": "",
        "took_s": done.took_s,
        "story": f"The harness broke off; its last words: {said[0].strip() if said else 'none'}",
        "figures": {},
        "checks": [],
        "folder": done.folder,
    }
