"""Makes runs: which ones are wanted, each carried out in a process of its own on its substrate, judged, and summed up."""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from chaos import engine, judge, leftovers, runs, scenario, verdicts
from chaos.commit import commit
from chaos.faults import NotBiting
from chaos.history import Recorder
from chaos.report import summary
from chaos.runs import Children, Job, RunList
from chaos.subjects import PEERS
from chaos.substrates import CannotInject, Links
from chaos.substrates.docker import DockerLinks
from chaos.substrates.menu import MENU
from chaos.substrates.netns import NetnsLinks
from chaos.substrates.proxy import ProxyLinks
from testbed.process import StartError

EXIT = {judge.PASS: 0, judge.FAIL: 1, judge.UNKNOWN: 2, runs.BROKEN: 255}
SUBSTRATES = {name: substrate.missing for name, substrate in MENU.items()}
"""By name: why this machine cannot do it, or None if it can."""


def exit_code(found: Sequence[str]) -> int:
    """Of the verdicts of all runs."""
    return EXIT[runs.BROKEN] if runs.BROKEN in found and judge.FAIL not in found else EXIT[judge.worst(found)]


def command(options: argparse.Namespace) -> int:
    """`run`."""
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
    return exit_code([*found, *carry_out(jobs, listed, at_once=options.jobs, fail_fast=options.fail_fast)])


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
    if options.substrate == "docker" and options.subject != "leaderd":
        raise scenario.ScenarioError(f"{options.subject} is in no compose file: only leaderd is")
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
    if not able:
        reasons = {MENU[options.substrate].lacks(found[name]) for name in wanted}
        raise scenario.ScenarioError(f"{options.substrate} can carry out none of them: {'; '.join(map(str, reasons))}")
    if able != wanted:
        print(f"left out, for {options.substrate} cannot do it: {', '.join(name for name in wanted if name not in able)}")
    return able


def _stores(name: str, options: argparse.Namespace) -> list[str]:
    known = scenario.load(name, options.var).stores
    wanted = [PEERS[options.subject].store] if options.subject in PEERS else options.store
    found: list[str] = [each for each in known if not wanted or each in wanted]
    if not found and not (options.all or options.smoke):
        raise scenario.ScenarioError(f"{name} is for {', '.join(known)}, not for {', '.join(wanted)}")
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


def carry_out(jobs: Sequence[Job], listed: RunList, *, at_once: int = 1, fail_fast: bool = False) -> list[str]:
    """All of them, and the files over all runs; returns the verdicts. Ctrl-C and SIGTERM heal, stop everything, and raise."""
    for substrate in {job.substrate for job in jobs}:
        reason = SUBSTRATES[substrate]()
        if reason is not None:
            raise CannotInject(reason)
    children = Children()

    def run_one(job: Job, folder: Path) -> str:
        head = f"{folder.name}: " if at_once > 1 else ""

        def say(line: str) -> None:
            print(f"{head}{line}", flush=True)

        say(job.title)
        (folder / runs.JOB).write_text(json.dumps(asdict(job), indent=2) + "\n", encoding="utf-8")
        found = scenario.for_store(scenario.load(job.scenario, job.variables), job.store)
        (folder / verdicts.SCENARIO).write_text(scenario.text(found), encoding="utf-8")
        began_s = time.monotonic()
        code = children.run(folder, say)
        if code not in (0, EXIT[judge.UNKNOWN]):
            raise StartError(f"the run in {folder} broke off (exit {code}); its logs are there")
        return verdicts.judged(folder, say, took_s=time.monotonic() - began_s)

    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        over = runs.carry_out(jobs, listed, run_one, print, children.interrupt, at_once=at_once, fail_fast=fail_fast)
    finally:
        signal.signal(signal.SIGTERM, before)
        index = summary.write(listed.out)
    print(f"all runs: {index.absolute()}", flush=True)
    return [done.verdict for done in over]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def inside(options: argparse.Namespace) -> int:
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
            facts = engine.facts(found, job.scenario, job.store, job.substrate, peer, job.seed) | {"commit": commit()}
            if job.substrate == "sim":
                from chaos.substrates import sim  # not at the top: it imports the tests

                sim.carry_out(found, job.store, job.seed, folder, facts, say)
                return 0
            hosts = engine.hosts(found)
            links = _links(job, hosts)
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


def _links(job: Job, hosts: Sequence[str]) -> Links:
    match job.substrate:
        case "proxy":
            return ProxyLinks(hosts, job.store)
        case "docker":
            return DockerLinks(job.store)
        case _:
            return NetnsLinks(hosts)
