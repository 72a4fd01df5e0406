"""A scenario on a cluster of the user's own (`substrates/attach.py`): `attach`, and `rollback` after a run that was killed."""

from __future__ import annotations

import argparse
import platform
import shlex
import signal
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from chaos import judge, scenario, stores, verdicts
from chaos.bed import NoSuchRole
from chaos.faults import NotBiting
from chaos.history import Recorder, now_ns
from chaos.probe import Probe
from chaos.report import summary
from chaos.scenario import AwaitLeader, AwaitNobody, Heal, Hold, Inject, Scenario, Step, seconds
from chaos.substrates import CannotInject, attach
from chaos.substrates.attach import Instance, Kind, Rollback, Targets
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

    def __init__(self, targets: Targets, found: Scenario, folder: Path, say: Say) -> None:
        self._targets = targets
        self._scenario = found
        self._say = say
        self._rollback = Rollback(folder)
        self._recorder = Recorder(folder)
        self._ttl_s = parse_duration(targets.ttl)
        self._bound_s = stores.bound_s(targets.store, self._ttl_s, store_disturbed=False)
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
            "seed": 0,
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
        kind, role = wanted
        whom = self._who(role)
        self._led_before = self._leading() or self._led_before
        text = f"{kind}: {' '.join(each.name for each in whom)}"
        numbers: list[int] = []
        self._in_force[step.name] = (text, numbers)
        for each in whom:
            action = each.actions[kind]
            numbers.append(self._rollback.begin(f"{kind} of {each.name}", action.undo))
            error = attach.run(action.do)
            if error is not None:
                raise CannotInject(f"the command for {kind} of {each.name} failed: {error}")
        targets = [each.name for each in whom]
        self._recorder.note("fault", name=step.name, text=text, targets=targets, led=self._led_before)
        seen = self._bites(kind, targets)
        self._recorder.note("bites", name=step.name, seen=seen)
        self._say(f"{text}; verified: {seen}")

    def _bites(self, kind: Kind, names: list[str]) -> str:
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


def command(options: argparse.Namespace) -> int:
    """`attach TARGETS SCENARIO --allow HOST...`; the exit codes are those of `run`."""
    targets = attach.load(Path(options.targets))
    found = scenario.for_store(scenario.load(options.scenario), targets.store)
    attach.check_able(targets, found)
    if options.dry_run:
        return _tell(targets, found)
    attach.check_allowed(targets, options.allow)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    folder = (Path(options.out) / f"{stamp}-{Path(options.scenario).stem}-attach").absolute()
    folder.mkdir(parents=True)
    (folder / verdicts.SCENARIO).write_text(scenario.text(found), encoding="utf-8")
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"  {time.monotonic() - began_s:6.1f} s  {text}", flush=True)

    with _interruptible():
        try:
            Attached(targets, found, folder, say).run(options.scenario)
        except NotBiting as error:
            say(f"inconclusive: {error}")
    codes = {judge.PASS: 0, judge.FAIL: 1, judge.UNKNOWN: 2}
    code = codes[verdicts.judged(folder, print, took_s=time.monotonic() - began_s)]
    print(f"all runs: {summary.write(folder.parent)}")
    return code


def rollback(options: argparse.Namespace) -> int:
    """`rollback RUN_DIR`: undo what a run that was killed could not."""
    if not (Path(options.folder) / attach.FILE).exists():
        raise scenario.ScenarioError(f"{options.folder} is no folder of an attached run that had broken anything")
    for name in Rollback(Path(options.folder)).undo() or ["nothing: all of it has been undone"]:
        print(f"rolled back: {name}")
    return 0


def _tell(targets: Targets, found: Scenario) -> int:
    """What may be run where; nothing is."""
    kinds = {wanted[0] for step in found.method if isinstance(step, Inject) and (wanted := attach.action_of(step)) is not None}
    for each in targets.instances:
        for kind in sorted(kinds):
            action = each.actions[kind]
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
