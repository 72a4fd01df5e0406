"""A scenario on a cluster of the user's own (`substrates/attach.py`): `attach`, and `rollback` after a run that was killed."""

from __future__ import annotations

import argparse
import platform
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from chaos import engine, judge, runs, scenario, stores, verdicts
from chaos.bed import NoSuchRole
from chaos.commit import commit
from chaos.faults import NotBiting
from chaos.history import Recorder, now_ns
from chaos.probe import Probe
from chaos.report import summary
from chaos.scenario import AwaitLeader, AwaitNobody, Heal, Hold, Inject, Scenario, Step, seconds
from chaos.substrates import CannotInject, attach
from chaos.substrates.attach import Instance, Node, Rollback, Targets, Wanted
from leaderd.config.durations import parse_duration
from testbed.process import WaitTimeout, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_EVERY_S = 0.05
"""Sparing: these are somebody's daemons, perhaps at the end of a long line."""
SILENT_S = 1.0
Say = Callable[[str], None]


class Attached:
    """One run. Nothing is started or stopped but by the user's commands, and each of them is undone."""

    def __init__(
        self, targets: Targets, found: Scenario, folder: Path, say: Say, *, seed: int = 0, variables: Sequence[str] = ()
    ) -> None:
        self._targets = targets
        self._more = {"seed": seed, "variables": list(variables)}
        self._say = say
        self._rollback = Rollback(folder)
        self._recorder = Recorder(folder)
        self._ttl_s = parse_duration(targets.ttl)
        self._scenario = scenario.shifted(found, seed, self._ttl_s)
        self._bound_s = stores.bound_s(targets.store, self._ttl_s, engine.disturbs_store(found))
        promise, every_s = found.workload.promise, max(POLL_EVERY_S, parse_duration(found.workload.poll))
        self._probes = {
            each.name: Probe(each.name, Path(each.socket), targets.election, promise, self._recorder, every_s, elsewhere=True)
            for each in targets.instances
        }
        self._in_force: dict[str, tuple[str, list[int]]] = {}
        self._led_before: str | None = None

    def run(self, name: str) -> None:
        """From the first look to the last undoing. Raises what the parts raise, and `RollbackError` where that fails."""
        self._recorder.note("run", **self._facts(name))  # type: ignore[arg-type]
        done = False
        try:
            for probe in self._probes.values():
                probe.start()
            self._say(f"{self._wait_leader(self._bound_s)} leads, {len(self._probes)} instances")
            self._recorder.note("step", text="the run begins")
            for step in (*self._scenario.method, *self._scenario.rollback):
                self._carry_out(step)
            self._heal("")
            self._recorder.note("step", text="everything is healed")
            self._await_leader(self._seconds(self._scenario.expect.recovers_within), other=False)
            self._hold(1.0)
            done = True
        finally:
            with _undisturbed():
                try:
                    self._say("".join(f"rolled back: {each}. " for each in self._rollback.undo()).strip() or "nothing to roll back")
                finally:
                    for probe in self._probes.values():
                        probe.stop()
                    self._recorder.note("end" if done else "broken-off")
                    self._recorder.close()

    def _facts(self, name: str) -> dict[str, object]:
        return {
            "scenario": name,
            "title": self._scenario.title,
            "store": self._targets.store,
            "substrate": "attach",
            "ttl_s": self._ttl_s,
            "bound_s": self._bound_s,
            "subject": "leaderd",
            **self._more,
            "commit": commit(),
            "wall_ns": time.time_ns(),
            "journals": False,
            "promise_s": parse_duration(self._scenario.workload.promise),
            "began_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "kernel": platform.release(),
        }

    # ---- who leads

    def _leading(self, other_than: str | None = None) -> str | None:
        return next((name for name, probe in self._probes.items() if name != other_than and probe.leads()), None)

    def _wait_leader(self, within_s: float, other_than: str | None = None) -> str:
        besides = f" other than {other_than}" if other_than else ""
        return wait_until(lambda: self._leading(other_than), within_s, f"an instance{besides} leads")

    def _who(self, role: str) -> list[Instance]:
        leader = self._leading()
        if leader is None and role != "candidates":
            raise NoSuchRole("nobody leads now")
        everyone = self._targets.instances
        return [each for each in everyone if role == "candidates" or (each.name == leader) is (role == "leader")]

    # ---- the course of it

    def _carry_out(self, step: Step) -> None:
        match step:
            case Inject():
                self._inject(step)
            case Heal():
                self._heal(step.name)
            case Hold():
                self._hold(self._seconds(step.time), nobody=step.nobody)
            case AwaitLeader():
                self._await_leader(self._seconds(step.within), step.other)
            case AwaitNobody():
                self._await(lambda: self._leading() is None, self._seconds(step.within), "nobody leads")

    def _inject(self, step: Inject) -> None:
        wanted = attach.action_of(step)
        assert wanted is not None
        kind = wanted.kind
        whom = self._whom(wanted)
        self._led_before = self._leading() or self._led_before
        text = f"{kind}: {'store node ' if wanted.of_nodes else ''}{' '.join(each.name for each in whom)}"
        numbers: list[int] = []
        self._in_force[step.name] = (text, numbers)
        for each in whom:
            action = _actions(each)[kind]
            numbers.append(self._rollback.begin(f"{kind} of {each.name}", action.undo))
            error = attach.run(action.do)
            if error is not None:
                raise CannotInject(f"the command for {kind} of {each.name} failed: {error}")
        targets = [each.name for each in whom]
        self._recorder.note("fault", name=step.name, text=text, targets=targets, led=self._led_before)
        seen = self._verified(wanted, whom)
        self._recorder.note("bites", name=step.name, seen=seen)
        self._say(f"{text}; verified: {seen}")

    def _whom(self, wanted: Wanted) -> Sequence[Instance | Node]:
        if not wanted.of_nodes:
            return self._who(wanted.role)
        (leader,) = self._who("leader")
        try:
            return attach.nodes_of(self._targets, wanted.role, leader)
        except LookupError as error:
            raise NoSuchRole(str(error)) from None

    def _verified(self, wanted: Wanted, whom: Sequence[Instance | Node]) -> str:
        """By the user's own commands where they say how; else by what the probes see."""
        unseen = [each.name for each in whom if _actions(each)[wanted.kind].verify is None]
        for each in whom:
            verify = _actions(each)[wanted.kind].verify
            if verify is not None:
                _until_verified(f"{wanted.kind}: {each.name}", verify, self._ttl_s + 5.0)
        return self._bites(wanted.kind, unseen) if unseen else "its own command says so"

    def _bites(self, kind: str, names: list[str]) -> str:
        probes = [self._probes[name] for name in names]

        def cut_off() -> bool:
            return all(probe.state not in ("leader", "follower", None) for probe in probes)

        def silent() -> bool:
            return all(now_ns() - probe.heard_ns > SILENT_S * 1e9 for probe in probes)

        try:
            wait_until(cut_off if kind == "cut" else silent, self._ttl_s + 5.0, "the fault shows")
        except WaitTimeout:
            raise NotBiting(f"{kind}: {' '.join(names)} {'still reach the store' if kind == 'cut' else 'still answer'}") from None
        return "they know that they do not reach the store" if kind == "cut" else f"no answer for {SILENT_S:g} s"

    def _heal(self, name: str) -> None:
        for each in [name] if name else list(self._in_force):
            if each in self._in_force:
                text, numbers = self._in_force.pop(each)
                for number in numbers:
                    self._rollback.undo(number)
                self._recorder.note("heal", name=each, text=text)
                self._say(f"healed: {text}")

    def _hold(self, span_s: float, *, nobody: bool = False) -> None:
        self._say(f"{span_s:g} s under observation")
        if not nobody:
            time.sleep(span_s)  # a run is a stretch of real time that is looked at
            return
        try:
            leader = wait_until(self._leading, span_s, "somebody leads, where nobody may")
        except WaitTimeout:
            return
        self._recorder.note("missed", text=f"{leader} leads, where nobody may")

    def _await_leader(self, within_s: float, other: bool) -> None:
        self._await(lambda: self._leading(self._led_before if other else None), within_s, "another leads" if other else "one leads")

    def _await(self, condition: Callable[[], object], within_s: float, what: str) -> None:
        try:
            wait_until(condition, within_s, what)
        except WaitTimeout as error:
            self._recorder.note("missed", text=str(error))
            self._say(f"IN VAIN: {error}")
        else:
            self._say(f"{what}: {self._leading() or 'nobody'}")

    def _seconds(self, span: str) -> float:
        return seconds(span, self._ttl_s, self._bound_s)


def _actions(each: Instance | Node) -> dict[str, attach.Action]:
    return {str(kind): action for kind, action in each.actions.items()}


def _until_verified(what: str, command: Sequence[str], within_s: float) -> None:
    errors: list[str | None] = [None]

    def bites() -> bool:
        errors[0] = attach.run(command)
        return errors[0] is None

    try:
        wait_until(bites, within_s, "the fault shows", every=0.2)
    except WaitTimeout:
        raise NotBiting(f"{what}: {errors[0]}") from None


def command(options: argparse.Namespace) -> int:
    """`attach TARGETS SCENARIO --allow HOST...`; the exit codes are those of `run`."""
    targets = attach.load(Path(options.targets))
    found = scenario.for_store(scenario.load(options.scenario, options.var), targets.store)
    if found.topology != scenario.load(options.scenario).topology:
        raise scenario.ScenarioError("the cluster is yours, so its topology is as it is: --var changes the workload only here")
    attach.check_able(targets, found)
    if options.dry_run:
        return _tell(targets, found)
    attach.check_allowed(targets, found, options.allow)
    listed = runs.RunList(Path(options.out))
    seeds = [options.seed + number for number in range(options.repeat)] if options.seed or options.repeat > 1 else [0]
    verdict_of = []
    try:
        for seed in seeds:
            job = runs.Job(options.scenario, targets.store, substrate="attach", seed=seed, variables=tuple(options.var))
            verdict_of.append(_once(job, targets, found, listed))
    finally:
        if listed.out.exists():
            print(f"all runs: {summary.write(listed.out)}")
    return {judge.PASS: 0, judge.FAIL: 1, judge.UNKNOWN: 2}[judge.worst(verdict_of)]


def _once(job: runs.Job, targets: Targets, found: Scenario, listed: runs.RunList) -> str:
    """One run, from its folder to its verdict. What it raises has been rolled back, and stands in the list as broken off."""
    folder = runs.fresh(listed.out, job)
    (folder / verdicts.SCENARIO).write_text(scenario.text(found), encoding="utf-8")
    began_s = time.monotonic()

    def say(text: str) -> None:
        line = f"  {time.monotonic() - began_s:6.1f} s  {text}"
        print(line, flush=True)
        with (folder / runs.LOG).open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")

    verdict = runs.BROKEN
    try:
        with _interruptible():
            try:
                Attached(targets, found, folder, say, seed=job.seed, variables=job.variables).run(job.scenario)
            except NotBiting as error:
                say(f"inconclusive: {error}")
        verdict = verdicts.judged(folder, print, took_s=time.monotonic() - began_s)
    except (OSError, ValueError, RuntimeError) as error:
        say(f"broke off: {error}")
        raise
    finally:
        listed.finish(runs.Done(job, folder.name, verdict, time.monotonic() - began_s))
    return verdict


def rollback(options: argparse.Namespace) -> int:
    """`rollback RUN_DIR`: undo what a run that was killed could not."""
    if not (Path(options.folder) / attach.FILE).exists():
        raise scenario.ScenarioError(f"{options.folder} is no folder of an attached run that had broken anything")
    for name in Rollback(Path(options.folder)).undo() or ["nothing: all of it has been undone"]:
        print(f"rolled back: {name}")
    return 0


def _tell(targets: Targets, found: Scenario) -> int:
    """What may be run where; nothing is."""
    every = [attach.action_of(step) for step in found.method if isinstance(step, Inject)]
    wanted = {one for one in every if one is not None}
    for of_nodes, everyone in ((False, targets.instances), (True, targets.nodes)):
        for each in everyone:
            for kind in sorted({one.kind for one in wanted if one.of_nodes is of_nodes}):
                action = _actions(each)[kind]
                print(f"{each.host}: {each.name}: {kind}: {shlex.join(action.do)}\n    undone by: {shlex.join(action.undo)}")
    print("nothing was done")
    return 0


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _interruptible() -> Iterator[None]:
    """The first signal rolls back."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """More signals change nothing while we roll back."""

    def told(number: int, frame: FrameType | None) -> None:
        print("rolling back; please wait", file=sys.stderr)

    before = {number: signal.signal(number, told) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
