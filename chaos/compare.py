"""leaderd and the tools of today in one scenario, as one table.

Each subject makes two runs: the scenario, and an orderly end of its leader, which gives the hand-over. The table is made of the
last run of each in the output folder, so that it can be filled by several calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from chaos import judge, runs
from chaos.runs import Done, Job
from chaos.stores import KINDS
from chaos.subjects import PEERS

HAND_OVER = "terminate-leader"
_NOW_S = 0.2
"""Who was heard of so shortly before the end led at the end."""
_HEADINGS = ("subject", "store", "two leaders for", "fail-over", "hand-over", "fencing token")


@dataclass(frozen=True, slots=True)
class Row:
    """One subject on one store. None: the run that would tell was not made, broke off, or showed nothing."""

    subject: str
    store: str
    together: str | None
    failover: str | None
    hand_over: str | None
    tokens: str | None

    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        return (self.subject, self.store, *(each or "-" for each in (self.together, self.failover, self.hand_over, self.tokens)))


def subjects(chosen: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Those that are compared, each with its store; all of them if none is chosen."""
    every = [("leaderd", store) for store in KINDS] + [(name, peer.store) for name, peer in PEERS.items()]
    return [each for each in every if not chosen or each[0] in chosen]


def jobs(scenario: str, chosen: Sequence[str] = ()) -> list[Job]:
    """The runs that the table is made of."""
    return [Job(name, store, subject) for subject, store in subjects(chosen) for name in dict.fromkeys((scenario, HAND_OVER))]


def rows(scenario: str, done: Iterable[Done], out: Path) -> list[Row]:
    """A row for each subject that made a run, in the order of `subjects`."""
    last = {(each.job.scenario, each.job.subject, each.job.store): each for each in done}
    found = []
    for subject, store in subjects():
        ours = [last.get((name, subject, store)) for name in (scenario, HAND_OVER)]
        if any(ours):
            faulty, ended = (_run(each, out) for each in ours)
            found.append(_row(subject, store, faulty, ended))
    return found


def table(found: Iterable[Row]) -> str:
    """As Markdown."""
    lines = [_HEADINGS, ("---",) * len(_HEADINGS), *(row.cells() for row in found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _run(done: Done | None, out: Path) -> judge.Run | None:
    """The run, if it has shown anything."""
    if done is None or done.verdict in (runs.BROKEN, judge.UNKNOWN):
        return None
    return judge.read(out / done.folder)


def _row(subject: str, store: str, faulty: judge.Run | None, ended: judge.Run | None) -> Row:
    return Row(
        subject,
        store,
        _together(faulty),
        _taken(faulty),
        _taken(ended),
        _tokens(subject, [run for run in (faulty, ended) if run is not None]),
    )


def _together(run: judge.Run | None) -> str | None:
    """For how long two led; `over` where they still did when the run ended."""
    if run is None:
        return None
    last_s = max((claim.end_s for claim in run.claims), default=0.0)
    at_the_end = {claim.holder for claim in run.claims if claim.end_s > last_s - _NOW_S}
    both_ms = judge.together_s(run) * 1000
    return f"{'over ' if both_ms > 0 and len(at_the_end) > 1 else ''}{both_ms:.0f} ms"


def _taken(run: judge.Run | None) -> str | None:
    if run is None:
        return None
    took_s = judge.failover_s(run)
    if took_s is None:
        return "nobody took over"
    return f"{took_s:.1f} s" if took_s >= 1.0 else f"{took_s * 1000:.0f} ms"


def _tokens(subject: str, made: Sequence[judge.Run]) -> str | None:
    """Whether what fences rose with each term, of those that hand out anything."""
    handed = "token" if subject == "leaderd" else PEERS[subject].fence
    if not handed:
        return "none"
    if not made:
        return None
    rises = all(before < after for run in made for before, after in pairwise(_terms(run)))
    return f"{handed}, {'rises' if rises else 'DOES NOT RISE'}"


def _terms(run: judge.Run) -> list[int]:
    """The token of each term, in the order in which terms began; a term begins once."""
    return list(dict.fromkeys(claim.token for claim in sorted(run.claims, key=lambda claim: claim.start_s)))
