"""The substrates by name: whether this machine can do it, how a run gets into it, and which scenarios it cannot carry out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaos.scenario import Inject, Scenario, Workload
from chaos.substrates import docker, netns, proxy
from testbed import checkout


@dataclass(frozen=True, slots=True)
class Substrate:
    """One of them. `missing`: why this machine cannot do it, or None if it can; `lacks`: the same of one scenario."""

    text: str
    missing: Callable[[], str | None]
    lacks: Callable[[Scenario], str | None] = lambda found: None
    enter: Callable[[Sequence[str]], list[str]] = list
    """The command line that runs a command in it."""


def _netns_lacks(found: Scenario) -> str | None:
    """The network can do everything; a fault may need a program that is not here."""
    asked = (getattr(step.fault, "available", None) for step in found.method if isinstance(step, Inject))
    return next((reason for available in asked if available is not None and (reason := available())), None)


def _sim_missing() -> str | None:
    """The simulated world is the one of the tests, which no wheel holds."""
    return None if checkout.root() else "the simulated world is a part of leaderd's tests: run it in a checkout of the source"


def _sim_lacks(found: Scenario) -> str | None:
    reason = _sim_missing()
    if reason is not None:
        return reason
    if found.workload != Workload():
        return "the simulated apps and probes ask as they do: leave the workload out, or use --substrate netns"
    from chaos.substrates import sim_faults  # not at the top: it imports the tests

    return sim_faults.lacks(found)


MENU = {
    "netns": Substrate("each host a network namespace; no root, no containers", netns.missing, _netns_lacks, netns.enter),
    "docker": Substrate("the compose file of the store in a Docker engine, as a project of its own", docker.missing, docker.lacks),
    "proxy": Substrate("everything on loopback, a proxy before each pod; no privileges", proxy.missing, proxy.lacks),
    "sim": Substrate("the simulated world in virtual time, replayed by its seed", _sim_missing, _sim_lacks),
}
