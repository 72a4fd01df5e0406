"""A store that has lost its data, and does not know who leads: whoever was in touch with it until then waits that out.

The guarantee rests on a store that keeps what a quorum confirmed. Where it does not, the tokens still tell two terms apart; this is
what can be done beyond that.
"""

from __future__ import annotations

import pytest

from leaderd.election.session import Session
from tests.sim.ablation import Patch, found_by
from tests.sim.fleet import simulate
from tests.sim.plan import draw, with_orders

STORES = ("etcd", "zookeeper", "consul")
SEEDS = 300
WIPE = ("wipe",)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", STORES)
def test_no_two_lead_after_the_store_has_forgotten(store: str) -> None:
    """Neither another, nor the same one with another token, under a promise of which the store knows nothing any more. (A daemon's
    own promises keep it from opening the next session: `Core._close`.)"""
    for seed in range(SEEDS):
        verdict = simulate(with_orders(draw(store, seed), WIPE))
        if verdict.findings:
            pytest.fail(verdict.story(), pytrace=False)


@pytest.mark.parametrize("early", [True, False], ids=["ended-too-soon", "expired-in-silence"])
@pytest.mark.parametrize("store", STORES)
def test_standing_in_a_store_that_has_forgotten(monkeypatch: Patch, store: str, early: bool) -> None:
    """Standing at once after a session that ended too soon; or after one that expired, though the leader renewed after us."""
    waits = Session.others_until_s

    def at_once(self: Session, now_s: float) -> float:
        return float("-inf") if (now_s < self.valid_until_s) is early else waits(self, now_s)

    monkeypatch.setattr(Session, "others_until_s", at_once)
    found_by(store, orders=WIPE)
