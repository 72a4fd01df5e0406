"""What the ledger of jobs says: which slots ran, how often, under which tokens."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One job that ran: the slot it was for, the app, the fencing token, and when (nanoseconds since boot)."""

    slot: int
    app: str
    token: int
    at_ns: int


@dataclass(frozen=True)
class Verdict:
    """The sum of a demo."""

    slots: int
    runs: int
    duplicates: list[int]
    missed: list[int]
    tokens: list[int]
    leaders: list[str]

    @property
    def good(self) -> bool:
        """No slot ran twice, tokens only rose, and leadership did move."""
        return not self.duplicates and self.tokens == sorted(set(self.tokens)) and len(self.tokens) >= 2


def read_runs(ledger: Path) -> list[Run]:
    """The runs so far, in the order they happened; a half-written last line (a killed app) is left out."""
    if not ledger.exists():
        return []
    whole, _, _ = ledger.read_text(encoding="utf-8").rpartition("\n")
    runs = [Run(**json.loads(line)) for line in whole.splitlines()]
    return sorted(runs, key=lambda run: run.at_ns)


def judge(runs: list[Run], first_slot: int, last_slot: int) -> Verdict:
    """Judge the slots from `first_slot` to `last_slot`."""
    runs = [run for run in runs if first_slot <= run.slot <= last_slot]
    times = Counter(run.slot for run in runs)
    slots = range(first_slot, last_slot + 1)
    tokens = [run.token for i, run in enumerate(runs) if i == 0 or run.token != runs[i - 1].token]
    leaders = [run.app for i, run in enumerate(runs) if i == 0 or run.token != runs[i - 1].token]
    return Verdict(
        slots=len(slots),
        runs=len(runs),
        duplicates=[slot for slot in slots if times[slot] > 1],
        missed=[slot for slot in slots if times[slot] == 0],
        tokens=tokens,
        leaders=leaders,
    )
