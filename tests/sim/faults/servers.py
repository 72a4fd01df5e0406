"""Faults of the store's own nodes, and of the network between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leaderd.election.commands import Renew
from tests.sim.faults.links import block_all
from tests.sim.host import Host
from tests.sim.stores.cluster import StoreNode

if TYPE_CHECKING:
    from tests.sim.fleet import Fleet
    from tests.sim.plan import Strike


def isolate_store_node(fleet: Fleet, strike: Strike) -> None:
    """A store node is cut off from its peers, while clients stay attached to it: where heartbeats lie."""
    node = _node(fleet, strike)
    fleet.disturb_store(strike.for_s)
    fleet.note(strike, node.name)
    fleet.cluster.cut(node, strike.for_s)


def stuck_leader(fleet: Fleet, strike: Strike) -> None:
    """The store's leader hangs (a stalled disk), is replaced, and goes on answering what needs no quorum all the while."""
    node = fleet.cluster.leader or fleet.cluster.nodes[0]
    fleet.disturb_store(strike.for_s)
    fleet.note(strike, node.name)
    node.leads_until_s = fleet.world.now_s + strike.for_s
    fleet.cluster.cut(node, strike.for_s)


def pause_store_node(fleet: Fleet, strike: Strike) -> None:
    """SIGSTOP of a server, SIGCONT."""
    node = _node(fleet, strike)
    fleet.disturb_store(strike.for_s)
    fleet.note(strike, node.name)
    fleet.cluster.pause(node, strike.for_s)


def crash_store_node(fleet: Fleet, strike: Strike) -> None:
    """A server dies and comes back."""
    node = _node(fleet, strike)
    fleet.disturb_store(strike.for_s)
    fleet.note(strike, node.name)
    fleet.cluster.crash(node, strike.for_s)


def lose_majority(fleet: Fleet, strike: Strike) -> None:
    """Two servers die, or the only one."""
    fleet.disturb_store(strike.for_s)
    fleet.note(strike)
    for node in fleet.cluster.nodes[:2]:
        fleet.cluster.crash(node, strike.for_s)


def silence_then_crash(fleet: Fleet, strike: Strike) -> None:
    """A host stops for most of its lease; the node that hears from it again is lost at once, with what it alone knew.

    It dies; or the two of them are cut off together, as in a rack of their own.
    """
    host = fleet.host(strike)
    process = host.process
    if process is None:
        return
    ttl_s = fleet.plan.timing.ttl_s
    for_s = max(strike.for_s, 1.2 * ttl_s)
    silent_s = ttl_s * (0.45 + 0.2 * strike.dose)

    def stop() -> None:
        fleet.note(strike, host.config.name)
        fleet.disturb_store(silent_s + for_s)
        host.freeze(silent_s)
        fleet.world.after(silent_s, look, fleet.world.now_s + 2.0 * ttl_s, process.store.confirmed)

    def look(until_s: float, heard: int) -> None:
        if process.store.confirmed > heard:
            fleet.disturb_store(for_s)
            if strike.dose < 0.2:
                fleet.cluster.crash(process.store.node, for_s)
                return
            fleet.cluster.cut(process.store.node, for_s)
            for node in fleet.cluster.nodes:
                if node is not process.store.node:
                    fleet.block(host, host.config.name, node.name, for_s, 0.0)
        elif fleet.world.now_s < until_s:
            fleet.world.after(fleet.plan.tick_s / 64.0, look, until_s, heard)

    process.store.on_next.setdefault(Renew, []).append(lambda: fleet.world.after(0.025, stop))


def change_store_leader(fleet: Fleet, strike: Strike) -> None:
    """The store elects another leader of its own."""
    able = [node for node in fleet.cluster.nodes if fleet.cluster.healthy(node)]
    if able and fleet.cluster.leader is not None and fleet.cluster.quorum(fleet.cluster.leader):
        fleet.disturb_store(0.0)
        fleet.cluster.promote(fleet.world.rng.choice(able))


def forgetful_leader(fleet: Fleet, strike: Strike) -> None:
    """Consul: another server leads, and says of sessions that it has not read from its log yet that they do not exist."""
    change_store_leader(fleet, strike)
    fleet.note(strike)
    for session in fleet.cluster.sessions.values():
        session.forgotten_until_s = fleet.world.now_s + (0.1 + strike.dose) * fleet.plan.timing.ttl_s / 2.0


def invalidate_session(fleet: Fleet, strike: Strike) -> None:
    """Consul: a health check fails, the agent leaves: the session ends long before its ttl; the lock-delay must cover it.

    Mostly for a good reason: the host is cut off, and does not hear of it.
    """
    if strike.dose < 0.6:
        block_all(fleet, strike, out=True, back=True, keep=0.0)
    fleet.end_session(strike, excused=False)


def _node(fleet: Fleet, strike: Strike) -> StoreNode:
    """The store's leader, or the node a leader is connected to, or any."""
    cluster = fleet.cluster
    if strike.aimed and cluster.leader is not None and strike.dose < 0.6:
        return cluster.leader
    host: Host = fleet.host(strike)
    if strike.aimed and host.process is not None:
        return host.process.store.node
    return fleet.world.rng.choice(cluster.nodes)
