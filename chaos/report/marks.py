"""Where to look: for each verdict the instants it rests on, as letters that stand in the table, in the timeline and in the log."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from string import ascii_uppercase

from chaos.judge import FAIL, Check, Run
from chaos.report.claims import Term
from chaos.report.lanes import Picture
from chaos.report.logs import Entry

_MOST = 4
"""Instants shown of one check."""
_SAME_S = 0.02
_BEFORE_S = 0.002
"""A log line may have been written a little before the instant it tells of was measured."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One instant, what it is called, and the number of the log line from which to read on."""

    letter: str
    at_s: float
    log: int | None


@dataclass
class Marks:
    """All of a run. `of`: by check, its marks in order of time; `more`: by check, how many instants are not shown."""

    every: list[Mark] = field(default_factory=list)
    of: dict[str, list[Mark]] = field(default_factory=dict)
    more: dict[str, int] = field(default_factory=dict)


def marks(checks: Sequence[Check], run: Run, found: Picture, log: Sequence[Entry]) -> Marks:
    """The marks of a run's checks."""
    wanted: dict[str, list[float]] = {}
    result = Marks()
    for check in checks:
        instants = _instants(check, run, found)
        # Two checks may have one name: `control` has two meanings.
        wanted.setdefault(check.name, []).extend(instants[:_MOST])
        result.more[check.name] = result.more.get(check.name, 0) + max(0, len(instants) - _MOST)
    for at_s in sorted(at_s for instants in wanted.values() for at_s in instants):
        if not result.every or at_s - result.every[-1].at_s > _SAME_S:
            result.every.append(Mark(_letter(len(result.every)), at_s, log_from(log, at_s)))
    for name, instants in wanted.items():
        near = (min(result.every, key=lambda mark: abs(mark.at_s - at_s)) for at_s in sorted(instants))
        result.of[name] = list(dict.fromkeys(near))
    return result


def log_from(log: Sequence[Entry], at_s: float) -> int | None:
    """The number of the first line at or after an instant; of the last one where there is none; None without a log."""
    if not log:
        return None
    return min(len(log) - 1, bisect_left(log, at_s - _BEFORE_S, key=lambda entry: entry.at_s))


def _letter(number: int) -> str:
    before, last = divmod(number, len(ascii_uppercase))
    return (ascii_uppercase[before - 1] if before else "") + ascii_uppercase[last]


def _instants(check: Check, run: Run, found: Picture) -> list[float]:
    """What the checker names; where it found nothing wrong, where it came closest, or what it counted."""
    if check.at_ns:
        return [at_ns / 1e9 - found.start_ns / 1e9 for at_ns in check.at_ns]
    order = found.terms
    moves = list(pairwise(order))
    match check.name:
        case "no-overlap" | "promises-kept":
            return _at_overlaps(found) or _closest(moves)
        case "tokens-increase":
            return [term.start_s for term in order]
        case "no-stale-write":
            return [write.at_s for lane in found.lanes.values() for write in lane.writes if not write.accepted]
        case "control":
            unfenced = (write for lane in found.lanes.values() for write in lane.writes if write.stale and not write.fenced)
            return _at_overlaps(found) or [write.at_s for write in unfenced]
        case "no-needless-move":
            return [after.start_s for _, after in moves if after.polled]
        case "failover-within":
            longest = max(
                (move for move in moves if move[1].polled), key=lambda move: move[1].start_s - move[0].until_s, default=None
            )
            return [] if longest is None else [longest[1].start_s]
        case "recovers":
            return [] if run.healed_s is None else [run.healed_s - found.start_ns / 1e9]
        case "faults-bite":
            return [band.start_s for band in found.bands]
        case "no-errors" if check.verdict == FAIL:
            return [line["at_ns"] / 1e9 - found.start_ns / 1e9 for line in run.errors]
        case _:
            return []


def _at_overlaps(found: Picture) -> list[float]:
    return [overlap.start_s for overlap in found.overlaps]


def _closest(moves: Sequence[tuple[Term, Term]]) -> list[float]:
    closest = min(moves, key=lambda move: move[1].start_s - move[0].until_s, default=None)
    return [] if closest is None else [closest[1].start_s]
