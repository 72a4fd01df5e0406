"""The faults: what can strike a host, the network, the store, and what an operator can do. Each is a few lines on the `Fleet`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from leaderd.election.commands import Claim, Renew, Stand
from leaderd.election.events import ResignRequested, StandRequested

from tests.sim.host import Host

if TYPE_CHECKING:
    from tests.sim.fleet import Fleet
    from tests.sim.plan import Strike
    from tests.sim.stores.cluster import StoreNode

Act = Callable[["Fleet", "Strike"], None]


class Kind(NamedTuple):
    """One kind of fault, and where it makes sense."""

    act: Act
    stores: tuple[str, ...] | None = None
    own_kernel: bool = False
    """Needs hosts with kernels of their own."""
    cluster: bool = False
    """Needs a store of several nodes."""
    weight: int = 1
    """How often it is drawn: what only bites at the right instant, or together with others, oftener."""

    def suits(self, store: str, one_clock: bool) -> bool:
        """Whether it can strike this store."""
        if self.stores is not None and store not in self.stores:
            return False
        return not (self.own_kernel and one_clock) and not (self.cluster and store == "local")


# ---- processes and machines


def freeze(fleet: Fleet, strike: Strike) -> None:
    """SIGSTOP, SIGCONT."""
    host = fleet.host(strike)
    fleet.disturb([host], strike.for_s)
    fleet.note(strike, host.config.name)
    host.freeze(strike.for_s)


def stutter(fleet: Fleet, strike: Strike) -> None:
    """Stopped and let run, over and over: a starved process, a loop that stalls between answer and use."""
    host = fleet.host(strike)
    fleet.disturb([host], strike.for_s)
    fleet.note(strike, host.config.name)
    at_s, end_s = fleet.world.now_s, fleet.world.now_s + strike.for_s
    while at_s < end_s:
        stop_s = (0.05 + strike.dose) * fleet.plan.timing.ttl_s / 4.0
        fleet.world.at(at_s, host.freeze, min(stop_s, end_s - at_s))
        at_s += stop_s + 0.05 + 0.3 * fleet.world.rng.random()


def kill(fleet: Fleet, strike: Strike) -> None:
    """SIGKILL, and a restart later."""
    host = fleet.host(strike)
    back_s = min(strike.for_s, 0.1 + 6.0 * strike.dose)
    fleet.disturb([host], back_s)
    host.kill()
    fleet.world.after(back_s, host.start)


def terminate(fleet: Fleet, strike: Strike) -> None:
    """SIGTERM, and a restart later."""
    host = fleet.host(strike)
    back_s = min(strike.for_s, 0.5 + 8.0 * strike.dose)
    fleet.disturb([host], back_s)
    host.drain()
    fleet.start_again(host, back_s)


def suspend(fleet: Fleet, strike: Strike) -> None:
    """The machine sleeps; CLOCK_BOOTTIME counts on, CLOCK_MONOTONIC does not."""
    host = fleet.host(strike)
    fleet.disturb([host], strike.for_s)
    fleet.note(strike, host.config.name)
    host.suspend(strike.for_s)


def pause_machine(fleet: Fleet, strike: Strike) -> None:
    """The virtual machine is stopped or migrated; no clock of its own counts that."""
    host = fleet.host(strike)
    fleet.disturb([host], strike.for_s)
    fleet.note(strike, host.config.name)
    fleet.pause_machine(host, max(strike.for_s, host.clock.jump_limit_s * 1.01))


def stop_in_renewal(fleet: Fleet, strike: Strike) -> None:
    """Stopped while a renewal is under way, so that its reply lies waiting; then cut off, so that no other follows."""
    host = fleet.host(strike)
    process = host.process
    if process is None:
        return
    ttl_s = fleet.plan.timing.ttl_s
    stop_s = ttl_s * (0.1 + 0.7 * strike.dose)
    machine = not fleet.plan.one_clock and fleet.world.rng.random() < 0.5
    after_s = ttl_s * fleet.world.rng.random() * 1.5
    fleet.disturb([host], 2.0 * ttl_s + stop_s + after_s)

    def stop() -> None:
        fleet.note(strike, host.config.name, "machine" if machine else "process")
        fleet.world.after(fleet.world.rng.random() * 0.01, fleet.pause_machine if machine else Host.freeze, host, stop_s)
        fleet.world.after(0.012, block)

    def block() -> None:
        for node in fleet.cluster.nodes:
            fleet.block(host, host.config.name, node.name, stop_s + after_s, 0.0)

    process.store.on_next.setdefault(Renew, []).append(stop)


# ---- network


def cut(fleet: Fleet, strike: Strike) -> None:
    """Neither requests nor replies pass between a host and the store."""
    _block(fleet, strike, out=True, back=True)


def cut_replies(fleet: Fleet, strike: Strike) -> None:
    """Requests pass and are executed; replies are swallowed."""
    _block(fleet, strike, out=False, back=True)


def cut_requests(fleet: Fleet, strike: Strike) -> None:
    """Replies and notices would pass, requests do not."""
    _block(fleet, strike, out=True, back=False)


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
    _block(fleet, strike, out=False, back=True, keep=1.0)


def hold_requests(fleet: Fleet, strike: Strike) -> None:
    """Requests are held back, and are executed at the end, long after they were given up."""
    _block(fleet, strike, out=True, back=False, keep=1.0)


def _block(fleet: Fleet, strike: Strike, *, out: bool, back: bool, keep: float | None = None) -> None:
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


# ---- store


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


def invalidate_session(fleet: Fleet, strike: Strike) -> None:
    """Consul: a health check fails, the agent leaves: the session ends long before its ttl; the lock-delay must cover it.

    Mostly for a good reason: the host is cut off, and does not hear of it.
    """
    if strike.dose < 0.6:
        _block(fleet, strike, out=True, back=True, keep=0.0)
    fleet.end_session(strike, excused=False)


# ---- operators


def revoke_session(fleet: Fleet, strike: Strike) -> None:
    """An operator ends a session by hand."""
    fleet.end_session(strike, excused=fleet.plan.store != "consul")


def delete_entry(fleet: Fleet, strike: Strike) -> None:
    """An operator deletes a key."""
    election = fleet.election(strike)
    entries = fleet.cluster.entries[election]
    if entries:
        entry = entries[0] if strike.aimed else fleet.world.rng.choice(entries)
        fleet.note(strike, election, entry.name, entry.token)
        fleet.take_away(election, [entry])


def delete_prefix(fleet: Fleet, strike: Strike) -> None:
    """An operator deletes everything in an election's place; half the time the mark too."""
    election = fleet.election(strike)
    fleet.note(strike, election)
    fleet.take_away(election, list(fleet.cluster.entries[election]))
    if strike.dose < 0.5:
        fleet.cluster.marks[election] = 0


def restore_snapshot(fleet: Fleet, strike: Strike) -> None:
    """An operator takes the store back to an old state: counters and marks go down."""
    fleet.note(strike)
    fleet.restore()


def resign(fleet: Fleet, strike: Strike) -> None:
    """An operator has a candidate give its term up, for a while or until told otherwise."""
    host = fleet.host(strike)
    fleet.note(strike, host.config.name)
    _resign(fleet, strike, host, None if strike.dose < 0.2 else strike.dose * 5.0)


def _resign(fleet: Fleet, strike: Strike, host: Host, cooldown_s: float | None, until_s: float = 0.0) -> None:
    process = host.process
    if process is not None:
        election = fleet.election(strike)
        for_s = max(strike.for_s, until_s - fleet.world.now_s) if cooldown_s is None else max(cooldown_s, 1.0)
        fleet.disturb([host], for_s)
        host.run(process, process.deliver, ResignRequested(election, cooldown_s=cooldown_s))
        if cooldown_s is None:
            fleet.world.after(for_s, lambda: host.run(process, process.deliver, StandRequested(election)))


def late_release(fleet: Fleet, strike: Strike) -> None:
    """A leader gives up, and its release is held back by one node, or lost, while the others are there for it to stand again."""
    host = fleet.host(strike)
    process = host.process
    if process is not None:
        node = process.store.node
        keep = 1.0 if strike.dose < 0.7 else 0.0
        fleet.block(host, host.config.name, node.name, strike.for_s, keep)
        fleet.note(strike, host.config.name, node.name)
        _resign(fleet, strike, host, None if strike.dose > 0.8 else 0.0)


def resign_in_claim(fleet: Fleet, strike: Strike) -> None:
    """Whoever claims next is told to resign while the claim is under way."""
    election = fleet.election(strike)
    used: list[Host] = []

    def arm(host: Host) -> None:
        process = host.process
        if process is not None:
            process.store.on_next.setdefault(Claim, []).append(lambda: fleet.world.after(0.004 * strike.dose, go, host))

    def go(host: Host) -> None:
        process = host.process
        if process is not None and not used:
            used.append(host)
            fleet.note(strike, host.config.name)
            fleet.disturb([host], 1.0)
            host.run(process, process.deliver, ResignRequested(election, cooldown_s=3.0 * strike.dose))

    for host in fleet.hosts:
        arm(host)
    leader = fleet.host(strike)
    fleet.note(strike, leader.config.name)
    _resign(fleet, strike, leader, 1.0)


def hold_in_stand(fleet: Fleet, strike: Strike) -> None:
    """A candidate stands again, and from that instant its requests are held back: created, withdrawn, created, in any order."""
    host = fleet.host(strike)
    process = host.process
    if process is not None:
        fleet.note(strike, host.config.name)
        hold_s = fleet.plan.timing.ttl_s * (0.2 + 0.4 * strike.dose)

        def hold() -> None:
            fleet.note(strike, host.config.name, "stands")
            for node in fleet.cluster.nodes:
                fleet.block(host, host.config.name, node.name, hold_s, 1.0)

        process.store.on_next.setdefault(Stand, []).append(hold)
        _resign(fleet, strike, host, 0.2)


def deaf_heir(fleet: Fleet, strike: Strike) -> None:
    """The next in the queue hears nothing any more, though it is heard; then the leader dies."""
    cluster, election = fleet.cluster, fleet.election(strike)
    entries = cluster.entries[election]
    heir = next((host for host in fleet.hosts if len(entries) > 1 and fleet.holds(host, entries[1].sid)), None)
    leader = next((host for host in fleet.hosts if entries and fleet.holds(host, entries[0].sid)), None)
    if heir is not None and leader is not None and leader is not heir:
        fleet.note(strike, heir.config.name, leader.config.name)
        for_s = max(strike.for_s, fleet.plan.heal_s - fleet.world.now_s)
        for node in cluster.nodes:
            fleet.block(heir, node.name, heir.config.name, for_s, 0.0)
        fleet.disturb([leader], for_s)
        fleet.world.after(fleet.plan.timing.ttl_s * strike.dose, leader.kill)
        fleet.world.after(for_s, leader.start)


KINDS: dict[str, Kind] = {
    "freeze": Kind(freeze, weight=2),
    "stutter": Kind(stutter),
    "kill": Kind(kill),
    "terminate": Kind(terminate),
    "suspend": Kind(suspend, own_kernel=True),
    "pause_machine": Kind(pause_machine, own_kernel=True, weight=2),
    "stop_in_renewal": Kind(stop_in_renewal, weight=3),
    "cut": Kind(cut, weight=2),
    "cut_replies": Kind(cut_replies, weight=2),
    "cut_requests": Kind(cut_requests),
    "cut_node": Kind(cut_node, cluster=True),
    "hold_replies": Kind(hold_replies),
    "hold_requests": Kind(hold_requests),
    "lose": Kind(lose),
    "slow": Kind(slow),
    "isolate_store_node": Kind(isolate_store_node, cluster=True, weight=3),
    "stuck_leader": Kind(stuck_leader, stores=("etcd", "consul"), weight=2),
    "pause_store_node": Kind(pause_store_node),
    "crash_store_node": Kind(crash_store_node),
    "lose_majority": Kind(lose_majority),
    "silence_then_crash": Kind(silence_then_crash, stores=("zookeeper",), weight=6),
    "change_store_leader": Kind(change_store_leader, cluster=True),
    "invalidate_session": Kind(invalidate_session, stores=("consul",), weight=3),
    "revoke_session": Kind(revoke_session),
    "delete_entry": Kind(delete_entry, weight=2),
    "delete_prefix": Kind(delete_prefix, weight=2),
    "restore_snapshot": Kind(restore_snapshot, weight=2),
    "resign": Kind(resign),
    "late_release": Kind(late_release, weight=3),
    "resign_in_claim": Kind(resign_in_claim, weight=2),
    "hold_in_stand": Kind(hold_in_stand, weight=2),
    "deaf_heir": Kind(deaf_heir, stores=("local", "etcd", "zookeeper"), weight=2),
}


def _node(fleet: Fleet, strike: Strike) -> StoreNode:
    """The store's leader, or the node a leader is connected to, or any."""
    cluster = fleet.cluster
    if strike.aimed and cluster.leader is not None and strike.dose < 0.6:
        return cluster.leader
    host: Host = fleet.host(strike)
    if strike.aimed and host.process is not None:
        return host.process.store.node
    return fleet.world.rng.choice(cluster.nodes)
