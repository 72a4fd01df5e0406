"""The demo's judge, on ledgers it must and must not pass."""

from __future__ import annotations

import json
from pathlib import Path

from demo.verdict import Run, judge, read_runs


def runs(*told: tuple[int, str, int]) -> list[Run]:
    return [Run(slot, app, token, slot * 1_000_000_000 + i) for i, (slot, app, token) in enumerate(told)]


def test_one_run_per_slot_and_rising_tokens_pass() -> None:
    verdict = judge(runs((1, "a", 1), (2, "a", 1), (5, "b", 2), (6, "b", 2)), 1, 6)
    assert verdict.good
    assert (verdict.slots, verdict.runs, verdict.missed) == (6, 4, [3, 4])
    assert (verdict.tokens, verdict.leaders) == ([1, 2], ["a", "b"])


def test_a_slot_that_ran_twice_fails() -> None:
    verdict = judge(runs((1, "a", 1), (2, "a", 1), (2, "b", 2), (3, "b", 2)), 1, 3)
    assert verdict.duplicates == [2]
    assert not verdict.good


def test_a_token_that_falls_or_comes_back_fails() -> None:
    assert not judge(runs((1, "a", 2), (2, "b", 1)), 1, 2).good
    assert not judge(runs((1, "a", 1), (2, "b", 2), (3, "a", 1)), 1, 3).good


def test_leadership_that_never_moved_proves_nothing() -> None:
    assert not judge(runs((1, "a", 1), (2, "a", 1)), 1, 2).good
    assert not judge([], 1, 2).good


def test_runs_outside_the_slots_do_not_count() -> None:
    assert judge(runs((0, "a", 1), (1, "a", 1), (2, "b", 2), (9, "b", 2)), 1, 2).runs == 2


def test_a_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    assert read_runs(ledger) == []
    whole = [json.dumps({"slot": s, "app": "a", "token": 1, "at_ns": 10 - s}) for s in (1, 2)]
    ledger.write_text("\n".join(whole) + '\n{"slot": 3, "a')
    assert [run.slot for run in read_runs(ledger)] == [2, 1], "in the order they happened"
