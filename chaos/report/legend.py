"""What the signs of a timeline mean: a small drawing and a few words each, of those that occur in it."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.report import patterns
from chaos.report.lanes import SILENT, Picture

_BOX = 'x="0" y="0" width="34" height="16"'


def legend(found: Picture) -> str:
    """As a list."""
    items = "".join(
        f'<li><svg class="timeline key" viewBox="0 0 34 16" aria-hidden="true">{drawn}</svg> {text}</li>'
        for drawn, text in _signs(found)
    )
    return f'<ul class="legend">{items}</ul>'


def _signs(found: Picture) -> Iterator[tuple[str, str]]:
    lanes = found.lanes.values()
    stretches = [stretch for lane in lanes for stretch in lane.stretches]
    words = {phase.what for lane in lanes for phase in lane.phases}
    writes = [write for lane in lanes for write in lane.writes]
    if stretches:
        both = patterns.bar(0, 'x="0" y="0" width="17" height="16"') + patterns.bar(1, 'x="17" y="0" width="17" height="16"')
        yield both, "answers yes; the number is the fencing token, a term has one colour and pattern"
    if any(stretch.until_s > stretch.last_yes_s for stretch in stretches):
        tail = f'<rect class="tail" x="1" y="4" width="32" height="8" stroke="{patterns.COLOURS[0]}"/>'
        yield tail, "the last promise running out"
    if any(not stretch.polled for stretch in stretches):
        unseen = f'<rect class="unseen" x="1" y="1" width="32" height="14" stroke="{patterns.COLOURS[0]}"/>'
        yield unseen, "promised by its journal; no probe asked"
    if any(stretch.doubts for stretch in stretches):
        yield patterns.bar(0, _BOX) + f'<rect {_BOX} fill="url(#doubt)"/>', "suspended: yes, while the store is silent"
    if "unknown" in words:
        yield f'<rect {_BOX} fill="url(#unknown)"/>', "answers no: it does not know (503, <code>unknown</code>)"
    if SILENT in words:
        yield f'<rect {_BOX} fill="url(#silent)"/>', "no answer at all"
    if words - {"unknown", SILENT}:
        yield f'<rect {_BOX} fill="url(#other)"/>', "answers no: starting, draining or paused"
    if found.bands:
        yield f'<g class="fault"><rect {_BOX}/><rect {_BOX} fill="url(#fault)"/></g>', "a fault in force"
    if found.overlaps:
        yield '<rect class="overlap" x="2" y="2" width="30" height="12"/>', "two leaders at once"
        if any(not overlap.polled for overlap in found.overlaps):
            yield '<rect class="overlap by-journals" x="2" y="2" width="30" height="12"/>', "the same, by the journals alone"
    if any(event for lane in lanes for event in lane.events):
        yield '<g class="event"><path d="M17 3 l-5 9 h10 z"/></g>', "the daemon was started, killed or signalled"
    if writes:
        ticks = '<path class="fw" d="M8 2 v9 M15 2 v9"/><path class="uw" d="M22 7 v8 M29 7 v8"/>'
        yield ticks, "writes of the app beside it: to the fenced resource above, to the unfenced one below"
    if any(not write.accepted for write in writes):
        yield '<path class="refused" d="M12 3 l10 10 m0 -10 l-10 10"/>', "a write that the fence refused as stale"
    if any(write.accepted and write.stale for write in writes):
        yield '<path class="damage" d="M17 2 l6 6 l-6 6 l-6 -6 z"/>', "a stale write that was taken: the damage without a fence"
