"""The whole store comes back without any data, while promises are outstanding that it has forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.host import Host, Process

if TYPE_CHECKING:
    from tests.sim.fleet import Fleet
    from tests.sim.plan import Strike

BACK_S = 3.0


def wipe(fleet: Fleet, strike: Strike) -> None:
    """All servers go down, and come up empty, but for their numbers: that those fall is another matter (`restore_snapshot`).

    Who was in touch with the store until then finds its session gone, or expires in silence, and knows what that may mean. Whoever
    has no memory of the store, because it came up later or had lost touch before, cannot know: then promises are excused.
    """
    cluster, world, ttl_s = fleet.cluster, fleet.world, fleet.plan.timing.ttl_s
    down_s = ttl_s * 1.5 * strike.dose
    fleet.note(strike, f"down for {down_s:.3f} s")
    fleet.disturb_store(down_s + 3.0 * ttl_s + BACK_S)
    forgotten = [(name, entry.token) for name, entries in cluster.entries.items() for entry in entries]
    over_s = world.now_s + 1.2 * ttl_s + 0.1

    def excuse() -> None:
        left_s = over_s - world.now_s
        if left_s > 0.0:
            for election, token in forgotten:
                fleet.evidence.excuse(election, token, world.now_s, left_s, proven=True)

    def came_up(process: Process) -> None:
        excuse()

    if not all(in_touch(host) for host in fleet.hosts):
        excuse()
    for host in fleet.hosts:
        host.on_life.append(came_up)
    for node in cluster.nodes:
        cluster.crash(node, down_s)
    cluster.forget()


def in_touch(host: Host) -> bool:
    """Whether the daemon there, if one runs, has heard from the store within a renewal period."""
    process = host.process
    if process is None:
        return True
    session = process.core.session
    confirmed_s = session.confirmed_sent_s
    return session.live and confirmed_s is not None and host.clock.now_s() - confirmed_s <= session.period_s
