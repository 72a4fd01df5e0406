"""Faults of the network between a host and the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sim.fleet import Fleet
    from tests.sim.plan import Strike


def cut(fleet: Fleet, strike: Strike) -> None:
    """Neither requests nor replies pass between a host and the store."""
    block_all(fleet, strike, out=True, back=True)


def cut_replies(fleet: Fleet, strike: Strike) -> None:
    """Requests pass and are executed; replies are swallowed."""
    block_all(fleet, strike, out=False, back=True)


def cut_requests(fleet: Fleet, strike: Strike) -> None:
    """Replies and notices would pass, requests do not."""
    block_all(fleet, strike, out=True, back=False)


def cut_node(fleet: Fleet, strike: Strike) -> None:
    """A host loses the one store node it is connected to."""
    host = fleet.host(strike)
    node = host.process.store.node.name if host.process is not None else fleet.cluster.nodes[0].name
    fleet.note(strike, host.config.name, node)
    share = max(0.0, strike.dose - 0.3)
    fleet.block(host, host.config.name, node, strike.for_s, share)
    fleet.block(host, node, host.config.name, strike.for_s, share)


def hold_replies(fleet: Fleet, strike: Strike) -> None:
    """Replies are held back, all of them, and come at the end."""
    block_all(fleet, strike, out=False, back=True, keep=1.0)


def hold_requests(fleet: Fleet, strike: Strike) -> None:
    """Requests are held back, and are executed at the end, long after they were given up."""
    block_all(fleet, strike, out=True, back=False, keep=1.0)


def block_all(fleet: Fleet, strike: Strike, *, out: bool, back: bool, keep: float | None = None) -> None:
    hosts = fleet.hosts if strike.dose < 0.08 else [fleet.host(strike)]
    fleet.note(strike, *(host.config.name for host in hosts))
    share = keep if keep is not None else 0.0 if strike.dose < 0.4 else strike.dose
    for host in hosts:
        for node in fleet.cluster.nodes:
            if out:
                fleet.block(host, host.config.name, node.name, strike.for_s, share)
            if back:
                fleet.block(host, node.name, host.config.name, strike.for_s, share)


def lose(fleet: Fleet, strike: Strike) -> None:
    """A share of all messages is lost: unknown outcomes on every command."""
    hosts = fleet.hosts if strike.dose < 0.3 else [fleet.host(strike)]
    fleet.disturb(hosts, strike.for_s, everybody=True)
    fleet.note(strike, *(host.config.name for host in hosts))
    for host in hosts:
        for node in fleet.cluster.nodes:
            for link in ((host.config.name, node.name), (node.name, host.config.name)):
                fleet.network.lose(link, fleet.world.now_s + strike.for_s, 0.05 + 0.6 * strike.dose)


def slow(fleet: Fleet, strike: Strike) -> None:
    """Messages take long, each its own time."""
    hosts = fleet.hosts if strike.dose < 0.3 else [fleet.host(strike)]
    fleet.disturb(hosts, strike.for_s, everybody=True)
    by_s = fleet.plan.timing.ttl_s * fleet.world.rng.choice((0.05, 0.2, 0.5, 1.5))
    fleet.note(strike, *(host.config.name for host in hosts))
    for host in hosts:
        for node in fleet.cluster.nodes:
            for link in ((host.config.name, node.name), (node.name, host.config.name)):
                fleet.network.slow_down(link, fleet.world.now_s + strike.for_s, by_s)
