"""What operators do to the store, and what candidates are told to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leaderd.election.commands import Claim, Stand
from leaderd.election.events import ResignRequested, StandRequested
from tests.sim.host import Host

if TYPE_CHECKING:
    from tests.sim.fleet import Fleet
    from tests.sim.plan import Strike


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


def delete_heir(fleet: Fleet, strike: Strike) -> None:
    """An operator deletes the entry of the next in the queue, and a moment later the leader gives up: somebody else is next."""
    election = fleet.election(strike)
    entries = fleet.cluster.entries[election]
    leader = next((host for host in fleet.hosts if len(entries) > 1 and fleet.holds(host, entries[0].sid)), None)
    if leader is not None:
        fleet.note(strike, election, entries[1].name, entries[1].token)
        fleet.take_away(election, [entries[1]])
        fleet.world.after(0.02 * strike.dose, _resign, fleet, strike, leader, 2.0)
