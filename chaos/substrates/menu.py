"""The substrates by name: whether this machine can do it, how a run gets into it, and which scenarios it cannot carry out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaos.scenario import Scenario
from chaos.substrates import netns, proxy, sim, sim_faults


@dataclass(frozen=True, slots=True)
class Substrate:
    """One of them. `missing`: why this machine cannot do it, or None if it can; `lacks`: the same of one scenario."""

    text: str
    missing: Callable[[], str | None]
    lacks: Callable[[Scenario], str | None] = lambda found: None
    enter: Callable[[Sequence[str]], list[str]] = list
    """The command line that runs a command in it."""


MENU = {
    "netns": Substrate("each host a network namespace; no root, no containers", netns.missing, enter=netns.enter),
    "proxy": Substrate("everything on loopback, a proxy before each pod; no privileges", proxy.missing, proxy.lacks),
    "sim": Substrate("the simulated world in virtual time, replayed by its seed", sim.missing, sim_faults.lacks),
}
