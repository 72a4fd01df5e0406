"""Operators' orders: pauses and transfers, through a daemon or straight into the store, in the middle of everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from leaderd.election.events import ResignRequested, WriteRequested
from leaderd.election.pause import Pause, pause_bytes
from leaderd.election.records import NOTHING, RecordKind
from leaderd.election.transfer import Transfer, transfer_bytes
from tests.sim.faults.wipe import wipe
from tests.sim.host import Host, Process

if TYPE_CHECKING:
    from tests.sim.fleet import Fleet
    from tests.sim.plan import Strike

BACK_S = 3.0
"""How long everybody may take to stand again after an order: to hear of its end, to queue, to claim."""


def pause(fleet: Fleet, strike: Strike) -> None:
    """Pause an election: until a time, or until resumed; by a record that can be read, or by one that cannot."""
    election, shelf, world = fleet.election(strike), fleet.cluster.shelf, fleet.world
    place = (election, RecordKind.PAUSE.value)
    for_s = strike.for_s
    fleet.note(strike, election)
    fleet.disturb_store(for_s + BACK_S)
    timed = strike.dose < 0.4
    expires_at_s = fleet.hosts[0].clock.wall_s() + for_s if timed else None
    shelf.put(place, b"\xff{" if strike.dose > 0.9 else pause_bytes(Pause("sim", "", expires_at_s)))
    if not timed:
        fleet.paused(election, world.now_s, world.now_s + for_s)
        world.after(for_s, shelf.put, place, None)


def transfer(fleet: Fleet, strike: Strike) -> None:
    """Whoever leads is told to hand over to another, who may be dead, deaf, or gone by then; it gives up ready or not."""
    election, host = fleet.election(strike), fleet.host(strike)
    process = host.process
    others = [other for other in fleet.hosts if other is not host]
    view = process.board.snapshot.elections[election] if process is not None else None
    if process is None or view is None or view.term is None or not others:
        return
    target = fleet.world.rng.choice(others)
    lapses_s = 1.0 + 4.0 * strike.dose
    fleet.note(strike, host.config.name, target.config.name)
    fleet.disturb_store(lapses_s + BACK_S)
    order = Transfer(target.config.instance, view.term.token, host.clock.wall_s() + lapses_s)
    version = view.records.get(RecordKind.TRANSFER, NOTHING).version
    _tell(host, process, WriteRequested(election, RecordKind.TRANSFER, transfer_bytes(order), version, 1))
    if strike.dose < 0.3:
        fleet.world.after(lapses_s * strike.dose, target.kill)
        fleet.world.after(lapses_s * strike.dose + 2.0, target.start)
        fleet.disturb([target], lapses_s + 4.0)
    if strike.dose < 0.9:
        fleet.world.after(lapses_s * 0.5 * strike.dose, _tell, host, process, ResignRequested(election, cooldown_s=0.0))


def _tell(host: Host, process: Process, event: WriteRequested | ResignRequested) -> None:
    if process.alive and not process.draining:
        host.run(process, process.deliver, event)


ORDERS: dict[str, Callable[[Fleet, Strike], None]] = {"pause": pause, "transfer": transfer, "wipe": wipe}
"""Drawn beside a plan's faults, not among them: see `plan.with_orders`."""
