"""A run that went wrong becomes a scenario of the catalogue: `keep RUN_DIR NAME`, named after the incident."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import msgspec

from chaos import runs, scenario, stores, verdicts
from chaos.leftovers import RESULTS
from chaos.scenario import Scenario, ScenarioError

PLACE = scenario.FOLDER / "regressions"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def command(options: argparse.Namespace) -> int:
    """Write the file, and say how it is run."""
    path = Path(options.into) / f"{options.name}.yaml"
    if not _NAME.fullmatch(options.name):
        raise ScenarioError(f"{options.name!r} is no name: small letters, digits, and single hyphens between them")
    if path.exists():
        raise ScenarioError(f"{path} is there: give another name")
    found = kept(Path(options.folder), options.why)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(scenario.text(found), encoding="utf-8")
    name = f"{PLACE.name}/{options.name}" if path.parent.resolve() == PLACE.resolve() else str(path)
    print(f"{path}\nto run it: run {name}")
    return 0


def kept(folder: Path, why: str) -> Scenario:
    """The scenario of a run as it was carried out: on its store only, and with what its seed put off written down as holds."""
    if not (folder / runs.JOB).exists() or not (folder / verdicts.SCENARIO).exists():
        raise ScenarioError(f"{folder} is no run's folder: `run` and `explore` make them")
    job = runs.job_of(json.loads((folder / runs.JOB).read_text(encoding="utf-8")))
    found = scenario.load(str(folder / verdicts.SCENARIO))
    ttl_s = stores.ttl_s(job.store, found.topology.ttl, job.substrate)
    found = scenario.shifted(found, job.seed, ttl_s)
    reason = f"{why or found.why.strip()} Found by `{Path(job.scenario).stem}` on {job.store}{_told(folder)}."
    return msgspec.structs.replace(found, why=reason, stores=(job.store,), smoke=False)


def _told(folder: Path) -> str:
    """When it was, in which code, and which checks said so."""
    path = folder / RESULTS
    if not path.exists():
        return ""
    result = json.loads(path.read_text(encoding="utf-8"))
    wrong = ", ".join(check["name"] for check in result["checks"] if check["verdict"] != "PASS")
    told = [
        f"on {result['began_at'][:10]}" if result.get("began_at") else "",
        f"at {result['commit']}" if result.get("commit") else "",
    ]
    return "".join(f", {each}" for each in (*told, f"by {wrong}" if wrong else "") if each)
