"""The simulated world of `tests/sim` under the scenarios' names: the real core, board and runner, in virtual time, from a seed.

A run takes a second or so instead of half a minute, and a seed replays it exactly: the place for hundreds of them. There are no
apps, no resources, no daemon's log; servers and drivers are models. What it writes down is judged by the same judge.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from chaos import stores
from chaos.checkers import without
from chaos.checkers.promises import ROUNDING_S
from chaos.faults.base import NotBiting, NotHealed
from chaos.faults.operator import Delete, Revoke
from chaos.history import Recorder
from chaos.judge import NOTICE_S
from chaos.scenario import AwaitLeader, AwaitNobody, Heal, Hold, Inject, Scenario, Step, seconds
from chaos.substrates.sim_faults import ELECTION, Strikes, Undo
from leaderd.config.relations import make_timing
from leaderd.election.timing import Timing
from tests.sim.fleet import Fleet
from tests.sim.plan import Plan, draw
from tests.sim.stores.cluster import StoreNode

PROMISE_S = 0.3
POLL_EVERY_S = 0.01
_FOR_EVER_S = 1e9
Say = Callable[[str], None]


def plan(found: Scenario, store: str, seed: int) -> Plan:
    """The fleet of a scenario: its candidates and ttl, clocks that differ by as much as the drift allows."""
    base = draw(store, seed)
    topology, drift = found.topology, Timing().drift
    ttl_s = stores.ttl_s(store, topology.ttl)
    chance = random.Random(f"{store} {seed} {found.title}")
    rates = tuple(1.0 + drift / 2.0 * chance.uniform(-1.0, 1.0) for _ in range(topology.candidates + topology.store_nodes))
    return replace(
        base,
        candidates=topology.candidates,
        elections=(ELECTION,),
        timing=make_timing(ttl_s, None, PROMISE_S, None, Timing()),
        one_clock=False,
        rates=rates[: topology.candidates],
        store_rates=rates[topology.candidates :],
        twins=False,
        kinds=(),
        strikes=(),
        tick_s=0.5,
        sync_limit=4,
        reap_after_s=_FOR_EVER_S,
        old_version=False,
    )


@dataclass
class Yes:
    """The last yes of a host: in which process, with which token, until when in true time."""

    holder: str
    until_s: float


class Simulation:
    """One run. Hosts are `c1`, `c2`, ... and `s1`, ... in the history, as elsewhere."""

    def __init__(self, found: Scenario, store: str, seed: int, bound_s: float, recorder: Recorder, say: Say) -> None:
        self._scenario = found
        self._recorder = recorder
        self._say = say
        self._seed = seed
        self.fleet = Fleet(plan(found, store, seed), trace=20_000)
        self._pods = {f"c{number}": host for number, host in enumerate(self.fleet.hosts, 1)}
        self._nodes: dict[str, StoreNode] = {f"s{number}": node for number, node in enumerate(self.fleet.cluster.nodes, 1)}
        self._ttl_s = self.fleet.plan.timing.ttl_s
        self._bound_s = bound_s
        self._said: dict[str, Yes] = {}
        self._in_force: dict[str, tuple[str, Undo, Callable[[], bool]]] = {}
        self._led_before: str | None = None
        self._strikes = Strikes(self.fleet, self._pods, self._nodes, self._leading)
        for name, host in self._pods.items():
            host.on_thaw.append(lambda name=name: self._ask(name))  # type: ignore[misc]

    @property
    def promise_s(self) -> float:
        """For how long a yes may hold in true time: a slow clock's seconds are longer."""
        return PROMISE_S / min(self.fleet.plan.rates) + 1e-6

    def run(self) -> None:
        """From the first start to the end. Raises `NotBiting` and `NoSuchRole`."""
        self._start()
        for step in (*self._scenario.method, *self._scenario.rollback):
            self._carry_out(step)
        self._heal("")
        self._note("step", text="everything is healed")
        self._await(self._leading, self._seconds(self._scenario.expect.recovers_within), "somebody leads")
        self._pass(1.0)
        self._finish()

    # ---- time

    @property
    def _now_s(self) -> float:
        return self.fleet.world.now_s

    def _pass(self, span_s: float) -> None:
        self.fleet.world.run(self._now_s + span_s)

    def _await(self, condition: Callable[[], object], within_s: float, what: str) -> None:
        end_s = self._now_s + within_s
        while not condition():
            if self._now_s >= end_s:
                text = f"not within {within_s:g} s: {what}"
                self._note("missed", text=text)
                self._say(f"IN VAIN: {text}")
                return
            self._pass(POLL_EVERY_S)

    def _seconds(self, span: str) -> float:
        return seconds(span, self._ttl_s, self._bound_s)

    def _note(self, kind: str, **facts: object) -> None:
        self._recorder.note(kind, _ns(self._now_s), **facts)

    # ---- who leads

    def _poll(self) -> None:
        for name in self._pods:
            self._ask(name)
        self.fleet.world.after(POLL_EVERY_S, self._poll)

    def _ask(self, name: str) -> None:
        host = self._pods[name]
        process = host.process
        if process is None or not host.running or process.runner.crashed:
            return
        answer = process.board.answer(ELECTION, host.clock.instant(), promise_s=PROMISE_S)
        facts: dict[str, object] = {"instance": name, "got_ns": _ns(self._now_s), "leader": answer.leader, "state": answer.state}
        facts["life"] = process.holder.partition("#")[2]
        if answer.leader:
            assert answer.token is not None
            assert answer.promised_until_s is not None
            until_s = host.clock.true_s(answer.promised_until_s)
            facts |= {"token": answer.token, "until_ns": _ns(until_s)}
            self._said[name] = Yes(process.holder, until_s)
            self.fleet.evidence.claim(ELECTION, process.holder, answer.token, self._now_s, until_s)
        self._note("poll", **facts)

    def _leading(self, other_than: str | None = None) -> str | None:
        yeses = [name for name, yes in self._said.items() if yes.until_s > self._now_s and name != other_than]
        return yeses[0] if yeses else None

    # ---- the course of it

    def _start(self) -> None:
        world, topology = self.fleet.world, self._scenario.topology
        world.after(0.0, self._poll)
        for number, host in enumerate(self._pods.values()):
            if topology.attach == "one":
                self._strikes.attach(number, host, first_to_leader=topology.first == "store-leader")
            host.start()
            if number == 0:
                self._await(self._leading, 30.0, "the first one leads")
        self._pass(1.0)
        self._note("step", text="the run begins")
        self._say(f"{self._leading()} leads, {topology.candidates} candidates, in virtual time")

    def _carry_out(self, step: Step) -> None:
        match step:
            case Inject():
                self._inject(step)
            case Heal():
                self._heal(step.name)
            case Hold():
                self._hold(self._seconds(step.time), nobody=step.nobody)
            case AwaitLeader():
                other = self._led_before if step.other else None
                self._await(lambda: self._leading(other), self._seconds(step.within), "another one leads" if other else "one leads")
            case AwaitNobody():
                self._await(lambda: self._leading() is None, self._seconds(step.within), "nobody leads")

    def _hold(self, span_s: float, *, nobody: bool) -> None:
        end_s = self._now_s + span_s
        while nobody and self._now_s < end_s:
            if self._leading() is not None:
                self._note("missed", text=f"{self._leading()} leads, where nobody may")
                break
            self._pass(POLL_EVERY_S)
        self._pass(max(0.0, end_s - self._now_s))

    def _inject(self, step: Inject) -> None:
        if self._seed:
            self._pass(self.fleet.world.rng.uniform(0.0, self._ttl_s / 3))
        self._led_before = self._leading() or self._led_before
        by_hand = isinstance(step.fault, (Revoke, Delete))
        text, targets, bites, undo = self._strikes.strike(step)
        more: dict[str, object] = {"breaks_promises": True} if by_hand else {"severs": self._strikes.severs}
        self._note("fault", name=step.name, text=text, targets=targets, led=self._led_before, **more)
        # What was taken by hand does not come back: nothing of it stays in force.
        self._in_force[step.name] = (text, undo, (lambda: False) if by_hand else bites)
        self._await_bite(step.name, text, bites)

    def _await_bite(self, name: str, text: str, bites: Callable[[], bool]) -> None:
        end_s = self._now_s + 10.0
        while not bites():
            if self._now_s >= end_s:
                raise NotBiting(f"{text}: nothing of it is seen")
            self._pass(POLL_EVERY_S)
        self._note("bites", name=name, seen="so it is in the simulated world")
        self._say(f"{self._now_s:.2f} s: {text}")

    def _heal(self, name: str) -> None:
        for each in [name] if name else list(self._in_force):
            if each in self._in_force:
                text, undo, bites = self._in_force.pop(each)
                undo()
                self._note("heal", name=each, text=text)
                self._say(f"{self._now_s:.2f} s: healed: {text}")
                self._await_gone(each, text, bites)

    def _await_gone(self, name: str, text: str, bites: Callable[[], bool]) -> None:
        end_s = self._now_s + 10.0
        while bites():
            if self._now_s >= end_s:
                raise NotHealed(f"{text}: it is still seen")
            self._pass(POLL_EVERY_S)
        self._note("gone", name=name, seen="so it is in the simulated world")

    def _finish(self) -> None:
        """What everybody believed, polled or not, is evidence too, as the daemons' journals are elsewhere."""
        for pod, host in self._pods.items():
            self.fleet.apps[host.config.name].finish()
            if host.crash is not None:
                self._note("error", pod=pod, text=repr(host.crash))
        names = {host.config.name: pod for pod, host in self._pods.items()}
        # The simulated apps ask for promises of any length. What is left of one when an operator has taken the entry away is
        # broken by hand; the judge excuses a second of it, as it does elsewhere.
        evidence = self.fleet.evidence
        broken = [claim._replace(start_s=claim.start_s + NOTICE_S - ROUNDING_S) for claim in evidence.excused()]
        for claim in without(evidence.claims(), broken):
            host_name, _, life = claim.holder.partition("#")
            pod = names[host_name]
            facts = {"instance": pod, "life": life, "election": ELECTION, "token": claim.token, "until_ns": _ns(claim.end_s)}
            self._recorder.note("promise", _ns(claim.start_s), **facts)


def carry_out(found: Scenario, store: str, seed: int, folder: Path, facts: dict[str, object], say: Say) -> None:
    """One run, into its folder. Raises what `Simulation.run` raises."""
    recorder = Recorder(folder)
    simulation = Simulation(found, store, seed, float(str(facts["bound_s"])), recorder, say)
    lease_s = stores.lease_s(store, simulation.fleet.plan.timing.ttl_s) / min(simulation.fleet.plan.rates)
    more = {"journals": True, "promise_s": simulation.promise_s, "lease_s": lease_s, "kernel": "simulated", "virtual": True}
    facts = {**facts, **more}
    recorder.note("run", 0, **facts)
    done = False
    try:
        simulation.run()
        done = True
    finally:
        recorder.note("end" if done else "broken-off", _ns(simulation.fleet.world.now_s))
        recorder.close()
        (folder / "sim.log").write_text("\n".join(simulation.fleet.world.told()) + "\n", encoding="utf-8")


def _ns(at_s: float) -> int:
    return math.floor(at_s * 1e9)
