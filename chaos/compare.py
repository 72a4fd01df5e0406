"""leaderd and the tools of today in one scenario, as one table.

Each subject makes two runs: the scenario, and an orderly end of its leader, which gives the hand-over; or several of each, and then
the table has their medians. It is made of the last run of each seed that the output folder has, so that it can be filled by several
calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from chaos import judge, runs
from chaos.evidence import instance
from chaos.runs import Job
from chaos.stores import KINDS
from chaos.subjects import PEERS

Result = dict[str, Any]
HAND_OVER = "terminate-leader"
_NOW_S = 0.2
"""Who was heard of so shortly before the end led at the end."""
_HEADINGS = ("subject", "store", "runs", "two leaders for", "fail-over", "hand-over", "fencing token")


@dataclass(frozen=True, slots=True)
class Row:
    """One subject on one store. None: the runs that would tell were not made, broke off, or showed nothing."""

    subject: str
    store: str
    runs: int
    together: str | None
    failover: str | None
    hand_over: str | None
    tokens: str | None

    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        told = (each or "-" for each in (self.together, self.failover, self.hand_over, self.tokens))
        return (self.subject, self.store, str(self.runs), *told)


def subjects(chosen: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Those that are compared, each with its store; all of them if none is chosen."""
    every = [("leaderd", store) for store in KINDS] + [(name, peer.store) for name, peer in PEERS.items()]
    return [each for each in every if not chosen or each[0] in chosen]


def jobs(scenario: str, chosen: Sequence[str] = (), repeat: int = 1) -> list[Job]:
    """The runs that the table is made of. Of several of one kind each has a seed of its own, so that it meets another instant."""
    seeds = [0] if repeat == 1 else range(1, repeat + 1)
    names = dict.fromkeys((scenario, HAND_OVER))
    return [Job(name, store, subject, seed=seed) for seed in seeds for subject, store in subjects(chosen) for name in names]


def figures(run: judge.Run) -> dict[str, bool]:
    """What the table needs of a run besides its other figures: whether two still led when it ended, and whether tokens rose."""
    last_s = max((claim.end_s for claim in run.claims), default=0.0)
    at_the_end = {instance(claim.holder) for claim in run.claims if claim.end_s > last_s - _NOW_S}
    terms = list(dict.fromkeys(claim.token for claim in sorted(run.claims, key=lambda claim: claim.start_s)))
    return {
        "two_at_the_end": len(at_the_end) > 1 and judge.together_s(run) > 0,
        "tokens_rise": all(before < after for before, after in pairwise(terms)),
    }


def rows(scenario: str, found: Iterable[Result]) -> list[Row]:
    """A row for each subject that made a run, in the order of `subjects`; `found` in order of time."""
    last = {(each["scenario"], each["subject"], each["store"], each.get("seed") or 0): each for each in found if _plain(each)}
    table_rows = []
    for subject, store in subjects():
        ours = [each for key, each in last.items() if key[1:3] == (subject, store) and key[0] in (scenario, HAND_OVER)]
        if ours:
            shown = [each for each in ours if each["verdict"] not in (runs.BROKEN, judge.UNKNOWN)]
            table_rows.append(_row(scenario, subject, store, shown))
    return table_rows


def _plain(result: Result) -> bool:
    """Whether it was made as the others are."""
    return result.get("substrate") in (None, "netns") and not result.get("variables")


def table(found: Iterable[Row]) -> str:
    """As Markdown."""
    lines = [_HEADINGS, ("---",) * len(_HEADINGS), *(row.cells() for row in found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(scenario: str, subject: str, store: str, shown: Sequence[Result]) -> Row:
    faulty = [each["figures"] for each in shown if each["scenario"] == scenario]
    ended = [each["figures"] for each in shown if each["scenario"] == HAND_OVER]
    most = max(len(faulty), len(ended))
    return Row(subject, store, most, _together(faulty), _taken(faulty), _taken(ended), _tokens(subject, [*faulty, *ended]))


def _together(found: Sequence[Result]) -> str | None:
    """For how long two led; `over` where they still did when a run ended."""
    if not found:
        return None
    over = any(each.get("two_at_the_end") for each in found)
    return f"{'over ' if over else ''}{median(each['together_ms'] for each in found):.0f} ms"


def _taken(found: Sequence[Result]) -> str | None:
    if not found:
        return None
    took = [each["failover_s"] for each in found if each["failover_s"] is not None]
    if not took:
        return "nobody took over"
    middle_s = median(took)
    missing = f" ({len(found) - len(took)} times nobody)" if len(took) < len(found) else ""
    return (f"{middle_s:.1f} s" if middle_s >= 1.0 else f"{middle_s * 1000:.0f} ms") + missing


def _tokens(subject: str, made: Sequence[Result]) -> str | None:
    """Whether what fences rose with each term, of those that hand out anything."""
    handed = "token" if subject == "leaderd" else PEERS[subject].fence
    if not handed:
        return "none"
    if not made:
        return None
    return f"{handed}, {'rises' if all(each.get('tokens_rise', True) for each in made) else 'DOES NOT RISE'}"
