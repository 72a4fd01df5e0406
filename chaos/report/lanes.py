"""The picture before it is drawn: lanes of terms, silences and writes, bands of faults. Seconds from the run's beginning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from chaos.history import Line

JOIN_S = 0.6
"""Two answers of one term further apart than this are two stretches: between them nobody was asked, or nobody answered."""


@dataclass
class Stretch:
    """One instance leading in one term: from the first yes to the last one, and to the end of the last promise."""

    token: int
    start_s: float
    last_yes_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Write:
    """One write of the app beside an instance, to the fenced or the unfenced resource."""

    at_s: float
    token: int
    fenced: bool
    accepted: bool


@dataclass
class Lane:
    """One instance. `silent`: stretches in which it did not answer."""

    name: str
    stretches: list[Stretch] = field(default_factory=list)
    silent: list[tuple[float, float]] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)


@dataclass
class Band:
    """One fault, from its injection to its healing."""

    text: str
    start_s: float
    end_s: float
    verified: str = ""


@dataclass
class Picture:
    """All of it. `overlaps`: stretches of time in which two promises of different terms held."""

    length_s: float = 0.0
    lanes: dict[str, Lane] = field(default_factory=dict)
    bands: list[Band] = field(default_factory=list)
    overlaps: list[tuple[float, float]] = field(default_factory=list)
    by_hand: bool = False
    """Whether an operator took away what somebody led by: no lease can keep that promise."""

    def lane(self, name: str) -> Lane:
        """The lane of an instance, made on first use."""
        return self.lanes.setdefault(name, Lane(name))


def picture(lines: Iterable[Line]) -> Picture:
    """Read a history into a picture."""
    found, last_ns = Picture(), 0
    start_ns: int | None = None
    quiet: dict[str, float] = {}
    open_bands: dict[str, Band] = {}
    for line in lines:
        start_ns = line["at_ns"] if start_ns is None else start_ns
        last_ns = max(last_ns, line["at_ns"])
        at_s = (line["at_ns"] - start_ns) / 1e9
        match line["kind"]:
            case "poll":
                _poll(found, line, at_s, start_ns, quiet)
            case "fault":
                open_bands[line["name"]] = band = Band(line["text"], at_s, at_s)
                found.bands.append(band)
                found.by_hand = found.by_hand or bool(line.get("breaks_promises"))
            case "bites" if line["name"] in open_bands:
                open_bands[line["name"]].verified = line["seen"]
            case "heal" if line["name"] in open_bands:
                open_bands.pop(line["name"]).end_s = at_s
            case "write":
                write = Write(at_s, line["token"], line["resource"] == "fenced", line["accepted"])
                found.lane(line["app"]).writes.append(write)
            case "process":
                found.lane(line["pod"]).events.append((at_s, line["what"]))
            case _:
                pass
    found.length_s = (last_ns - (start_ns or 0)) / 1e9
    for band in open_bands.values():
        band.end_s = found.length_s
    for name, since_s in quiet.items():
        found.lane(name).silent.append((since_s, found.length_s))
    found.overlaps = _overlaps(found)
    found.lanes = dict(sorted(found.lanes.items()))
    return found


def _poll(found: Picture, line: Line, at_s: float, start_ns: int, quiet: dict[str, float]) -> None:
    lane = found.lane(line["instance"])
    if "silent" in line:
        quiet.setdefault(lane.name, at_s)
        return
    got_s = (line["got_ns"] - start_ns) / 1e9
    if lane.name in quiet:
        lane.silent.append((quiet.pop(lane.name), got_s))
    if not line["leader"]:
        return
    until_s = (line["until_ns"] - start_ns) / 1e9
    last = lane.stretches[-1] if lane.stretches else None
    if last is not None and last.token == line["token"] and got_s - last.last_yes_s <= JOIN_S:
        last.last_yes_s, last.until_s = got_s, max(last.until_s, until_s)
    else:
        lane.stretches.append(Stretch(line["token"], got_s, got_s, until_s))


def _overlaps(found: Picture) -> list[tuple[float, float]]:
    every = sorted((s.start_s, s.until_s, lane.name, s.token) for lane in found.lanes.values() for s in lane.stretches)
    shared = []
    for (_, end_s, name, token), (start_s, other_end_s, other, other_token) in pairwise(every):
        if (name, token) != (other, other_token) and start_s < end_s:
            shared.append((start_s, min(end_s, other_end_s)))
    return shared


def story(found: Picture) -> str:
    """The run in one sentence, as one would tell it in a post-mortem."""
    terms = sorted((s for lane in found.lanes.values() for s in lane.stretches), key=lambda s: s.start_s)
    names = {id(s): lane.name for lane in found.lanes.values() for s in lane.stretches}
    first: dict[int, Stretch] = {}
    for term in terms:
        first.setdefault(term.token, term)
    order = list(first.values())
    if found.overlaps:
        worst = max(end - start for start, end in found.overlaps)
        if found.by_hand:
            return f"Taken away by hand: the last promise of the old term reached {worst * 1000:.0f} ms into the next one."
        return f"Two instances were leaders at once, {len(found.overlaps)} times, for up to {worst * 1000:.0f} ms."
    if len(order) < 2 or not found.bands:
        who = names[id(order[0])] if order else "nobody"
        return f"{who} led all the time; the fault moved nothing."
    fault = found.bands[0]
    ends = {token: max(s.until_s for s in terms if s.token == token) for token in first}
    sentences = []
    for before, after in pairwise(order):
        gap_s = after.start_s - ends[before.token]
        since_s = after.start_s - fault.start_s
        who, whom = names[id(after)], names[id(before)]
        sentences.append(
            f"{who} took over with token {after.token}, {since_s:.1f} s after the fault ({fault.text}) and {gap_s:.2f} s after the "
            f"last promise of {whom} had lapsed"
        )
    return "; ".join(sentences) + "."
