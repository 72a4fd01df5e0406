"""`leaderd-chaos`: what one types, and the exit codes: 0 pass, 1 fail, 2 unknown, 254 usage, 255 the harness itself."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from chaos import engine, history, judge, scenario
from chaos.bed import NoSuchRole
from chaos.faults import NotBiting
from chaos.history import Recorder
from chaos.report import page, text
from chaos.report.lanes import picture, story
from chaos.stores import KINDS
from chaos.subjects import PEERS
from chaos.substrates import CannotInject, netns
from testbed.fetch import FetchError
from testbed.process import StartError, WaitTimeout

EXIT = {judge.PASS: 0, judge.FAIL: 1, judge.UNKNOWN: 2}
EXIT_USAGE, EXIT_HARNESS = 254, 255
RUNS = "chaos-runs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as leaving:
        return EXIT_USAGE if leaving.code else 0
    try:
        return int(options.do(options))
    except scenario.ScenarioError as error:
        print(f"leaderd-chaos: {error}", file=sys.stderr)
        return EXIT_USAGE
    except (OSError, ValueError, FetchError, StartError, WaitTimeout, CannotInject, NoSuchRole) as error:
        print(f"leaderd-chaos: {error}", file=sys.stderr)
        return EXIT_HARNESS


def _list(options: argparse.Namespace) -> int:
    for name in scenario.names():
        found = scenario.load(name)
        print(f"{name:<28} {'smoke' if found.smoke else '':<6} {found.title}")
    return 0


def _schema(options: argparse.Namespace) -> int:
    print(json.dumps(scenario.schema(), indent=2))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    reason = netns.missing()
    print(f"netns      {'can be used' if reason is None else reason}")
    return 0 if reason is None else EXIT_HARNESS


def _run(options: argparse.Namespace) -> int:
    names = scenario.names() if options.all else [options.scenario]
    if names == [None]:
        raise scenario.ScenarioError("name a scenario, or give --all")
    chosen = [(name, store) for name in names for store in _stores(name, options.store, options.subject)]
    found: list[str] = []
    for name, store in chosen:
        found.append(_run_outside(name, store, options))
        if found[-1] != judge.PASS and options.fail_fast:
            break
    return EXIT[judge.worst(found)]


def _stores(name: str, store: str | None, subject: str) -> list[str]:
    known = scenario.load(name).stores
    wanted = PEERS[subject].store if subject in PEERS else store
    return [each for each in known if wanted in (None, each)]


def _run_outside(name: str, store: str, options: argparse.Namespace) -> str:
    return _run_and_read(name, store, options)[0]


def _run_and_read(name: str, store: str, options: argparse.Namespace) -> tuple[str, judge.Run]:
    """One run in namespaces of its own, then its judgement out here."""
    reason = netns.missing()
    if reason is not None:
        raise CannotInject(reason)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    folder = Path(options.out, f"{stamp}-{Path(name).stem}-{options.subject}-{store}").absolute()
    folder.mkdir(parents=True)
    print(f"{Path(name).stem}: {options.subject} on {store}", flush=True)
    inside = [sys.executable, "-m", "chaos", "inside", name, "--store", store, "--folder", str(folder)]
    inside += ["--subject", options.subject]
    code = subprocess.run(netns.enter(inside), env={**os.environ, netns.INSIDE_ENV: "1"}).returncode
    if code not in (0, EXIT[judge.UNKNOWN]):
        raise StartError(f"the run in {folder} broke off (exit {code}); its logs are there")
    return _judged(folder, name), judge.read(folder)


def _inside(options: argparse.Namespace) -> int:
    """What runs inside the namespaces."""
    found = scenario.load(options.scenario)
    folder = Path(options.folder)
    links = netns.NetnsLinks(engine.hosts(found))
    peer = options.subject if options.subject in PEERS else ""
    recorder = Recorder(folder)
    recorder.note("run", **engine.facts(found, options.scenario, options.store, links, peer))  # type: ignore[arg-type]
    recorder.close()
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"  {time.monotonic() - began_s:6.1f} s  {text}", flush=True)

    try:
        engine.Engine(found, options.store, links, folder, say, peer).run()
    except NotBiting as error:
        print(f"  inconclusive: {error}", flush=True)
        return EXIT[judge.UNKNOWN]
    return 0


def _compare(options: argparse.Namespace) -> int:
    """leaderd and the peers in one scenario, one after the other; exit 0 whatever the peers do, 1 if leaderd fails."""
    rows, ours = [], []
    for subject, store in [("leaderd", store) for store in KINDS] + [(name, peer.store) for name, peer in PEERS.items()]:
        options.subject = subject
        verdict, run = _run_and_read(options.scenario, store, options)
        ours += [verdict] if subject == "leaderd" else []
        took_s = judge.failover_s(run)
        taken = f"{took_s:.1f} s" if took_s is not None else "never"
        rows.append((subject, store, f"{judge.together_s(run) * 1000:.0f} ms", taken))
    headings = ("subject", "store", "two leaders for", "fail-over")
    print("\n".join(f"| {' | '.join(row)} |" for row in [headings, ("---",) * 4, *rows]))
    return EXIT[judge.worst(ours)]


def _check(options: argparse.Namespace) -> int:
    folder = Path(options.folder)
    name = str(judge.read(folder).facts["scenario"])
    return EXIT[_judged(folder, name)]


def _judged(folder: Path, name: str) -> str:
    run, wanted = judge.read(folder), scenario.load(name)
    checks = judge.judge(run, wanted)
    verdict = judge.worst(check.verdict for check in checks)
    for check in checks:
        print(f"  {check.verdict:<8} {check.name:<18} {check.text}")
    results = {
        "verdict": verdict,
        "checks": [{"name": c.name, "verdict": c.verdict, "text": c.text, "at_ns": c.at_ns} for c in checks],
    }
    (folder / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    found = picture(history.lines(folder))
    print("\n".join(f"  {line}" for line in text.lanes(found)))
    path = page.write(folder, run, wanted, checks, verdict)
    print(f"{verdict}  {story(found)}\n      {path}", flush=True)
    return verdict


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="leaderd-chaos", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="the catalogue")
    listing.set_defaults(do=_list)
    commands.add_parser("schema", help="the JSON schema of a scenario file").set_defaults(do=_schema)
    commands.add_parser("doctor", help="what this machine can do").set_defaults(do=_doctor)
    running = commands.add_parser("run", help="run a scenario, or all of them")
    running.add_argument("scenario", nargs="?")
    running.add_argument("--all", action="store_true")
    running.add_argument("--store", choices=KINDS, help="default: every store of the scenario")
    running.add_argument("--out", default=RUNS, help="where run folders go (default: %(default)s)")
    running.add_argument("--fail-fast", action="store_true")
    running.add_argument("--subject", choices=["leaderd", *PEERS], default="leaderd", help="default: %(default)s")
    running.set_defaults(do=_run)
    comparing = commands.add_parser("compare", help="leaderd and the tools used today, in one scenario")
    comparing.add_argument("scenario")
    comparing.add_argument("--out", default=RUNS, help="where run folders go (default: %(default)s)")
    comparing.set_defaults(do=_compare)
    inside = commands.add_parser("inside")
    inside.add_argument("scenario")
    inside.add_argument("--store", required=True)
    inside.add_argument("--folder", required=True)
    inside.add_argument("--subject", default="leaderd")
    inside.set_defaults(do=_inside)
    checking = commands.add_parser("check", help="judge a run again by its history")
    checking.add_argument("folder")
    checking.set_defaults(do=_check)
    return parser
