"""How an ablation is judged: the seeds of the swarm, in order, until one finds it."""

from __future__ import annotations

import pytest

from tests.sim.fleet import DRIVERS, Verdict, simulate
from tests.sim.plan import draw, with_orders
from tests.sim.stores.driver import SimStore

SEEDS = 500
Patch = pytest.MonkeyPatch


def found_by(
    store: str,
    driver: type[SimStore] | None = None,
    rules: frozenset[str] = frozenset({"overlap"}),
    *,
    orders: bool | tuple[str, ...] = False,
    kinds: tuple[str, ...] | None = None,
) -> Verdict:
    """The first seed that finds it; fails if none does. `orders`: with operators at work, or with these orders of theirs only.
    `kinds`: of the swarm's faults, these only, where what is needed comes together too seldom by chance."""
    drivers = {**DRIVERS, store: driver} if driver is not None else None
    for seed in range(SEEDS):
        plan = draw(store, seed, kinds)
        if orders:
            plan = with_orders(plan) if orders is True else with_orders(plan, orders)
        verdict = simulate(plan, drivers=drivers)
        hits = [finding for finding in verdict.findings if finding.rule in rules]
        if hits:
            print(f"{store}: seed {seed}: {hits[0].text}")
            return verdict
    pytest.fail(f"{store}: not found within {SEEDS} seeds: dead code, or a fault is missing from the simulator")


TOKEN = frozenset({"token"})
STUCK = frozenset({"leaderless"})
PAUSED = frozenset({"paused"})
OVERLAP = frozenset({"overlap"})
ANY = OVERLAP | TOKEN | STUCK
