"""What was promised, by the daemons' own journals, against what was answered: neither source can hide what the other one shows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

from chaos.checkers.history import Claim, Finding
from chaos.checkers.honest import Answer

ROUNDING_S = 1e-6
"""Both sources round to nanoseconds, and seconds since boot are floating point."""


def unkept(answers: Iterable[Answer], promises: Iterable[Claim]) -> list[Finding]:
    """Every yes that no promise of the same holder and term covers: given by the receipt of the answer, and reaching as far."""
    given: dict[tuple[str, int], tuple[list[float], list[float]]] = {}
    for promise in sorted(promises, key=lambda each: each.start_s):
        starts, reach = given.setdefault((promise.holder, promise.token), ([], []))
        starts.append(promise.start_s)
        reach.append(max(promise.end_s, reach[-1] if reach else promise.end_s))
    found = []
    for answer in answers:
        if not answer.leader or answer.token is None or answer.until_s is None:
            continue
        starts, reach = given.get((answer.holder, answer.token), ([], []))
        number = bisect_right(starts, answer.got_s + ROUNDING_S)
        until_s = reach[number - 1] if number else None
        if until_s is None or answer.until_s > until_s + ROUNDING_S:
            journal = "nothing of that term" if until_s is None else f"nothing beyond {until_s:.4f}"
            text = f"{answer.holder} (token {answer.token}) says yes until {answer.until_s:.4f}; its journal has {journal}"
            found.append(Finding("unkept", answer.got_s, text))
    return found


def gaps_s(claims: Sequence[Claim]) -> list[float]:
    """From the end of the last claim of each term to the first claim of the next; negative is an overlap."""
    ends: dict[int, float] = {}
    starts: dict[int, float] = {}
    for claim in claims:
        ends[claim.token] = max(ends.get(claim.token, claim.end_s), claim.end_s)
        starts[claim.token] = min(starts.get(claim.token, claim.start_s), claim.start_s)
    order = sorted(starts, key=lambda token: starts[token])
    return [starts[after] - ends[before] for before, after in pairwise(order)]
