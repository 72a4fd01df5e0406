"""What was observed, on one clock: claims of leadership as half-open intervals of true time, in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Claim(NamedTuple):
    """`holder` said, or promised, that it leads `election` with `token`, for the whole of [start_s, end_s).

    `holder` names one life of one process (node and incarnation): the same instance name after a restart is another holder.
    An answer that promises nothing beyond its own instant is a claim of length zero, and counts.
    """

    election: str
    holder: str
    token: int
    start_s: float
    end_s: float


class Window(NamedTuple):
    """A stretch of true time, [start_s, end_s)."""

    start_s: float
    end_s: float


class Finding(NamedTuple):
    """One broken rule: its name (`overlap`, `token`, `leaderless`, `stale_write`), when it broke, and the particulars."""

    rule: str
    at_s: float
    text: str


def merged(claims: Iterable[Claim]) -> list[Claim]:
    """The same evidence with the touching claims of one holder and token joined, in order of their starts."""
    latest: dict[tuple[str, str, int], Claim] = {}
    out: list[Claim] = []
    for claim in sorted(claims, key=lambda c: (c.start_s, c.end_s)):
        key = claim[:3]
        last = latest.get(key)
        if last is not None and claim.start_s <= last.end_s:
            latest[key] = last._replace(end_s=max(last.end_s, claim.end_s))
            continue
        if last is not None:
            out.append(last)
        latest[key] = claim
    out.extend(latest.values())
    return sorted(out, key=lambda c: (c.start_s, c.end_s, c.holder))


def without(claims: Sequence[Claim], excused: Sequence[Claim]) -> list[Claim]:
    """The claims, less the stretches excused for the same holder and token.

    For what no lease can prevent: an operator revoked a session by hand while promises were outstanding.
    """
    out: list[Claim] = []
    for claim in claims:
        pieces = [claim]
        for hole in excused:
            if hole[:3] == claim[:3]:
                pieces = [piece for old in pieces for piece in _cut(old, hole)]
        out.extend(pieces)
    return out


def _cut(claim: Claim, hole: Claim) -> list[Claim]:
    if (claim.end_s <= hole.start_s and claim.start_s < hole.start_s) or claim.start_s >= hole.end_s:
        return [claim]
    pieces = []
    if claim.start_s < hole.start_s:
        pieces.append(claim._replace(end_s=hole.start_s))
    if claim.end_s > hole.end_s:
        pieces.append(claim._replace(start_s=hole.end_s))
    return pieces
