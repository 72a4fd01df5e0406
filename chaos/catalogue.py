"""What there is to be run, what each needs and takes, and what this machine can do: `list` and `doctor`."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path

from chaos import engine, leftovers, scenario, stores
from chaos.faults import Fault
from chaos.faults.memory import OutOfMemory
from chaos.faults.packets import Throttle
from chaos.faults.strained import Disk
from chaos.running import EXIT, SUBSTRATES
from chaos.runs import BROKEN
from chaos.scenario import AwaitLeader, Hold, Inject, Scenario, seconds
from chaos.stores import KINDS
from chaos.substrates.menu import MENU
from testbed import fetch

NEEDS: dict[str, tuple[type[Fault], Callable[[], str | None]]] = {
    "strace": (Disk, Disk(at="stores").available),
    "tc": (Throttle, Throttle(at="leader", kbit=64).available),
    "cgroup": (OutOfMemory, OutOfMemory().available),
}
"""What some faults need besides the substrate: which fault, and why this machine does not have it, or None if it does."""
_START_S = {"etcd": 5.0, "zookeeper": 7.0, "consul": 10.0}
"""How long the store and three pods take to come up, about."""
_A_POD_S = 0.5
_END_S = 3.0


def needs(found: Scenario) -> list[str]:
    """What of `NEEDS` a scenario cannot do without."""
    faults = {type(step.fault) for step in found.method if isinstance(step, Inject)}
    return [word for word, (fault, _) in NEEDS.items() if fault in faults]


def substrates(found: Scenario) -> list[str]:
    """Those that can carry it out, where they can be used at all."""
    return [name for name, each in MENU.items() if name == "netns" or each.lacks(found) is None]


def takes_s(found: Scenario, store: str) -> float:
    """How long a run of it takes on that store, about: what it holds, and half of what it may wait."""
    ttl_s = stores.ttl_s(store, found.topology.ttl)
    bound_s = stores.bound_s(store, ttl_s, engine.disturbs_store(found))
    took_s = _START_S[store] + max(0, found.topology.candidates - 3) * _A_POD_S + _END_S
    for step in (*found.method, *found.rollback):
        if isinstance(step, Hold):
            took_s += seconds(step.time, ttl_s, bound_s)
        elif isinstance(step, AwaitLeader) and step.other:
            took_s += bound_s / 2
    return took_s


def listing(options: argparse.Namespace) -> int:
    """`list`."""
    print(f"{'scenario':<26} {'takes':>8}  {'runs on':<23} {'needs':<7} what is done")
    for name in scenario.names():
        found = scenario.load(name)
        times = [takes_s(found, store) for store in found.stores]
        took = f"{min(times):.0f}-{max(times):.0f} s" if len(times) > 1 else f"{times[0]:.0f} s"
        only = "" if len(found.stores) == len(KINDS) else f" ({', '.join(found.stores)})"
        smoke = " [smoke]" if found.smoke else ""
        where = " ".join(substrates(found))
        print(f"{name:<26} {took:>8}  {where:<23} {' '.join(needs(found)) or '-':<7} {found.title}{only}{smoke}")
        if options.why:
            print(textwrap.indent(textwrap.fill(found.why.strip(), 120), " " * 10))
    return 0


def doctor(options: argparse.Namespace) -> int:
    """`doctor`: exit 255 if no substrate can be used."""
    able = False
    for name, missing in SUBSTRATES.items():
        reason = missing()
        able = able or reason is None
        print(f"{name:<12} {f'can be used: {MENU[name].text}' if reason is None else f'cannot be used: {reason}'}")
    for name in KINDS:
        reason = fetch.available(name)
        print(f"{name:<12} {'servers are here' if reason is None else reason}")
    for word, (_, available) in NEEDS.items():
        reason = available()
        print(f"{word:<12} {'can be used' if reason is None else reason}; for {', '.join(_with(word))}")
    left = leftovers.find(Path(options.out))
    print(f"left over    {f'{len(left)} folders of runs that were killed: `clean` removes them' if left else 'nothing'}")
    return 0 if able else EXIT[BROKEN]


def _with(word: str) -> list[str]:
    return [name for name in scenario.names() if word in needs(scenario.load(name))]
