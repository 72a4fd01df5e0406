"""The same lanes for a terminal."""

from __future__ import annotations

from chaos.report.lanes import MANY, SILENT, Lane, Picture

KEY = {
    "=": "yes, with the token",
    "~": "suspended",
    "-": "last promise",
    "/": "unknown",
    "?": "no answer",
    ":": "starting, draining or paused",
    "w": "a write taken",
    "x": "a write refused as stale",
    "!": "a stale write taken",
    "#": "two leaders",
    "^": "a fault",
}
_PHASES = {SILENT: "?", "unknown": "/"}


class _Track:
    """So many columns for the time that is shown."""

    def __init__(self, found: Picture, width: int) -> None:
        self._begin_s = found.begin_s
        self._length_s = max(found.length_s - found.begin_s, 0.001)
        self.width = width

    def column(self, at_s: float) -> int:
        return min(self.width - 1, max(0, int((at_s - self._begin_s) / self._length_s * self.width)))

    def fill(self, cells: list[str], start_s: float, end_s: float, sign: str) -> None:
        for place in range(self.column(start_s), self.column(end_s) + 1):
            cells[place] = sign


def lanes(found: Picture, width: int = 100) -> list[str]:
    """One line an instance, one for its writes where there are any, one for overlaps and faults; then what the signs mean."""
    label = max([len(name) for name in found.lanes] + [len("two leaders") if found.overlaps else 2]) + 1
    track = _Track(found, max(20, width - label))
    lines = []
    idle = [lane.name for lane in found.lanes.values() if lane.is_idle] if len(found.lanes) > MANY else []
    for lane in (lane for lane in found.lanes.values() if lane.name not in idle):
        lines.append((lane.name, _lane(lane, track)))
        if lane.writes:
            lines.append(("", _writes(lane, track)))
    if idle:
        lines.append(("...", f"{len(idle)} more, {idle[0]} to {idle[-1]}: followers as long as they were asked"))
    if found.overlaps:
        cells = [" "] * track.width
        for overlap in found.overlaps:
            track.fill(cells, overlap.start_s, overlap.end_s, "#")
        lines.append(("two leaders", "".join(cells)))
    shown = [name.ljust(label) + cells for name, cells in lines]
    if found.bands:
        cells = [" "] * track.width
        for band in found.bands:
            track.fill(cells, band.start_s, band.end_s, "^")
        shown.append(" " * label + "".join(cells) + "  " + "; ".join(band.text for band in found.bands))
    used = {sign for name, cells in lines if name != "..." for sign in cells} | ({"^"} if found.bands else set())
    return [*shown, "  ".join(f"{sign} {meaning}" for sign, meaning in KEY.items() if sign in used)]


def _lane(lane: Lane, track: _Track) -> str:
    cells = ["."] * track.width
    for phase in lane.phases:
        track.fill(cells, phase.start_s, phase.end_s, _PHASES.get(phase.what, ":"))
    for stretch in lane.stretches:
        first, last = track.column(stretch.start_s), track.column(stretch.last_yes_s)
        track.fill(cells, stretch.last_yes_s, stretch.until_s, "-")
        track.fill(cells, stretch.start_s, stretch.last_yes_s, "=")
        for start_s, end_s in stretch.doubts:
            track.fill(cells, start_s, end_s, "~")
        name = str(stretch.token)[-4:]
        if last - first > len(name):
            cells[first + 1 : first + 1 + len(name)] = list(name)
    return "".join(cells)


def _writes(lane: Lane, track: _Track) -> str:
    """In a column the worst of its writes."""
    cells = [" "] * track.width
    for write in lane.writes:
        place = track.column(write.at_s)
        sign = "x" if not write.accepted else "!" if write.stale else "w"
        cells[place] = max(cells[place], sign, key=" wx!".index)
    return "".join(cells)
