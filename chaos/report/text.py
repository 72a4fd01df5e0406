"""The same lanes for a terminal."""

from __future__ import annotations

from chaos.report.lanes import Picture


def lanes(found: Picture, width: int = 100) -> list[str]:
    """One line an instance: `=` and its token's last digits in a term, `-` while the last promise runs out, `?` in silence."""
    label = max((len(name) for name in found.lanes), default=2) + 1
    track = max(20, width - label)

    def column(at_s: float) -> int:
        return min(track - 1, max(0, int(at_s / max(found.length_s, 0.001) * track)))

    lines = []
    for lane in found.lanes.values():
        cells = ["."] * track
        for start_s, end_s in lane.silent:
            for place in range(column(start_s), column(end_s) + 1):
                cells[place] = "?"
        for stretch in lane.stretches:
            first, last = column(stretch.start_s), column(stretch.last_yes_s)
            for place in range(last, column(stretch.until_s) + 1):
                cells[place] = "-"
            cells[first : last + 1] = ["="] * (last + 1 - first)
            name = str(stretch.token)[-4:]
            if last - first > len(name):
                cells[first + 1 : first + 1 + len(name)] = list(name)
        lines.append(lane.name.ljust(label) + "".join(cells))
    marks = [" "] * track
    for band in found.bands:
        for place in range(column(band.start_s), column(band.end_s) + 1):
            marks[place] = "^"
    if found.bands:
        lines.append(" " * label + "".join(marks) + "  " + "; ".join(band.text for band in found.bands))
    return lines
