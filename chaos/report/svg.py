"""The timeline as SVG: a lane an instance, bars numbered by token, the last promise running out, faults as bands, writes as ticks.

Told apart without colour: bars carry their numbers and alternate in pattern, silence is hatched, a refused write is a cross.
"""

from __future__ import annotations

from html import escape

from chaos.report.lanes import Band, Lane, Picture, Stretch, Write

WIDTH, LABEL, LANE, BAR, TOP = 1160, 60, 62, 26, 30
_COLOURS = ("#0072b2", "#b85400", "#00795a", "#a8457f", "#5b5f97", "#6b6100")
_DEFS = """<defs>
<pattern id="quiet" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="7" height="7" class="q0"/><line x1="0" y1="0" x2="0" y2="7" class="q1"/></pattern>
</defs>"""


def timeline(found: Picture) -> str:
    """The picture."""
    bands = _rows(found.bands)
    top = TOP + 20 * (max(bands.values(), default=-1) + 1)
    height = top + LANE * len(found.lanes) + 34
    tokens = sorted({s.token for lane in found.lanes.values() for s in lane.stretches})
    colours = {token: _COLOURS[number % len(_COLOURS)] for number, token in enumerate(tokens)}
    x = _Scale(found.length_s)
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="timeline of the run" class="timeline">', _DEFS]
    for band, row in bands.items():
        parts.append(_band(found.bands[band], row, x, top, height - 34))
    for number, lane in enumerate(found.lanes.values()):
        parts += _lane(lane, top + number * LANE, x, colours)
    for start_s, end_s in found.overlaps:
        wide = max(2.0, x(end_s) - x(start_s))
        parts.append(f'<rect class="overlap" x="{x(start_s):.1f}" y="{top - 3}" width="{wide:.1f}" height="{height - top - 31}"/>')
        parts.append(
            f'<text class="overlap-text" x="{x(start_s):.1f}" y="{top - 7}">{(end_s - start_s) * 1000:.0f} ms of two leaders</text>'
        )
    parts += _axis(found.length_s, x, height)
    return "\n".join([*parts, "</svg>"])


class _Scale:
    def __init__(self, length_s: float) -> None:
        self._length_s = max(length_s, 0.001)

    def __call__(self, at_s: float) -> float:
        return LABEL + max(0.0, min(1.0, at_s / self._length_s)) * (WIDTH - LABEL - 10)


def _rows(bands: list[Band]) -> dict[int, int]:
    """A row for each band's label, so that none covers another; by the band's number."""
    ends: list[float] = []
    rows = {}
    for number, band in enumerate(bands):
        row = next((row for row, end_s in enumerate(ends) if end_s <= band.start_s), len(ends))
        ends[row : row + 1] = [float("inf")]
        rows[number] = row
    return rows


def _band(band: Band, row: int, x: _Scale, top: float, bottom: float) -> str:
    start, wide = x(band.start_s), max(2.0, x(band.end_s) - x(band.start_s))
    y = TOP - 12 + 20 * row
    anchor = "end" if start > WIDTH * 0.65 else "start"
    at = start + wide if anchor == "end" else start
    return (
        f'<g class="fault"><title>{escape(band.text)}; verified: {escape(band.verified or "no")}</title>'
        f'<rect x="{start:.1f}" y="{top - 6}" width="{wide:.1f}" height="{bottom - top + 6}"/>'
        f'<line x1="{start:.1f}" x2="{start:.1f}" y1="{y}" y2="{bottom}"/>'
        f'<text x="{at + (-4 if anchor == "end" else 4):.1f}" y="{y + 8}" text-anchor="{anchor}">{escape(band.text)}</text></g>'
    )


def _lane(lane: Lane, y: float, x: _Scale, colours: dict[int, str]) -> list[str]:
    bar = y + 4
    parts = [f'<text class="name" x="0" y="{bar + 18}">{escape(lane.name)}</text>']
    parts.append(f'<rect class="empty" x="{LABEL}" y="{bar}" width="{WIDTH - LABEL - 10}" height="{BAR}" rx="3"/>')
    for start_s, end_s in lane.silent:
        at = f'x="{x(start_s):.1f}" y="{bar}" width="{max(1.0, x(end_s) - x(start_s)):.1f}" height="{BAR}"'
        parts.append(f'<rect fill="url(#quiet)" {at}><title>no answer</title></rect>')
    parts += [_stretch(stretch, bar, x, colours[stretch.token]) for stretch in lane.stretches]
    for at_s, what in lane.events:
        if at_s > 0.5:
            parts.append(f'<g class="event"><title>{escape(what)}</title><path d="M{x(at_s):.1f} {bar + BAR} l-4 7 h8 z"/></g>')
    return parts + [_write(write, bar + BAR, x) for write in lane.writes]


def _write(write: Write, y: float, x: _Scale) -> str:
    at, base = x(write.at_s), y + (11 if write.fenced else 20)
    title = f"{'fenced' if write.fenced else 'unfenced'} write, token {write.token}"
    if not write.accepted:
        return (
            f'<path class="refused" d="M{at - 4:.1f} {base - 6} l8 8 m0 -8 l-8 8"><title>{title}: refused as stale</title></path>'
        )
    line = f'x1="{at:.1f}" x2="{at:.1f}" y1="{base - 5}" y2="{base + 1}"'
    return f'<line class="{"fw" if write.fenced else "uw"}" {line}><title>{title}</title></line>'


def _stretch(stretch: Stretch, y: float, x: _Scale, colour: str) -> str:
    start, solid, until = x(stretch.start_s), x(stretch.last_yes_s), x(stretch.until_s)
    token = f"#{stretch.token}" if stretch.token < 1_000_000 else f"#\u2026{stretch.token % 10_000:04d}"
    label = f'<text class="token" x="{start + 6:.1f}" y="{y + 18}">{token}</text>' if solid - start > len(token) * 8 + 8 else ""
    return (
        f"<g><title>token {stretch.token}: yes from {stretch.start_s:.2f} s to {stretch.last_yes_s:.2f} s, "
        f"promised until {stretch.until_s:.2f} s</title>"
        f'<rect x="{start:.1f}" y="{y}" width="{max(1.5, solid - start):.1f}" height="{BAR}" rx="3" fill="{colour}"/>'
        f'<rect class="tail" '
        f'x="{solid:.1f}" y="{y + 7}" width="{max(0.5, until - solid):.1f}" height="{BAR - 14}" fill="{colour}"/>'
        f"{label}</g>"
    )


def _axis(length_s: float, x: _Scale, height: float) -> list[str]:
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 3600) if length_s / step <= 16 or step == 3600)
    y = height - 24
    parts = [f'<line class="axis" x1="{LABEL}" x2="{WIDTH - 10}" y1="{y}" y2="{y}"/>']
    for number in range(int(length_s / step) + 1):
        at = x(number * step)
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{y}" y2="{y + 4}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{y + 17}" text-anchor="middle">{number * step} s</text>')
    return parts
