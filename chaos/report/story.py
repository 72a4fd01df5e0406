"""A run in a few words, as one would tell it in a post-mortem."""

from __future__ import annotations

from itertools import pairwise

from chaos.report.claims import Term
from chaos.report.lanes import Band, Picture

_AT_ONCE_S = 0.05
"""A fault so shortly before a term began has not moved it, if there was another one before."""
_TOLD = 3
"""So many moves are told one by one."""


def story(found: Picture, *, control: bool = False) -> str:
    """The run in one sentence. `control`: two leaders are what it is meant to show."""
    order = [term for term in found.terms if term.polled]
    if found.overlaps:
        return _of_overlaps(found, control)
    if len(order) < 2:
        who = order[0].name if order else "nobody"
        moved = "the fault moved nothing" if len(found.bands) == 1 else "no fault moved anything"
        return f"{who} led all the time; {moved}." if found.bands else f"{who} led all the time."
    moves = [_move(found, before, after) for before, after in list(pairwise(order))[:_TOLD]]
    more = len(order) - 1 - _TOLD
    if more > 0:
        moves.append(f"then {'one more move' if more == 1 else f'{more} more moves'}, the last to {order[-1].name}")
    return "; ".join(moves) + "."


def _of_overlaps(found: Picture, control: bool) -> str:
    worst_ms = max(each.ms for each in found.overlaps)
    if found.by_hand:
        return f"Taken away by hand: the last promise of the old term reached {worst_ms:.0f} ms into the next one."
    number = len(found.overlaps)
    often = f" for {worst_ms:.0f} ms" if number == 1 else f", {number} times, for up to {worst_ms:.0f} ms"
    if all(not each.polled for each in found.overlaps):
        often += ", by the daemons' journals alone"
    if number == 1:
        (one, token), (other, other_token) = found.overlaps[0].first, found.overlaps[0].second
        often += f": {one} (token {token}) and {other} (token {other_token})"
    return f"Two instances were leaders at once{often}.{' That is what this control has to show.' if control else ''}"


def _move(found: Picture, before: Term, after: Term) -> str:
    gap_s = after.start_s - before.until_s
    gap = f"{gap_s:.2f} s after the last promise of {before.name} had lapsed"
    if gap_s < 0:
        gap = f"{-gap_s * 1000:.0f} ms before the last promise of {before.name} had lapsed"
    verb = "led again" if after.name == before.name else "took over"
    return f"{after.name} {verb} with token {after.token}, {_cause(found.bands, before, after)} and {gap}"


def _cause(bands: list[Band], before: Term, after: Term) -> str:
    """Which fault it was: the latest that came in the old term; else the latest that was healed in it; else one that lasted."""
    at_s = after.start_s
    injected = [band for band in bands if before.start_s <= band.start_s <= at_s]
    injected = [band for band in injected if at_s - band.start_s > _AT_ONCE_S] or injected
    if injected:
        return f"{at_s - injected[-1].start_s:.1f} s after the fault ({injected[-1].text})"
    healed = sorted((band for band in bands if before.start_s <= band.end_s <= at_s), key=lambda band: band.end_s)
    if healed:
        return f"{at_s - healed[-1].end_s:.1f} s after the end of the fault ({healed[-1].text})"
    lasting = [band for band in bands if band.start_s <= at_s <= band.end_s]
    return f"under the fault ({lasting[-1].text})" if lasting else "without any fault"
