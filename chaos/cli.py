"""`leaderd-chaos`: what one types, and the exit codes: 0 pass, 1 fail, 2 unknown, 254 usage, 255 the harness itself."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from chaos import attached, compare, engine, explore, history, judge, leftovers, runs, scenario, verdicts
from chaos.bed import NoSuchRole
from chaos.faults import NotBiting
from chaos.history import Recorder
from chaos.report import results, summary
from chaos.runs import Children, Job, RunList
from chaos.stores import KINDS
from chaos.subjects import PEERS
from chaos.substrates import CannotInject, Links, sim
from chaos.substrates.attach import RollbackError
from chaos.substrates.menu import MENU
from chaos.substrates.netns import NetnsLinks
from chaos.substrates.proxy import ProxyLinks
from testbed import fetch
from testbed.fetch import FetchError
from testbed.process import StartError, WaitTimeout

EXIT = {judge.PASS: 0, judge.FAIL: 1, judge.UNKNOWN: 2, runs.BROKEN: 255}
EXIT_USAGE, EXIT_HARNESS = 254, 255
RUNS = "chaos-runs"
EXPLORED = "explored"
SUBSTRATES = {name: substrate.missing for name, substrate in MENU.items()}
"""By name: why this machine cannot do it, or None if it can."""


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
    except BrokenPipeError:
        sys.stdout = None  # whoever read us has seen enough; nothing is left to be flushed into the pipe
        return EXIT_HARNESS
    except (OSError, ValueError, FetchError, StartError, WaitTimeout, CannotInject, NoSuchRole, RollbackError) as error:
        print(f"leaderd-chaos: {error}", file=sys.stderr)
        return EXIT_HARNESS
    except KeyboardInterrupt:
        print("leaderd-chaos: interrupted; what was broken is healed. `run --resume` goes on from here", file=sys.stderr)
        return EXIT_HARNESS


def _list(options: argparse.Namespace) -> int:
    for name in scenario.names():
        found = scenario.load(name)
        stores = "" if len(found.stores) == len(KINDS) else f" ({', '.join(found.stores)})"
        print(f"{name:<28} {'smoke' if found.smoke else '':<6} {found.title}{stores}")
    return 0


def _schema(options: argparse.Namespace) -> int:
    print(json.dumps(scenario.schema(), indent=2))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    able = False
    for name, missing in SUBSTRATES.items():
        reason = missing()
        able = able or reason is None
        print(f"{name:<12} {'can be used' if reason is None else reason}")
    for name in KINDS:
        reason = fetch.available(name)
        print(f"{name:<12} {'servers are here' if reason is None else reason}")
    left = leftovers.find(Path(options.out))
    print(f"left over    {f'{len(left)} folders of runs that were killed: `clean` removes them' if left else 'nothing'}")
    return 0 if able else EXIT_HARNESS


def _run(options: argparse.Namespace) -> int:
    out = Path(options.out)
    listed = RunList(out)
    if options.resume and options.scenario is None and not (options.all or options.smoke):
        jobs = listed.missing()
        if not listed.wanted():
            raise scenario.ScenarioError(f"{out} has no list of runs to resume: name a scenario, or give --all")
    else:
        jobs = _jobs(options)
        if options.resume:
            over = [each.job for each in listed.done() if each.verdict != runs.BROKEN]
            jobs = [job for job in jobs if job not in over]
        elif not options.dry_run:
            out.mkdir(parents=True, exist_ok=True)
            listed.begin(jobs)
    if options.dry_run:
        return _dry_run(jobs)
    found = [each.verdict for each in listed.done(since_last=True) if each.job not in jobs] if options.resume else []
    out.mkdir(parents=True, exist_ok=True)
    return _exit([*found, *_carry_out(jobs, listed, options)])


def _exit(found: Sequence[str]) -> int:
    return EXIT[runs.BROKEN] if runs.BROKEN in found and judge.FAIL not in found else EXIT[judge.worst(found)]


def _jobs(options: argparse.Namespace) -> list[Job]:
    names = _names(options)
    seeds = [options.seed + number for number in range(options.repeat)] if options.seed or options.repeat > 1 else [0]
    return [
        Job(name, store, options.subject, options.substrate, seed, tuple(options.var))
        for seed in seeds
        for name in names
        for store in _stores(name, options)
    ]


def _names(options: argparse.Namespace) -> list[str]:
    """The scenarios that are asked for; of several, those that the substrate can carry out."""
    if options.substrate == "sim" and options.subject != "leaderd":
        raise scenario.ScenarioError(f"{options.subject} cannot be simulated: there is a model of leaderd only")
    if not (options.all or options.smoke):
        if options.scenario is None:
            raise scenario.ScenarioError("name a scenario, or give --all or --smoke")
        reason = MENU[options.substrate].lacks(scenario.load(options.scenario, options.var))
        if reason is not None:
            raise scenario.ScenarioError(f"{options.scenario} cannot be carried out by {options.substrate}: {reason}")
        return [options.scenario]
    found = {name: scenario.load(name, options.var) for name in scenario.names()}
    wanted = [name for name, each in found.items() if each.smoke or options.all]
    able = [name for name in wanted if MENU[options.substrate].lacks(found[name]) is None]
    if able != wanted:
        print(f"left out, for {options.substrate} cannot do it: {', '.join(name for name in wanted if name not in able)}")
    return able


def _stores(name: str, options: argparse.Namespace) -> list[str]:
    known = scenario.load(name, options.var).stores
    wanted = PEERS[options.subject].store if options.subject in PEERS else options.store
    found: list[str] = [each for each in known if wanted in (None, each)]
    if not found and not (options.all or options.smoke):
        raise scenario.ScenarioError(f"{name} is for {', '.join(known)}, not for {wanted}")
    return found


def _dry_run(jobs: Sequence[Job]) -> int:
    """Say what would be done; nothing is started."""
    for job in jobs:
        found = scenario.load(job.scenario, job.variables)
        topology = found.topology
        print(f"{job.title}\n  {topology.store_nodes} store nodes, {topology.candidates} candidates, ttl at least {topology.ttl}")
        for step in found.method:
            print(f"  {step}")
    print(f"{len(jobs)} runs; nothing was done")
    return 0


def _carry_out(jobs: Sequence[Job], listed: RunList, options: argparse.Namespace) -> list[str]:
    for substrate in {job.substrate for job in jobs}:
        reason = SUBSTRATES[substrate]()
        if reason is not None:
            raise CannotInject(reason)
    children = Children()

    def run_one(job: Job, folder: Path) -> str:
        head = f"{folder.name}: " if options.jobs > 1 else ""

        def say(line: str) -> None:
            print(f"{head}{line}", flush=True)

        say(job.title)
        (folder / runs.JOB).write_text(json.dumps(asdict(job), indent=2) + "\n", encoding="utf-8")
        found = scenario.load(job.scenario, job.variables)
        (folder / verdicts.SCENARIO).write_text(scenario.text(found), encoding="utf-8")
        began_s = time.monotonic()
        code = children.run(folder, say)
        if code not in (0, EXIT[judge.UNKNOWN]):
            raise StartError(f"the run in {folder} broke off (exit {code}); its logs are there")
        return verdicts.judged(folder, say, took_s=time.monotonic() - began_s)

    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        over = runs.carry_out(jobs, listed, run_one, print, children.interrupt, at_once=options.jobs, fail_fast=options.fail_fast)
    finally:
        signal.signal(signal.SIGTERM, before)
        index = summary.write(listed.out)
    print(f"all runs: {index.absolute()}", flush=True)
    return [done.verdict for done in over]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _inside(options: argparse.Namespace) -> int:
    """What runs inside the namespaces. The first signal heals; more of them change nothing."""

    def once(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, once)
    folder = Path(options.folder)
    job = runs.job_of(json.loads((folder / runs.JOB).read_text(encoding="utf-8")))
    found = scenario.load(str(folder / verdicts.SCENARIO))
    peer = job.subject if job.subject in PEERS else ""
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"  {time.monotonic() - began_s:6.1f} s  {text}", flush=True)

    with leftovers.hold(folder):
        try:
            facts = engine.facts(found, job.scenario, job.store, job.substrate, peer, job.seed)
            if job.substrate == "sim":
                sim.carry_out(found, job.store, job.seed, folder, facts, say)
                return 0
            hosts = engine.hosts(found)
            links: Links = ProxyLinks(hosts, job.store) if job.substrate == "proxy" else NetnsLinks(hosts)
            recorder = Recorder(folder)
            recorder.note("run", **facts, wall_ns=time.time_ns())  # type: ignore[arg-type]
            recorder.close()
            engine.Engine(found, job.store, links, folder, say, peer, seed=job.seed).run()
        except NotBiting as error:
            say(f"inconclusive: {error}")
            return EXIT[judge.UNKNOWN]
        except KeyboardInterrupt:
            say("interrupted; everything is healed and stopped")
            return runs.INTERRUPTED
    return 0


def _explore(options: argparse.Namespace) -> int:
    """Scenarios composed at random; the file of each that does not pass stays, to be run again."""
    listed = RunList(Path(options.out))
    folder = listed.out / EXPLORED
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for number in range(options.seed, options.seed + options.runs):
        path = folder / f"explored-{number}.yaml"
        path.write_text(scenario.text(explore.compose(number)), encoding="utf-8")
        jobs += [Job(str(path), store) for store in KINDS if options.store in (None, store)]
    listed.begin(jobs)
    options.fail_fast = False
    found = _carry_out(jobs, listed, options)
    over = listed.done(since_last=True)
    for name in {job.scenario for job in jobs}:
        bad = [done.job.store for done in over if done.job.scenario == name and done.verdict != judge.PASS]
        for store in bad:
            print(f"to run it again: run {name} --store {store}")
        if not bad:
            Path(name).unlink()
    return _exit(found)


def _compare(options: argparse.Namespace) -> int:
    """Exit 0 whatever the peers do, 1 if leaderd fails."""
    scenario.load(options.scenario)
    jobs = compare.jobs(options.scenario, options.subject)
    listed = RunList(Path(options.out))
    listed.out.mkdir(parents=True, exist_ok=True)
    listed.begin(jobs)
    options.jobs, options.fail_fast = 1, False
    _carry_out(jobs, listed, options)
    print(compare.table(compare.rows(options.scenario, listed.done(), listed.out)))
    return _exit([done.verdict for done in listed.done(since_last=True) if done.job.subject == "leaderd"])


def _check(options: argparse.Namespace) -> int:
    return EXIT[verdicts.judged(Path(options.folder), print)]


def _report(options: argparse.Namespace) -> int:
    folder = Path(options.folder)
    if (folder / history.FILE).exists():
        verdicts.judged(folder, lambda line: None)
        print(folder / "report.html")
        return 0
    if not results.results(folder):
        raise scenario.ScenarioError(f"{folder} is neither a run's folder nor one of judged runs: `run --out` makes them")
    print(summary.write(folder))
    return 0


def _diff(options: argparse.Namespace) -> int:
    worse, lines = verdicts.diff(Path(options.before), Path(options.after))
    print("\n".join(lines))
    return EXIT[judge.FAIL] if worse else 0


def _clean(options: argparse.Namespace) -> int:
    for path in leftovers.remove(Path(options.out)):
        print(f"removed {path}")
    return 0


def _at_least_one(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="leaderd-chaos", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(do=do)
        return added

    def out(added: argparse.ArgumentParser) -> None:
        added.add_argument("--out", default=RUNS, help="where run folders are (default: %(default)s)")

    command("list", _list, "the catalogue")
    command("schema", _schema, "the JSON schema of a scenario file")
    out(command("doctor", _doctor, "what this machine can do"))
    running = command("run", _run, "run a scenario, or all of them")
    running.add_argument("scenario", nargs="?", help="a name of the catalogue, or a path that ends in .yaml")
    running.add_argument("--all", action="store_true", help="the whole catalogue")
    running.add_argument("--smoke", action="store_true", help="the few that run at every change")
    running.add_argument("--store", choices=KINDS, help="default: every store of the scenario")
    running.add_argument("--substrate", choices=SUBSTRATES, default="netns", help="default: %(default)s")
    running.add_argument("--subject", choices=["leaderd", *PEERS], default="leaderd", help="default: %(default)s")
    running.add_argument("--seed", type=int, default=0, help="puts faults off by up to a third of the ttl; 0: not at all")
    running.add_argument("--repeat", type=_at_least_one, default=1, metavar="N", help="N times, with seeds SEED, SEED+1, ...")
    running.add_argument("--var", action="append", default=[], metavar="NAME=VALUE", help="another value in the topology")
    running.add_argument("--jobs", type=_at_least_one, default=1, metavar="N", help="so many runs at a time (default: 1)")
    running.add_argument("--dry-run", action="store_true", help="say what would be done")
    running.add_argument("--fail-fast", action="store_true", help="begin none after one that did not pass")
    running.add_argument("--resume", action="store_true", help="only what has no verdict in --out yet; alone: the last list")
    out(running)
    exploring = command("explore", _explore, "scenarios composed at random, each from a seed; what fails stays as a scenario file")
    exploring.add_argument("--seed", type=int, default=1, help="the first one (default: %(default)s)")
    exploring.add_argument("--runs", type=_at_least_one, default=1, metavar="N", help="how many seeds (default: %(default)s)")
    exploring.add_argument("--store", choices=KINDS, help="default: all of them")
    exploring.add_argument("--jobs", type=_at_least_one, default=1, metavar="N", help="so many runs at a time (default: 1)")
    out(exploring)
    comparing = command("compare", _compare, "leaderd and the tools used today, in one scenario")
    comparing.add_argument("scenario")
    comparing.add_argument(
        "--subject", action="append", choices=["leaderd", *PEERS], default=[], help="only this one; may be repeated; default: all"
    )
    out(comparing)
    _attach_parsers(command, out)
    inside = commands.add_parser("inside")
    inside.add_argument("folder")
    inside.set_defaults(do=_inside)
    command("check", _check, "judge a run again by its history").add_argument("folder")
    command("report", _report, "write the report of a run, or the index over a folder of runs").add_argument("folder")
    differing = command("diff", _diff, "two runs side by side; exit 1 if a check is worse in the second")
    differing.add_argument("before")
    differing.add_argument("after")
    out(command("clean", _clean, "remove what killed runs left behind"))
    return parser


def _attach_parsers(
    command: Callable[[str, object, str], argparse.ArgumentParser], out: Callable[[argparse.ArgumentParser], None]
) -> None:
    attaching = command("attach", attached.command, "a scenario on a cluster of your own, by your own commands; undone in any case")
    attaching.add_argument("targets", help="the file that tells the instances and what may be done to them")
    attaching.add_argument("scenario")
    attaching.add_argument(
        "--allow", action="append", default=[], metavar="HOST", help="each host that may be touched; refused without"
    )
    attaching.add_argument("--dry-run", action="store_true", help="say what would be run where")
    out(attaching)
    command("rollback", attached.rollback, "undo what an attached run that was killed has left broken").add_argument("folder")
