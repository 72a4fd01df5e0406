"""The swarm: thousands of seeds per store model, each a fleet of its own under faults of its own; none may break a rule.

`LEADERD_SIM_SEEDS` sets how many per store (default 2,000). A failing seed prints its story and how to replay it.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.sim.faults import KINDS
from tests.sim.fleet import simulate
from tests.sim.plan import STORES, draw

SEEDS = int(os.environ.get("LEADERD_SIM_SEEDS", "2000"))
CHUNK = 100


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
@pytest.mark.parametrize("store", STORES)
def test_no_seed_breaks_a_rule(store: str, first: int) -> None:
    """No two claims overlap, tokens rise, the fleet never gets stuck, nothing crashes."""
    for seed in range(first, min(first + CHUNK, SEEDS)):
        verdict = simulate(draw(store, seed))
        if verdict.findings:
            pytest.fail(verdict.story(), pytrace=False)
    gc.collect()


@pytest.mark.parametrize("store", STORES)
def test_the_seeds_are_not_dull(store: str) -> None:
    """A simulator in which nothing happens finds nothing: leaders change, and all the same somebody leads most of the time."""
    verdicts = [simulate(draw(store, seed)) for seed in range(30)]
    assert sum(verdict.terms for verdict in verdicts) > 3 * len(verdicts)
    led_s = sum(verdict.led_s / len(verdict.plan.elections) for verdict in verdicts)
    assert led_s > 0.6 * sum(verdict.plan.end_s for verdict in verdicts)


def test_every_kind_of_fault_is_drawn() -> None:
    """By each store that it suits, and not by another."""
    for store in STORES:
        drawn = Counter(kind for seed in range(600) for kind in draw(store, seed).kinds)
        assert set(drawn) == {name for name, kind in KINDS.items() if kind.suits(store, one_clock=False)}


def test_a_seed_replays_bit_for_bit() -> None:
    """In another process, with another PYTHONHASHSEED: the same digest of every event."""
    root = Path(__file__).parents[2]
    told = [
        subprocess.run(
            [sys.executable, "-m", "tests.sim", "--digests", "--seeds", "12"],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "4242")
    ]
    assert told[0].count("\n") == 12 * len(STORES)
    assert told[0] == told[1]
