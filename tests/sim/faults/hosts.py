"""Faults of processes and machines: stopped, killed, asleep, at the worst of moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leaderd.election.commands import OpenSession, Renew
from tests.sim.host import Host, Process

if TYPE_CHECKING:
    from tests.sim.fleet import Fleet
    from tests.sim.plan import Strike


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


def hiccups(fleet: Fleet, strike: Strike) -> None:
    """The virtual machine is stopped again and again, each time for too short to be noticed by itself; then nothing is heard."""
    host = fleet.host(strike)
    for_s = max(strike.for_s, fleet.plan.timing.ttl_s)
    fleet.disturb([host], for_s)
    fleet.note(strike, host.config.name)
    for node in fleet.cluster.nodes:
        fleet.block(host, host.config.name, node.name, for_s, 0.0)
    at_s, end_s = fleet.world.now_s, fleet.world.now_s + for_s
    while at_s < end_s:
        stop_s = host.clock.jump_limit_s * (0.6 + 0.39 * fleet.world.rng.random())
        fleet.world.at(at_s, fleet.pause_machine, host, stop_s)
        at_s += stop_s + 0.05 + 0.3 * fleet.world.rng.random()


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


def stop_in_opening(fleet: Fleet, strike: Strike) -> None:
    """The machine stands still while a new daemon opens its session; the store counts on. Soon after, it is cut off."""
    host = fleet.host(strike)
    ttl_s = fleet.plan.timing.ttl_s
    stop_s = ttl_s * (0.5 + 0.5 * strike.dose)
    used: list[Process] = []

    def born(process: Process) -> None:
        if not used:
            used.append(process)
            process.store.on_next.setdefault(OpenSession, []).append(stop)

    def stop() -> None:
        fleet.note(strike, host.config.name)
        fleet.disturb([host], stop_s + 2.0 * ttl_s)
        fleet.world.after(0.01 * fleet.world.rng.random(), fleet.pause_machine, host, stop_s)
        fleet.world.after(stop_s + 0.03 + 0.1 * ttl_s * fleet.world.rng.random(), block)

    def block() -> None:
        for node in fleet.cluster.nodes:
            fleet.block(host, host.config.name, node.name, ttl_s, 0.0)

    host.on_life.append(born)
    fleet.disturb([host], 0.2)
    host.kill()
    # The others go too, so that it can lead at once.
    for other in fleet.hosts:
        if other is not host:
            fleet.disturb([other], stop_s + ttl_s)
            other.drain()
            fleet.start_again(other, stop_s)
    fleet.world.after(0.2, host.start)
