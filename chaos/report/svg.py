"""The timeline as SVG: a lane an instance, bars numbered by token, validity running out, faults as bands, writes as ticks.

Told apart without colour: bars carry their numbers and follow each other in different patterns, silence and doubt are hatched
each in its own way, a refused write is a cross, two leaders are outlined over the whole height with their milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from chaos.report import patterns
from chaos.report.lanes import MANY, SILENT, Lane, Phase, Picture, Stretch, Write
from chaos.report.logs import Entry
from chaos.report.marks import Marks, log_from

WIDTH, RIGHT, TOP, ROW, BAR, AXIS = 1160, 12, 6, 20, 26, 34
_LETTER = 7.3
"""The width of a letter, about."""


@dataclass
class Frame:
    """Where things are. `top` to `bottom`: the lanes."""

    found: Picture
    log: Sequence[Entry] = ()
    marks: Marks = field(default_factory=Marks)

    def __post_init__(self) -> None:
        lanes = list(self.found.lanes.values())
        self.idle = [lane.name for lane in lanes if lane.is_idle] if len(lanes) > MANY else []
        self.lanes = [lane for lane in lanes if lane.name not in self.idle]
        writes = any(lane.writes for lane in lanes)
        self.lane_height = 68 if writes else 48
        longest = max([len(lane.name) for lane in self.lanes] + [len(self.idle_name), 4])
        self.label = min(190.0, longest * 8.5 + 12)
        self.places = patterns.numbers(s.token for lane in lanes for s in lane.stretches)
        self.fault_rows = self.rows([(band.start_s, band.end_s, band.text) for band in self.found.bands])
        self.overlap_rows = self.rows([(each.start_s, each.end_s, _overlap_text(each.ms)) for each in self.found.overlaps])
        fault_height = ROW * (max(self.fault_rows, default=-1) + 1)
        self.overlaps_at = TOP + fault_height
        self.top = self.overlaps_at + ROW * (max(self.overlap_rows, default=-1) + 1) + 8
        self.bottom = self.top + self.lane_height * len(self.lanes) + (24 if self.idle else 0)
        self.height = self.bottom + (22 if self.marks.every else 0) + AXIS

    @property
    def idle_name(self) -> str:
        """What the lane of those is called in which nothing happens."""
        return f"{len(self.idle)} more" if self.idle else ""

    def x(self, at_s: float) -> float:
        """Where an instant is."""
        length_s = max(self.found.length_s - self.found.begin_s, 0.001)
        share = max(0.0, min(1.0, (at_s - self.found.begin_s) / length_s))
        return self.label + share * (WIDTH - self.label - RIGHT)

    def rows(self, labelled: Sequence[tuple[float, float, str]]) -> list[int]:
        """A row for each label, so that none covers another."""
        ends: list[float] = []
        found = []
        for start_s, end_s, text in labelled:
            left, right = self.extent(start_s, end_s, text)
            row = next((row for row, end in enumerate(ends) if end < left), len(ends))
            ends[row : row + 1] = [right + 6]
            found.append(row)
        return found

    def extent(self, start_s: float, end_s: float, text: str) -> tuple[float, float]:
        """From where to where a label goes that stands at the beginning of its band, or ends where the picture does."""
        start, wide = self.x(start_s), len(text) * _LETTER + 10
        left = max(self.label, min(start, WIDTH - RIGHT - wide))
        return left, max(left + wide, self.x(end_s))

    def link(self, at_s: float, inner: str, css: str = "") -> str:
        """Something that leads to the log from that instant on."""
        number = log_from(self.log, at_s)
        kind = f' class="{css}"' if css else ""
        return f"<g{kind}>{inner}</g>" if number is None else f'<a href="#log-{number}"{kind}>{inner}</a>'


def timeline(found: Picture, log: Sequence[Entry] = (), marks: Marks | None = None) -> str:
    """The picture."""
    frame = Frame(found, log, marks or Marks())
    what = f"timeline of the run: {len(found.lanes)} instances, {len(found.bands)} faults, {len(found.overlaps)} overlaps"
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {frame.height:g}" role="img" aria-label="{what}" class="timeline">',
        patterns.definitions(),
    ]
    parts += [_band(frame, number) for number in range(len(found.bands))]
    for number, lane in enumerate(frame.lanes):
        parts += _lane(frame, lane, frame.top + number * frame.lane_height)
    if frame.idle:
        said = f"{frame.idle[0]} to {frame.idle[-1]}: followers as long as they were asked"
        parts.append(f'<text class="name" x="0" y="{frame.bottom - 6:g}">{frame.idle_name}</text>')
        parts.append(f'<text class="soft" x="{frame.label:g}" y="{frame.bottom - 6:g}">{escape(said)}</text>')
    parts += _overlaps(frame)
    parts += _marks(frame)
    parts += _axis(frame)
    return "\n".join([*parts, "</svg>"])


def _band(frame: Frame, number: int) -> str:
    band = frame.found.bands[number]
    start, end = frame.x(band.start_s), max(frame.x(band.start_s) + 2.0, frame.x(band.end_s))
    y = TOP + ROW * frame.fault_rows[number]
    left, _ = frame.extent(band.start_s, band.end_s, band.text)
    fits = int((WIDTH - RIGHT - left) / _LETTER)
    text = band.text if len(band.text) <= fits else band.text[: fits - 1] + "\u2026"
    at = f'x="{start:.1f}" y="{y + ROW - 3:g}" width="{end - start:.1f}" height="{frame.bottom - y - ROW + 3:g}"'
    edges = "".join(f'<line x1="{each:.1f}" x2="{each:.1f}" y1="{y + 4:g}" y2="{frame.bottom:g}"/>' for each in (start, end))
    title = f"<title>{escape(band.text)}; verified: {escape(band.verified or 'no')}</title>"
    inner = f'{title}<rect {at}/><rect {at} fill="url(#fault)"/>{edges}'
    return frame.link(band.start_s, f'{inner}<text x="{left + 5:.1f}" y="{y + 14:g}">{escape(text)}</text>', "fault")


def _lane(frame: Frame, lane: Lane, y: float) -> list[str]:
    bar = y + 16
    wide = WIDTH - frame.label - RIGHT
    parts = [f'<text class="name" x="0" y="{bar + 18:g}">{escape(_short(lane.name))}</text>']
    parts.append(f'<rect class="empty" x="{frame.label:g}" y="{bar:g}" width="{wide:g}" height="{BAR}" rx="3"/>')
    parts += [_phase(frame, phase, bar) for phase in lane.phases]
    free_from = 0.0
    for stretch in lane.stretches:
        drawn, free_from = _stretch(frame, stretch, bar, free_from)
        parts.append(drawn)
    for at_s, what in lane.events:
        if at_s > frame.found.begin_s + 1.0:
            arrow = f'<title>{escape(what)}</title><path d="M{frame.x(at_s):.1f} {bar + BAR:g} l-4 7 h8 z"/>'
            parts.append(frame.link(at_s, arrow, "event"))
    return parts + [_write(frame, write, bar + BAR) for write in lane.writes]


def _phase(frame: Frame, phase: Phase, y: float) -> str:
    start, end = frame.x(phase.start_s), frame.x(phase.end_s)
    wide = max(1.0, end - start)
    pattern = "silent" if phase.what == SILENT else "unknown" if phase.what == "unknown" else "other"
    inner = (
        f"<title>{phase.what}, {phase.start_s:.2f} s to {phase.end_s:.2f} s</title>"
        f'<rect x="{start:.1f}" y="{y:g}" width="{wide:.1f}" height="{BAR}" fill="url(#{pattern})"/>'
    )
    room = len(phase.what) * _LETTER + 12
    if wide > room + 24:  # beside what the last promise may still cover
        inner += f'<rect class="chip" x="{start + 20:.1f}" y="{y + 5:g}" width="{room - 4:.1f}" height="16" rx="3"/>'
        inner += f'<text class="soft" x="{start + 24:.1f}" y="{y + 18:g}">{phase.what}</text>'
    return frame.link(phase.start_s, inner, "phase")


def _stretch(frame: Frame, stretch: Stretch, y: float, free_from: float) -> tuple[str, float]:
    """The bar with its number: in it, or above it where it is too short; there `free_from` is where the last one ends."""
    start, solid, until = (frame.x(at_s) for at_s in (stretch.start_s, stretch.last_yes_s, stretch.until_s))
    wide, place = max(2.0, solid - start), frame.places[stretch.token]
    token = short_token(stretch.token)
    room = len(token) * 8.2 + 8
    title = (
        f"token {stretch.token}: yes from {stretch.start_s:.2f} s to {stretch.last_yes_s:.2f} s, promised until "
        f"{stretch.until_s:.2f} s"
    )
    at = f'x="{start:.1f}" y="{y:g}" width="{wide:.1f}" height="{BAR}" rx="2"'
    parts = [f"<title>{title if stretch.polled else f'token {stretch.token}: by its journal alone'}</title>"]
    parts.append(patterns.bar(place, at) if stretch.polled else f'<rect class="unseen" {at} stroke="{patterns.COLOURS[place]}"/>')
    for from_s, to_s in stretch.doubts:
        at = f'x="{frame.x(from_s):.1f}" y="{y:g}" width="{max(1.5, frame.x(to_s) - frame.x(from_s)):.1f}" height="{BAR}"'
        parts.append(f'<rect {at} fill="url(#doubt)"><title>suspended: the store is silent, the lease not yet over</title></rect>')
    tail = max(1.0, until - solid)
    parts.append(
        f'<rect class="tail" x="{solid:.1f}" y="{y + 8:g}" width="{tail:.1f}" height="{BAR - 16}" '
        f'stroke="{patterns.COLOURS[place]}"/>'
    )
    if wide >= room + 6:
        colour = patterns.COLOURS[place]
        parts.append(
            f'<rect x="{start + 3:.1f}" y="{y + 4:g}" width="{room:.1f}" height="{BAR - 8}" rx="3" fill="{colour}"/>'
            f'<text class="token" x="{start + 7:.1f}" y="{y + 18:g}">{token}</text>'
        )
    else:
        left = max(start, free_from)
        free_from = left + room
        parts.append(f'<text class="above" x="{left:.1f}" y="{y - 4:g}">{token}</text>')
    return frame.link(stretch.start_s, "".join(parts), "term"), free_from


def _write(frame: Frame, write: Write, y: float) -> str:
    at, base = frame.x(write.at_s), y + (11 if write.fenced else 21)
    title = f"<title>{'fenced' if write.fenced else 'unfenced'} write, token {write.token}{{}}</title>"
    if not write.accepted:
        cross = f'<path class="refused" d="M{at - 4:.1f} {base - 6:g} l8 8 m0 -8 l-8 8">{title.format(": refused as stale")}</path>'
        return frame.link(write.at_s, cross)
    if write.stale:
        damage = f'<path class="damage" d="M{at:.1f} {base - 8:g} l5 5 l-5 5 l-5 -5 z">{title.format(": stale, and taken")}</path>'
        return frame.link(write.at_s, damage)
    line = f'x1="{at:.1f}" x2="{at:.1f}" y1="{base - 5:g}" y2="{base + 1:g}"'
    return f'<line class="{"fw" if write.fenced else "uw"}" {line}>{title.format("")}</line>'


def _overlap_text(ms: float) -> str:
    return f"{ms:.0f} ms of two leaders" if ms >= 1 else f"{ms * 1000:.0f} µs of two leaders"


def _overlaps(frame: Frame) -> list[str]:
    parts = []
    for overlap, row in zip(frame.found.overlaps, frame.overlap_rows, strict=True):
        start, end = frame.x(overlap.start_s), frame.x(overlap.end_s)
        left, _ = frame.extent(overlap.start_s, overlap.end_s, _overlap_text(overlap.ms))
        y = frame.overlaps_at + ROW * row
        by = "" if overlap.polled else " by-journals"
        inner = (
            f"<title>{escape(overlap.text)}</title>"
            f'<rect class="overlap{by}" x="{start:.1f}" y="{y + ROW - 2:g}" width="{max(3.0, end - start):.1f}" '
            f'height="{frame.bottom - y - ROW + 4:g}"/>'
            f'<text class="overlap-text" x="{left:.1f}" y="{y + 14:g}">{_overlap_text(overlap.ms)}</text>'
        )
        parts.append(frame.link(overlap.start_s, inner))
    return parts


def _marks(frame: Frame) -> list[str]:
    """Each letter under its instant; the line over all lanes shows when one has come by its link."""
    y, free_from = frame.bottom + 12, 0.0
    parts = []
    for mark in frame.marks.every:
        exact = frame.x(mark.at_s)
        at = max(exact, free_from)
        free_from = at + 19
        inner = (
            f'<line x1="{exact:.1f}" x2="{exact:.1f}" y1="{frame.top:g}" y2="{frame.bottom:g}"/>'
            f'<path d="M{exact:.1f} {frame.bottom:g} L{at:.1f} {y - 7:g}"/>'
            f'<circle cx="{at:.1f}" cy="{y:g}" r="8.5"/><text x="{at:.1f}" y="{y + 4:g}" text-anchor="middle">{mark.letter}</text>'
        )
        parts.append(f'<g id="at-{mark.letter}" class="mark">{frame.link(mark.at_s, inner)}</g>')
    return parts


def _axis(frame: Frame) -> list[str]:
    begin_s, end_s = frame.found.begin_s, frame.found.length_s
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 3600) if (end_s - begin_s) / step <= 16 or step == 3600)
    y = frame.height - 24
    parts = [f'<line class="axis" x1="{frame.label:g}" x2="{WIDTH - RIGHT}" y1="{y:g}" y2="{y:g}"/>']
    for number in range(int(begin_s / step), int(end_s / step) + 1):
        if number * step < begin_s:
            continue
        at = frame.x(number * step)
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{y:g}" y2="{y + 4:g}"/>')
        parts.append(f'<text class="soft" x="{at:.1f}" y="{y + 17:g}" text-anchor="middle">{number * step} s</text>')
    return parts


def short_token(token: int) -> str:
    """As a bar shows it: the last digits of a long one."""
    return f"#{token}" if token < 1_000_000 else f"#\u2026{token % 10_000:04d}"


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:10]}\u2026{name[-11:]}"
