"""Watchers: which receipt belongs to which change, what a daemon writes down, and one small run of each kind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import published, watchers
from bench.ground import ground
from bench.watcher import boot_ns
from bench.watchers import delays_ms
from leaderd.board import Board
from leaderd.election.problems import Reason
from leaderd.election.state import ElectionView, Phase, Snapshot, State

CHANGES = [(4, 1_000_000), (5, 2_000_000), (6, 2_500_000), (7, 9_000_000)]


def test_a_change_is_seen_by_the_first_message_that_tells_of_it_or_of_a_later_one():
    receipts = [(3, 500_000), (4, 1_500_000), (6, 4_000_000), (7, 9_250_000), (7, 20_000_000)]
    assert delays_ms(CHANGES, receipts, since=3) == [0.5, 2.0, 1.5, 0.25]


def test_changes_from_before_the_watch_do_not_count():
    assert delays_ms(CHANGES, [(6, 2_600_000), (7, 9_100_000)], since=6) == [0.1]


def test_a_change_that_nobody_told_of_is_an_error():
    with pytest.raises(ValueError, match="change 7"):
        delays_ms(CHANGES, [(6, 3_000_000)], since=3)


def test_a_daemon_writes_down_when_it_publishes_a_change_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(Board, "publish", Board.publish)  # as it was, after the test
    journal = tmp_path / "journal"
    published.keep(str(journal))
    view = ElectionView("jobs", Phase.OUT, State.STARTING, Reason.STARTING)
    start = Snapshot("pod-a", {"jobs": view, "other": replace(view, name="other")})
    board, heard = Board(start, {}, promise_s=1.0), []
    board.subscribe(lambda: heard.append(published.changes(journal, "jobs")))
    board.publish(replace(start, connected=True))
    board.publish(replace(start, elections=start.elections | {"jobs": replace(view, index=2)}))
    board.publish(replace(board.snapshot, elections=board.snapshot.elections | {"other": replace(view, name="other", index=2)}))
    began_ns = boot_ns()
    board.publish(replace(board.snapshot, elections=board.snapshot.elections | {"jobs": replace(view, index=3)}))
    found = published.changes(journal, "jobs")
    assert [index for index, _ in found] == [2, 3]
    assert began_ns <= found[1][1] <= boot_ns()
    assert len(heard) == 4, "subscribers are woken as ever"


@pytest.mark.timeout(60)
def test_each_kind_of_watcher_sees_every_change_of_a_real_daemon(monkeypatch):
    monkeypatch.setattr(watchers, "EACH", 1)
    monkeypatch.setattr(watchers, "_SETTLE_S", 0.5)
    with ground(quick=True) as place, place.bed("local") as bed:
        figures = watchers.few(place, bed, rounds=1)
    assert [figure.name.partition(" by ")[2] for figure in figures] == [f"{title}, p99" for title in watchers.KINDS.values()]
    assert all(figure.values["p50_ms"] > 0 for figure in figures)
