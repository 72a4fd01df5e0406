"""Operators at work in the swarm: pauses and transfers beside a plan's faults; and the ablations of what makes them dependable."""

from __future__ import annotations

import gc
import os
from dataclasses import replace

import pytest

from leaderd.election import orders, pause, transfer
from leaderd.election.pause import Pause
from leaderd.election.records import Record
from leaderd.election.transfer import Transfer
from tests.sim.ablation import PAUSED, STUCK, Patch, found_by
from tests.sim.fleet import simulate
from tests.sim.plan import STORES, draw, with_orders
from tests.sim.stores.records import Reader

SEEDS = int(os.environ.get("LEADERD_SIM_SEEDS", "2000")) // 4
CHUNK = 100


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
@pytest.mark.parametrize("store", STORES)
def test_no_seed_with_orders_breaks_a_rule(store: str, first: int) -> None:
    """No two claims overlap, tokens rise, who comes up in a pause does not lead, and the fleet goes on when all is over."""
    for seed in range(first, min(first + CHUNK, SEEDS)):
        verdict = simulate(with_orders(draw(store, seed)))
        if verdict.findings:
            pytest.fail(verdict.story(), pytrace=False)
    gc.collect()


@pytest.mark.parametrize("store", STORES)
def test_records_not_read_at_the_start(monkeypatch: Patch, store: str) -> None:
    """A driver that tells changes only: a daemon that comes up leads a paused election."""

    def began(self: Reader, epoch: int) -> None:
        self.epoch, self.version = epoch, self._shelf.version

    monkeypatch.setattr(Reader, "began", began)
    found_by(store, rules=PAUSED, orders=True)


@pytest.mark.parametrize("store", ["local", "etcd"])
def test_a_transfer_that_never_lapses(monkeypatch: Patch, store: str) -> None:
    """Stepping aside until the target says that it leads: it may be dead, and then nobody ever does."""

    def endless(record: Record) -> Transfer | None:
        found = transfer.read_transfer(record)
        return None if found is None else replace(found, until_s=1e11)

    monkeypatch.setattr(orders, "read_transfer", endless)
    found_by(store, rules=STUCK, orders=True)


@pytest.mark.parametrize("store", STORES)
def test_a_pause_that_never_expires(monkeypatch: Patch, store: str) -> None:
    """Leaving the end of a pause to somebody who resumes it."""

    def endless(record: Record) -> Pause | None:
        found = pause.read_pause(record)
        return None if found is None else replace(found, expires_at_s=None)

    monkeypatch.setattr(orders, "read_pause", endless)
    found_by(store, rules=STUCK, orders=True)


def test_an_unreadable_pause_taken_for_none(monkeypatch: Patch) -> None:
    """Whoever wrote it wanted nobody to lead."""

    def lenient(record: Record) -> Pause | None:
        found = pause.read_pause(record)
        return None if found is not None and "cannot be read" in found.reason else found

    monkeypatch.setattr(orders, "read_pause", lenient)
    found_by("local", rules=PAUSED, orders=("pause",))
