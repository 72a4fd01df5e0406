"""How an ablation is judged: the seeds of the swarm, in order, until one finds it.

In order but for one: the first to find it when somebody last searched, kept in `first_seeds.txt`, goes first. That saves minutes,
and nothing rests on it: a line that is out of date, or missing, costs the search. With `LEADERD_SIM_FIRST_SEEDS=FILE` all searches
begin at 0, and what each finds is added to that file as a line: sorted, it is the new `first_seeds.txt`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.sim.fleet import DRIVERS, Verdict, simulate
from tests.sim.plan import draw, with_orders
from tests.sim.stores.driver import SimStore

SEEDS = 500
FIRST_SEEDS = Path(__file__).with_name("first_seeds.txt")
_NEW = os.environ.get("LEADERD_SIM_FIRST_SEEDS")
Patch = pytest.MonkeyPatch


def found_by(
    store: str,
    driver: type[SimStore] | None = None,
    rules: frozenset[str] = frozenset({"overlap"}),
    *,
    orders: bool | tuple[str, ...] = False,
    kinds: tuple[str, ...] | None = None,
) -> Verdict:
    """What finds it; fails if none of the seeds does. `orders`: with operators at work, or with these orders of theirs only.
    `kinds`: of the swarm's faults, these only, where what is needed comes together too seldom by chance."""
    drivers = {**DRIVERS, store: driver} if driver is not None else None
    for seed in _in_order(store):
        plan = draw(store, seed, kinds)
        if orders:
            plan = with_orders(plan) if orders is True else with_orders(plan, orders)
        verdict = simulate(plan, drivers=drivers)
        hits = [finding for finding in verdict.findings if finding.rule in rules]
        if hits:
            print(f"{store}: seed {seed}: {hits[0].text}")
            _keep(store, seed)
            return verdict
    pytest.fail(f"{store}: not found within {SEEDS} seeds: dead code, or a fault is missing from the simulator")


def _test() -> str:
    """The name of the test that runs, with its parameters."""
    return os.environ["PYTEST_CURRENT_TEST"].rpartition("::")[2].partition(" ")[0].partition("@")[0]  # the group is xdist's


@cache
def first_seeds() -> dict[tuple[str, str], int]:
    """By test and store."""
    lines = (line.split() for line in FIRST_SEEDS.read_text().splitlines())
    return {(test, store): int(seed) for test, store, seed in lines}


def _in_order(store: str) -> Iterable[int]:
    first = None if _NEW else first_seeds().get((_test(), store))
    return range(SEEDS) if first is None or first >= SEEDS else (first, *range(SEEDS))


def _keep(store: str, seed: int) -> None:
    if _NEW:
        with Path(_NEW).open("a") as file:
            file.write(f"{_test()} {store} {seed}\n")


TOKEN = frozenset({"token"})
STUCK = frozenset({"leaderless"})
PAUSED = frozenset({"paused"})
OVERLAP = frozenset({"overlap"})
ANY = OVERLAP | TOKEN | STUCK
